//! The API's calls on rooms, playbacks and recordings: whom they are for, and what one of these parts means for the others.

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{About, Webhook};
use super::leg_id::LegId;
use super::member::Member;
use super::owner::{MediaOwner, Owner};
use super::playback::Sound;
use super::recording::{Layout, Paused, RecordingEvent, Wanted};
use super::replies::Handle;
use super::rooms::{JoinFlags, Joined, RoomEvent, RoomView};
use crate::base::time::Now;
use crate::media::command::AudioTarget;

impl Gateway {
    /// `POST …/play`; the playback's id.
    ///
    /// # Errors
    /// No such leg or room (404), no media or nobody in the room (409), no playback is left (503).
    pub fn play(
        &mut self,
        now: Now,
        owner: Owner<'_>,
        sound: Sound,
        volume: i8,
    ) -> Result<String, GatewayError> {
        let owner = self.owner_with_media(owner)?;
        self.playbacks.start(&mut self.ctx, now, owner, sound, volume)
    }

    /// `PATCH …/play/{id}`.
    ///
    /// # Errors
    /// No such playback there.
    pub fn set_volume(&mut self, owner: Owner<'_>, id: &str, volume: i8) -> Result<(), GatewayError> {
        let target = self.target_of(owner);
        self.playbacks.set_volume(&mut self.ctx, target, id, volume)
    }

    /// `DELETE …/play/{id}`; `playback.finished` follows.
    ///
    /// # Errors
    /// No such playback there.
    pub fn stop_play(&mut self, now: Now, owner: Owner<'_>, id: &str) -> Result<(), GatewayError> {
        let target = self.target_of(owner);
        self.playbacks.stop(&mut self.ctx, now, target, id)
    }

    /// `POST …/record`; the reply comes when the file is there.
    ///
    /// # Errors
    /// No such leg or room (404); no media, nobody in the room, or recording already (409); limits (503).
    pub fn record(&mut self, now: Now, owner: Owner<'_>, wanted: Wanted) -> Result<Handle, GatewayError> {
        let media = self.owner_with_media(owner)?;
        let input_rate = media.rate;
        let layout = match media.about {
            About::Leg(id) => {
                let file_rate = self.rooms.rate_around(id).unwrap_or(input_rate);
                Layout { input_rate, file_rate, channels: 2 }
            }
            About::Subject(_) => Layout { input_rate, file_rate: input_rate, channels: 1 },
        };
        self.recordings.start(&mut self.ctx, now, media, layout, wanted)
    }

    /// `DELETE …/record`; the reply comes when the file is complete.
    ///
    /// # Errors
    /// Nothing is being recorded there.
    pub fn stop_recording(&mut self, owner: Owner<'_>) -> Result<Handle, GatewayError> {
        let target = self.target_of(owner);
        self.recordings.stop(&mut self.ctx, target)
    }

    /// `POST …/record/pause` and `…/resume`.
    ///
    /// # Errors
    /// Nothing is being recorded there.
    pub fn pause_recording(&mut self, now: Now, owner: Owner<'_>, on: bool) -> Result<Paused, GatewayError> {
        let target = self.target_of(owner);
        self.recordings.pause(&mut self.ctx, now, target, on)
    }

