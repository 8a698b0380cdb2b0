//! Rooms: made by name, joined, left, moved between, deleted.

use schemars::JsonSchema;
use serde::Serialize;

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{Empty, EventBody, Webhook};
use super::leg::{Kind, LegId, Phase};
use super::replies::{Handle, Reply};
use super::snapshot::{LegView, view};
use crate::base::time::Now;
use crate::media::command::{Command, RoomSlot, Target};

/// A room.
#[derive(Debug)]
pub struct Room {
    /// Its place in the engine.
    pub slot: RoomSlot,
    /// Sampling rate, Hz.
    pub rate: u32,
    /// Who is in it, in the order they came.
    pub members: Vec<LegId>,
}

/// A room, as every reply that shows one has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Room")]
pub struct RoomView {
    /// Name of the room.
    pub id: String,
    /// Sampling rate, Hz: 8000, 16000 or 48000.
    pub sample_rate: u32,
    /// Legs in the room.
    pub participants: Vec<LegView>,
}

/// What a leg brings into a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinFlags {
    /// Muted or not; `None`: as it is.
    pub mute: Option<bool>,
    /// Deaf or not; `None`: as it is.
    pub deaf: Option<bool>,
    /// Takes digits of others or not; `None`: as it is.
    pub accept_dtmf: Option<bool>,
}

/// What came of adding a leg to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It is in.
    Added,
    /// It was in another room.
    Moved {
        /// The room it left.
        from: String,
        /// The room it is in.
        to: String,
    },
}

/// Rates a room can have, Hz.
pub const ROOM_RATES: [u32; 3] = [8000, 16_000, 48_000];

impl Gateway {
    /// `POST /rooms`.
    ///
    /// # Errors
    /// The name is taken (409), a rate that is not possible (400), no room is left (503).
    pub fn create_room(
        &mut self,
        now: Now,
        id: Option<String>,
        rate: Option<u32>,
        webhook: Option<Webhook>,
    ) -> Result<RoomView, GatewayError> {
        let id = id.filter(|i| !i.is_empty()).unwrap_or_else(|| self.ctx.rng.uuid());
        if id.chars().count() > 128 || id.chars().any(|c| c.is_ascii_control()) {
            return Err(GatewayError::Invalid(
                "id: at most 128 characters, no control characters".to_owned(),
            ));
        }
        if self.rooms.contains_key(&id) {
            return Err(GatewayError::Conflict("a room of this id exists".to_owned()));
        }
        let rate = rate.unwrap_or(self.ctx.config.rooms.sample_rate);
        if !ROOM_RATES.contains(&rate) {
            return Err(GatewayError::Invalid("sample_rate: 8000, 16000 or 48000".to_owned()));
        }
        let slot = self.room_slots.take().ok_or_else(|| {
            GatewayError::Unavailable(format!(
                "all {} rooms are in use (limits.rooms)",
                self.ctx.config.limits.rooms
            ))
        })?;
        self.ctx.media.push_back(Command::OpenRoom { room: slot, rate });
        self.rooms.insert(id.clone(), Room { slot, rate, members: Vec::new() });
        self.ctx.events.add_room(id.clone(), webhook);
        self.publish_room(now, &id, EventBody::RoomCreated(Empty {}));
        self.room(&id)
    }

    /// `GET /rooms`.
    #[must_use]
    pub fn all_rooms(&self) -> Vec<RoomView> {
        self.rooms.keys().filter_map(|id| self.room(id).ok()).collect()
    }

    /// `GET /rooms/{id}`.
    ///
    /// # Errors
    /// No such room.
    pub fn room(&self, id: &str) -> Result<RoomView, GatewayError> {
        let room = self.rooms.get(id).ok_or(NO_ROOM)?;
        let participants = room.members.iter().filter_map(|l| self.legs.get(*l)).map(view).collect();
        Ok(RoomView { id: id.to_owned(), sample_rate: room.rate, participants })
    }

