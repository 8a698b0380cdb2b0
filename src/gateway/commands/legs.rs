//! API commands for legs.

use crate::base::time::Now;
use crate::gateway::accounts::Accounts;
use crate::gateway::audio::Audio;
use crate::gateway::calls::{Calls, Surroundings};
use crate::gateway::context::Context;
use crate::gateway::events::{Empty, EventBody};
use crate::gateway::interface::command::Originate;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::Handle;
use crate::gateway::legs::leg_view::LegView;
use crate::gateway::self_test::Begun;
use crate::media::amd::Parameters;
use crate::wire::Uri;
use crate::wire::replaces::ReferTo;

/// Reasons of `DELETE /legs/{id}` for an unanswered inbound leg, and their status codes.
const REJECT_REASONS: &[(&str, u16)] = &[
    ("busy", 486),
    ("declined", 603),
    ("rejected", 603),
    ("unavailable", 480),
    ("not_found", 404),
    ("forbidden", 403),
    ("server_error", 500),
];

/// Commands for legs.
#[derive(Debug)]
pub struct LegCommands<'a> {
    now: Now,
    ctx: &'a mut Context,
    calls: &'a mut Calls,
    accounts: &'a mut Accounts,
    audio: &'a mut Audio,
}

impl<'a> LegCommands<'a> {
    /// Executes commands on these parts at `now`.
    #[must_use]
    pub fn new(
        now: Now,
        ctx: &'a mut Context,
        calls: &'a mut Calls,
        accounts: &'a mut Accounts,
        audio: &'a mut Audio,
    ) -> Self {
        Self { now, ctx, calls, accounts, audio }
    }

    /// `POST /legs`.
    ///
    /// # Errors
    /// No leg, port or room left (503), an unusable URI (400).
    pub fn originate(&mut self, wanted: Originate) -> Result<LegView, GatewayError> {
        self.calls.may_place(self.ctx, &wanted)?;
        let room = Some(wanted.room_id.clone()).filter(|room| !room.is_empty());
        if let Some(room) = &room {
            self.audio.rooms().admits_one_more(self.ctx, room)?;
            self.audio.rooms_mut().create_missing(self.ctx, self.now, room)?;
        }
        let mut env =
            Surroundings { now: self.now, ctx: self.ctx, accounts: self.accounts, rooms: self.audio.rooms() };
        let (id, shown) = self.calls.place(&mut env, wanted, None)?;
        if let Some(room) = room {
            self.audio.rooms_mut().join_later(id, room, None);
        }
        Ok(shown)
    }

    /// Starts a self-test: places the calling leg; the answering leg arrives over the network.
    ///
    /// # Errors
    /// A self-test is already running (409); fewer than two legs left, or no address (503).
    pub fn begin_self_test(&mut self) -> Result<Begun, GatewayError> {
        let call = self.calls.self_tests_mut().begin(self.ctx)?;
        let placed = if self.calls.legs().are_full_for(2) {
            let max = self.ctx.config.limits.legs;
            let why = format!("a self-test takes two legs, and {max} are allowed (limits.legs)");
            Err(GatewayError::Unavailable(why))
        } else {
            self.originate(call)
        };
        match placed {
            Ok(leg) => Ok(self.calls.self_tests_mut().begun(self.ctx, leg.id)),
            Err(e) => {
                self.calls.self_tests_mut().end();
                Err(e)
            }
        }
    }

    /// Hangs up the remaining legs of the self-test and allows the next one.
    pub fn end_self_test(&mut self, begun: &Begun) {
        self.calls.self_tests_mut().end();
        // It may have ended already.
        let _hung_up = self.hang_up(&begun.caller, None);
    }

    /// `POST /legs/{id}/ring`: sends 180 if that is not automatic.
    ///
    /// # Errors
    /// No such leg (404), not inbound (400), not ringing (409).
    pub fn ring(&mut self, name: &str) -> Result<(), GatewayError> {
        self.calls.legs_mut().command(self.ctx, name, |call, ctx| call.ring(ctx, self.now))
    }

    /// `POST /legs/{id}/early-media`: sends 183 with our answer and opens media.
    ///
    /// # Errors
    /// No such leg (404), not inbound (400), not ringing (409), no offer or codec or port (500).
    pub fn early_media(&mut self, name: &str) -> Result<(), GatewayError> {
        self.calls.legs_mut().command(self.ctx, name, |call, ctx| call.early_media(ctx, self.now))
    }

    /// `POST /legs/{id}/answer`. A leg that turns out not to be answerable ends with a suitable response.
    ///
    /// # Errors
    /// No such leg (404), not inbound (400), answered already (409).
    pub fn answer(&mut self, name: &str) -> Result<(), GatewayError> {
        let id = self.calls.legs().find(name)?;
        let mut env =
            Surroundings { now: self.now, ctx: self.ctx, accounts: self.accounts, rooms: self.audio.rooms() };
        self.calls.answer(&mut env, id)
    }

    /// `POST` and `DELETE /legs/{id}/hold`. The reply is sent once the far end has responded.
    ///
    /// # Errors
    /// No such leg (404); not connected, already held or not held, or another change in progress (409).
    pub fn hold(&mut self, name: &str, on: bool) -> Result<Handle, GatewayError> {
        self.calls.legs_mut().command(self.ctx, name, |call, ctx| call.hold(ctx, self.now, on))
    }

