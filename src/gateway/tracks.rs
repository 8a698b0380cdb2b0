//! Multi-channel recordings of rooms: one track for each stay of a leg, put together when the recording is over.

use std::path::Path;

use super::core::Gateway;
use super::events::{ChannelSpan, Channels, RecordingFinished};
use super::leg::LegId;
use super::work::{Merge, Piece, Work, WorkId, Written};
use crate::base::time::Now;
use crate::media::command::{Command, RecordSlot, Target};

/// Stays of legs in one recording that have tracks; past it they are in the mix alone.
const MAX_STAYS: u32 = 4096;

/// The tracks of a recording of a room.
#[derive(Debug, Default)]
pub struct Tracks {
    /// By channel: who is heard there, in the order they came.
    channels: Vec<Channel>,
    /// Legs that could not be recorded of their own, or not to the end.
    omitted: Vec<String>,
    /// Those that are over.
    pieces: Vec<Piece>,
    /// The mix is over: why it ended early, if it did, and what it holds.
    pub(super) mix: Option<(Option<String>, Written)>,
    /// They are being put together.
    merging: Option<WorkId>,
    /// When the recording began.
    began: Option<Now>,
    /// Stays so far.
    stays: u32,
}

#[derive(Debug)]
struct Channel {
    leg: String,
    start_ms: u64,
    /// `None`: the leg is there.
    end_ms: Option<u64>,
}

/// One stay of one leg.
#[derive(Debug)]
pub struct Track {
    /// The recording it is part of.
    of: RecordSlot,
    leg: LegId,
    target: Target,
    channel: usize,
    file: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its file is being made; `stop`: it is to be stopped at once.
    Opening {
        work: WorkId,
        stop: bool,
    },
    Running,
    Closing,
}

/// What came of the tracks, for the event and the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The file.
    pub file: String,
    /// Where each leg is heard.
    pub channels: Channels,
}

/// Directory of a recording's tracks.
#[must_use]
pub fn dir_of(file: &str) -> String {
    format!("{}.tracks", file.strip_suffix(".wav").unwrap_or(file))
}

/// File of all channels of a recording: `YYYYMMDD_HHMMSS_multichannel_xxxxxxxx.wav`.
#[must_use]
pub fn merged_file(file: &str) -> String {
    let (rest, number) = file.rsplit_once('_').unwrap_or((file, "0.wav"));
    format!("{rest}_multichannel_{number}")
}

impl Gateway {
    /// The recording of a room has begun: so do the tracks of those who are there.
    pub(super) fn begin_tracks(&mut self, now: Now, of: RecordSlot) {
        let Some(r) = self.recordings.get_mut(&of) else { return };
        let (target, Some(tracks)) = (r.target, r.tracks.as_mut()) else { return };
        tracks.began = Some(now);
        let room = self.rooms.values().find(|room| Target::Room(room.slot) == target);
        for leg in room.map(|r| r.members.clone()).unwrap_or_default() {
            self.begin_track(now, of, leg);
        }
    }

    /// A leg has come into a room.
    pub(super) fn track_joins(&mut self, now: Now, leg: LegId, room: Target) {
        let running = |r: &super::record::Recording| {
            r.target == room && r.is_running() && r.tracks.as_ref().is_some_and(|t| t.began.is_some())
        };
        let of = self.recordings.iter().find(|(_, r)| running(r)).map(|(slot, _)| *slot);
        if let Some(of) = of {
            self.begin_track(now, of, leg);
        }
    }

    fn begin_track(&mut self, now: Now, of: RecordSlot, id: LegId) {
        let Some(leg) = self.legs.get(id) else { return };
        let (name, Some(slot), input_rate) = (leg.id.clone(), leg.slot, leg.rate) else { return };
        let Some(r) = self.recordings.get_mut(&of) else { return };
        let (rate, dir) = (r.rate, dir_of(&r.file));
        let Some(tracks) = &mut r.tracks else { return };
        if tracks.stays >= MAX_STAYS {
            return tracks.omit(name);
        }
        let Some(record) = self.record_slots.take() else {
            log::warn!(leg = name; "no track of its own: all recordings are in use (limits.recordings)");
            return tracks.omit(name);
        };
        let start_ms = tracks.ms(now);
        let channel = tracks.channel_of(&name, start_ms);
        let stay = tracks.stays;
        tracks.stays += 1;
        let file = Path::new(&dir).join(format!("{channel:03}_{start_ms}_{stay}_{name}.wav"));
        let file = file.to_string_lossy().into_owned();
        let path = file.clone();
        let opened = self.ctx.io.start(|id| Work::OpenRecording {
            id,
            record,
            file: path,
            input_rate,
            file_rate: rate,
            channels: 1,
        });
        match opened {
            Some(work) => {
                let state = State::Opening { work, stop: false };
                let track = Track { of, leg: id, target: Target::Voice(slot), channel, file, state };
                self.tracks.insert(record, track);
            }
            None => {
                self.record_slots.free(record);
                if let Some(tracks) = self.recordings.get_mut(&of).and_then(|r| r.tracks.as_mut()) {
                    tracks.omit(name);
                }
            }
        }
    }

