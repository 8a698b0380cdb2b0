//! Multi-channel recordings of rooms: one track per stay of a leg, merged when the recording has ended.

use std::collections::BTreeMap;
use std::path::Path;

use super::layout::Layout;
use super::merged::{Merged, dir_of, merged_file};
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{ChannelSpan, Channels, RecordingFinished};
use crate::gateway::interface::work::{Merge, Piece, Work, WorkId, Written};
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::legs::member::Member;
use crate::gateway::resources::slots::Slots;
use crate::media::command::{AudioTarget, Command, RecordSlot};

/// Most tracks of a recording; further stays are only in the mix.
const MAX_STAYS: u32 = 4096;

/// The tracks of a room recording.
#[derive(Debug)]
pub(super) struct Tracks {
    /// Path of the recording's file.
    file: String,
    /// Sampling rate of all files, Hz.
    rate: u32,
    /// Legs by channel, in order of joining.
    channels: Vec<Channel>,
    /// Tracks in progress, or whose files are not closed.
    open: BTreeMap<RecordSlot, Track>,
    /// Legs without a track, or with an incomplete one.
    omitted: Vec<String>,
    /// Finished tracks.
    pieces: Vec<Piece>,
    /// Result of the mix: its error, if it ended early, and its contents.
    mix: Option<(Option<String>, Written)>,
    /// Merging in progress.
    merging: Option<WorkId>,
    /// Start of the recording.
    began: Option<Now>,
    /// Tracks so far.
    stays: u32,
}

#[derive(Debug)]
struct Channel {
    id: LegId,
    leg: String,
    start_ms: u64,
    /// `None`: the leg is still in the room.
    end_ms: Option<u64>,
}

/// One stay of one leg.
#[derive(Debug)]
struct Track {
    member: Member,
    channel: usize,
    file: String,
    state: TrackPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrackPhase {
    /// The file is being created; `stop`: stop as soon as it is open.
    Opening {
        work: WorkId,
        stop: bool,
    },
    Running,
    Closing,
}

impl Track {
    fn stop(&mut self, ctx: &mut Context, record: RecordSlot) {
        match &mut self.state {
            TrackPhase::Opening { stop, .. } => *stop = true,
            TrackPhase::Running => {
                self.state = TrackPhase::Closing;
                ctx.media.push_back(Command::StopRecord { record });
            }
            TrackPhase::Closing => {}
        }
    }
}

impl Tracks {
    /// The tracks of a recording into `file` with sampling rate `rate`, Hz.
    pub(super) fn new(file: &str, rate: u32) -> Self {
        Self {
            file: file.to_owned(),
            rate,
            channels: Vec::new(),
            open: BTreeMap::new(),
            omitted: Vec::new(),
            pieces: Vec::new(),
            mix: None,
            merging: None,
            began: None,
            stays: 0,
        }
    }

    /// The recording has started.
    pub(super) fn begin(&mut self, now: Now) {
        self.began = Some(now);
    }

    /// True once the recording has started.
    pub(super) fn have_begun(&self) -> bool {
        self.began.is_some()
    }

    /// A leg has joined the room: starts a track if a slot is free.
    pub(super) fn add(&mut self, ctx: &mut Context, now: Now, slots: &mut Slots, member: Member) {
        if self.stays >= MAX_STAYS {
            return self.omit(member.name);
        }
        let Some(record) = slots.take() else {
            log::warn!(leg = member.name; "no track of its own: all recordings are in use (limits.recordings)");
            return self.omit(member.name);
        };
        let start_ms = self.ms(now);
        let channel = self.channel_of(&member, start_ms);
        let file = format!("{channel:03}_{start_ms}_{}_{}.wav", self.stays, member.name);
        let file = Path::new(&dir_of(&self.file)).join(file).to_string_lossy().into_owned();
        self.stays += 1;
        let layout = Layout { input_rate: member.rate, file_rate: self.rate, channels: 1 };
        match layout.open(ctx, record, &file) {
            Some(work) => {
                let state = TrackPhase::Opening { work, stop: false };
                self.open.insert(record, Track { member, channel, file, state });
            }
            None => {
                slots.free(record);
                self.omit(member.name);
            }
        }
    }

