//! The subscriptions that REFER makes (RFC 3515 §2.4, RFC 6665), as their requests tell of them, and ours to what becomes of
//! our transfers. Several REFERs of a dialog are told apart by `id`, the CSeq number of each.

use std::time::{Duration, Instant};

use crate::wire::Request;

/// Subscriptions of ours in one call that are kept; the oldest gives way.
const MAX_OPEN: usize = 8;
/// SUBSCRIBEs of ours are not closer together.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Our subscriptions in one call.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    /// Number of the first REFER: its NOTIFYs may come without one.
    first: Option<u32>,
    /// Those that have not ended, oldest first.
    open: Vec<u32>,
}

impl Subscribed {
    /// A REFER of ours goes out.
    pub(super) fn begin(&mut self, number: u32) {
        self.first.get_or_insert(number);
        self.open.push(number);
        if self.open.len() > MAX_OPEN {
            self.open.remove(0);
        }
    }

    /// A subscription has ended, or was refused.
    pub(super) fn end(&mut self, number: u32) {
        self.open.retain(|n| *n != number);
    }

    /// The subscription that a NOTIFY with this `id` is about. Without one it is about the first REFER; once that is over
    /// it can only mean the latest, of a far end that names none.
    pub(super) fn about(&self, id: Option<u32>) -> Option<u32> {
        let open = |n: &u32| self.open.contains(n);
        match id {
            Some(_) => id.filter(open),
            None => self.first.filter(open).or(self.open.last().copied()),
        }
    }

    /// `Event` of a SUBSCRIBE that lets one go on.
    pub(super) fn event_for(&self, number: u32) -> String {
        if self.first == Some(number) { "refer".to_owned() } else { format!("refer;id={number}") }
    }
}

/// `Subscription-State` of a NOTIFY (RFC 6665 §8.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SubscriptionState {
    /// No more will come.
    pub(super) is_over: bool,
    /// How long it lasts, if that is said.
    left: Option<Duration>,
}

impl SubscriptionState {
    pub(super) fn of(request: &Request) -> Self {
        let mut parts = request.common.headers.get("Subscription-State").unwrap_or_default().split(';');
        let is_over = parts.next().unwrap_or_default().trim().eq_ignore_ascii_case("terminated");
        let left = parts.find_map(|p| {
            let (name, value) = p.split_once('=')?;
            name.trim().eq_ignore_ascii_case("expires").then(|| value.trim().parse::<u32>().ok())?
        });
        Self { is_over, left: left.map(|s| Duration::from_secs(s.into())) }
    }

    /// True when it ends before `until` unless it is extended.
    pub(super) fn ends_before(&self, now: Instant, until: Instant) -> bool {
        !self.is_over && self.left.is_some_and(|left| now + left < until)
    }

    /// When it is to be extended: before its last quarter.
    pub(super) fn extend_at(&self, now: Instant) -> Option<Instant> {
        self.left.map(|left| now + (left / 4 * 3).max(LEAST_PAUSE))
    }
}

/// The `id` of the refer package in a request's Event, `None` inside without one; `None` outside for other packages.
#[must_use]
pub fn event_of(request: &Request) -> Option<Option<u32>> {
    let mut parts = request.common.headers.get("Event").unwrap_or_default().split(';');
    if !parts.next().unwrap_or_default().trim().eq_ignore_ascii_case("refer") {
        return None;
    }
    Some(parts.find_map(|p| {
        let (name, value) = p.split_once('=')?;
        // One that is no number is that of no REFER.
        name.trim().eq_ignore_ascii_case("id").then(|| value.trim().parse().unwrap_or(u32::MAX))
    }))
}