    /// The file of a track is there, or could not be made; false when it is no track's.
    pub(super) fn track_opened(&mut self, now: Now, work: WorkId, outcome: &Result<(), String>) -> bool {
        let opening = |t: &Track| matches!(t.state, State::Opening { work: w, .. } if w == work);
        let Some((record, track)) = self.tracks.iter_mut().find(|(_, t)| opening(t)) else { return false };
        let (record, of) = (*record, track.of);
        let stop = matches!(track.state, State::Opening { stop: true, .. });
        if let Err(e) = outcome {
            log::warn!(error = e; "a leg has no track of its own");
            let leg = self.legs.get(track.leg).map(|l| l.id.clone());
            self.tracks.remove(&record);
            self.record_slots.free(record);
            let tracks = self.recordings.get_mut(&of).and_then(|r| r.tracks.as_mut());
            if let (Some(tracks), Some(leg)) = (tracks, leg) {
                tracks.omit(leg);
            }
            self.merge_when_over(now, of);
            return true;
        }
        track.state = State::Running;
        self.ctx.media.push_back(Command::Record { record, target: track.target });
        if self.recordings.get(&of).is_some_and(super::record::Recording::is_paused) {
            self.ctx.media.push_back(Command::PauseRecord { record, on: true });
        }
        if stop {
            self.stop_track(record);
        }
        true
    }

    fn stop_track(&mut self, record: RecordSlot) {
        let Some(track) = self.tracks.get_mut(&record) else { return };
        match &mut track.state {
            State::Opening { stop, .. } => *stop = true,
            State::Running => {
                track.state = State::Closing;
                self.ctx.media.push_back(Command::StopRecord { record });
            }
            State::Closing => {}
        }
    }

    /// A leg has left the room.
    pub(super) fn track_leaves(&mut self, now: Now, leg: LegId, room: Target) {
        let name = self.legs.get(leg).map(|l| l.id.clone()).unwrap_or_default();
        for (of, r) in self.recordings.iter_mut().filter(|(_, r)| r.target == room && !r.is_over()) {
            let Some(tracks) = &mut r.tracks else { continue };
            let end_ms = tracks.ms(now);
            tracks.channels.iter_mut().filter(|c| c.leg == name).for_each(|c| c.end_ms = Some(end_ms));
            let own = self.tracks.iter().filter(|(_, t)| t.of == *of && t.leg == leg);
            let own: Vec<RecordSlot> = own.map(|(slot, _)| *slot).collect();
            return own.into_iter().for_each(|record| self.stop_track(record));
        }
    }

    /// The recording of a room ends: so do its tracks.
    pub(super) fn stop_tracks(&mut self, of: RecordSlot) {
        let all: Vec<RecordSlot> = self.tracks.iter().filter(|(_, t)| t.of == of).map(|(s, _)| *s).collect();
        all.into_iter().for_each(|record| self.stop_track(record));
    }

    /// Tracks are silent while their recording pauses.
    pub(super) fn pause_tracks(&mut self, of: RecordSlot, on: bool) {
        let running = self.tracks.iter().filter(|(_, t)| t.of == of && t.state == State::Running);
        self.ctx.media.extend(running.map(|(record, _)| Command::PauseRecord { record: *record, on }));
    }

    /// The recorder has closed the file of a track; false when it is no track's.
    pub(super) fn track_closed(
        &mut self,
        now: Now,
        record: RecordSlot,
        error: Option<&str>,
        written: Written,
    ) -> bool {
        let Some(track) = self.tracks.remove(&record) else { return false };
        if track.state == State::Running {
            self.ctx.media.push_back(Command::StopRecord { record });
        }
        self.record_slots.free(record);
        if let Some(tracks) = self.recordings.get_mut(&track.of).and_then(|r| r.tracks.as_mut()) {
            if error.is_some()
                && let Some(leg) = tracks.channels.get(track.channel).map(|c| c.leg.clone())
            {
                tracks.omit(leg);
            }
            tracks.pieces.push(Piece { file: track.file, channel: track.channel, began: written.began });
        }
        self.merge_when_over(now, track.of);
        true
    }

