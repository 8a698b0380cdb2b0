//! Recordings of legs (stereo) and rooms (mono): start, pause, stop. File access is done by the shell.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::layout::Layout;
use super::tracks::{Finished, Tracks};
use crate::base::time::{Now, Utc};
use crate::config::Place;
use crate::gateway::context::Context;
use crate::gateway::events::{
    About, EventBody, RecordingFinished, RecordingPause, RecordingStarted, Subject, Text,
};
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::owner::MediaOwner;
use crate::gateway::interface::replies::{Handle, Reply};
use crate::gateway::interface::work::{WorkId, Written};
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::legs::member::Member;
use crate::gateway::resources::slots::Slots;
use crate::media::command::{AudioTarget, Command, RecordSlot, RoomSlot, Slot};

/// All recordings and their tracks, together at most `limits.recordings`.
#[derive(Debug)]
pub struct Recordings {
    recordings: BTreeMap<RecordSlot, Recording>,
    slots: Slots,
    events: VecDeque<RecordingEvent>,
}

/// Events that concern other parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingEvent {
    /// A multi-channel recording has started in this room: its current members must be added.
    MembersWanted(RoomSlot),
    /// A recording that has just started was stopped before its file was open.
    StopWanted(AudioTarget),
    /// A recording has ended, including its terminal event.
    Over(AudioTarget),
}

/// A recording.
#[derive(Debug)]
struct Recording {
    /// Leg or room that is recorded.
    target: AudioTarget,
    /// Subject of its events; the leg or room may be removed before it ends.
    about: About,
    /// Path of the file.
    file: String,
    /// Start time.
    started: Utc,
    state: RecordingPhase,
    paused: bool,
    /// Upload destination.
    upload: Option<Arc<Place>>,
    /// Tracks per leg of a multi-channel recording.
    tracks: Option<Tracks>,
}

impl Recording {
    /// True while audio is being recorded.
    fn is_running(&self) -> bool {
        self.state == RecordingPhase::Running
    }

    /// True when everything is written and its tracks are being merged.
    fn is_merging(&self) -> bool {
        self.tracks.as_ref().is_some_and(Tracks::are_merging)
    }

    /// Stops the input; the reply for `handle` is sent once everything is written.
    fn close(&mut self, ctx: &mut Context, record: RecordSlot, handle: Option<Handle>) {
        self.state = RecordingPhase::Closing(handle);
        ctx.media.push_back(Command::StopRecord { record });
        self.tracks.iter_mut().for_each(|t| t.stop_all(ctx));
    }
}

/// Options of a recording.
#[derive(Debug, Clone, Default)]
pub struct RecordingRequest {
    /// Upload destination.
    pub upload: Option<Arc<Place>>,
    /// Also record each leg on its own channel, in a separate file; rooms only.
    pub multi_channel: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RecordingPhase {
    /// The file is being created; the API waits. `stop`: stop as soon as it is open.
    Opening { work: WorkId, handle: Handle, stop: bool },
    /// Audio is being recorded.
    Running,
    /// The end is being written; the API may be waiting.
    Closing(Option<Handle>),
}

/// Result of pausing or resuming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// It changed.
    Changed,
    /// It was in this state already.
    Already,
}

const NO_RECORDING: GatewayError = GatewayError::NotFound("no recording in progress");

