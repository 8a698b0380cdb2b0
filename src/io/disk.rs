//! What a disk says that takes nothing. A gateway goes on without: calls need no disk.

use std::io::{Error, ErrorKind};

/// The disk is full, read-only (as ext4 makes itself after errors), or fails: nothing that whoever runs the gateway has
/// written wrongly.
#[must_use]
pub fn refuses(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
        || e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_trouble_is_told_from_a_mistake() {
        // EIO, ENOSPC, EROFS, EDQUOT; ENOENT, EACCES, ENOTDIR.
        assert!([5, 28, 30, 122].into_iter().all(|n| refuses(&Error::from_raw_os_error(n))));
        assert!(![2, 13, 20].into_iter().any(|n| refuses(&Error::from_raw_os_error(n))));
    }
}
