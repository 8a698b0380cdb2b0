//! Classification of outbox errors: the disk, another process, or a damaged file.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::types::Type;

use crate::io::system::disk;

/// An error as reported by SQLite.
pub type Fault = rusqlite::Error;

/// Converts an operating system error.
pub(in crate::io) fn outside(e: std::io::Error) -> Fault {
    Fault::ToSqlConversionFailure(Box::new(e))
}

/// True if the disk is full, read-only, or fails.
#[must_use]
pub(in crate::io) fn disk_refuses(e: &Fault) -> bool {
    if let Fault::ToSqlConversionFailure(e) = e {
        return e.downcast_ref::<std::io::Error>().is_some_and(disk::refuses);
    }
    // An unopenable database file is reported by the operating system; here it is the log file beside it.
    matches!(
        e.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

/// True if another process has locked the file.
#[must_use]
pub(super) fn is_busy(e: &Fault) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// An error for invalid file contents.
pub(super) fn unreadable(what: &str) -> Fault {
    Fault::FromSqlConversionFailure(0, Type::Null, what.into())
}

/// True if the file is not an outbox, or its contents are invalid.
#[must_use]
pub(super) fn is_damage(e: &Fault) -> bool {
    // Missing tables and columns have the unspecific code.
    let broken = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase, ErrorCode::Unknown];
    e.sqlite_error_code().is_some_and(|code| broken.contains(&code))
        || matches!(
            e,
            Fault::FromSqlConversionFailure(..)
                | Fault::IntegralValueOutOfRange(..)
                | Fault::InvalidColumnType(..)
                | Fault::Utf8Error(..)
        )
}

/// Error message for the operator.
#[must_use]
pub(super) fn told(path: &Path, e: &Fault) -> String {
    if is_busy(e) {
        format!("{}: another gateway uses this state directory", path.display())
    } else if is_damage(e) {
        format!("{}: {}; the gateway puts it aside when it starts", path.display(), text(e))
    } else {
        format!("{}: {e}", path.display())
    }
}

/// Error text, without SQLite's column information if there is none.
pub(super) fn text(e: &Fault) -> String {
    if let Fault::FromSqlConversionFailure(0, Type::Null, what) = e {
        what.to_string()
    } else {
        e.to_string()
    }
}