    /// A file was created, or could not be; false if it does not belong to these tracks. `paused`: the
    /// recording is paused.
    pub(super) fn handle_opened(
        &mut self,
        ctx: &mut Context,
        slots: &mut Slots,
        work: WorkId,
        outcome: &Result<(), String>,
        paused: bool,
    ) -> bool {
        let opening = |t: &Track| matches!(t.state, TrackPhase::Opening { work: w, .. } if w == work);
        let Some((record, track)) = self.open.iter_mut().find(|(_, t)| opening(t)) else { return false };
        let record = *record;
        if let Err(e) = outcome {
            log::warn!(error = e; "a leg has no track of its own");
            if let Some(track) = self.open.remove(&record) {
                self.omit(track.member.name);
            }
            slots.free(record);
            return true;
        }
        let stop = matches!(track.state, TrackPhase::Opening { stop: true, .. });
        track.state = TrackPhase::Running;
        ctx.media.push_back(Command::Record { record, target: AudioTarget::LegInput(track.member.slot) });
        if paused {
            ctx.media.push_back(Command::PauseRecord { record, on: true });
        }
        if stop {
            track.stop(ctx, record);
        }
        true
    }

    /// A leg has left the room.
    pub(super) fn leave(&mut self, ctx: &mut Context, now: Now, leg: LegId) {
        let end_ms = self.ms(now);
        let there = self.channels.iter_mut().filter(|c| c.id == leg && c.end_ms.is_none());
        there.for_each(|c| c.end_ms = Some(end_ms));
        let own = self.open.iter_mut().filter(|(_, t)| t.member.leg == leg);
        own.for_each(|(record, track)| track.stop(ctx, *record));
    }

    /// The recording ends: stops all tracks.
    pub(super) fn stop_all(&mut self, ctx: &mut Context) {
        self.open.iter_mut().for_each(|(record, track)| track.stop(ctx, *record));
    }

    /// Pauses or resumes all tracks with their recording.
    pub(super) fn pause(&self, ctx: &mut Context, on: bool) {
        let running = self.open.iter().filter(|(_, t)| t.state == TrackPhase::Running);
        ctx.media.extend(running.map(|(record, _)| Command::PauseRecord { record: *record, on }));
    }

    /// The recorder has closed a file; false if it does not belong to these tracks.
    pub(super) fn handle_closed(
        &mut self,
        ctx: &mut Context,
        slots: &mut Slots,
        record: RecordSlot,
        failed: bool,
        written: Written,
    ) -> bool {
        let Some(track) = self.open.remove(&record) else { return false };
        if track.state == TrackPhase::Running {
            ctx.media.push_back(Command::StopRecord { record });
        }
        slots.free(record);
        if failed {
            self.omit(track.member.name);
        }
        self.pieces.push(Piece { file: track.file, channel: track.channel, began: written.began });
        true
    }

    /// The mix has ended: its error, if it ended early, and its contents.
    pub(super) fn mix_over(&mut self, error: Option<String>, written: Written) {
        self.mix = Some((error, written));
    }

    /// Merges the tracks once the mix and all tracks are closed.
    ///
    /// # Errors
    /// Too many pending disk operations.
    pub(super) fn merge_when_over(&mut self, ctx: &mut Context) -> Result<(), String> {
        let Some((_, mix)) = self.mix.as_ref().filter(|_| self.open.is_empty() && self.merging.is_none())
        else {
            return Ok(());
        };
        let merge = Merge {
            file: merged_file(&self.file),
            channels: self.channels.len(),
            rate: self.rate,
            began: mix.began,
            duration_ms: mix.duration_ms,
            pieces: self.pieces.clone(),
        };
        self.merging = ctx.io.start(|id| Work::Merge(id, Box::new(merge)));
        self.merging.map(|_| ()).ok_or_else(|| "too much waits for the disk already".to_owned())
    }

