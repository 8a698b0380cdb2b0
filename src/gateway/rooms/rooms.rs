//! Rooms: creation, joining, leaving, moving, deletion.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::joined::Joined;
use super::room::{ROOM_RATES, RoomView};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{About, Empty, EventBody, Webhook};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::MediaOwner;
use crate::gateway::interface::replies::{Handle, Reply};
use crate::gateway::legs::Legs;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::legs::member::Member;
use crate::gateway::resources::slots::Slots;
use crate::media::command::{AudioTarget, Command, RoomSlot};

/// All rooms, at most `limits.rooms`.
#[derive(Debug)]
pub struct Rooms {
    rooms: BTreeMap<String, Room>,
    /// Room by leg.
    of_leg: BTreeMap<LegId, String>,
    slots: Slots,
    /// Slots of deleted rooms whose recordings or playbacks have not finished.
    closing: BTreeSet<RoomSlot>,
    /// Legs that join a room once they have media.
    waiting: Vec<Waiting>,
    events: VecDeque<RoomEvent>,
    /// Rooms whose members are being hung up.
    deletions: VecDeque<String>,
}

#[derive(Debug)]
struct Room {
    /// Its slot in the engine.
    slot: RoomSlot,
    /// Sampling rate, Hz.
    rate: u32,
    /// Members in order of joining.
    members: Vec<LegId>,
}

#[derive(Debug)]
struct Waiting {
    leg: LegId,
    room: String,
    /// Pending reply; without one, a room deleted meanwhile is created again.
    handle: Option<Handle>,
}

/// Events that concern other parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEvent {
    /// A leg has joined.
    Joined(RoomSlot, Member),
    /// A leg has left.
    Left(RoomSlot, LegId),
    /// The last leg has left.
    Emptied(RoomSlot),
    /// The room was deleted; its slot is freed by [`Rooms::release`].
    Deleted(RoomSlot),
}

const NO_ROOM: GatewayError = GatewayError::NotFound("room not found");

