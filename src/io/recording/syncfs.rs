//! Syncs all of a disk at once: an unsafe leaf. By the C library, where tests stand in for the disk, as they do for single
//! files.
#![expect(unsafe_code, reason = "std knows no syncfs, and rustix asks the kernel past the C library")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Brings all that was written to the disk of `file` to it, names included; blocks until then.
///
/// # Errors
/// What the operating system says, of whatever on that disk.
pub(super) fn sync_disk_of(file: &File) -> std::io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` lives; nothing else is passed.
    if unsafe { libc::syncfs(file.as_raw_fd()) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
