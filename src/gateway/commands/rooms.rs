//! API commands for rooms and their members.

use crate::base::time::Now;
use crate::gateway::accounts::Accounts;
use crate::gateway::audio::Audio;
use crate::gateway::calls::{Calls, Surroundings};
use crate::gateway::context::Context;
use crate::gateway::events::Webhook;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::replies::Handle;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::rooms::{JoinFlags, Joined, RoomView};

/// Commands for rooms.
#[derive(Debug)]
pub struct RoomCommands<'a> {
    now: Now,
    ctx: &'a mut Context,
    calls: &'a mut Calls,
    accounts: &'a mut Accounts,
    audio: &'a mut Audio,
}

impl<'a> RoomCommands<'a> {
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

    /// `POST /rooms`.
    ///
    /// # Errors
    /// The id is taken (409), an unsupported rate (400), limit reached (503).
    pub fn create(
        &mut self,
        id: Option<String>,
        rate: Option<u32>,
        webhook: Option<Webhook>,
    ) -> Result<RoomView, GatewayError> {
        let id = self.audio.rooms_mut().create(self.ctx, self.now, id, rate, webhook)?;
        self.audio.rooms().view(self.calls.legs(), &id)
    }

    /// `DELETE /rooms/{id}`: hangs up its members, ends its recordings and playbacks.
    ///
    /// # Errors
    /// No such room.
    pub fn delete(&mut self, id: &str) -> Result<(), GatewayError> {
        let members = self.audio.rooms().rate_and_members(id)?.1.to_vec();
        for leg in members {
            self.calls.hang_up(self.ctx, self.now, leg, "room_deleted", None);
        }
        self.audio.rooms_mut().delete_later(id);
        Ok(())
    }

    /// `POST /rooms/{id}/legs`. A ringing inbound leg is answered first; the reply is then sent once it is
    /// connected.
    ///
    /// # Errors
    /// An unknown leg, one that is already there or has no media (400); limits (503).
    pub fn add_leg(
        &mut self,
        room: &str,
        leg: &str,
        flags: JoinFlags,
    ) -> Result<Result<Joined, Handle>, GatewayError> {
        let found = self.calls.legs().by_name(leg);
        let (id, l) = found.map_err(|_| GatewayError::Invalid("leg_id: leg not found".to_owned()))?;
        if self.audio.rooms().of_leg(id) == Some(room) {
            return Err(GatewayError::Invalid("the leg is in this room already".to_owned()));
        }
        let ringing = l.call().is_ringing() && !l.call().is_early();
        let waiting = ringing || l.call().is_answered();
        if !waiting && (l.media().slot().is_none() || l.call().is_held()) {
            return Err(GatewayError::Invalid("the leg is not connected or in early media".to_owned()));
        }
        self.audio.rooms().admits_one_more(self.ctx, room)?;
        self.audio.rooms_mut().create_missing(self.ctx, self.now, room)?;
        self.set_flags(id, flags);
        match self.calls.member(id).filter(|_| !waiting) {
            Some(member) => self.audio.rooms_mut().join(self.ctx, self.now, &member, room).map(Ok),
            None => {
                let handle = self.ctx.replies.expect();
                self.audio.rooms_mut().join_later(id, room.to_owned(), Some(handle));
                if ringing {
                    let mut env = Surroundings {
                        now: self.now,
                        ctx: self.ctx,
                        accounts: self.accounts,
                        rooms: self.audio.rooms(),
                    };
                    self.calls.answer(&mut env, id)?;
                }
                Ok(Err(handle))
            }
        }
    }

    /// `DELETE /rooms/{id}/legs/{leg}`.
    ///
    /// # Errors
    /// No such room, or the leg is not in it.
    pub fn remove_leg(&mut self, room: &str, leg: &str) -> Result<(), GatewayError> {
        self.audio.rooms().target(room)?;
        let id = self.calls.legs().find(leg)?;
        let member = self.calls.member(id).ok_or(GatewayError::NotFound("the leg is not in this room"))?;
        self.audio.rooms_mut().remove(self.ctx, self.now, room, &member)
    }

    fn set_flags(&mut self, id: LegId, flags: JoinFlags) {
        let Some(leg) = self.calls.legs_mut().get_mut(id) else { return };
        leg.set_accepts_dtmf(flags.accept_dtmf.unwrap_or(leg.accepts_dtmf()));
        if let Some(on) = flags.mute {
            leg.media_mut().set_muted(self.ctx, on);
        }
        if let Some(on) = flags.deaf {
            leg.media_mut().set_deaf(self.ctx, on);
        }
    }
}