impl Recordings {
    /// Capacity for `most` recordings.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { recordings: BTreeMap::new(), slots: Slots::new(most), events: VecDeque::new() }
    }

    /// `POST …/record`; the reply is sent once the file is open.
    ///
    /// # Errors
    /// Already recording (409); limits (503).
    pub fn start(
        &mut self,
        ctx: &mut Context,
        now: Now,
        owner: MediaOwner,
        layout: Layout,
        wanted: RecordingRequest,
    ) -> Result<Handle, GatewayError> {
        let MediaOwner { target, about, .. } = owner;
        // A recording whose tracks are being merged does not block the next one.
        if self.recordings.values().any(|r| r.target == target && !r.is_merging()) {
            return Err(GatewayError::Conflict("it is being recorded already".to_owned()));
        }
        let max = ctx.config.limits.recordings;
        let slot = self.slots.take().ok_or_else(|| {
            GatewayError::Unavailable(format!("all {max} recordings are in use (limits.recordings)"))
        })?;
        let name = format!("{}_{:08x}.wav", now.utc.compact(), ctx.rng.u32());
        let file = ctx.config.recording_dir().join(name).to_string_lossy().into_owned();
        let Some(work) = layout.open(ctx, slot, &file) else {
            self.slots.free(slot);
            return Err(GatewayError::Unavailable("too much waits for the disk already".to_owned()));
        };
        let handle = ctx.replies.expect();
        let tracks = wanted.multi_channel && matches!(target, AudioTarget::Room(_));
        let tracks = tracks.then(|| Tracks::new(&file, layout.file_rate));
        let recording = Recording {
            target,
            about,
            file,
            started: now.utc,
            state: RecordingPhase::Opening { work, handle, stop: false },
            paused: false,
            upload: wanted.upload,
            tracks,
        };
        self.recordings.insert(slot, recording);
        Ok(handle)
    }

    /// A file was created, or could not be.
    pub fn handle_opened(&mut self, ctx: &mut Context, now: Now, work: WorkId, outcome: Result<(), String>) {
        for (of, r) in &mut self.recordings {
            let (of, paused, Some(tracks)) = (*of, r.paused, r.tracks.as_mut()) else { continue };
            if tracks.handle_opened(ctx, &mut self.slots, work, &outcome, paused) {
                return self.merge_when_over(ctx, now, of);
            }
        }
        let opening = |r: &Recording| matches!(r.state, RecordingPhase::Opening { work: w, .. } if w == work);
        let Some((slot, r)) = self.recordings.iter_mut().find(|(_, r)| opening(r)) else { return };
        let (record, RecordingPhase::Opening { handle, stop, .. }) = (*slot, r.state.clone()) else { return };
        if let Err(e) = outcome {
            let why = format!("the recording could not be started: {e}");
            ctx.replies.send(handle, Err(GatewayError::Failed(why)));
            self.events.push_back(RecordingEvent::Over(r.target));
            self.recordings.remove(&record);
            return self.slots.free(record);
        }
        r.state = RecordingPhase::Running;
        r.started = now.utc;
        let body = RecordingStarted { file: r.file.clone(), started_at: now.utc.rfc3339() };
        ctx.media.push_back(Command::Record { record, target: r.target });
        // If the leg was removed meanwhile, only the terminal event follows.
        if !matches!(r.target, AudioTarget::LegInput(_)) {
            ctx.events.publish_of(now, &r.about, EventBody::RecordingStarted(body), r.upload.clone());
        }
        if let (AudioTarget::Room(room), Some(tracks)) = (r.target, &mut r.tracks) {
            tracks.begin(now);
            self.events.push_back(RecordingEvent::MembersWanted(room));
        }
        ctx.replies.send(handle, Ok(Reply::Recording(r.file.clone())));
        // The tracks of current members start first.
        if stop {
            self.events.push_back(RecordingEvent::StopWanted(r.target));
        }
    }

    /// `DELETE …/record`; the reply is sent once the file is complete.
    ///
    /// # Errors
    /// No recording in progress.
    pub fn stop(&mut self, ctx: &mut Context, target: Option<AudioTarget>) -> Result<Handle, GatewayError> {
        let (slot, r) = self.running(target).ok_or(NO_RECORDING)?;
        let handle = ctx.replies.expect();
        r.close(ctx, slot, Some(handle));
        Ok(handle)
    }

    /// Stops the recording of a leg or room that ends, if there is one.
    pub fn stop_of(&mut self, ctx: &mut Context, target: AudioTarget) {
        for (slot, r) in self.recordings.iter_mut().filter(|(_, r)| r.target == target) {
            match &mut r.state {
                RecordingPhase::Opening { stop, .. } => *stop = true,
                RecordingPhase::Running => r.close(ctx, *slot, None),
                RecordingPhase::Closing(_) => {}
            }
        }
    }

    /// The recording of a target that is in progress.
    fn running(&mut self, target: Option<AudioTarget>) -> Option<(RecordSlot, &mut Recording)> {
        let running = |r: &Recording| Some(r.target) == target && r.is_running();
        self.recordings.iter_mut().find(|(_, r)| running(r)).map(|(slot, r)| (*slot, r))
    }

    /// The recorder has closed a file: on request, or because of a disk error.
    pub fn handle_closed(
        &mut self,
        ctx: &mut Context,
        now: Now,
        slot: RecordSlot,
        error: Option<String>,
        written: Written,
    ) {
        let tracks = self.recordings.iter_mut().filter_map(|(of, r)| Some((*of, r.tracks.as_mut()?)));
        for (of, tracks) in tracks {
            if tracks.handle_closed(ctx, &mut self.slots, slot, error.is_some(), written) {
                return self.merge_when_over(ctx, now, of);
            }
        }
        let Some(r) = self.recordings.get_mut(&slot) else { return };
        if r.is_running() {
            r.close(ctx, slot, None);
        }
        if let Some(tracks) = &mut r.tracks {
            tracks.mix_over(error, written);
            return self.merge_when_over(ctx, now, slot);
        }
        self.finish(ctx, now, slot, Finished { error, written, ..Finished::default() });
    }

    /// Merges the tracks of a recording once all files are closed.
    fn merge_when_over(&mut self, ctx: &mut Context, now: Now, slot: RecordSlot) {
        let tracks = self.recordings.get_mut(&slot).and_then(|r| r.tracks.as_mut());
        if let Some(Err(e)) = tracks.map(|t| t.merge_when_over(ctx)) {
            self.merged(ctx, now, slot, Err(e));
        }
    }

    /// The tracks were merged into a file of this size, or merging failed.
    pub fn handle_merged(&mut self, ctx: &mut Context, now: Now, work: WorkId, outcome: Result<u64, String>) {
        let merged = |r: &Recording| r.tracks.as_ref().is_some_and(|t| t.are_merged_by(work));
        if let Some((slot, _)) = self.recordings.iter().find(|(_, r)| merged(r)) {
            self.merged(ctx, now, *slot, outcome);
        }
    }

    fn merged(&mut self, ctx: &mut Context, now: Now, slot: RecordSlot, outcome: Result<u64, String>) {
        let tracks = self.recordings.get_mut(&slot).and_then(|r| r.tracks.take());
        if let Some(tracks) = tracks {
            self.finish(ctx, now, slot, tracks.finish(outcome));
        }
    }

    /// A leg has joined a room: adds a track if a multi-channel recording is in progress.
    pub fn member_joined(&mut self, ctx: &mut Context, now: Now, room: RoomSlot, member: Member) {
        let tracked =
            self.recordings.values_mut().filter(|r| r.target == AudioTarget::Room(room) && r.is_running());
        let tracks = tracked.filter_map(|r| r.tracks.as_mut()).find(|t| t.have_begun());
        if let Some(tracks) = tracks {
            tracks.add(ctx, now, &mut self.slots, member);
        }
    }

    /// A leg has left a room, whose recording may just have been stopped.
    pub fn member_left(&mut self, ctx: &mut Context, now: Now, room: RoomSlot, leg: LegId) {
        let there = self.recordings.values_mut().filter(|r| r.target == AudioTarget::Room(room));
        there.filter_map(|r| r.tracks.as_mut()).for_each(|t| t.leave(ctx, now, leg));
    }

    /// The file of a recording is complete, as far as possible.
    fn finish(&mut self, ctx: &mut Context, now: Now, slot: RecordSlot, finished: Finished) {
        let Finished { error, written, body: of_tracks, merged } = finished;
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
        let upload = r.upload.is_some();
        ctx.events.publish_of(now, &r.about, EventBody::RecordingFinished(body), r.upload);
        self.slots.free(slot);
        if let RecordingPhase::Closing(Some(handle)) = r.state {
            let outcome = match error {
                None => Ok(Reply::Recorded { file: r.file, upload, began: written.began, merged }),
                Some(e) => Err(GatewayError::Failed(format!("the recording could not be completed: {e}"))),
            };
            ctx.replies.send(handle, outcome);
        }
        self.events.push_back(RecordingEvent::Over(r.target));
    }

    /// A leg was removed before its recording was completely written: the recording no longer belongs to the
    /// slot, which is reused, and its events are not numbered.
    pub fn outlive(&mut self, slot: Slot, leg: &Subject) {
        for r in self.recordings.values_mut().filter(|r| r.target == AudioTarget::Leg(slot)) {
            r.target = AudioTarget::LegInput(slot);
            r.about = About::Subject(leg.clone());
        }
    }

    /// File of the recording in progress there, if it is multi-channel.
    #[must_use]
    pub fn multi_channel_file(&self, target: AudioTarget) -> Option<String> {
        let running = |r: &&Recording| r.target == target && r.is_running() && r.tracks.is_some();
        self.recordings.values().find(running).map(|r| r.file.clone())
    }

    /// `POST …/record/pause` and `…/resume`.
    ///
    /// # Errors
    /// No recording in progress.
    pub fn pause(
        &mut self,
        ctx: &mut Context,
        now: Now,
        target: Option<AudioTarget>,
        on: bool,
    ) -> Result<Paused, GatewayError> {
        let (record, r) = self.running(target).ok_or(NO_RECORDING)?;
        if r.paused == on {
            return Ok(Paused::Already);
        }
        r.paused = on;
        ctx.media.push_back(Command::PauseRecord { record, on });
        r.tracks.iter().for_each(|t| t.pause(ctx, on));
        let pause = RecordingPause { file: "" };
        let body = if on { EventBody::RecordingPaused(pause) } else { EventBody::RecordingResumed(pause) };
        ctx.events.publish_of(now, &r.about, body, None);
        Ok(Paused::Changed)
    }

    /// The next event for other parts; call until `None`.
    pub fn poll_event(&mut self) -> Option<RecordingEvent> {
        self.events.pop_front()
    }

    /// True while a recording there still has to send its terminal event.
    #[must_use]
    pub fn has_any_of(&self, target: AudioTarget) -> bool {
        self.recordings.values().any(|r| r.target == target)
    }

    /// Recordings in progress, being opened or closed.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.slots.used()
    }

    /// True without recordings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recordings.is_empty() && self.slots.used() == 0
    }
}
