//! The next server when one does not answer or has no room (RFC 3263 §4.3).

use std::time::{Duration, Instant};

use super::core::Gateway;
use super::leg::{Leg, LegId, Phase};
use crate::base::time::Now;
use crate::sip::target::Target;

/// A server from which nothing at all has come for this long is passed over while there are others: sooner
/// than Timer B, since somebody is waiting with the phone in hand.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// Servers of a call that have not been tried.
#[derive(Debug, Default)]
pub struct Others {
    targets: Vec<Target>,
    /// The next one is tried then, unless the present one says something.
    pub(super) at: Option<Instant>,
}

impl Gateway {
    /// Calls the best of a leg's servers and keeps the others.
    pub(super) fn invite_best(&mut self, now: Now, id: LegId, mut targets: Vec<Target>) {
        if targets.is_empty() {
            return self.end(now, id, "invite_failed");
        }
        let first = targets.remove(0);
        if let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) {
            inviting.others = Others { at: None, targets };
        }
        self.try_server(now, id, first);
    }

    fn try_server(&mut self, now: Now, id: LegId, target: Target) {
        if let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) {
            let more = !inviting.others.targets.is_empty();
            inviting.others.at = more.then(|| now.mono + PATIENCE);
        }
        self.invite(now, id, target);
        self.legs.reschedule(id);
    }

    /// A server of an unanswered call has failed, or has no room: true when another one is being tried.
    pub(super) fn try_next_server(&mut self, now: Now, id: LegId) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let Phase::Inviting(inviting) = &mut leg.phase else { return false };
        // What has sounded already stays where it is.
        if leg.early || inviting.others.targets.is_empty() {
            return false;
        }
        let next = inviting.others.targets.remove(0);
        let tx = inviting.tx.take();
        // While it is known whom the credentials are for.
        if let Some(tx) = tx {
            self.abandon(now, id, tx);
        }
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let Phase::Inviting(inviting) = &mut leg.phase else { return false };
        // Its addresses may be of the other family.
        leg.local = None;
        leg.media.release_port(&mut self.ctx);
        // All servers of a name are whom the leg called; those of a redirection are not.
        let called =
            inviting.redirections.is_direct() || inviting.request.way.as_ref().is_some_and(|w| w.route);
        if called {
            leg.auth.iter_mut().for_each(|a| a.forget_whom());
        }
        self.ctx.counters.failovers += 1;
        self.try_server(now, id, next);
        true
    }

    /// The server of a call has said something: it is not passed over any more.
    pub(super) fn server_lives(&mut self, id: LegId) {
        if let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id)
            && inviting.others.at.take().is_some()
        {
            self.legs.reschedule(id);
        }
    }

    /// Passes over a server that has said nothing for too long.
    pub(super) fn server_due(&mut self, now: Now, id: LegId) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        if inviting.others.at.is_some_and(|at| at <= now.mono) {
            inviting.others.at = None;
            let _tried = self.try_next_server(now, id);
        }
    }
}