impl Rooms {
    /// Capacity for `most` rooms.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self {
            rooms: BTreeMap::new(),
            of_leg: BTreeMap::new(),
            slots: Slots::new(most),
            closing: BTreeSet::new(),
            waiting: Vec::new(),
            events: VecDeque::new(),
            deletions: VecDeque::new(),
        }
    }

    /// `POST /rooms`; returns the room id.
    ///
    /// # Errors
    /// The id is taken (409), an unsupported rate (400), limit reached (503).
    pub fn create(
        &mut self,
        ctx: &mut Context,
        now: Now,
        id: Option<String>,
        rate: Option<u32>,
        webhook: Option<Webhook>,
    ) -> Result<String, GatewayError> {
        let id = id.filter(|i| !i.is_empty()).unwrap_or_else(|| ctx.rng.uuid());
        if id.chars().count() > 128 || id.chars().any(|c| c.is_ascii_control()) {
            return Err(GatewayError::Invalid(
                "id: at most 128 characters, no control characters".to_owned(),
            ));
        }
        if self.rooms.contains_key(&id) {
            return Err(GatewayError::Conflict("a room of this id exists".to_owned()));
        }
        let rate = rate.unwrap_or(ctx.config.rooms.sample_rate);
        if !ROOM_RATES.contains(&rate) {
            return Err(GatewayError::Invalid("sample_rate: 8000, 16000 or 48000".to_owned()));
        }
        let slot = self.slots.take().ok_or_else(|| {
            GatewayError::Unavailable(format!(
                "all {} rooms are in use (limits.rooms)",
                ctx.config.limits.rooms
            ))
        })?;
        ctx.media.push_back(Command::OpenRoom { room: slot, rate });
        self.rooms.insert(id.clone(), Room { slot, rate, members: Vec::new() });
        ctx.events.add_room(id.clone(), webhook);
        publish(ctx, now, &id, EventBody::RoomCreated(Empty {}));
        Ok(id)
    }

    /// Creates the room if it does not exist.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_missing(&mut self, ctx: &mut Context, now: Now, room: &str) -> Result<(), GatewayError> {
        if self.contains(room) {
            return Ok(());
        }
        self.create(ctx, now, Some(room.to_owned()), None, None).map(|_| ())
    }

    /// True if a room with this id exists.
    #[must_use]
    pub fn contains(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    /// Ids of all rooms.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rooms.keys().map(String::as_str)
    }

    /// Sampling rate (Hz) and members.
    ///
    /// # Errors
    /// No such room.
    pub fn rate_and_members(&self, room: &str) -> Result<(u32, &[LegId]), GatewayError> {
        self.rooms.get(room).map(|r| (r.rate, r.members.as_slice())).ok_or(NO_ROOM)
    }

    /// `GET /rooms/{id}`.
    ///
    /// # Errors
    /// No such room.
    pub fn view(&self, legs: &Legs, room: &str) -> Result<RoomView, GatewayError> {
        let (sample_rate, members) = self.rate_and_members(room)?;
        let participants = members.iter().filter_map(|l| Some(legs.get(*l)?.view(Some(room)))).collect();
        Ok(RoomView { id: room.to_owned(), sample_rate, participants })
    }

    /// The members of the room in this slot.
    #[must_use]
    pub fn members_at(&self, slot: RoomSlot) -> &[LegId] {
        self.rooms.values().find(|r| r.slot == slot).map(|r| r.members.as_slice()).unwrap_or_default()
    }

    /// The room of a leg.
    #[must_use]
    pub fn of_leg(&self, leg: LegId) -> Option<&str> {
        self.of_leg.get(&leg).map(String::as_str)
    }

    /// Sampling rate of a leg's room, Hz.
    #[must_use]
    pub fn rate_around(&self, leg: LegId) -> Option<u32> {
        self.rooms.get(self.of_leg(leg)?).map(|r| r.rate)
    }

    /// The room's slot in the engine.
    ///
    /// # Errors
    /// No such room.
    pub fn target(&self, room: &str) -> Result<AudioTarget, GatewayError> {
        self.rooms.get(room).map(|r| AudioTarget::Room(r.slot)).ok_or(NO_ROOM)
    }

    /// The media of a room for playbacks and recordings.
    ///
    /// # Errors
    /// No such room.
    pub fn owner(&self, ctx: &Context, room: &str) -> Result<MediaOwner, GatewayError> {
        let r = self.rooms.get(room).ok_or(NO_ROOM)?;
        let about = About::Subject(ctx.events.room(room));
        Ok(MediaOwner { target: AudioTarget::Room(r.slot), rate: r.rate, about })
    }

    /// `DELETE /rooms/{id}`, after its members have been hung up.
    ///
    /// # Errors
    /// No such room.
    pub fn delete(&mut self, ctx: &mut Context, now: Now, room: &str) -> Result<(), GatewayError> {
        let slot = self.rooms.remove(room).ok_or(NO_ROOM)?.slot;
        publish(ctx, now, room, EventBody::RoomDeleted(Empty {}));
        ctx.events.remove_room(room);
        ctx.media.push_back(Command::CloseRoom { room: slot });
        self.closing.insert(slot);
        self.events.push_back(RoomEvent::Deleted(slot));
        Ok(())
    }

    /// `DELETE /rooms/{id}` while its members are being hung up: deleted once they have left.
    pub fn delete_later(&mut self, room: &str) {
        self.deletions.push_back(room.to_owned());
    }

    /// The next room to delete, after all other work; call until `None`.
    pub fn poll_deletion(&mut self) -> Option<String> {
        self.deletions.pop_front()
    }

    /// Nothing is played or recorded in a room any more: if it was deleted, its slot is freed.
    pub fn release(&mut self, slot: RoomSlot) {
        if self.closing.remove(&slot) {
            self.slots.free(slot);
        }
    }

    /// Checks that another leg may join.
    ///
    /// # Errors
    /// It is full (503).
    pub fn admits_one_more(&self, ctx: &Context, room: &str) -> Result<(), GatewayError> {
        let max = ctx.config.limits.room_members;
        let members = self.rooms.get(room).map_or(0, |r| r.members.len());
        if members >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(GatewayError::Unavailable(format!(
                "the room has {max} members (limits.room_members)"
            )));
        }
        Ok(())
    }

    /// Adds a leg with media to an existing room.
    ///
    /// # Errors
    /// No such room (404), it is full (503).
    pub fn join(
        &mut self,
        ctx: &mut Context,
        now: Now,
        member: &Member,
        room: &str,
    ) -> Result<Joined, GatewayError> {
        let from = self.of_leg(member.leg).map(str::to_owned);
        if from.as_deref() == Some(room) {
            return Ok(Joined::Added);
        }
        self.admits_one_more(ctx, room)?;
        let r = self.rooms.get(room).ok_or(NO_ROOM)?;
        let (place, leg) = (r.slot, member.leg);
        let join = Command::Join { slot: member.slot, room: place, room_rate: r.rate, leg_rate: member.rate };
        ctx.media.push_back(join);
        self.leave(ctx, now, leg);
        if let Some(r) = self.rooms.get_mut(room) {
            r.members.push(leg);
        }
        self.of_leg.insert(leg, room.to_owned());
        ctx.events.move_leg(leg, Some(room));
        ctx.events.publish_in_room(now, leg, room, EventBody::LegJoinedRoom(Empty {}));
        self.events.push_back(RoomEvent::Joined(place, member.clone()));
        Ok(from.map_or(Joined::Added, |from| Joined::Moved { from, to: room.to_owned() }))
    }

    /// Removes a leg from its room, if it is in one.
    pub fn leave(&mut self, ctx: &mut Context, now: Now, leg: LegId) {
        let Some(room) = self.of_leg.remove(&leg) else { return };
        ctx.events.move_leg(leg, None);
        ctx.events.publish_in_room(now, leg, &room, EventBody::LegLeftRoom(Empty {}));
        let Some(r) = self.rooms.get_mut(&room) else { return };
        r.members.retain(|m| *m != leg);
        self.events.push_back(RoomEvent::Left(r.slot, leg));
        if r.members.is_empty() {
            self.events.push_back(RoomEvent::Emptied(r.slot));
        }
    }

    /// `DELETE /rooms/{id}/legs/{leg}`.
    ///
    /// # Errors
    /// The leg is not in this room.
    pub fn remove(
        &mut self,
        ctx: &mut Context,
        now: Now,
        room: &str,
        member: &Member,
    ) -> Result<(), GatewayError> {
        if self.of_leg(member.leg) != Some(room) {
            return Err(GatewayError::NotFound("the leg is not in this room"));
        }
        ctx.media.push_back(Command::Leave { slot: member.slot });
        self.leave(ctx, now, member.leg);
        Ok(())
    }

    /// Lets the leg join the room once it has media; then replies to `handle`.
    pub fn join_later(&mut self, leg: LegId, room: String, handle: Option<Handle>) {
        self.waiting.push(Waiting { leg, room, handle });
    }

    /// The room that a leg is waiting to join.
    #[must_use]
    pub fn wanted_by(&self, leg: LegId) -> Option<&str> {
        let own = |w: &&Waiting| w.leg == leg && w.handle.is_none();
        self.waiting.iter().find(own).map(|w| w.room.as_str())
    }

    /// The leg now has media: it joins the rooms it was waiting for.
    pub fn join_waiting(&mut self, ctx: &mut Context, now: Now, member: &Member) {
        let due: Vec<Waiting> = self.waiting.extract_if(.., |w| w.leg == member.leg).collect();
        for Waiting { room, handle, .. } in due {
            if let Some(handle) = handle {
                let outcome = self.join(ctx, now, member, &room).map(Reply::Joined);
                ctx.replies.send(handle, outcome);
            } else {
                self.join_or_create(ctx, now, member, &room);
            }
        }
    }

    /// Adds a leg with media to a room, which is created if necessary.
    pub fn join_or_create(&mut self, ctx: &mut Context, now: Now, member: &Member, room: &str) {
        let made = self.create_missing(ctx, now, room);
        if let Err(e) = made.and_then(|()| self.join(ctx, now, member, room)) {
            log::warn!(leg = member.name, error:% = e; "the leg could not join its room");
        }
    }

    /// The leg has ended: it leaves its room, and pending joins fail.
    pub fn leg_ended(&mut self, ctx: &mut Context, now: Now, leg: LegId) {
        self.leave(ctx, now, leg);
        let gone = self.waiting.extract_if(.., |w| w.leg == leg);
        for handle in gone.filter_map(|w| w.handle) {
            let why = "the leg ended before it was connected".to_owned();
            ctx.replies.send(handle, Err(GatewayError::Failed(why)));
        }
    }

    /// The next event for other parts; call until `None`.
    pub fn poll_event(&mut self) -> Option<RoomEvent> {
        self.events.pop_front()
    }

    /// Number of rooms.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// True if nothing of legs or deleted rooms is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.closing.is_empty() && self.of_leg.is_empty()
    }
}

fn publish(ctx: &mut Context, now: Now, room: &str, body: EventBody) {
    let subject = ctx.events.room(room);
    ctx.events.publish_about(now, &subject, body, None);
}
