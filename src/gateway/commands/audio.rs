//! API commands for playbacks and recordings of legs and rooms.

use crate::base::time::Now;
use crate::gateway::audio::Audio;
use crate::gateway::context::Context;
use crate::gateway::events::About;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::Owner;
use crate::gateway::interface::replies::Handle;
use crate::gateway::legs::Legs;
use crate::gateway::playback::Sound;
use crate::gateway::recording::{Layout, Paused, RecordingRequest};

/// Commands for playbacks and recordings.
#[derive(Debug)]
pub struct AudioCommands<'a> {
    now: Now,
    ctx: &'a mut Context,
    legs: &'a Legs,
    audio: &'a mut Audio,
}

impl<'a> AudioCommands<'a> {
    /// Executes commands on these parts at `now`.
    #[must_use]
    pub fn new(now: Now, ctx: &'a mut Context, legs: &'a Legs, audio: &'a mut Audio) -> Self {
        Self { now, ctx, legs, audio }
    }

    /// `POST …/play`; returns the playback id.
    ///
    /// # Errors
    /// No such leg or room (404); no media, or an empty room (409); limit reached (503).
    pub fn play(&mut self, owner: Owner<'_>, sound: Sound, volume: i8) -> Result<String, GatewayError> {
        let owner = self.audio.owner(self.ctx, self.legs, owner)?;
        self.audio.playbacks_mut().start(self.ctx, self.now, owner, sound, volume)
    }

    /// `PATCH …/play/{id}`.
    ///
    /// # Errors
    /// No such playback there.
    pub fn set_volume(&mut self, owner: Owner<'_>, id: &str, volume: i8) -> Result<(), GatewayError> {
        let target = self.audio.target_of(self.legs, owner);
        self.audio.playbacks_mut().set_volume(self.ctx, target, id, volume)
    }

    /// `DELETE …/play/{id}`; followed by `playback.finished`.
    ///
    /// # Errors
    /// No such playback there.
    pub fn stop_play(&mut self, owner: Owner<'_>, id: &str) -> Result<(), GatewayError> {
        let target = self.audio.target_of(self.legs, owner);
        self.audio.playbacks_mut().stop(self.ctx, self.now, target, id)
    }

    /// `POST …/record`; the reply is sent once the file is open.
    ///
    /// # Errors
    /// No such leg or room (404); no media, an empty room, or already recording (409); limits (503).
    pub fn record(&mut self, owner: Owner<'_>, wanted: RecordingRequest) -> Result<Handle, GatewayError> {
        let media = self.audio.owner(self.ctx, self.legs, owner)?;
        let input_rate = media.rate;
        let layout = match media.about {
            About::Leg(id) => {
                let file_rate = self.audio.rooms().rate_around(id).unwrap_or(input_rate);
                Layout { input_rate, file_rate, channels: 2 }
            }
            About::Subject(_) => Layout { input_rate, file_rate: input_rate, channels: 1 },
        };
        self.audio.recordings_mut().start(self.ctx, self.now, media, layout, wanted)
    }

    /// `DELETE …/record`; the reply is sent once the file is complete.
    ///
    /// # Errors
    /// No recording in progress.
    pub fn stop_recording(&mut self, owner: Owner<'_>) -> Result<Handle, GatewayError> {
        let target = self.audio.target_of(self.legs, owner);
        self.audio.recordings_mut().stop(self.ctx, target)
    }

    /// `POST …/record/pause` and `…/resume`.
    ///
    /// # Errors
    /// No recording in progress.
    pub fn pause_recording(&mut self, owner: Owner<'_>, on: bool) -> Result<Paused, GatewayError> {
        let target = self.audio.target_of(self.legs, owner);
        self.audio.recordings_mut().pause(self.ctx, self.now, target, on)
    }
}
