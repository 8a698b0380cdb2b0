//! Playbacks, from the API request to the terminal event.

use std::collections::BTreeMap;

use super::sound::Sound;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{About, EventBody, PlaybackError, PlaybackFinished, PlaybackStarted};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::MediaOwner;
use crate::gateway::interface::work::{Work, WorkId};
use crate::gateway::resources::slots::Slots;
use crate::media::command::Over;
use crate::media::command::{AudioTarget, Command, PlaySlot};

/// All playbacks, at most `limits.playbacks`.
#[derive(Debug)]
pub struct Playbacks {
    plays: BTreeMap<PlaySlot, Playback>,
    slots: Slots,
}

#[derive(Debug)]
struct Playback {
    /// Playback id: `pb-` and eight hex digits.
    id: String,
    /// Where it is played.
    target: AudioTarget,
    about: About,
    /// Stopped, waiting for the engine's confirmation.
    stopping: bool,
    /// The download that has to complete before it starts.
    fetching: Option<WorkId>,
    rate: u32,
    volume: i8,
}

impl Playback {
    fn publish(&self, ctx: &mut Context, now: Now, body: impl FnOnce(String) -> EventBody) {
        ctx.events.publish_of(now, &self.about, body(self.id.clone()), None);
    }

    fn publish_started(&self, ctx: &mut Context, now: Now) {
        self.publish(ctx, now, |playback_id| EventBody::PlaybackStarted(PlaybackStarted { playback_id }));
    }
}

impl Playbacks {
    /// Capacity for `most` playbacks.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { plays: BTreeMap::new(), slots: Slots::new(most) }
    }

    /// Starts a playback, or the download of its sound; returns the playback id.
    ///
    /// # Errors
    /// Limit reached, or too many downloads (503).
    pub fn start(
        &mut self,
        ctx: &mut Context,
        now: Now,
        owner: MediaOwner,
        sound: Sound,
        volume: i8,
    ) -> Result<String, GatewayError> {
        let max = ctx.config.limits.playbacks;
        let slot = self.slots.take().ok_or_else(|| {
            GatewayError::Unavailable(format!("all {max} playbacks are in use (limits.playbacks)"))
        })?;
        let id = format!("pb-{:08x}", ctx.rng.u32());
        let MediaOwner { target, rate, about } = owner;
        let mut playback =
            Playback { id: id.clone(), target, about, stopping: false, fetching: None, rate, volume };
        match sound {
            Sound::Tone(tone) => {
                ctx.media.push_back(Command::PlayTone { play: slot, target, rate, tone, volume });
                playback.publish_started(ctx, now);
            }
            Sound::File { url, repeat, bare } => {
                let work = ctx.io.start(|id| Work::Fetch { id, play: slot, url, rate, repeat, bare });
                let Some(work) = work else {
                    self.slots.free(slot);
                    return Err(GatewayError::Unavailable("too much is being fetched already".to_owned()));
                };
                playback.fetching = Some(work);
            }
        }
        self.plays.insert(slot, playback);
        Ok(id)
    }

    /// The download has completed or failed.
    pub fn handle_fetched(&mut self, ctx: &mut Context, now: Now, work: WorkId, outcome: Result<(), String>) {
        let found = self.plays.iter_mut().find(|(_, p)| p.fetching == Some(work));
        let Some((slot, playback)) = found else { return };
        let play = *slot;
        playback.fetching = None;
        match outcome {
            Ok(()) => {
                let Playback { target, rate, volume, .. } = *playback;
                ctx.media.push_back(Command::PlayFed { play, target, rate, volume });
                playback.publish_started(ctx, now);
            }
            Err(error) => {
                let error = error.into();
                playback.publish(ctx, now, |playback_id| {
                    EventBody::PlaybackError(PlaybackError { playback_id, error, played_ms: None })
                });
                self.plays.remove(&play);
                self.slots.free(play);
            }
        }
    }

    /// `PATCH …/play/{id}`.
    ///
    /// # Errors
    /// No such playback there.
    pub fn set_volume(
        &mut self,
        ctx: &mut Context,
        target: Option<AudioTarget>,
        id: &str,
        volume: i8,
    ) -> Result<(), GatewayError> {
        let (play, playback) = self.find(target, id)?;
        playback.volume = volume;
        if playback.fetching.is_none() {
            ctx.media.push_back(Command::Volume { play, volume });
        }
        Ok(())
    }

    /// `DELETE …/play/{id}`; `playback.finished` follows.
    ///
    /// # Errors
    /// No such playback there.
    pub fn stop(
        &mut self,
        ctx: &mut Context,
        now: Now,
        target: Option<AudioTarget>,
        id: &str,
    ) -> Result<(), GatewayError> {
        let (slot, _) = self.find(target, id)?;
        self.stop_one(ctx, now, slot);
        Ok(())
    }

    fn stop_one(&mut self, ctx: &mut Context, now: Now, slot: PlaySlot) {
        let Some(p) = self.plays.get_mut(&slot) else { return };
        p.stopping = true;
        match p.fetching.take() {
            // Never started: finished with nothing played. The download is cancelled.
            Some(work) => {
                ctx.io.cancel(work);
                self.handle_played(ctx, now, slot, 0, Over::Stopped);
            }
            None => ctx.media.push_back(Command::StopPlay { play: slot }),
        }
    }

    fn find(
        &mut self,
        target: Option<AudioTarget>,
        id: &str,
    ) -> Result<(PlaySlot, &mut Playback), GatewayError> {
        let here = |p: &Playback| p.id == id && Some(p.target) == target && !p.stopping;
        let found = self.plays.iter_mut().find(|(_, p)| here(p));
        found.map(|(slot, p)| (*slot, p)).ok_or(GatewayError::NotFound("playback not found"))
    }

    /// A playback has ended; returns its target.
    pub fn handle_played(
        &mut self,
        ctx: &mut Context,
        now: Now,
        slot: PlaySlot,
        played_ms: u64,
        over: Over,
    ) -> Option<AudioTarget> {
        self.slots.free(slot);
        let playback = self.plays.remove(&slot)?;
        let finished = |reason| {
            move |playback_id| {
                EventBody::PlaybackFinished(PlaybackFinished { playback_id, reason, played_ms })
            }
        };
        match over {
            Over::Completed => playback.publish(ctx, now, finished("completed")),
            Over::Stopped => playback.publish(ctx, now, finished("stopped")),
            Over::Failed => playback.publish(ctx, now, |playback_id| {
                let error = "the rest of the sound cannot be read".into();
                EventBody::PlaybackError(PlaybackError { playback_id, error, played_ms: Some(played_ms) })
            }),
        }
        Some(playback.target)
    }

    /// Stops all playbacks of a leg or room that ends.
    pub fn stop_all_of(&mut self, ctx: &mut Context, now: Now, target: AudioTarget) {
        let own = self.plays.iter().filter(|(_, p)| p.target == target);
        let own: Vec<PlaySlot> = own.map(|(slot, _)| *slot).collect();
        own.into_iter().for_each(|slot| self.stop_one(ctx, now, slot));
    }

    /// True while a playback of it still has to send its terminal event.
    #[must_use]
    pub fn has_any_of(&self, target: AudioTarget) -> bool {
        self.plays.values().any(|p| p.target == target)
    }

    /// Playbacks running or downloading.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.slots.used()
    }

    /// True without playbacks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plays.is_empty() && self.slots.used() == 0
    }
}
