//! What the outbox cannot do, and whose fault it is: the disk's, another gateway's, or that of a damaged file.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::types::Type;

use crate::io::system::disk;

/// What cannot be done, as SQLite says it.
pub type Fault = rusqlite::Error;

/// A fault of the operating system.
pub(in crate::io) fn outside(e: std::io::Error) -> Fault {
    Fault::ToSqlConversionFailure(Box::new(e))
}

/// The disk takes nothing: it is full, read-only, or fails.
#[must_use]
pub(in crate::io) fn disk_refuses(e: &Fault) -> bool {
    if let Fault::ToSqlConversionFailure(e) = e {
        return e.downcast_ref::<std::io::Error>().is_some_and(disk::refuses);
    }
    // The file itself can be opened, or we would know from the system; what cannot be is the log beside it.
    matches!(
        e.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

/// Another process holds the file.
#[must_use]
pub(super) fn is_busy(e: &Fault) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// A fault of what is in the file.
pub(super) fn unreadable(what: &str) -> Fault {
    Fault::FromSqlConversionFailure(0, Type::Null, what.into())
}

/// The file is no outbox, or not any more, or something in it is not what an outbox holds.
#[must_use]
pub(super) fn is_damage(e: &Fault) -> bool {
    // Without a code of its own: a table or column is missing.
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

/// What a person is told of it.
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

/// What a fault says, without what SQLite says of columns where there is none.
pub(super) fn text(e: &Fault) -> String {
    if let Fault::FromSqlConversionFailure(0, Type::Null, what) = e {
        what.to_string()
    } else {
        e.to_string()
    }
}
