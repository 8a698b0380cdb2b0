//! Classification of disk errors (calls do not need the disk), and directories.

use std::fs::DirBuilder;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::io::Errno;

/// True if the disk is full, read-only (ext4 remounts itself read-only after errors), or fails: not a
/// configuration error.
#[must_use]
pub fn refuses(e: &Error) -> bool {
    // Errors for unreadable blocks, damaged file systems and missing disks.
    let broken = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NXIO, Errno::STALE];
    matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
        || broken.iter().any(|n| e.raw_os_error() == Some(n.raw_os_error()))
}

/// Creates a directory (mode 0700) and its parents if missing.
///
/// # Errors
/// Errors of the operating system.
pub fn make_directory(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Free bytes on the disk of a directory; `None`: unknown.
#[must_use]
pub fn free(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Free bytes on the disk of a directory that may not exist yet: uses its nearest existing parent.
#[must_use]
pub fn free_at(dir: &Path) -> Option<u64> {
    dir.ancestors().find_map(|d| free(if d.as_os_str().is_empty() { Path::new(".") } else { d }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_failures_are_distinguished_from_configuration_errors() {
        // EIO, ENOSPC, EROFS, EBADMSG, EUCLEAN, EDQUOT; ENOENT, EACCES, ENOTDIR.
        assert!([5, 28, 30, 74, 117, 122].into_iter().all(|n| refuses(&Error::from_raw_os_error(n))));
        assert!(![2, 13, 20].into_iter().any(|n| refuses(&Error::from_raw_os_error(n))));
    }
}
