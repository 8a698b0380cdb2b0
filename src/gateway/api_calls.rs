//! The API's calls on legs, trunks, phones and the gateway as a whole: found by name, done by the part they belong to.

use std::rc::Rc;

use super::changed::Changed;
use super::command::Originate;
use super::core::Gateway;
use super::counters::Numbers;
use super::error::GatewayError;
use super::events::{Empty, EventBody};
use super::leg_id::LegId;
use super::leg_view::LegView;
use super::registrar::BindingView;
use super::replies::Handle;
use super::self_test::Begun;
use super::trunks::{TrunkView, Trunks};
use crate::base::time::Now;
use crate::config::{Config, TrunkFields};
use crate::media::amd::Parameters;
use crate::sip::target::ConnId;
use crate::wire::Uri;
use crate::wire::replaces::ReferTo;

/// Reasons of `DELETE /legs/{id}` for an unanswered inbound leg, and their responses.
const REJECT_REASONS: &[(&str, u16)] = &[
    ("busy", 486),
    ("declined", 603),
    ("rejected", 603),
    ("unavailable", 480),
    ("not_found", 404),
    ("forbidden", 403),
    ("server_error", 500),
];

impl Gateway {
    /// Takes the trunks of the configuration, and those that the API made in an earlier life; once, at the start.
    pub fn restore_trunks(&mut self, now: Now, kept: Vec<TrunkFields>) {
        self.trunks.restore(&mut self.ctx, now, kept);
        self.drain(now);
    }

    /// `POST /v1/sip/trunks`.
    ///
    /// # Errors
    /// A value that is not allowed (400), an address that is registered already (409), too many (503).
    pub fn add_trunk(&mut self, now: Now, fields: TrunkFields) -> Result<TrunkView, GatewayError> {
        let added = self.trunks.add(&mut self.ctx, now, fields);
        self.drain(now);
        added
    }

    /// `DELETE /v1/sip/trunks/{id}`: unregisters, then forgets it.
    ///
    /// # Errors
    /// No such trunk (404), one of the file (409).
    pub fn remove_trunk(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let removed = self.trunks.remove(&mut self.ctx, now, name);
        self.drain(now);
        removed
    }

    /// `GET /v1/sip/registrations`.
    #[must_use]
    pub fn registrations(&self) -> Vec<BindingView> {
        self.registrar.views(&self.ctx)
    }

    /// `DELETE /v1/sip/registrations/{aor}`, all contacts or one of them.
    ///
    /// # Errors
    /// No such registration.
    pub fn remove_registration(
        &mut self,
        now: Now,
        aor: &str,
        contact: Option<&str>,
    ) -> Result<(), GatewayError> {
        self.registrar.remove(&mut self.ctx, now, aor, contact)
    }

    /// Contacts of phones that are registered.
    #[must_use]
    pub fn registered_contacts(&self) -> usize {
        self.registrar.contacts()
    }

    /// The trunks.
    #[must_use]
    pub fn trunks(&self) -> &Trunks {
        &self.trunks
    }

    /// Begins a test: the leg that calls is placed, the one that answers comes by itself.
    ///
    /// # Errors
    /// One runs already (409); there is no room for two legs more (503).
    pub fn begin_self_test(&mut self, now: Now) -> Result<Begun, GatewayError> {
        let call = self.self_tests.begin(&mut self.ctx)?;
        let placed = if self.legs.are_full_for(2) {
            let max = self.ctx.config.limits.legs;
            let why = format!("a self-test takes two legs, and {max} are allowed (limits.legs)");
            Err(GatewayError::Unavailable(why))
        } else {
            self.originate(now, call)
        };
        match placed {
            Ok(leg) => Ok(self.self_tests.begun(&mut self.ctx, leg.id)),
            Err(e) => {
                self.self_tests.end();
                Err(e)
            }
        }
    }

    /// The leg that has answered the test's call, once both are connected.
    #[must_use]
    pub fn self_test_answerer(&self, begun: &Begun) -> Option<String> {
        let connected =
            |id: LegId| self.legs.get(id).is_some_and(|l| l.call().is_up() && l.media().slot().is_some());
        let mut legs = self.legs.live().filter(|(name, id)| self.self_tests.covers(name) && connected(*id));
        let calls = |name: &str| name == begun.caller;
        let answerer = legs.clone().find(|(name, _)| !calls(name))?;
        legs.any(|(name, _)| calls(name)).then(|| answerer.0.to_owned())
    }

    /// Hangs up what is left of the test, and lets the next one begin.
    pub fn end_self_test(&mut self, now: Now, begun: &Begun) {
        self.self_tests.end();
        // Either may be gone.
        let _deleted = self.delete_room(now, &begun.room);
        let _hung_up = self.hang_up_leg(now, &begun.caller, None);
    }

    /// `POST /legs`.
    ///
    /// # Errors
    /// No leg or port is left (503), a URI that cannot be called (400).
    pub fn originate(&mut self, now: Now, wanted: Originate) -> Result<LegView, GatewayError> {
        let placed = self.place(now, wanted, None);
        self.drain(now);
        placed
    }