    /// True while merging.
    pub(super) fn are_merging(&self) -> bool {
        self.merging.is_some()
    }

    /// True if merged by this work item.
    pub(super) fn are_merged_by(&self, work: WorkId) -> bool {
        self.merging == Some(work)
    }

    /// The result of merging: data for the terminal event and the reply.
    pub(super) fn finish(self, outcome: Result<u64, String>) -> Finished {
        let (error, mix) = self.mix.unwrap_or_default();
        let mut body = RecordingFinished { omitted_legs: self.omitted, ..RecordingFinished::default() };
        let mut merged = None;
        match outcome {
            Ok(bytes) => {
                let (file, channels) = (merged_file(&self.file), table(&self.channels, mix.duration_ms));
                body.multi_channel_file = Some(file.clone());
                body.multi_channel_bytes = Some(bytes);
                body.channels = Some(channels.clone());
                merged = Some(Merged { file, channels });
            }
            Err(e) => {
                log::error!(error = e; "the tracks of a recording are left as they are");
                body.multi_channel_error = Some(e.into());
                body.tracks = Some(dir_of(&self.file));
            }
        }
        Finished { error, written: mix, body, merged }
    }

    /// Time since the recording began, ms.
    fn ms(&self, now: Now) -> u64 {
        let since = self.began.map_or_else(Default::default, |b| now.mono.saturating_duration_since(b.mono));
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn omit(&mut self, leg: String) {
        if !self.omitted.contains(&leg) {
            self.omitted.push(leg);
        }
    }

    /// The channel of a leg; a returning leg gets its previous channel.
    fn channel_of(&mut self, member: &Member, start_ms: u64) -> usize {
        if let Some(at) = self.channels.iter().position(|c| c.id == member.leg) {
            if let Some(c) = self.channels.get_mut(at) {
                c.end_ms = None;
            }
            return at;
        }
        let (id, leg) = (member.leg, member.name.clone());
        self.channels.push(Channel { id, leg, start_ms, end_ms: None });
        self.channels.len() - 1
    }
}

/// Result of a recording.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// Error that ended it early.
    pub(super) error: Option<String>,
    /// Contents of its file.
    pub(super) written: Written,
    /// Fields of its terminal event about the tracks.
    pub(super) body: RecordingFinished,
    /// The merged file, if successful.
    pub(super) merged: Option<Merged>,
}

/// Channels by leg.
fn table(channels: &[Channel], total_ms: u64) -> Channels {
    let entry = |(channel, c): (usize, &Channel)| {
        let (start_ms, end_ms) = (c.start_ms.min(total_ms), c.end_ms.unwrap_or(total_ms).min(total_ms));
        (c.leg.clone(), ChannelSpan { channel, start_ms, end_ms: end_ms.max(start_ms) })
    };
    channels.iter().enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Table;
    use crate::gateway::legs::leg_id::LegKey;

    #[test]
    fn whoever_comes_back_has_the_channel_it_had() {
        let mut legs: Table<(), LegKey> = Table::new(2);
        let ids = [legs.insert(()).unwrap(), legs.insert(()).unwrap()];
        let member =
            |at: usize| Member { leg: ids[at], name: ["a", "b"][at].to_owned(), slot: 0, rate: 8000 };
        let mut t = Tracks::new("r.wav", 8000);
        assert_eq!((t.channel_of(&member(0), 0), t.channel_of(&member(1), 300)), (0, 1));
        t.channels[0].end_ms = Some(500);
        assert_eq!(t.channel_of(&member(0), 900), 0);
        t.channels[1].end_ms = Some(700);
        let told = table(&t.channels, 1000);
        let span = |channel, start_ms, end_ms| ChannelSpan { channel, start_ms, end_ms };
        assert_eq!(told, [("a".to_owned(), span(0, 0, 1000)), ("b".to_owned(), span(1, 300, 700))].into());
    }
}
