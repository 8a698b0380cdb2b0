//! Recordings of legs (stereo) and rooms (mono): started, paused, stopped; the disk is the shell's.

use std::sync::Arc;

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, RecordingFinished, RecordingPause, RecordingStarted, Subject, Text};
use super::playback::Owner;
use super::replies::{Handle, Reply};
use super::tracks::{Merged, Tracks};
use super::work::{Work, WorkId, Written};
use crate::base::time::{Now, Utc};
use crate::config::Place;
use crate::media::command::{Command, RecordSlot, Slot, Target};

/// A recording.
#[derive(Debug)]
pub struct Recording {
    /// What is recorded.
    pub target: Target,
    /// Its file.
    pub file: String,
    /// When it began.
    started: Utc,
    /// The room of the target, which may be deleted before it ends.
    room: Option<Subject>,
    state: State,
    paused: bool,
    /// Where it is uploaded to when it is over.
    upload: Option<Arc<Place>>,
    /// Rate of its file, Hz.
    pub(super) rate: u32,
    /// One track a leg beside it.
    pub(super) tracks: Option<Tracks>,
    /// The leg it was of, when that was over before the disk had taken all of it.
    orphan: Option<Subject>,
}

impl Recording {
    /// True while sound goes in.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// True when all of it is written, and its tracks are put together.
    fn is_merging(&self) -> bool {
        self.tracks.as_ref().is_some_and(Tracks::are_merging)
    }

    /// True when no more sound goes in.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Closing(_))
    }

    /// True while silence goes in.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }
}

/// What a recording is to be beside its file.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where it is uploaded to when it is over.
    pub upload: Option<Arc<Place>>,
    /// One channel a leg, in a file of their own; of rooms only.
    pub multi_channel: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The file is being made; the API waits. `stop`: it is to be stopped at once.
    Opening { work: WorkId, handle: Handle, stop: bool },
    /// Sound goes in.
    Running,
    /// The last of it is being written; the API may wait.
    Closing(Option<Handle>),
}

/// What pausing or resuming came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// It changed.
    Changed,
    /// It was so already.
    Already,
}

const NO_RECORDING: GatewayError = GatewayError::NotFound("no recording in progress");

impl Gateway {
    /// `POST …/record`; the reply comes when the file is there.
    ///
    /// # Errors
    /// No such leg or room (404); no media, nobody in the room, or recording already (409); limits (503).
    pub fn record(&mut self, now: Now, owner: Owner<'_>, wanted: Wanted) -> Result<Handle, GatewayError> {
        let target = self.target_of(owner)?;
        let target = target.ok_or_else(|| GatewayError::Conflict("the leg has no media yet".to_owned()))?;
        let (input_rate, file_rate, channels) = self.layout(target)?;
        // What is being put together does not keep the next one waiting.
        if self.recordings.values().any(|r| r.target == target && !r.is_merging()) {
            return Err(GatewayError::Conflict("it is being recorded already".to_owned()));
        }
        let max = self.ctx.config.limits.recordings;
        let slot = self.record_slots.take().ok_or_else(|| {
            GatewayError::Unavailable(format!("all {max} recordings are in use (limits.recordings)"))
        })?;
        let name = format!("{}_{:08x}.wav", now.utc.compact(), self.ctx.rng.u32());
        let file = self.ctx.config.recording_dir().join(name).to_string_lossy().into_owned();
        let path = file.clone();
        let opened = self.ctx.io.start(|id| Work::OpenRecording {
            id,
            record: slot,
            file: path,
            input_rate,
            file_rate,
            channels,
        });
        let Some(work) = opened else {
            self.record_slots.free(slot);
            return Err(GatewayError::Unavailable("too much waits for the disk already".to_owned()));
        };
        let handle = self.ctx.replies.expect();
        let state = State::Opening { work, handle, stop: false };
        let room = self.room_of(target);
        let tracks = (wanted.multi_channel && room.is_some()).then(Tracks::default);
        let recording = Recording {
            target,
            file,
            started: now.utc,
            room,
            state,
            paused: false,
            upload: wanted.upload,
            rate: file_rate,
            tracks,
            orphan: None,
        };
        self.recordings.insert(slot, recording);
        Ok(handle)
    }

