//! Puts the tracks of a multi-channel recording together: one file, one channel a leg, silence where it was away.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::wav_repair::repair;
use crate::gateway::tracks::{dir_of, merged_file};
use crate::gateway::work::Merge;

/// Samples of each channel that are put together at a time.
const BLOCK: usize = 8192;
/// Sound a WAV file can hold, bytes.
const MAX_DATA: u64 = u32::MAX as u64 - 64 * 1024;
/// Ticks a second.
const TICKS: u64 = 50;

/// A track, ready to be read.
struct Source {
    channel: usize,
    /// Sample of the whole at which it begins.
    at: u64,
    reader: WavReader<BufReader<File>>,
}

/// Puts tracks together; they go when the file is on the disk. Its size, bytes.
///
/// # Errors
/// The disk refuses it, or a WAV file cannot hold it; the tracks stay as they are.
pub fn merge(order: &Merge) -> Result<u64, String> {
    let per_tick = u64::from(order.rate) / TICKS;
    let mut sources = Vec::new();
    for piece in order.pieces.iter().filter(|p| p.began > 0 && order.began > 0) {
        // The counter may have passed its end in between; a track never begins before its recording.
        let ticks = piece.began.wrapping_sub(order.began).cast_signed().max(0);
        let at = u64::from(ticks.unsigned_abs()) * per_tick;
        sources.push(Source { channel: piece.channel, at, reader: open(Path::new(&piece.file))? });
    }
    let samples = order.duration_ms * u64::from(order.rate) / 1000;
    let size = put_together(Path::new(&order.file), sources, order.channels, order.rate, samples)?;
    remove_tracks(Path::new(&order.dir));
    Ok(size)
}

