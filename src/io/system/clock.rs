//! The only place that reads the system clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::{Now, Utc};

/// The monotonic and the wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), utc: Utc(since_epoch) }
}
