//! Subscriptions created by REFER (RFC 3515 §2.4, RFC 6665): parsing of their requests, and our subscriptions
//! to our transfers. Several REFERs in one dialog are distinguished by `id`, the CSeq number of each.

use std::time::{Duration, Instant};

use crate::wire::Request;

/// Most subscriptions per call; the oldest is dropped.
const MAX_OPEN: usize = 8;
/// Minimum interval between our SUBSCRIBEs.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Our subscriptions in one call.
#[derive(Debug, Default)]
pub(super) struct Subscribed {
    /// Number of the first REFER: its NOTIFYs may omit the `id`.
    first: Option<u32>,
    /// Active subscriptions, oldest first.
    open: Vec<u32>,
}

impl Subscribed {
    /// A REFER is being sent.
    pub(super) fn begin(&mut self, number: u32) {
        self.first.get_or_insert(number);
        self.open.push(number);
        if self.open.len() > MAX_OPEN {
            self.open.remove(0);
        }
    }

    /// A subscription has ended or was rejected.
    pub(super) fn end(&mut self, number: u32) {
        self.open.retain(|n| *n != number);
    }

    /// The subscription of a NOTIFY with this `id`. Without one it is the first REFER; once that has ended,
    /// it must be the latest, from a far end that never sends an `id`.
    pub(super) fn about(&self, id: Option<u32>) -> Option<u32> {
        let open = |n: &u32| self.open.contains(n);
        match id {
            Some(_) => id.filter(open),
            None => self.first.filter(open).or(self.open.last().copied()),
        }
    }

    /// `Event` of a SUBSCRIBE that extends a subscription.
    pub(super) fn event_for(&self, number: u32) -> String {
        if self.first == Some(number) { "refer".to_owned() } else { format!("refer;id={number}") }
    }
}

/// `Subscription-State` of a NOTIFY (RFC 6665 §8.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SubscriptionState {
    /// Terminated.
    pub(super) is_over: bool,
    /// Remaining time, if given.
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

    /// True if it ends before `until` unless it is extended.
    pub(super) fn ends_before(&self, now: Instant, until: Instant) -> bool {
        !self.is_over && self.left.is_some_and(|left| now + left < until)
    }

    /// When to extend it: before its last quarter.
    pub(super) fn extend_at(&self, now: Instant) -> Option<Instant> {
        self.left.map(|left| now + (left / 4 * 3).max(LEAST_PAUSE))
    }
}

/// `id` of a request's refer event, `None` inside without one; `None` outside for other event packages.
#[must_use]
pub fn event_of(request: &Request) -> Option<Option<u32>> {
    let mut parts = request.common.headers.get("Event").unwrap_or_default().split(';');
    if !parts.next().unwrap_or_default().trim().eq_ignore_ascii_case("refer") {
        return None;
    }
    Some(parts.find_map(|p| {
        let (name, value) = p.split_once('=')?;
        // A non-numeric `id` matches no REFER.
        name.trim().eq_ignore_ascii_case("id").then(|| value.trim().parse().unwrap_or(u32::MAX))
    }))
}
