//! syncfs(2): an unsafe leaf. Uses the C library's function, which tests replace to simulate disk failures,
//! as for fsync.
#![expect(unsafe_code, reason = "std has no syncfs, and rustix bypasses the C library")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Syncs the file system of `file`, including directory entries; blocks.
///
/// # Errors
/// The operating system's error, which may concern any file of that file system.
pub(super) fn sync_disk_of(file: &File) -> std::io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` lives; no other argument.
    if unsafe { libc::syncfs(file.as_raw_fd()) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