fn open(path: &Path) -> Result<WavReader<BufReader<File>>, String> {
    WavReader::open(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn remove_tracks(dir: &Path) {
    if let Err(e) = std::fs::remove_dir_all(dir)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        log::warn!(error:% = e; "tracks that are not needed any more cannot be deleted");
    }
}

fn put_together(
    path: &Path,
    mut sources: Vec<Source>,
    channels: usize,
    rate: u32,
    samples: u64,
) -> Result<u64, String> {
    let all = channels.max(1);
    let count = u16::try_from(all).map_err(|_| "too many channels for a WAV file".to_owned())?;
    let size = samples.saturating_mul(u64::from(count)) * 2;
    if size > MAX_DATA {
        return Err("a WAV file holds at most 4 GiB".to_owned());
    }
    let temporary = PathBuf::from(format!("{}.part", path.display()));
    let written = write(&temporary, &mut sources, count, rate, samples).and_then(|()| {
        std::fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()?;
        std::fs::metadata(path)
    });
    written.map(|m| m.len()).map_err(|e| {
        // It may not have come to be.
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

/// Adds what a track has of the samples `from` to `from + n` to its channel. Two stays of a leg never overlap by more than
/// a tick.
fn fill(block: &mut [i16], source: &mut Source, from: u64, n: usize, channels: usize) -> hound::Result<()> {
    let Some(skip) = source
        .at
        .checked_sub(from)
        .map_or(Some(0), |ahead| usize::try_from(ahead).ok().filter(|ahead| *ahead < n))
    else {
        return Ok(());
    };
    let places = block.chunks_exact_mut(channels).take(n).skip(skip);
    for (place, sample) in places.zip(source.reader.samples::<i16>()) {
        if let Some(to) = place.get_mut(source.channel) {
            *to = to.saturating_add(sample?);
        }
    }
    Ok(())
}

fn io(e: hound::Error) -> std::io::Error {
    if let hound::Error::IoError(e) = e {
        return e;
    }
    std::io::Error::other(e.to_string())
}

/// What was saved of a multi-channel recording that a crash has cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The file of all channels.
    pub file: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Who is heard.
    pub legs: Vec<Heard>,
}

/// A leg of a multi-channel recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its id.
    pub leg: String,
    /// Its channel, from 0.
    pub channel: usize,
    /// When it came, ms.
    pub start_ms: u64,
    /// When it left, ms.
    pub end_ms: u64,
}

/// True when a crash has left tracks of this recording.
#[must_use]
pub fn are_left(file: &str) -> bool {
    Path::new(&dir_of(file)).is_dir()
}

/// Puts together what a crash has left of the tracks: their names say where they belong.
///
/// # Errors
/// Nothing usable is left, or the disk refuses it; the tracks stay as they are.
pub fn save(file: &str, rate: u32, duration_ms: u64) -> Result<Saved, String> {
    let dir = dir_of(file);
    let mut sources = Vec::new();
    let mut legs: Vec<Heard> = Vec::new();
    let mut names: Vec<PathBuf> = std::fs::read_dir(&dir)
        .map_err(|e| format!("{dir}: {e}"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    names.sort();
    for path in names {
        let Some((channel, start_ms, leg)) = place_of(&path) else { continue };
        // One that was just made may hold nothing yet.
        let Ok(facts) = repair(&path) else { continue };
        let end_ms = (start_ms + facts.duration_ms).min(duration_ms);
        match legs.iter_mut().find(|l| l.channel == channel) {
            Some(known) => known.end_ms = known.end_ms.max(end_ms),
            None => legs.push(Heard { leg, channel, start_ms: start_ms.min(duration_ms), end_ms }),
        }
        sources.push(Source { channel, at: start_ms * u64::from(rate) / 1000, reader: open(&path)? });
    }
    let channels = sources.iter().map(|s| s.channel + 1).max().ok_or("no track holds anything")?;
    let samples = duration_ms * u64::from(rate) / 1000;
    let merged = merged_file(file);
    let bytes = put_together(Path::new(&merged), sources, channels, rate, samples)?;
    remove_tracks(Path::new(&dir));
    Ok(Saved { file: merged, bytes, legs })
}

/// Channel, start in ms and leg, as the name of a track has them.
fn place_of(path: &Path) -> Option<(usize, u64, String)> {
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".wav")?.splitn(3, '_');
    let channel = parts.next()?.parse().ok().filter(|c| *c < 1024)?;
    let start_ms = parts.next()?.parse().ok().filter(|ms| *ms < 1 << 40)?;
    Some((channel, start_ms, parts.next()?.to_owned()))
}

/// Deletes a recording, and tracks of it that could not be put together.
///
/// # Errors
/// What the operating system says of the file, unless it is that there is none.
pub fn remove_recording(file: &str) -> std::io::Result<()> {
    remove_tracks(Path::new(&dir_of(file)));
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::work::Piece;

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

    /// Of each channel: the runs of equal samples.
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
    fn each_leg_has_its_channel_and_its_time() {
        let (base, dir, file) = scene("merge");
        let piece = |file: String, channel, began| Piece { file, channel, began };
        let order = Merge {
            dir: dir.display().to_string(),
            file: merged_file(&file),
            channels: 3,
            rate: 8000,
            // The counter wraps in between.
            began: u32::MAX - 9,
            duration_ms: 2000,
            pieces: vec![
                piece(track(&dir, "a", 100, 4000), 0, u32::MAX - 9),
                piece(track(&dir, "b", 200, 12_000), 1, 15),
                piece(track(&dir, "c", 101, 20_000), 0, 40),
                piece(track(&dir, "d", 300, 0), 2, 0),
            ],
        };
        // With more than two channels the header says more.
        assert_eq!(merge(&order), Ok(68 + 2 * 3 * 16_000));
        assert_eq!(
            runs(&order.file),
            [vec![(100, 4000), (0, 4000), (101, 8000)], vec![(0, 4000), (200, 12_000)], vec![(0, 16_000)],]
        );
        assert!(!dir.exists(), "the tracks are not needed any more");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_a_crash_has_left_is_put_together_by_its_names() {
        let (base, dir, file) = scene("saved");
        track(&dir, "000_0_anna.wav", 100, 8000);
        track(&dir, "001_500_ben_k.wav", 200, 2000);
        track(&dir, "000_1500_anna.wav", 101, 8000);
        std::fs::write(dir.join("002_9_x.wav"), "nothing").unwrap();
        std::fs::write(dir.join("stray"), "").unwrap();
        assert!(are_left(&file));
        let saved = save(&file, 8000, 2000).unwrap();
        let heard =
            |leg: &str, channel, start_ms, end_ms| Heard { leg: leg.to_owned(), channel, start_ms, end_ms };
        assert_eq!(saved.legs, [heard("anna", 0, 0, 2000), heard("ben_k", 1, 500, 750)]);
        assert_eq!((saved.bytes, &saved.file), (44 + 4 * 16_000, &merged_file(&file)));
        assert_eq!(
            runs(&saved.file),
            [vec![(100, 8000), (0, 4000), (101, 4000)], vec![(0, 4000), (200, 2000), (0, 10_000)]]
        );
        assert!(!are_left(&file));
        assert!(save(&file, 8000, 2000).is_err());
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_cannot_be_written_leaves_the_tracks() {
        let (base, dir, file) = scene("unmerged");
        let order = Merge {
            dir: dir.display().to_string(),
            file: "/proc/nowhere/x.wav".to_owned(),
            channels: 1,
            rate: 8000,
            began: 1,
            duration_ms: 1000,
            pieces: vec![Piece { file: track(&dir, "a", 1, 8000), channel: 0, began: 1 }],
        };
        assert!(merge(&order).is_err() && dir.join("a").exists());
        let long = Merge { channels: 16, duration_ms: 1 << 33, file: merged_file(&file), ..order };
        assert_eq!(merge(&long).unwrap_err(), "a WAV file holds at most 4 GiB");
        remove_recording(&file).unwrap();
        assert!(!dir.exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