    /// `DELETE /rooms/{id}`: its members are hung up, its recordings and playbacks end.
    ///
    /// # Errors
    /// No such room.
    pub fn delete_room(&mut self, now: Now, id: &str) -> Result<(), GatewayError> {
        let members = self.rooms.get(id).ok_or(NO_ROOM)?.members.clone();
        for leg in members {
            self.hang_up(now, leg, "room_deleted", None);
        }
        let slot = self.rooms.get(id).ok_or(NO_ROOM)?.slot;
        self.stop_all_of(now, Target::Room(slot));
        self.publish_room(now, id, EventBody::RoomDeleted(Empty {}));
        self.rooms.remove(id);
        self.ctx.events.remove_room(id);
        self.ctx.media.push_back(Command::CloseRoom { room: slot });
        if self.has_unfinished(Target::Room(slot)) {
            self.closing_rooms.insert(slot);
        } else {
            self.room_slots.free(slot);
        }
        self.drain(now);
        Ok(())
    }

    /// `POST /rooms/{id}/legs`. A ringing inbound leg is answered first; the reply then comes when it is
    /// connected.
    ///
    /// # Errors
    /// An unknown leg, one that is there already or has no media (400); limits (503).
    pub fn add_to_room(
        &mut self,
        now: Now,
        room: &str,
        leg: &str,
        flags: JoinFlags,
    ) -> Result<Result<Joined, Handle>, GatewayError> {
        let id = self.find(leg).map_err(|_| GatewayError::Invalid("leg_id: leg not found".to_owned()))?;
        let Some(l) = self.legs.get(id) else { return Err(GatewayError::NotFound("leg not found")) };
        if l.room.as_deref() == Some(room) {
            return Err(GatewayError::Invalid("the leg is in this room already".to_owned()));
        }
        let ringing = matches!(l.phase, Phase::Ringing { .. }) && l.kind == Kind::SipInbound && !l.early;
        let waiting = ringing || matches!(l.phase, Phase::Answered { .. });
        if !waiting && (l.slot.is_none() || l.held) {
            return Err(GatewayError::Invalid("the leg is not connected or in early media".to_owned()));
        }
        self.room_for_one_more(room)?;
        if !self.rooms.contains_key(room) {
            self.create_room(now, Some(room.to_owned()), None, None)?;
        }
        self.set_flags(id, flags);
        if !waiting {
            return self.join(now, id, room).map(Ok);
        }
        let handle = self.ctx.replies.expect();
        self.joins.push((id, room.to_owned(), handle));
        if ringing {
            self.answer(now, leg)?;
        }
        Ok(Err(handle))
    }