    /// `POST /legs/{id}/transfer`.
    ///
    /// # Errors
    /// An unusable target (400); no such leg (404); a leg, or one to replace, that is not connected, or a
    /// transfer in progress (409).
    pub fn transfer(&mut self, name: &str, target: Uri, replaces: Option<&str>) -> Result<(), GatewayError> {
        let conflict = |why: &str| GatewayError::Conflict(why.to_owned());
        self.calls.legs().by_name(name)?.1.call().may_transfer()?;
        let unknown = || conflict("replaces_leg_id: no connected SIP leg has this id");
        let (replaced, replaces) = match replaces {
            Some(other) if other == name => {
                return Err(conflict("replaces_leg_id: a leg cannot replace itself"));
            }
            Some(other) => {
                let (id, leg) = self.calls.legs().by_name(other).map_err(|_| unknown())?;
                (Some((id, other.to_owned())), Some(leg.call().replaceable().ok_or_else(unknown)?))
            }
            None => (None, None),
        };
        let target = ReferTo { uri: target, replaces };
        self.calls
            .legs_mut()
            .command(self.ctx, name, |call, ctx| call.transfer(ctx, self.now, target, replaced))
    }

    /// `POST /legs/{id}/dtmf`: queues digits.
    ///
    /// # Errors
    /// No such leg (404); an invalid character, or too many digits (400); no media (500); the far end holds
    /// the call, does not accept the only allowed mode, or not these digits (409).
    pub fn send_digits(&mut self, name: &str, digits: &str) -> Result<(), GatewayError> {
        let (id, leg) = self.calls.legs().by_name(name)?;
        let digits = leg.check_digits(digits)?;
        self.calls.legs_mut().send_digits(self.ctx, self.now, id, &digits);
        Ok(())
    }

    /// `POST /legs/{id}/amd`; followed by one `amd.result`.
    ///
    /// # Errors
    /// No such leg (404), or it is not connected (409).
    pub fn detect_machine(&mut self, name: &str, parameters: Parameters) -> Result<(), GatewayError> {
        let (_, leg) = self.calls.legs().by_name(name)?;
        if !leg.call().is_up() || leg.call().is_held() {
            return Err(GatewayError::Conflict("leg is not connected".to_owned()));
        }
        leg.media().detect_machine(self.ctx, parameters);
        Ok(())
    }

    /// `GET /legs/{id}/quality`. The reply is sent at the next tick of the media thread.
    ///
    /// # Errors
    /// No such leg (404), no media yet (409), too many pending requests (503).
    pub fn ask_quality(&mut self, name: &str) -> Result<Handle, GatewayError> {
        self.calls.legs_mut().by_name_mut(name)?.1.media_mut().ask_quality(self.ctx)
    }

    /// `DELETE /legs/{id}` with an optional reason.
    ///
    /// # Errors
    /// No such leg; an unknown reason, if it applies to the leg.
    pub fn hang_up(&mut self, name: &str, reason: Option<&str>) -> Result<(), GatewayError> {
        let (id, leg) = self.calls.legs().by_name(name)?;
        let ringing = leg.call().is_ringing();
        match reason.filter(|r| ringing && !r.is_empty()) {
            None => self.calls.hang_up(self.ctx, self.now, id, "api_hangup", None),
            Some(word) => {
                let Some((word, code)) = REJECT_REASONS.iter().find(|(w, _)| *w == word) else {
                    let known: Vec<&str> = REJECT_REASONS.iter().map(|(w, _)| *w).collect();
                    return Err(GatewayError::Invalid(format!("reason: allowed are {}", known.join(", "))));
                };
                self.calls.hang_up(self.ctx, self.now, id, word, Some(*code));
            }
        }
        Ok(())
    }

    /// `POST|DELETE /legs/{id}/mute`: other members stop or resume hearing the leg.
    ///
    /// # Errors
    /// No such leg.
    pub fn mute(&mut self, leg: &str, on: bool) -> Result<(), GatewayError> {
        let (id, leg) = self.calls.legs_mut().by_name_mut(leg)?;
        leg.media_mut().set_muted(self.ctx, on);
        let body = if on { EventBody::LegMuted(Empty {}) } else { EventBody::LegUnmuted(Empty {}) };
        self.ctx.events.publish(self.now, id, body);
        Ok(())
    }

    /// `POST|DELETE /legs/{id}/deaf`: the leg stops or resumes hearing others.
    ///
    /// # Errors
    /// No such leg.
    pub fn deafen(&mut self, leg: &str, on: bool) -> Result<(), GatewayError> {
        let (id, leg) = self.calls.legs_mut().by_name_mut(leg)?;
        leg.media_mut().set_deaf(self.ctx, on);
        let body = if on { EventBody::LegDeaf(Empty {}) } else { EventBody::LegUndeaf(Empty {}) };
        self.ctx.events.publish(self.now, id, body);
        Ok(())
    }

    /// `POST /legs/{id}/dtmf/accept` and `…/reject`.
    ///
    /// # Errors
    /// No such leg.
    pub fn accept_dtmf(&mut self, leg: &str, on: bool) -> Result<(), GatewayError> {
        self.calls.legs_mut().by_name_mut(leg)?.1.set_accepts_dtmf(on);
        Ok(())
    }
}
