//! Audio of legs and rooms: rooms, playbacks and recordings.

use super::context::Context;
use super::events::{About, Subject};
use super::legs::Legs;
use super::playback::Playbacks;
use super::recording::{RecordingEvent, Recordings};
use super::rooms::{RoomEvent, Rooms};
use crate::base::time::Now;
use crate::config::board::Limits;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::{MediaOwner, Owner};
use crate::gateway::interface::work::{WorkId, WorkResult, Written};
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::legs::member::Member;
use crate::media::command::Over;
use crate::media::command::{AudioTarget, Command, PlaySlot, RecordSlot, Slot};

/// Rooms, playbacks and recordings.
#[derive(Debug)]
pub struct Audio {
    rooms: Rooms,
    playbacks: Playbacks,
    recordings: Recordings,
}

/// Events that concern other parts.
#[derive(Debug)]
pub enum AudioEvent {
    /// Room event.
    Room(RoomEvent),
    /// Recording event.
    Recording(RecordingEvent),
    /// The members of this room have been hung up: it can be deleted.
    DeletionDue(String),
}

impl Audio {
    /// Capacity according to the limits.
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

    /// The rooms, mutable.
    pub fn rooms_mut(&mut self) -> &mut Rooms {
        &mut self.rooms
    }

    /// The playbacks.
    #[must_use]
    pub fn playbacks(&self) -> &Playbacks {
        &self.playbacks
    }

    /// The playbacks, mutable.
    pub fn playbacks_mut(&mut self) -> &mut Playbacks {
        &mut self.playbacks
    }

    /// The recordings.
    #[must_use]
    pub fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// The recordings, mutable.
    pub fn recordings_mut(&mut self) -> &mut Recordings {
        &mut self.recordings
    }

    /// The media of a leg or room for a playback or recording.
    ///
    /// # Errors
    /// No such leg or room (404); no media, or an empty room (409).
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

    /// The slot of a leg or room in the engine, if it has one.
    #[must_use]
    pub fn target_of(&self, legs: &Legs, owner: Owner<'_>) -> Option<AudioTarget> {
        match owner {
            Owner::Leg(name) => legs.by_name(name).ok()?.1.media().slot().map(AudioTarget::Leg),
            Owner::Room(name) => self.rooms.target(name).ok(),
        }
    }

    /// A leg now has media: it joins the room it was waiting for.
    pub fn join_waiting(&mut self, ctx: &mut Context, now: Now, member: Option<&Member>) {
        if let Some(member) = member {
            self.rooms.join_waiting(ctx, now, member);
        }
    }

    /// A leg with media joins this room in place of another leg.
    pub fn join_or_create(&mut self, ctx: &mut Context, now: Now, member: Option<&Member>, room: &str) {
        if let Some(member) = member {
            self.rooms.join_or_create(ctx, now, member, room);
        }
    }

    /// Stops all playbacks and recordings of a leg or room that ends.
    fn stop_all_of(&mut self, ctx: &mut Context, now: Now, target: AudioTarget) {
        self.playbacks.stop_all_of(ctx, now, target);
        self.recordings.stop_of(ctx, target);
    }

    /// True while a playback or recording of it still has to send its terminal event.
    #[must_use]
    pub fn has_unfinished(&self, target: AudioTarget) -> bool {
        self.playbacks.has_any_of(target) || self.recordings.has_any_of(target)
    }

    /// The signalling of a leg has ended: it leaves its room, and its media in this slot is closed.
    pub fn leg_ended(&mut self, ctx: &mut Context, now: Now, id: LegId, slot: Option<Slot>) {
        self.rooms.leg_ended(ctx, now, id);
        if let Some(slot) = slot {
            self.stop_all_of(ctx, now, AudioTarget::Leg(slot));
            ctx.media.push_back(Command::Close { slot });
        }
    }

    /// A leg in this slot was removed: a recording not yet on disk continues without it.
    pub fn leg_gone(&mut self, slot: Slot, leg: &Subject) {
        self.recordings.outlive(slot, leg);
    }

    fn delete_room(&mut self, ctx: &mut Context, now: Now, room: &str) {
        let Ok(target) = self.rooms.target(room) else { return };
        self.stop_all_of(ctx, now, target);
        let _known = self.rooms.delete(ctx, now, room);
    }

    /// A playback has ended; returns its target.
    pub fn handle_played(
        &mut self,
        ctx: &mut Context,
        now: Now,
        play: PlaySlot,
        (played_ms, over): (u64, Over),
    ) -> Option<AudioTarget> {
        self.playbacks.handle_played(ctx, now, play, played_ms, over)
    }

    /// Handles the result of a work item.
    pub fn handle_work(&mut self, ctx: &mut Context, now: Now, id: WorkId, result: WorkResult) {
        match result {
            WorkResult::Fetched(outcome) => self.playbacks.handle_fetched(ctx, now, id, outcome),
            WorkResult::RecordingOpened(outcome) => self.recordings.handle_opened(ctx, now, id, outcome),
            WorkResult::Merged(outcome) => self.recordings.handle_merged(ctx, now, id, outcome),
            WorkResult::Located(_) => {}
        }
    }

    /// The recorder has closed the file of a recording.
    pub fn handle_closed(
        &mut self,
        ctx: &mut Context,
        now: Now,
        record: RecordSlot,
        (error, written): (Option<String>, Written),
    ) {
        self.recordings.handle_closed(ctx, now, record, error, written);
    }

    /// The next event for other parts; call until `None`.
    pub fn poll_event(&mut self) -> Option<AudioEvent> {
        if let Some(event) = self.rooms.poll_event() {
            return Some(AudioEvent::Room(event));
        }
        let recording = self.recordings.poll_event().map(AudioEvent::Recording);
        recording.or_else(|| self.rooms.poll_deletion().map(AudioEvent::DeletionDue))
    }

    /// Handles an event; returns the target where nothing is played or recorded any more.
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

    /// A playback or recording has ended, or a room was deleted. After the last of them the slot of a deleted
    /// room is freed; that of a leg is returned.
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

    /// True if nothing of legs and deleted rooms is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.rooms.is_idle() && self.playbacks.is_empty() && self.recordings.is_empty()
    }
}