    /// `POST /legs/{id}/ring`: 180, where it is not sent by itself.
    ///
    /// # Errors
    /// No such leg (404), not inbound (400), not ringing (409).
    pub fn ring(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        self.legs.command(&mut self.ctx, name, |call, ctx| call.ring(ctx, now))
    }

    /// `POST /legs/{id}/early-media`: 183 with our answer, media at once.
    ///
    /// # Errors
    /// No such leg (404), not inbound (400), not ringing (409), no offer or codec or port (500).
    pub fn early_media(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let done = self.legs.command(&mut self.ctx, name, |call, ctx| call.early_media(ctx, now));
        self.drain(now);
        done
    }

    /// `POST /legs/{id}/answer`. A leg that cannot be answered after all ends with the right response.
    ///
    /// # Errors
    /// No such leg (404), not inbound (400), answered already (409).
    pub fn answer(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let id = self.legs.find(name)?;
        let answered = self.answer_call(now, id);
        self.drain(now);
        answered
    }

    /// `POST` and `DELETE /legs/{id}/hold`. The reply comes when the far end has answered.
    ///
    /// # Errors
    /// No such leg (404); not connected, held already or not held, or another change in progress (409).
    pub fn hold(&mut self, now: Now, name: &str, on: bool) -> Result<Handle, GatewayError> {
        let asked = self.legs.command(&mut self.ctx, name, |call, ctx| call.hold(ctx, now, on));
        self.drain(now);
        asked
    }

    /// `POST /legs/{id}/transfer`.
    ///
    /// # Errors
    /// A target that cannot be called (400); no such leg (404); a leg, or one to replace, that is not connected,
    /// or a transfer in progress (409).
    pub fn transfer(
        &mut self,
        now: Now,
        name: &str,
        target: Uri,
        replaces: Option<&str>,
    ) -> Result<(), GatewayError> {
        let conflict = |why: &str| GatewayError::Conflict(why.to_owned());
        self.legs.by_name(name)?.1.call().may_transfer()?;
        let unknown = || conflict("replaces_leg_id: no connected SIP leg has this id");
        let (replaced, replaces) = match replaces {
            Some(other) if other == name => {
                return Err(conflict("replaces_leg_id: a leg cannot replace itself"));
            }
            Some(other) => {
                let (id, leg) = self.legs.by_name(other).map_err(|_| unknown())?;
                (Some((id, other.to_owned())), Some(leg.call().replaceable().ok_or_else(unknown)?))
            }
            None => (None, None),
        };
        let target = ReferTo { uri: target, replaces };
        let begun =
            self.legs.command(&mut self.ctx, name, |call, ctx| call.transfer(ctx, now, target, replaced));
        self.drain(now);
        begun
    }

