//! What a disk says that takes nothing. A gateway goes on without: calls need no disk. And directories on it.

use std::fs::DirBuilder;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::io::Errno;

/// The disk is full, read-only (as ext4 makes itself after errors), or fails: nothing that whoever runs the gateway has
/// written wrongly.
#[must_use]
pub fn refuses(e: &Error) -> bool {
    // What file systems say of blocks that cannot be read, of damaged ones, and of a disk that is gone.
    let broken = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NXIO, Errno::STALE];
    matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
        || broken.iter().any(|n| e.raw_os_error() == Some(n.raw_os_error()))
}

/// Makes a directory (mode 0700), and those above it, where it is missing.
///
/// # Errors
/// What the operating system says.
pub fn make_directory(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Bytes that are free on the disk of a directory; `None`: it does not tell.
#[must_use]
pub fn free(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The same of one that may not be there yet: of the nearest directory above it that is.
#[must_use]
pub fn free_at(dir: &Path) -> Option<u64> {
    dir.ancestors().find_map(|d| free(if d.as_os_str().is_empty() { Path::new(".") } else { d }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_trouble_is_told_from_a_mistake() {
        // EIO, ENOSPC, EROFS, EBADMSG, EUCLEAN, EDQUOT; ENOENT, EACCES, ENOTDIR.
        assert!([5, 28, 30, 74, 117, 122].into_iter().all(|n| refuses(&Error::from_raw_os_error(n))));
        assert!(![2, 13, 20].into_iter().any(|n| refuses(&Error::from_raw_os_error(n))));
    }
}
