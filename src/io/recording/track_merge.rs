//! Merges the tracks of a multi-channel recording into one file: one channel per leg, silence while it was
//! absent.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use super::recorder::room_for;
use crate::dsp::frame_len;
use crate::gateway::events::{ChannelSpan, Channels};
use crate::gateway::interface::work::Merge;
use crate::gateway::recording::{dir_of, merged_file};
use crate::io::wav::repair::{HEADER, MAX_DATA, TOO_LONG, repair};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// Samples per channel merged at once.
const BLOCK: usize = 8192;

/// A track file.
struct Source {
    path: PathBuf,
    channel: usize,
    /// Its start within the merged file, samples.
    at: u64,
    /// Opened when needed, to limit the number of open files.
    reader: Option<WavReader<BufReader<File>>>,
    over: bool,
}

impl Source {
    fn new(path: PathBuf, channel: usize, at: u64) -> Self {
        Self { path, channel, at, reader: None, over: false }
    }
}

/// Merges tracks, if `min_free` bytes stay free on the disk. Returns the size of the file, bytes.
///
/// # Errors
/// The disk cannot be written, or the maximum WAV size is exceeded.
pub fn merge(order: &Merge, min_free: u64) -> Result<u64, String> {
    let per_tick = frame_len(order.rate) as u64;
    if order.duration_ms == 0 && order.pieces.iter().any(|p| p.began > 0) {
        return Err("the length of the recording is unknown".to_owned());
    }
    let mut sources = Vec::new();
    for piece in order.pieces.iter().filter(|p| p.began > 0 && order.began > 0) {
        // The counter may have wrapped; a track never begins before its recording.
        let ticks = piece.began.wrapping_sub(order.began).cast_signed().max(0);
        let at = u64::from(ticks.unsigned_abs()) * per_tick;
        sources.push(Source::new(PathBuf::from(&piece.file), piece.channel, at));
    }
    let samples = order.duration_ms * u64::from(order.rate) / 1000;
    let room = |size| room_for(Path::new(&order.file), min_free.saturating_add(size));
    put_together(Path::new(&order.file), sources, order.channels, order.rate, samples, room)
}

/// Deletes tracks.
pub(super) fn remove_tracks(dir: &Path) {
    if let Err(e) = std::fs::remove_dir_all(dir)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        log::warn!(error:% = e; "merged tracks cannot be deleted");
    }
}

fn put_together(
    path: &Path,
    mut sources: Vec<Source>,
    channels: usize,
    rate: u32,
    samples: u64,
    room: impl FnOnce(u64) -> Result<(), String>,
) -> Result<u64, String> {
    let all = channels.max(1);
    let count = u16::try_from(all).map_err(|_| "too many channels for a WAV file".to_owned())?;
    let size = samples.saturating_mul(u64::from(count)) * 2;
    if size > MAX_DATA {
        return Err(TOO_LONG.to_owned());
    }
    room(size)?;
    let temporary = PathBuf::from(format!("{}.part", path.display()));
    let written = write(&temporary, &mut sources, count, rate, samples).and_then(|()| {
        std::fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()?;
        std::fs::metadata(path)
    });
    written.map(|m| m.len()).map_err(|e| {
        // It may not have been created.
        let _gone = std::fs::remove_file(&temporary);
        e.to_string()
    })
}

fn write(path: &Path, sources: &mut [Source], channels: u16, rate: u32, samples: u64) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let same = file.try_clone()?;
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut out = WavWriter::new(BufWriter::with_capacity(256 * 1024, file), spec).map_err(io)?;
    let all = usize::from(channels);
    let mut block = vec![0i16; BLOCK * all];
    let mut from = 0;
    while from < samples {
        let n = usize::try_from(samples - from).unwrap_or(BLOCK).min(BLOCK);
        block.fill(0);
        for source in sources.iter_mut() {
            fill(&mut block, source, from, n, all).map_err(io)?;
        }
        let whole = block.get(..n * all).unwrap_or_default();
        let mut to = out.get_i16_writer(u32::try_from(whole.len()).unwrap_or(0));
        whole.iter().for_each(|s| to.write_sample(*s));
        to.flush().map_err(io)?;
        from += n as u64;
    }
    out.finalize().map_err(io)?;
    same.sync_all()
}

/// Adds the samples `from` to `from + n` of a track to its channel. Two tracks of a leg overlap by at most
/// one tick.
fn fill(block: &mut [i16], source: &mut Source, from: u64, n: usize, channels: usize) -> hound::Result<()> {
    let skip = usize::try_from(source.at.saturating_sub(from)).unwrap_or(usize::MAX);
    if source.over || skip >= n {
        return Ok(());
    }
    let reader = match &mut source.reader {
        Some(reader) => reader,
        None => source.reader.insert(WavReader::open(&source.path)?),
    };
    let mut filled = 0;
    let places = block.chunks_exact_mut(channels).take(n).skip(skip);
    for (place, sample) in places.zip(reader.samples::<i16>()) {
        filled += 1;
        if let Some(to) = place.get_mut(source.channel) {
            *to = to.saturating_add(sample?);
        }
    }
    if filled < n - skip {
        (source.reader, source.over) = (None, true);
    }
    Ok(())
}