    /// `POST /legs/{id}/dtmf`: queues digits to be sent one after the other.
    ///
    /// # Errors
    /// No such leg (404); a character that is no digit, or too many (400); no media (500); the far end holds the call, or
    /// takes no events where nothing else is allowed, or not these (409).
    pub fn send_digits(&mut self, now: Now, name: &str, digits: &str) -> Result<(), GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        let digits = leg.check_digits(digits)?;
        self.legs.send_digits(&mut self.ctx, now, id, &digits);
        self.drain(now);
        Ok(())
    }

    /// A connection that is gone, and does not lead there again, must not stand for another server's, whose name its
    /// certificate has to carry.
    pub fn forget_connection(&mut self, gone: ConnId) {
        self.legs.forget_connection(&mut self.ctx, gone);
    }

    /// `GET /legs/{id}`.
    ///
    /// # Errors
    /// No such leg.
    pub fn leg(&self, name: &str) -> Result<LegView, GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        Ok(leg.view(self.rooms.of_leg(id)))
    }

    /// `POST /legs/{id}/amd`; `amd.result` follows, once.
    ///
    /// # Errors
    /// No such leg (404), or it is not connected (409).
    pub fn detect_machine(&mut self, name: &str, parameters: Parameters) -> Result<(), GatewayError> {
        let (_, leg) = self.legs.by_name(name)?;
        if !leg.call().is_up() || leg.call().is_held() {
            return Err(GatewayError::Conflict("leg is not connected".to_owned()));
        }
        leg.media().detect_machine(&mut self.ctx, parameters);
        Ok(())
    }

    /// `GET /legs/{id}/quality`. The reply comes with the next tick of the media thread.
    ///
    /// # Errors
    /// No such leg (404), no media yet (409), too many ask at once (503).
    pub fn ask_quality(&mut self, name: &str) -> Result<Handle, GatewayError> {
        self.legs.by_name_mut(name)?.1.media_mut().ask_quality(&mut self.ctx)
    }

    /// `DELETE /legs/{id}` with an optional reason.
    ///
    /// # Errors
    /// No such leg; a reason that is not known, on a leg it would be for.
    pub fn hang_up_leg(&mut self, now: Now, name: &str, reason: Option<&str>) -> Result<(), GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        let ringing = leg.call().is_ringing();
        match reason.filter(|r| ringing && !r.is_empty()) {
            None => self.hang_up(now, id, "api_hangup", None),
            Some(word) => {
                let Some((word, code)) = REJECT_REASONS.iter().find(|(w, _)| *w == word) else {
                    let known: Vec<&str> = REJECT_REASONS.iter().map(|(w, _)| *w).collect();
                    return Err(GatewayError::Invalid(format!("reason: allowed are {}", known.join(", "))));
                };
                self.hang_up(now, id, word, Some(*code));
            }
        }
        self.drain(now);
        Ok(())
    }

    /// True when no new leg can be taken: all places are in use (legs that are just ending included), or
    /// the gateway stops.
    pub(super) fn is_full(&self) -> bool {
        self.ctx.stopping || self.legs.are_full_for(1)
    }

    /// True once the gateway has been told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.ctx.stopping
    }

    /// New calls, of whatever side, get 503 from now on; those that run go on.
    pub fn refuse_new_calls(&mut self) {
        self.ctx.stopping = true;
    }

    /// True when no call is left.
    #[must_use]
    pub fn is_without_calls(&self) -> bool {
        self.legs.live_count() == 0
    }

    /// Ends every leg because the gateway stops; new calls get 503 from now on.
    pub fn shut_down(&mut self, now: Now) {
        self.refuse_new_calls();
        let all: Vec<LegId> = self.legs.live().map(|(_, id)| id).collect();
        for id in all {
            self.hang_up(now, id, "shutdown", Some(503));
            // The BYEs go out while we are still registered: some servers take none from strangers.
            self.drain(now);
        }
        self.trunks.unregister_all(&mut self.ctx, now);
        self.drain(now);
    }

    /// `POST|DELETE /legs/{id}/mute`: others hear the leg no more, or again.
    ///
    /// # Errors
    /// No such leg.
    pub fn mute(&mut self, now: Now, leg: &str, on: bool) -> Result<(), GatewayError> {
        let (id, leg) = self.legs.by_name_mut(leg)?;
        leg.media_mut().set_muted(&mut self.ctx, on);
        let body = if on { EventBody::LegMuted(Empty {}) } else { EventBody::LegUnmuted(Empty {}) };
        self.ctx.events.publish(now, id, body);
        Ok(())
    }

    /// `POST|DELETE /legs/{id}/deaf`: the leg hears nobody any more, or again.
    ///
    /// # Errors
    /// No such leg.
    pub fn deafen(&mut self, now: Now, leg: &str, on: bool) -> Result<(), GatewayError> {
        let (id, leg) = self.legs.by_name_mut(leg)?;
        leg.media_mut().set_deaf(&mut self.ctx, on);
        let body = if on { EventBody::LegDeaf(Empty {}) } else { EventBody::LegUndeaf(Empty {}) };
        self.ctx.events.publish(now, id, body);
        Ok(())
    }

    /// `POST /legs/{id}/dtmf/accept` and `…/reject`.
    ///
    /// # Errors
    /// No such leg.
    pub fn accept_dtmf(&mut self, leg: &str, on: bool) -> Result<(), GatewayError> {
        self.legs.by_name_mut(leg)?.1.set_accepts_dtmf(on);
        Ok(())
    }

    /// Goes on with `config`, which differs from the present one in trunks, users and what others read of it. Trunks that
    /// the API made stay; those of the file that are gone are unregistered, and calls through them go on.
    pub fn reload(&mut self, now: Now, config: Rc<Config>) -> Changed {
        let old = std::mem::replace(&mut self.ctx.config, config);
        let mut changed = Changed::default();
        self.registrar.reload(&mut self.ctx, now, &old, &mut changed);
        self.trunks.reload(&mut self.ctx, now, &mut changed);
        self.drain(now);
        changed
    }

    /// Trunks, and those of them that are active.
    #[must_use]
    pub fn trunk_counts(&self) -> (usize, usize) {
        self.trunks.counts()
    }

    /// All legs that have not ended.
    #[must_use]
    pub fn legs(&self) -> Vec<LegView> {
        self.legs
            .iter()
            .filter(|(_, l)| !l.is_ending())
            .map(|(id, l)| l.view(self.rooms.of_leg(id)))
            .collect()
    }

    /// Numbers for `/metrics` and `/v1/capacity`.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let mut n = self.ctx.counters.clone();
        n.legs = u32::try_from(self.legs.live_count()).unwrap_or(u32::MAX);
        n.opus = self.ctx.opus.used();
        n.media = self.legs.slots_used();
        n.rooms = u32::try_from(self.rooms.count()).unwrap_or(u32::MAX);
        n.playbacks = self.playbacks.used();
        n.recordings = self.recordings.used();
        let holding = self.legs.iter().filter(|(_, l)| l.holds_port()).count();
        n.ports = u32::try_from(holding).unwrap_or(u32::MAX);
        n.transactions = self.ctx.sip.len();
        n.timers = self.legs.timers() + self.ctx.sip.timers();
        n.transaction_bytes = self.ctx.sip.pools().1.used();
        n.sip = self.ctx.sip.counters().clone();
        n
    }
}