    pub(super) fn room_for_one_more(&self, room: &str) -> Result<(), GatewayError> {
        let max = self.ctx.config.limits.room_members;
        let members = self.rooms.get(room).map_or(0, |r| r.members.len());
        if members >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(GatewayError::Unavailable(format!(
                "the room has {max} members (limits.room_members)"
            )));
        }
        Ok(())
    }

    fn set_flags(&mut self, id: LegId, flags: JoinFlags) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.accept_dtmf = flags.accept_dtmf.unwrap_or(leg.accept_dtmf);
        if let Some(on) = flags.mute {
            leg.muted = on;
            self.ctx.media.extend(leg.slot.map(|slot| Command::Mute { slot, on }));
        }
        if let Some(on) = flags.deaf {
            leg.deaf = on;
            self.ctx.media.extend(leg.slot.map(|slot| Command::Deaf { slot, on }));
        }
    }

    /// Puts a leg with media into a room that exists.
    pub(super) fn join(&mut self, now: Now, id: LegId, room: &str) -> Result<Joined, GatewayError> {
        let from = self.legs.get(id).and_then(|l| l.room.clone());
        if from.as_deref() == Some(room) {
            return Ok(Joined::Added);
        }
        self.room_for_one_more(room)?;
        let place = self.rooms.get(room).map(|r| (r.slot, r.rate)).ok_or(NO_ROOM)?;
        let leg = self.legs.get_mut(id).ok_or(GatewayError::NotFound("leg not found"))?;
        let (Some(slot), leg_rate) = (leg.slot, leg.rate) else {
            return Err(GatewayError::Invalid("the leg has no media".to_owned()));
        };
        self.ctx.media.push_back(Command::Join { slot, room: place.0, room_rate: place.1, leg_rate });
        if let Some(from) = &from {
            self.leave(now, id, from);
        }
        if let Some(leg) = self.legs.get_mut(id) {
            leg.room = Some(room.to_owned());
        }
        if let Some(r) = self.rooms.get_mut(room) {
            r.members.push(id);
        }
        self.ctx.events.move_leg(id, Some(room));
        self.ctx.events.publish_in_room(now, id, room, EventBody::LegJoinedRoom(Empty {}));
        self.track_joins(now, id, Target::Room(place.0));
        let to = room.to_owned();
        Ok(from.map_or(Joined::Added, |from| Joined::Moved { from, to }))
    }

    /// `DELETE /rooms/{id}/legs/{leg}`.
    ///
    /// # Errors
    /// No such room, or the leg is not in it.
    pub fn remove_from_room(&mut self, now: Now, room: &str, leg: &str) -> Result<(), GatewayError> {
        if !self.rooms.contains_key(room) {
            return Err(NO_ROOM);
        }
        let id = self.find(leg)?;
        let l = self.legs.get(id).ok_or(GatewayError::NotFound("leg not found"))?;
        if l.room.as_deref() != Some(room) {
            return Err(GatewayError::NotFound("the leg is not in this room"));
        }
        self.ctx.media.extend(l.slot.map(|slot| Command::Leave { slot }));
        self.leave(now, id, room);
        Ok(())
    }

    /// Takes a leg off a room's list; the last one out ends the room's recording.
    pub(super) fn leave(&mut self, now: Now, id: LegId, room: &str) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.room = None;
        }
        let mut empty = None;
        if let Some(r) = self.rooms.get_mut(room) {
            r.members.retain(|m| *m != id);
            empty = r.members.is_empty().then_some(r.slot);
            let target = Target::Room(r.slot);
            self.track_leaves(now, id, target);
        }
        self.ctx.events.move_leg(id, None);
        self.ctx.events.publish_in_room(now, id, room, EventBody::LegLeftRoom(Empty {}));
        if let Some(slot) = empty {
            self.stop_recording_of(Target::Room(slot), None);
        }
    }

    /// The room of a call that is placed for it, made if it is missing.
    pub(super) fn room_of_call(&mut self, now: Now, room: &str) -> Result<(), GatewayError> {
        if self.rooms.contains_key(room) {
            return Ok(());
        }
        self.create_room(now, Some(room.to_owned()), None, None).map(|_| ())
    }

    /// Joins a leg that waited for its media, and answers whoever asked for it.
    pub(super) fn join_waiting(&mut self, now: Now, id: LegId) {
        let due: Vec<(LegId, String, Handle)> = self.joins.extract_if(.., |(l, _, _)| *l == id).collect();
        for (id, room, handle) in due {
            let outcome = self.join(now, id, &room).map(Reply::Joined);
            self.ctx.replies.send(handle, outcome);
        }
        let wanted = self.legs.get_mut(id).and_then(|l| l.wants_room.take());
        if let Some(room) = wanted
            && let Err(e) = self.room_of_call(now, &room).and_then(|()| self.join(now, id, &room))
        {
            log::warn!(leg = self.leg_name(id), error:% = e; "the leg could not join its room");
        }
    }

    /// Tells those who wait for a leg to join that it never will.
    pub(super) fn join_failed(&mut self, id: LegId) {
        let due: Vec<(LegId, String, Handle)> = self.joins.extract_if(.., |(l, _, _)| *l == id).collect();
        for (_, _, handle) in due {
            self.ctx
                .replies
                .send(handle, Err(GatewayError::Failed("the leg ended before it was connected".to_owned())));
        }
    }

    /// The room in this place.
    pub(super) fn room_at(&self, slot: RoomSlot) -> Option<&str> {
        self.rooms.iter().find(|(_, r)| r.slot == slot).map(|(id, _)| id.as_str())
    }

    fn publish_room(&mut self, now: Now, room: &str, body: EventBody) {
        let subject = self.ctx.events.room(room);
        self.ctx.events.publish_about(now, &subject, body, None);
    }
}

pub(super) const NO_ROOM: GatewayError = GatewayError::NotFound("room not found");
