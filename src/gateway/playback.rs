//! Playbacks on legs and rooms: tones, and sound fetched from URLs.

use std::sync::Arc;

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, PlaybackError, PlaybackFinished, PlaybackStarted, Subject};
use super::work::{Work, WorkId};
use crate::base::time::Now;
use crate::config::Place;
use crate::dsp::tone::{TONES, ToneSpec, by_name};
use crate::media::command::{Command, PlaySlot, Target};
use crate::media::play::Over;

/// What is to be played.
#[derive(Debug, Clone, PartialEq)]
pub enum Sound {
    /// A tone, until it is stopped.
    Tone(ToneSpec),
    /// An audio file.
    File {
        /// Where it is: an URL, or `file:` and a name in the directory of prompts.
        url: String,
        /// How often it is played, 0 for ever.
        repeat: u32,
        /// It holds bare samples at this rate, Hz.
        bare: Option<u32>,
    },
}

/// A playback.
#[derive(Debug)]
pub struct Playback {
    /// `pb-` and eight hex digits.
    pub id: String,
    /// Who hears it.
    pub target: Target,
    /// The room of the target, which may be deleted before it ends.
    room: Option<Subject>,
    /// It has been stopped, and is only waiting for the engine to say so.
    stopping: bool,
    /// The fetch that has to end before it starts.
    pub fetching: Option<WorkId>,
    rate: u32,
    volume: i8,
}

/// Steps of 3 dB a volume can have.
pub const VOLUMES: std::ops::RangeInclusive<i64> = -8..=8;

/// The tone of a name.
///
/// # Errors
/// The names that are known.
pub fn tone(name: &str) -> Result<ToneSpec, GatewayError> {
    by_name(name).ok_or_else(|| {
        let known: Vec<&str> = TONES.iter().map(|(n, _)| *n).collect();
        GatewayError::Invalid(format!("tone: unknown; known are {}", known.join(", ")))
    })
}

impl Gateway {
    /// `POST /legs/{id}/play`; the playback's id.
    ///
    /// # Errors
    /// No such leg (404), no media (409), no playback is left (503).
    pub fn play_on_leg(
        &mut self,
        now: Now,
        leg: &str,
        sound: Sound,
        volume: i8,
    ) -> Result<String, GatewayError> {
        let id = self.find(leg)?;
        let l = self.legs.get(id).ok_or(GatewayError::NotFound("leg not found"))?;
        let (Some(slot), rate) = (l.slot, l.rate) else {
            return Err(GatewayError::Conflict("the leg has no media yet".to_owned()));
        };
        self.play(now, Target::Leg(slot), rate, sound, volume)
    }

    /// `POST /rooms/{id}/play`; the playback's id.
    ///
    /// # Errors
    /// No such room (404), nobody in it (409), no playback is left (503).
    pub fn play_in_room(
        &mut self,
        now: Now,
        room: &str,
        sound: Sound,
        volume: i8,
    ) -> Result<String, GatewayError> {
        let r = self.rooms.get(room).ok_or(super::room::NO_ROOM)?;
        if r.members.is_empty() {
            return Err(GatewayError::Conflict("the room has no participants".to_owned()));
        }
        let (target, rate) = (Target::Room(r.slot), r.rate);
        self.play(now, target, rate, sound, volume)
    }

    fn play(
        &mut self,
        now: Now,
        target: Target,
        rate: u32,
        sound: Sound,
        volume: i8,
    ) -> Result<String, GatewayError> {
        let max = self.ctx.config.limits.playbacks;
        let slot = self.play_slots.take().ok_or_else(|| {
            GatewayError::Unavailable(format!("all {max} playbacks are in use (limits.playbacks)"))
        })?;
        let id = format!("pb-{:08x}", self.ctx.rng.u32());
        let room = self.room_of(target);
        let mut playback =
            Playback { id: id.clone(), target, room, stopping: false, fetching: None, rate, volume };
        match sound {
            Sound::Tone(tone) => {
                self.ctx.media.push_back(Command::PlayTone { play: slot, target, rate, tone, volume });
                self.plays.insert(slot, playback);
                self.publish_play(now, slot, |playback_id| {
                    EventBody::PlaybackStarted(PlaybackStarted { playback_id })
                });
            }
            Sound::File { url, repeat, bare } => {
                let work = self.ctx.io.start(|id| Work::Fetch { id, play: slot, url, rate, repeat, bare });
                let Some(work) = work else {
                    self.play_slots.free(slot);
                    return Err(GatewayError::Unavailable("too much is being fetched already".to_owned()));
                };
                playback.fetching = Some(work);
                self.plays.insert(slot, playback);
            }
        }
        Ok(id)
    }

    /// The sound is here, or is not to be had.
    pub(super) fn fetched(&mut self, now: Now, work: WorkId, outcome: Result<(), String>) {
        let found = self.plays.iter_mut().find(|(_, p)| p.fetching == Some(work));
        let Some((slot, playback)) = found else { return };
        let slot = *slot;
        playback.fetching = None;
        let (target, rate, volume) = (playback.target, playback.rate, playback.volume);
        match outcome {
            Ok(()) => {
                self.ctx.media.push_back(Command::PlayFed { play: slot, target, rate, volume });
                self.publish_play(now, slot, |playback_id| {
                    EventBody::PlaybackStarted(PlaybackStarted { playback_id })
                });
            }
            Err(error) => {
                let error = error.into();
                self.publish_play(now, slot, |playback_id| {
                    EventBody::PlaybackError(PlaybackError { playback_id, error, played_ms: None })
                });
                self.plays.remove(&slot);
                self.play_slots.free(slot);
            }
        }
    }

