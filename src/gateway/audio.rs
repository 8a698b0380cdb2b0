//! What is heard and recorded: rooms, and the playbacks and recordings of legs and rooms.

use super::context::Context;
use super::error::GatewayError;
use super::events::{About, Subject};
use super::leg_id::LegId;
use super::legs::Legs;
use super::member::Member;
use super::owner::{MediaOwner, Owner};
use super::playback::Playbacks;
use super::recording::{RecordingEvent, Recordings};
use super::rooms::{RoomEvent, Rooms};
use super::work::{WorkId, WorkResult, Written};
use crate::base::time::Now;
use crate::config::board::Limits;
use crate::media::command::Over;
use crate::media::command::{AudioTarget, Command, PlaySlot, RecordSlot, Slot};

/// Rooms, playbacks and recordings.
#[derive(Debug)]
pub struct Audio {
    rooms: Rooms,
    playbacks: Playbacks,
    recordings: Recordings,
}

/// What a room or a recording means for others.
#[derive(Debug)]
pub enum AudioEvent {
    /// Of a room.
    Room(RoomEvent),
    /// Of a recording.
    Recording(RecordingEvent),
    /// The members of this room have been hung up, so that it can be deleted.
    DeletionDue(String),
}

impl Audio {
    /// Place for as many as the limits allow.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            rooms: Rooms::new(limits.rooms),
            playbacks: Playbacks::new(limits.playbacks),
            recordings: Recordings::new(limits.recordings),
        }
    }

    /// The rooms.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The same, to change them.
    pub fn rooms_mut(&mut self) -> &mut Rooms {
        &mut self.rooms
    }

    /// The playbacks.
    #[must_use]
    pub fn playbacks(&self) -> &Playbacks {
        &self.playbacks
    }

    /// The same, to change them.
    pub fn playbacks_mut(&mut self) -> &mut Playbacks {
        &mut self.playbacks
    }

    /// The recordings.
    #[must_use]
    pub fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// The same, to change them.
    pub fn recordings_mut(&mut self) -> &mut Recordings {
        &mut self.recordings
    }

    /// A leg or room as the owner of playbacks and recordings.
    ///
    /// # Errors
    /// No such leg or room (404), no media or nobody in the room (409).
    pub fn owner(&self, ctx: &Context, legs: &Legs, owner: Owner<'_>) -> Result<MediaOwner, GatewayError> {
        match owner {
            Owner::Leg(name) => {
                let (id, leg) = legs.by_name(name)?;
                let no_media = || GatewayError::Conflict("the leg has no media yet".to_owned());
                let target = AudioTarget::Leg(leg.media().slot().ok_or_else(no_media)?);
                Ok(MediaOwner { target, rate: leg.media().rate(), about: About::Leg(id) })
            }
            Owner::Room(name) => {
                if self.rooms.rate_and_members(name)?.1.is_empty() {
                    return Err(GatewayError::Conflict("the room has no participants".to_owned()));
                }
                self.rooms.owner(ctx, name)
            }
        }
    }

    /// The place in the engine of a leg or room, if it has one.
    #[must_use]
    pub fn target_of(&self, legs: &Legs, owner: Owner<'_>) -> Option<AudioTarget> {
        match owner {
            Owner::Leg(name) => legs.by_name(name).ok()?.1.media().slot().map(AudioTarget::Leg),
            Owner::Room(name) => self.rooms.target(name).ok(),
        }
    }

    /// A leg has media: it joins the room that it was to join.
    pub fn join_waiting(&mut self, ctx: &mut Context, now: Now, member: Option<&Member>) {
        if let Some(member) = member {
            self.rooms.join_waiting(ctx, now, member);
        }
    }

    /// A leg with media joins this room, in the place of another.
    pub fn join_or_create(&mut self, ctx: &mut Context, now: Now, member: Option<&Member>, room: &str) {
        if let Some(member) = member {
            self.rooms.join_or_create(ctx, now, member, room);
        }
    }

    /// Stops every playback and the recording of a leg or room that ends.
    fn stop_all_of(&mut self, ctx: &mut Context, now: Now, target: AudioTarget) {
        self.playbacks.stop_all_of(ctx, now, target);
        self.recordings.stop_of(ctx, target);
    }

    /// True while a playback or recording there owes its last event.
    #[must_use]
    pub fn has_unfinished(&self, target: AudioTarget) -> bool {
        self.playbacks.has_any_of(target) || self.recordings.has_any_of(target)
    }

    /// The signalling of a leg is over: it leaves its room, and its media, in this place of the engine, ends.
    pub fn leg_ended(&mut self, ctx: &mut Context, now: Now, id: LegId, slot: Option<Slot>) {
        self.rooms.leg_ended(ctx, now, id);
        if let Some(slot) = slot {
            self.stop_all_of(ctx, now, AudioTarget::Leg(slot));
            ctx.media.push_back(Command::Close { slot });
        }
    }

    /// A leg is no more, whose place in the engine this was: a recording that is not on the disk yet lives on without it.
    pub fn leg_gone(&mut self, slot: Slot, leg: &Subject) {
        self.recordings.outlive(slot, leg);
    }

    fn delete_room(&mut self, ctx: &mut Context, now: Now, room: &str) {
        let Ok(target) = self.rooms.target(room) else { return };
        self.stop_all_of(ctx, now, target);
        let _known = self.rooms.delete(ctx, now, room);
    }

    /// A playback is over; whose it was.
    pub fn handle_played(
        &mut self,
        ctx: &mut Context,
        now: Now,
        play: PlaySlot,
        (played_ms, over): (u64, Over),
    ) -> Option<AudioTarget> {
        self.playbacks.handle_played(ctx, now, play, played_ms, over)
    }

    /// Takes the result of a piece of work.
    pub fn handle_work(&mut self, ctx: &mut Context, now: Now, id: WorkId, result: WorkResult) {
        match result {
            WorkResult::Fetched(outcome) => self.playbacks.handle_fetched(ctx, now, id, outcome),
            WorkResult::RecordingOpened(outcome) => self.recordings.handle_opened(ctx, now, id, outcome),
            WorkResult::Merged(outcome) => self.recordings.handle_merged(ctx, now, id, outcome),
            WorkResult::Located(_) => {}
        }
    }

    /// The recorder has closed a recording's file.
    pub fn handle_closed(
        &mut self,
        ctx: &mut Context,
        now: Now,
        record: RecordSlot,
        (error, written): (Option<String>, Written),
    ) {
        self.recordings.handle_closed(ctx, now, record, error, written);
    }

    /// What others have to do, until `None`.
    pub fn poll_event(&mut self) -> Option<AudioEvent> {
        if let Some(event) = self.rooms.poll_event() {
            return Some(AudioEvent::Room(event));
        }
        let recording = self.recordings.poll_event().map(AudioEvent::Recording);
        recording.or_else(|| self.rooms.poll_deletion().map(AudioEvent::DeletionDue))
    }

    /// Where nothing may be played or recorded any more: the leg or room that it may have waited for.
    pub fn handle_event(
        &mut self,
        ctx: &mut Context,
        now: Now,
        event: AudioEvent,
        member: impl Fn(LegId) -> Option<Member>,
    ) -> Option<AudioTarget> {
        match event {
            AudioEvent::Room(RoomEvent::Joined(room, member)) => {
                self.recordings.member_joined(ctx, now, room, member);
            }
            AudioEvent::Room(RoomEvent::Left(room, id)) => self.recordings.member_left(ctx, now, room, id),
            AudioEvent::Room(RoomEvent::Emptied(room)) => {
                self.recordings.stop_of(ctx, AudioTarget::Room(room));
            }
            AudioEvent::DeletionDue(room) => self.delete_room(ctx, now, &room),
            AudioEvent::Room(RoomEvent::Deleted(room)) => return Some(AudioTarget::Room(room)),
            AudioEvent::Recording(RecordingEvent::MembersWanted(room)) => {
                let members: Vec<Member> =
                    self.rooms.members_at(room).iter().filter_map(|id| member(*id)).collect();
                for member in members {
                    self.recordings.member_joined(ctx, now, room, member);
                }
            }
            AudioEvent::Recording(RecordingEvent::StopWanted(target)) => self.recordings.stop_of(ctx, target),
            AudioEvent::Recording(RecordingEvent::Over(target)) => return Some(target),
        }
        None
    }

    /// A playback or recording has ended, or a room is deleted. With the last of them the place of a deleted room is free;
    /// that of a leg is returned.
    pub fn release(&mut self, target: AudioTarget) -> Option<Slot> {
        if self.has_unfinished(target) {
            return None;
        }
        match target {
            AudioTarget::Leg(slot) => Some(slot),
            AudioTarget::Room(slot) => {
                self.rooms.release(slot);
                None
            }
            AudioTarget::LegInput(_) => None,
        }
    }

    /// True when nothing is left of what legs and deleted rooms had.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.rooms.is_idle() && self.playbacks.is_empty() && self.recordings.is_empty()
    }
}
