//! What the outbox cannot do, and whose fault it is: the disk's, another gateway's, or that of a damaged file.

use std::path::Path;

use rusqlite::ErrorCode;

use super::disk;

/// What cannot be done, as SQLite says it.
pub type Fault = rusqlite::Error;

/// A fault of the operating system.
pub(super) fn outside(e: std::io::Error) -> Fault {
    Fault::ToSqlConversionFailure(Box::new(e))
}

/// The disk takes nothing: it is full, read-only, or fails.
#[must_use]
pub(super) fn disk_refuses(e: &Fault) -> bool {
    if let Fault::ToSqlConversionFailure(e) = e {
        return e.downcast_ref::<std::io::Error>().is_some_and(disk::refuses);
    }
    // The file itself can be opened, or we would know from the system; what cannot be is the log beside it.
    matches!(
        e.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

fn is_busy(e: &Fault) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The file is no outbox, or not any more.
#[must_use]
pub(super) fn is_corrupt(e: &Fault) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// What a person is told of it.
#[must_use]
pub(super) fn told(path: &Path, e: &Fault) -> String {
    if is_busy(e) {
        format!("{}: another gateway uses this state directory", path.display())
    } else if is_corrupt(e) {
        format!("{}: {e}; the gateway puts it aside when it starts", path.display())
    } else {
        format!("{}: {e}", path.display())
    }
}