    /// `PATCH …/play/{id}`.
    ///
    /// # Errors
    /// No such playback there.
    pub fn set_volume(&mut self, owner: Owner<'_>, id: &str, volume: i8) -> Result<(), GatewayError> {
        let slot = self.playback(owner, id)?;
        if let Some(p) = self.plays.get_mut(&slot) {
            p.volume = volume;
            if p.fetching.is_none() {
                self.ctx.media.push_back(Command::Volume { play: slot, volume });
            }
        }
        Ok(())
    }

    /// `DELETE …/play/{id}`; `playback.finished` follows.
    ///
    /// # Errors
    /// No such playback there.
    pub fn stop_play(&mut self, now: Now, owner: Owner<'_>, id: &str) -> Result<(), GatewayError> {
        let slot = self.playback(owner, id)?;
        self.stop_one(now, slot);
        Ok(())
    }

    fn stop_one(&mut self, now: Now, slot: PlaySlot) {
        let Some(p) = self.plays.get_mut(&slot) else { return };
        p.stopping = true;
        match p.fetching.take() {
            // Never heard: it ends as it would have, with nothing played. What is fetched finds no taker.
            Some(work) => {
                self.ctx.io.cancel(work);
                self.played(now, slot, 0, Over::Stopped);
            }
            None => self.ctx.media.push_back(Command::StopPlay { play: slot }),
        }
    }

    fn playback(&self, owner: Owner<'_>, id: &str) -> Result<PlaySlot, GatewayError> {
        let target = match owner {
            Owner::Leg(leg) => self.find(leg).ok().and_then(|l| self.legs.get(l)?.slot).map(Target::Leg),
            Owner::Room(room) => self.rooms.get(room).map(|r| Target::Room(r.slot)),
        };
        let found = self.plays.iter().find(|(_, p)| p.id == id && Some(p.target) == target && !p.stopping);
        found.map(|(slot, _)| *slot).ok_or(GatewayError::NotFound("playback not found"))
    }

    /// A playback is over.
    pub(super) fn played(&mut self, now: Now, slot: PlaySlot, played_ms: u64, over: Over) {
        if self.plays.contains_key(&slot) {
            match over {
                Over::Completed | Over::Stopped => {
                    let reason = if over == Over::Completed { "completed" } else { "stopped" };
                    self.publish_play(now, slot, |playback_id| {
                        EventBody::PlaybackFinished(PlaybackFinished { playback_id, reason, played_ms })
                    });
                }
                Over::Failed => self.publish_play(now, slot, |playback_id| {
                    EventBody::PlaybackError(PlaybackError {
                        playback_id,
                        error: "the rest of the sound cannot be read".into(),
                        played_ms: Some(played_ms),
                    })
                }),
            }
            self.plays.remove(&slot);
        }
        self.play_slots.free(slot);
    }

    /// Stops every playback and the recording of a leg or room that ends.
    pub(super) fn stop_all_of(&mut self, now: Now, target: Target) {
        let slots: Vec<PlaySlot> =
            self.plays.iter().filter(|(_, p)| p.target == target).map(|(s, _)| *s).collect();
        for slot in slots {
            self.stop_one(now, slot);
        }
        self.stop_recording_of(target, None);
    }

    fn publish_play(&mut self, now: Now, slot: PlaySlot, body: impl FnOnce(String) -> EventBody) {
        let Some(p) = self.plays.get(&slot) else { return };
        let (id, target, room) = (p.id.clone(), p.target, p.room.clone());
        self.publish_about(now, target, room.as_ref(), body(id), None);
    }

    /// The room of a target.
    pub(super) fn room_of(&self, target: Target) -> Option<Subject> {
        match target {
            Target::Room(slot) => self.room_at(slot).map(|name| self.ctx.events.room(name)),
            Target::Leg(_) | Target::Voice(_) => None,
        }
    }

    /// Publishes an event about a leg by its place in the engine, or about a room.
    pub(super) fn publish_about(
        &mut self,
        now: Now,
        target: Target,
        room: Option<&Subject>,
        body: EventBody,
        upload: Option<Arc<Place>>,
    ) {
        match (target, room) {
            (Target::Leg(slot), _) => {
                if let Some(id) = self.slots.get(&slot).copied() {
                    self.ctx.events.publish_upload(now, id, body, upload);
                }
            }
            (Target::Room(_), Some(room)) => self.ctx.events.publish_about(now, room, body, upload),
            (Target::Room(_), None) | (Target::Voice(_), _) => {}
        }
    }

    /// True while a leg's playbacks or recording still owe a terminal event.
    pub(super) fn has_unfinished(&self, target: Target) -> bool {
        self.plays.values().any(|p| p.target == target)
            || self.recordings.values().any(|r| r.target == target)
    }
}

/// Whose playback or recording is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The leg of this id.
    Leg(&'a str),
    /// The room of this id.
    Room(&'a str),
}

impl Gateway {
    /// The place in the engine of a leg or room, if it has one.
    pub(super) fn target_of(&self, owner: Owner<'_>) -> Result<Option<Target>, GatewayError> {
        match owner {
            Owner::Leg(leg) => {
                let id = self.find(leg)?;
                let leg = self.legs.get(id).filter(|l| !l.is_ending());
                Ok(leg.and_then(|l| l.slot).map(Target::Leg))
            }
            Owner::Room(room) => {
                Ok(Some(Target::Room(self.rooms.get(room).ok_or(super::room::NO_ROOM)?.slot)))
            }
        }
    }
}