    /// Puts the tracks together once the mix and all of them are over.
    pub(super) fn merge_when_over(&mut self, now: Now, of: RecordSlot) {
        if self.tracks.values().any(|t| t.of == of) {
            return;
        }
        let Some(r) = self.recordings.get_mut(&of) else { return };
        let (file, rate) = (r.file.clone(), r.rate);
        let Some(tracks) = r.tracks.as_mut().filter(|t| t.merging.is_none()) else { return };
        let Some((_, mix)) = &tracks.mix else { return };
        let merge = Merge {
            file: merged_file(&file),
            channels: tracks.channels.len(),
            rate,
            began: mix.began,
            duration_ms: mix.duration_ms,
            pieces: tracks.pieces.clone(),
        };
        match self.ctx.io.start(|id| Work::Merge(id, Box::new(merge))) {
            Some(work) => {
                if let Some(tracks) = self.recordings.get_mut(&of).and_then(|r| r.tracks.as_mut()) {
                    tracks.merging = Some(work);
                }
            }
            None => self.merged(now, of, Err("too much waits for the disk already".to_owned())),
        }
    }

    /// The tracks are put together, or why not.
    pub(super) fn tracks_merged(&mut self, now: Now, work: WorkId, outcome: Result<u64, String>) {
        let merging = |t: &Tracks| t.merging == Some(work);
        let of = self.recordings.iter().find(|(_, r)| r.tracks.as_ref().is_some_and(merging));
        if let Some(of) = of.map(|(slot, _)| *slot) {
            self.merged(now, of, outcome);
        }
    }

    fn merged(&mut self, now: Now, of: RecordSlot, outcome: Result<u64, String>) {
        let Some(r) = self.recordings.get_mut(&of) else { return };
        let (file, Some(tracks)) = (merged_file(&r.file), r.tracks.take()) else { return };
        let Some((error, mix)) = tracks.mix else { return };
        let mut body = RecordingFinished { omitted_legs: tracks.omitted, ..RecordingFinished::default() };
        let mut merged = None;
        match outcome {
            Ok(bytes) => {
                let channels = table(&tracks.channels, mix.duration_ms);
                body.multi_channel_file = Some(file.clone());
                body.multi_channel_bytes = Some(bytes);
                body.channels = Some(channels.clone());
                merged = Some(Merged { file, channels });
            }
            Err(e) => {
                log::error!(error = e; "the tracks of a recording are left as they are");
                body.multi_channel_error = Some(e.into());
                body.tracks = Some(dir_of(&r.file));
            }
        }
        self.finish_recording(now, of, error, mix, body, merged);
    }
}

/// Where each leg is heard.
fn table(channels: &[Channel], total_ms: u64) -> Channels {
    let entry = |(channel, c): (usize, &Channel)| {
        let (start_ms, end_ms) = (c.start_ms.min(total_ms), c.end_ms.unwrap_or(total_ms).min(total_ms));
        (c.leg.clone(), ChannelSpan { channel, start_ms, end_ms: end_ms.max(start_ms) })
    };
    channels.iter().enumerate().map(entry).collect()
}

impl Tracks {
    /// True when they are being put together.
    pub(super) fn are_merging(&self) -> bool {
        self.merging.is_some()
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

    /// The channel of a leg; one that comes back has the one it had.
    fn channel_of(&mut self, leg: &str, start_ms: u64) -> usize {
        if let Some(at) = self.channels.iter().position(|c| c.leg == leg) {
            if let Some(c) = self.channels.get_mut(at) {
                c.end_ms = None;
            }
            return at;
        }
        self.channels.push(Channel { leg: leg.to_owned(), start_ms, end_ms: None });
        self.channels.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let file = "/var/r/20261125_120000_0badcafe.wav";
        assert_eq!(dir_of(file), "/var/r/20261125_120000_0badcafe.tracks");
        assert_eq!(merged_file(file), "/var/r/20261125_120000_multichannel_0badcafe.wav");
    }

    #[test]
    fn whoever_comes_back_has_the_channel_it_had() {
        let mut t = Tracks::default();
        assert_eq!((t.channel_of("a", 0), t.channel_of("b", 300)), (0, 1));
        t.channels[0].end_ms = Some(500);
        assert_eq!(t.channel_of("a", 900), 0);
        t.channels[1].end_ms = Some(700);
        let told = table(&t.channels, 1000);
        let span = |channel, start_ms, end_ms| ChannelSpan { channel, start_ms, end_ms };
        assert_eq!(told, [("a".to_owned(), span(0, 0, 1000)), ("b".to_owned(), span(1, 300, 700))].into());
    }
}