    /// File of the recording that runs there, if it has tracks.
    #[must_use]
    pub fn multi_channel_recording(&self, owner: Owner<'_>) -> Option<String> {
        self.recordings.multi_channel_file(self.target_of(owner)?)
    }

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
        let id = self.rooms.create(&mut self.ctx, now, id, rate, webhook)?;
        self.room(&id)
    }

    /// `GET /rooms`.
    #[must_use]
    pub fn all_rooms(&self) -> Vec<RoomView> {
        self.rooms.names().filter_map(|id| self.room(id).ok()).collect()
    }

    /// `GET /rooms/{id}`.
    ///
    /// # Errors
    /// No such room.
    pub fn room(&self, id: &str) -> Result<RoomView, GatewayError> {
        let (sample_rate, members) = self.rooms.rate_and_members(id)?;
        let participants = members.iter().filter_map(|l| Some(self.legs.get(*l)?.view(Some(id)))).collect();
        Ok(RoomView { id: id.to_owned(), sample_rate, participants })
    }

    /// `DELETE /rooms/{id}`: its members are hung up, its recordings and playbacks end.
    ///
    /// # Errors
    /// No such room.
    pub fn delete_room(&mut self, now: Now, id: &str) -> Result<(), GatewayError> {
        let members = self.rooms.rate_and_members(id)?.1.to_vec();
        for leg in members {
            self.hang_up(now, leg, "room_deleted", None);
            self.drain(now);
        }
        self.stop_media_of(now, self.rooms.target(id)?);
        let deleted = self.rooms.delete(&mut self.ctx, now, id);
        self.drain(now);
        deleted
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
        let found = self.legs.by_name(leg);
        let (id, l) = found.map_err(|_| GatewayError::Invalid("leg_id: leg not found".to_owned()))?;
        if self.rooms.of_leg(id) == Some(room) {
            return Err(GatewayError::Invalid("the leg is in this room already".to_owned()));
        }
        let ringing = l.call().is_ringing() && !l.call().is_early();
        let waiting = ringing || l.call().is_answered();
        if !waiting && (l.media().slot().is_none() || l.call().is_held()) {
            return Err(GatewayError::Invalid("the leg is not connected or in early media".to_owned()));
        }
        self.rooms.admits_one_more(&self.ctx, room)?;
        self.rooms.create_missing(&mut self.ctx, now, room)?;
        self.set_flags(id, flags);
        match self.member(id).filter(|_| !waiting) {
            Some(member) => {
                let joined = self.rooms.join(&mut self.ctx, now, &member, room);
                self.drain(now);
                joined.map(Ok)
            }
            None => {
                let handle = self.ctx.replies.expect();
                self.rooms.join_later(id, room.to_owned(), Some(handle));
                if ringing {
                    self.answer(now, leg)?;
                }
                Ok(Err(handle))
            }
        }
    }

    fn set_flags(&mut self, id: LegId, flags: JoinFlags) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.set_accepts_dtmf(flags.accept_dtmf.unwrap_or(leg.accepts_dtmf()));
        if let Some(on) = flags.mute {
            leg.media_mut().set_muted(&mut self.ctx, on);
        }
        if let Some(on) = flags.deaf {
            leg.media_mut().set_deaf(&mut self.ctx, on);
        }
    }

    /// `DELETE /rooms/{id}/legs/{leg}`.
    ///
    /// # Errors
    /// No such room, or the leg is not in it.
    pub fn remove_from_room(&mut self, now: Now, room: &str, leg: &str) -> Result<(), GatewayError> {
        self.rooms.target(room)?;
        let id = self.legs.find(leg)?;
        let member = self.member(id).ok_or(GatewayError::NotFound("the leg is not in this room"))?;
        let removed = self.rooms.remove(&mut self.ctx, now, room, &member);
        self.drain(now);
        removed
    }

    /// A leg or room as the owner of playbacks and recordings.
    fn owner_with_media(&self, owner: Owner<'_>) -> Result<MediaOwner, GatewayError> {
        match owner {
            Owner::Leg(name) => {
                let (id, leg) = self.legs.by_name(name)?;
                let no_media = || GatewayError::Conflict("the leg has no media yet".to_owned());
                let target = AudioTarget::Leg(leg.media().slot().ok_or_else(no_media)?);
                Ok(MediaOwner { target, rate: leg.media().rate(), about: About::Leg(id) })
            }
            Owner::Room(name) => {
                if self.rooms.rate_and_members(name)?.1.is_empty() {
                    return Err(GatewayError::Conflict("the room has no participants".to_owned()));
                }
                self.rooms.owner(&self.ctx, name)
            }
        }
    }

    /// The place in the engine of a leg or room, if it has one.
    fn target_of(&self, owner: Owner<'_>) -> Option<AudioTarget> {
        match owner {
            Owner::Leg(name) => self.legs.by_name(name).ok()?.1.media().slot().map(AudioTarget::Leg),
            Owner::Room(name) => self.rooms.target(name).ok(),
        }
    }

    /// A leg that has media, as rooms see it.
    pub(super) fn member(&self, id: LegId) -> Option<Member> {
        let leg = self.legs.get(id)?;
        Some(Member {
            leg: id,
            name: leg.name().to_owned(),
            slot: leg.media().slot()?,
            rate: leg.media().rate(),
        })
    }

    /// A leg has media: it joins the room that it was to join.
    pub(super) fn join_waiting(&mut self, now: Now, id: LegId) {
        if let Some(member) = self.member(id) {
            self.rooms.join_waiting(&mut self.ctx, now, &member);
        }
    }

    /// Stops every playback and the recording of a leg or room that ends.
    pub(super) fn stop_media_of(&mut self, now: Now, target: AudioTarget) {
        self.playbacks.stop_all_of(&mut self.ctx, now, target);
        self.recordings.stop_of(&mut self.ctx, target);
    }

    /// True while a playback or recording there owes its last event.
    pub(super) fn has_unfinished(&self, target: AudioTarget) -> bool {
        self.playbacks.has_any_of(target) || self.recordings.has_any_of(target)
    }

    pub(super) fn room_event(&mut self, now: Now, event: RoomEvent) {
        match event {
            RoomEvent::Joined(room, member) => {
                self.recordings.member_joined(&mut self.ctx, now, room, member);
            }
            RoomEvent::Left(room, id) => self.recordings.member_left(&mut self.ctx, now, room, id),
            RoomEvent::Emptied(room) => self.recordings.stop_of(&mut self.ctx, AudioTarget::Room(room)),
            RoomEvent::Deleted(room) => self.end_if_done(now, AudioTarget::Room(room)),
        }
    }

    pub(super) fn recording_event(&mut self, now: Now, event: RecordingEvent) {
        match event {
            RecordingEvent::MembersWanted(room) => {
                let members = self.rooms.members_at(room).iter();
                let members: Vec<Member> = members.filter_map(|id| self.member(*id)).collect();
                for member in members {
                    self.recordings.member_joined(&mut self.ctx, now, room, member);
                }
            }
            RecordingEvent::StopWanted(target) => self.recordings.stop_of(&mut self.ctx, target),
            RecordingEvent::Over(target) => self.end_if_done(now, target),
        }
    }
}