    /// Rate of what comes in, rate of the file, channels. A leg keeps its first rate.
    fn layout(&self, target: Target) -> Result<(u32, u32, u16), GatewayError> {
        match target {
            Target::Leg(slot) => {
                let leg = self.slots.get(&slot).and_then(|id| self.legs.get(*id));
                let leg = leg.ok_or(GatewayError::NotFound("leg not found"))?;
                let rate = leg.rate;
                let room = leg.room.as_ref().and_then(|r| self.rooms.get(r)).map(|r| r.rate);
                Ok((rate, room.unwrap_or(rate), 2))
            }
            Target::Room(slot) => {
                let room = self.rooms.values().find(|r| r.slot == slot).ok_or(super::room::NO_ROOM)?;
                if room.members.is_empty() {
                    return Err(GatewayError::Conflict("the room has no participants".to_owned()));
                }
                Ok((room.rate, room.rate, 1))
            }
            Target::Voice(_) => Err(GatewayError::Failed("a track is no recording of its own".to_owned())),
        }
    }

    /// The file is there, or could not be made.
    pub(super) fn recording_opened(&mut self, now: Now, work: WorkId, outcome: Result<(), String>) {
        if self.track_opened(now, work, &outcome) {
            return;
        }
        let found = self
            .recordings
            .iter_mut()
            .find(|(_, r)| matches!(r.state, State::Opening { work: w, .. } if w == work));
        let Some((slot, r)) = found else { return };
        let (slot, target, file, room) = (*slot, r.target, r.file.clone(), r.room.clone());
        let upload = r.upload.clone();
        let State::Opening { handle, stop, .. } = r.state.clone() else { return };
        if let Err(e) = outcome {
            self.recordings.remove(&slot);
            self.record_slots.free(slot);
            self.ctx
                .replies
                .send(handle, Err(GatewayError::Failed(format!("the recording could not be started: {e}"))));
            return self.end_if_done(now, target);
        }
        r.state = State::Running;
        r.started = now.utc;
        let body = RecordingStarted { file: file.clone(), started_at: now.utc.rfc3339() };
        self.ctx.media.push_back(Command::Record { record: slot, target });
        self.publish_about(now, target, room.as_ref(), EventBody::RecordingStarted(body), upload);
        self.begin_tracks(now, slot);
        self.ctx.replies.send(handle, Ok(Reply::Recording(file)));
        if stop {
            self.close(slot, None);
        }
    }

    /// `DELETE …/record`; the reply comes when the file is complete.
    ///
    /// # Errors
    /// Nothing is being recorded there.
    pub fn stop_recording(&mut self, owner: Owner<'_>) -> Result<Handle, GatewayError> {
        let target = self.target_of(owner).map_err(|_| NO_RECORDING)?.ok_or(NO_RECORDING)?;
        let running = |r: &Recording| r.target == target && r.state == State::Running;
        if !self.recordings.values().any(running) {
            return Err(NO_RECORDING);
        }
        let handle = self.ctx.replies.expect();
        self.stop_recording_of(target, Some(handle));
        Ok(handle)
    }

    /// Stops the recording of a leg or room, if there is one.
    pub(super) fn stop_recording_of(&mut self, target: Target, handle: Option<Handle>) {
        let running = |r: &Recording| r.target == target && !matches!(r.state, State::Closing(_));
        let found = self.recordings.iter_mut().find(|(_, r)| running(r));
        let Some((slot, r)) = found else { return };
        let slot = *slot;
        match &mut r.state {
            State::Opening { stop, .. } => *stop = true,
            State::Running => self.close(slot, handle),
            State::Closing(_) => {}
        }
    }

    fn close(&mut self, slot: RecordSlot, handle: Option<Handle>) {
        if let Some(r) = self.recordings.get_mut(&slot) {
            r.state = State::Closing(handle);
            self.ctx.media.push_back(Command::StopRecord { record: slot });
            self.stop_tracks(slot);
        }
    }