fn io(e: hound::Error) -> std::io::Error {
    if let hound::Error::IoError(e) = e {
        return e;
    }
    std::io::Error::other(e.to_string())
}

/// Result of merging the tracks of an interrupted recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Path of the merged file.
    pub file: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Its rate, Hz.
    pub sample_rate: u32,
    /// Its length, ms.
    pub duration_ms: u64,
    /// Its channels.
    pub channels: usize,
    /// The legs in it.
    pub legs: Vec<Heard>,
}

impl Saved {
    /// Channel and time of each leg.
    #[must_use]
    pub fn table(&self) -> Channels {
        let span = |l: &Heard| ChannelSpan { channel: l.channel, start_ms: l.start_ms, end_ms: l.end_ms };
        self.legs.iter().map(|l| (l.leg.clone(), span(l))).collect()
    }
}

/// A leg of a multi-channel recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its id.
    pub leg: String,
    /// Channel, from 0.
    pub channel: usize,
    /// Start, ms.
    pub start_ms: u64,
    /// End, ms.
    pub end_ms: u64,
}

/// True if there are unmerged tracks of this recording.
#[must_use]
pub fn are_left(file: &str) -> bool {
    Path::new(&dir_of(file)).is_dir()
}

/// Merges tracks left by a crash: channel, time and leg are taken from their names. `duration_ms` 0: as long
/// as the tracks.
///
/// # Errors
/// No usable track, or the disk cannot be written.
pub fn save(file: &str, rate: u32, duration_ms: u64, min_free: u64) -> Result<Saved, String> {
    let dir = dir_of(file);
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{dir}: {e}"))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("{dir}: {e}"))?.path();
        let Some((channel, start_ms, leg)) = place_of(&path) else { continue };
        // A track that was just created may be empty.
        let size = std::fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?.len();
        if size > HEADER {
            let facts = repair(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let heard = Heard { leg, channel, start_ms, end_ms: start_ms + facts.duration_ms };
            found.push((path, heard, facts.sample_rate));
        }
    }
    found.sort_by_key(|(_, h, _)| (h.channel, h.start_ms));
    let rate = found.iter().map(|(.., r)| *r).find(|r| *r > 0).unwrap_or(rate);
    let longest = found.iter().map(|(_, h, _)| h.end_ms).max().ok_or("all tracks are empty")?;
    let total_ms = if duration_ms == 0 { longest } else { duration_ms };
    let mut legs: Vec<Heard> = Vec::new();
    let mut sources = Vec::new();
    for (path, heard, _) in found {
        sources.push(Source::new(path, heard.channel, heard.start_ms * u64::from(rate) / 1000));
        match legs.iter_mut().find(|l| l.channel == heard.channel) {
            Some(known) => known.end_ms = known.end_ms.max(heard.end_ms),
            None => legs.push(heard),
        }
    }
    for leg in &mut legs {
        (leg.start_ms, leg.end_ms) = (leg.start_ms.min(total_ms), leg.end_ms.min(total_ms));
    }
    let channels = legs.iter().map(|l| l.channel + 1).max().unwrap_or(0);
    let merged = merged_file(file);
    let path = Path::new(&merged);
    let samples = total_ms * u64::from(rate) / 1000;
    let room = |size| room_for(path, min_free.saturating_add(size));
    // Renamed to its final name when complete.
    let bytes = match std::fs::metadata(path) {
        Ok(there) => there.len(),
        Err(_) => put_together(path, sources, channels, rate, samples, room)?,
    };
    Ok(Saved { file: merged, bytes, sample_rate: rate, duration_ms: total_ms, channels, legs })
}

/// Channel, start in ms and leg from the name of a track.
fn place_of(path: &Path) -> Option<(usize, u64, String)> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".wav")?.splitn(4, '_');
    let channel = parts.next()?.parse().ok().filter(|c| *c < 1024)?;
    let start_ms = parts.next()?.parse().ok().filter(|ms| *ms < 1 << 40)?;
    parts.next()?.parse::<u32>().ok()?;
    Some((channel, start_ms, parts.next()?.to_owned()))
}

/// Deletes a recording and its unmerged tracks.
///
/// # Errors
/// Errors of the operating system, except if the file does not exist.
pub fn remove_recording(file: &str) -> std::io::Result<()> {
    remove_tracks(Path::new(&dir_of(&file.replacen("_multichannel_", "_", 1))));
    remove_file(file)
}

