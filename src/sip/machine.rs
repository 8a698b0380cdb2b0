//! What the four transaction machines of RFC 3261 §17 have in common.

use std::time::Instant;

use super::Output;

/// A transaction on its way: fed by its own methods, driven and drained by these.
pub(super) trait Machine {
    /// Fires what is due at `now`.
    fn handle_timeout(&mut self, now: Instant);

    /// The next output, until `None`.
    fn poll(&mut self) -> Option<Output>;

    /// When to call [`Self::handle_timeout`] next, and which timer it is; `None` when none runs.
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;

    /// True when nothing more can come of it.
    fn is_terminated(&self) -> bool;
}