    /// The recorder has closed the file: because it was told to, or because the disk failed.
    pub(super) fn recording_closed(
        &mut self,
        now: Now,
        slot: RecordSlot,
        error: Option<String>,
        written: Written,
    ) {
        if self.track_closed(now, slot, error.as_deref(), written) {
            return;
        }
        let Some(r) = self.recordings.get_mut(&slot) else { return };
        if r.state == State::Running {
            r.state = State::Closing(None);
            self.ctx.media.push_back(Command::StopRecord { record: slot });
        }
        if let Some(tracks) = &mut r.tracks {
            tracks.mix = Some((error, written));
            self.stop_tracks(slot);
            return self.merge_when_over(now, slot);
        }
        self.finish_recording(now, slot, error, written, RecordingFinished::default(), None);
    }

    /// All of a recording is on the disk, or as much as there will be.
    pub(super) fn finish_recording(
        &mut self,
        now: Now,
        slot: RecordSlot,
        error: Option<String>,
        written: Written,
        of_tracks: RecordingFinished,
        merged: Option<Merged>,
    ) {
        let Some(r) = self.recordings.remove(&slot) else { return };
        let body = RecordingFinished {
            file: r.file.clone(),
            started_at: r.started.rfc3339(),
            bytes: Some(written.bytes),
            duration_ms: Some(written.duration_ms),
            sample_rate: Some(written.sample_rate),
            channel_count: Some(written.channels),
            error: error.as_deref().map(Text::from),
            ..of_tracks
        };
        let body = EventBody::RecordingFinished(body);
        let upload = r.upload.is_some();
        match &r.orphan {
            // Its numbers have ended with the leg.
            Some(leg) => self.ctx.events.publish_about(now, leg, body, r.upload),
            None => self.publish_about(now, r.target, r.room.as_ref(), body, r.upload),
        }
        self.record_slots.free(slot);
        if let State::Closing(Some(handle)) = r.state {
            let outcome = match error {
                None => Ok(Reply::Recorded { file: r.file, upload, began: written.began, merged }),
                Some(e) => Err(GatewayError::Failed(format!("the recording could not be completed: {e}"))),
            };
            self.ctx.replies.send(handle, outcome);
        }
        self.end_if_done(now, r.target);
    }

    /// A leg is over, but the disk has not taken all of its recording: that no longer belongs to the leg's place, which will be
    /// another's.
    pub(super) fn outlive(&mut self, slot: Slot, leg: Option<Subject>) {
        for r in self.recordings.values_mut().filter(|r| r.target == Target::Leg(slot)) {
            r.target = Target::Voice(slot);
            r.orphan.clone_from(&leg);
        }
    }

    /// File of the recording that runs there, if it has tracks.
    #[must_use]
    pub fn multi_channel_recording(&self, owner: Owner<'_>) -> Option<String> {
        let target = self.target_of(owner).ok()??;
        let running = |r: &&Recording| r.target == target && r.is_running() && r.tracks.is_some();
        self.recordings.values().find(running).map(|r| r.file.clone())
    }

    /// `POST …/record/pause` and `…/resume`.
    ///
    /// # Errors
    /// Nothing is being recorded there.
    pub fn pause_recording(&mut self, now: Now, owner: Owner<'_>, on: bool) -> Result<Paused, GatewayError> {
        let target = self.target_of(owner).map_err(|_| NO_RECORDING)?.ok_or(NO_RECORDING)?;
        let found = self.recordings.iter_mut().find(|(_, r)| r.target == target && r.state == State::Running);
        let (slot, r) = found.ok_or(NO_RECORDING)?;
        if r.paused == on {
            return Ok(Paused::Already);
        }
        r.paused = on;
        let slot = *slot;
        self.ctx.media.push_back(Command::PauseRecord { record: slot, on });
        let pause = RecordingPause { file: "" };
        let body = if on { EventBody::RecordingPaused(pause) } else { EventBody::RecordingResumed(pause) };
        let room = r.room.clone();
        self.pause_tracks(slot, on);
        self.publish_about(now, target, room.as_ref(), body, None);
        Ok(Paused::Changed)
    }
}