/// Deletes a file, if it exists.
///
/// # Errors
/// Errors of the operating system, except if the file does not exist.
pub fn remove_file(file: &str) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::interface::work::Piece;

    fn track(dir: &Path, name: &str, value: i16, samples: usize) -> String {
        let path = dir.join(name);
        let spec =
            WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut wav = WavWriter::create(&path, spec).unwrap();
        (0..samples).for_each(|_| wav.write_sample(value).unwrap());
        wav.finalize().unwrap();
        path.display().to_string()
    }

    fn scene(name: &str) -> (PathBuf, PathBuf, String) {
        let base = std::env::temp_dir().join(format!("branchline-{name}-{}", std::process::id()));
        let file = base.join("20261125_120000_0badcafe.wav").display().to_string();
        let dir = PathBuf::from(dir_of(&file));
        std::fs::create_dir_all(&dir).unwrap();
        (base, dir, file)
    }

    /// Runs of equal samples per channel.
    fn runs(path: &str) -> Vec<Vec<(i16, usize)>> {
        let wav = WavReader::open(path).unwrap();
        let n = usize::from(wav.spec().channels);
        let all: Vec<i16> = wav.into_samples().map(Result::unwrap).collect();
        let of = |c: usize| {
            let mut out: Vec<(i16, usize)> = Vec::new();
            for s in all.iter().skip(c).step_by(n) {
                match out.last_mut() {
                    Some((value, count)) if value == s => *count += 1,
                    _ => out.push((*s, 1)),
                }
            }
            out
        };
        (0..n).map(of).collect()
    }

    #[test]
    fn each_leg_has_its_channel_and_position() {
        let (base, dir, file) = scene("merge");
        let piece = |file: String, channel, began| Piece { file, channel, began };
        let order = Merge {
            file: merged_file(&file),
            channels: 3,
            rate: 8000,
            // The tick counter wraps during the recording.
            began: u32::MAX - 9,
            duration_ms: 2000,
            pieces: vec![
                piece(track(&dir, "a", 100, 4000), 0, u32::MAX - 9),
                piece(track(&dir, "b", 200, 12_000), 1, 15),
                piece(track(&dir, "c", 101, 20_000), 0, 40),
                piece(track(&dir, "d", 300, 0), 2, 0),
            ],
        };
        // The header is longer with more than two channels.
        assert_eq!(merge(&order, 0), Ok(68 + 2 * 3 * 16_000));
        assert_eq!(
            runs(&order.file),
            [vec![(100, 4000), (0, 4000), (101, 8000)], vec![(0, 4000), (200, 12_000)], vec![(0, 16_000)],]
        );
        let disk = merge(&Merge { file: format!("{file}.2"), ..order.clone() }, u64::MAX / 2);
        assert!(disk.unwrap_err().starts_with("the disk is full"));
        let none = merge(&Merge { duration_ms: 0, ..order }, 0);
        assert!(none.unwrap_err().contains("is unknown"), "tracks are not merged into an empty file");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn tracks_left_by_a_crash_are_merged_by_their_names() {
        let (base, dir, file) = scene("saved");
        track(&dir, "000_0_0_anna.wav", 100, 8000);
        track(&dir, "001_500_1_ben_k.wav", 200, 2000);
        track(&dir, "000_1500_2_anna.wav", 101, 8000);
        std::fs::write(dir.join("002_9_3_x.wav"), "nothing").unwrap();
        std::fs::write(dir.join("stray"), "").unwrap();
        assert!(are_left(&file));
        let saved = save(&file, 8000, 2000, 0).unwrap();
        let heard =
            |leg: &str, channel, start_ms, end_ms| Heard { leg: leg.to_owned(), channel, start_ms, end_ms };
        assert_eq!(saved.legs, [heard("anna", 0, 0, 2000), heard("ben_k", 1, 500, 750)]);
        assert_eq!((saved.bytes, &saved.file), (44 + 4 * 16_000, &merged_file(&file)));
        assert_eq!(
            runs(&saved.file),
            [vec![(100, 8000), (0, 4000), (101, 4000)], vec![(0, 4000), (200, 2000), (0, 10_000)]]
        );
        // Repeated, as after a crash before the outbox was updated: the existing merged file is kept.
        std::fs::remove_file(dir.join("001_500_1_ben_k.wav")).unwrap();
        let again = save(&file, 8000, 2000, 0).unwrap();
        assert_eq!((again.bytes, runs(&again.file).len()), (saved.bytes, 2));
        std::fs::remove_file(&saved.file).unwrap();
        // Without a mix, the tracks determine the length; unreadable tracks are an error.
        assert_eq!(save(&file, 8000, 0, 0).unwrap().duration_ms, 2500);
        std::fs::write(dir.join("003_0_4_y.wav"), [7; 100]).unwrap();
        std::fs::remove_file(&saved.file).unwrap();
        assert!(save(&file, 8000, 0, 0).unwrap_err().contains("003_0_4_y.wav"));
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn tracks_are_kept_if_merging_fails() {
        let (base, dir, file) = scene("unmerged");
        let order = Merge {
            file: "/proc/nowhere/x.wav".to_owned(),
            channels: 1,
            rate: 8000,
            began: 1,
            duration_ms: 1000,
            pieces: vec![Piece { file: track(&dir, "a", 1, 8000), channel: 0, began: 1 }],
        };
        assert!(merge(&order, 0).is_err() && dir.join("a").exists());
        let long = Merge { channels: 16, duration_ms: 1 << 33, file: merged_file(&file), ..order };
        assert_eq!(merge(&long, 0).unwrap_err(), "a WAV file holds at most 4 GiB");
        remove_recording(&file).unwrap();
        assert!(!dir.exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
