//! Decodes a sound file in chunks to mono at a given rate: many kinds of WAV, MP3, and raw samples.

use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, WindowFunction};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use super::tags::{Untagged, sound_begins};
use crate::io::wav::reader::{ReadSeek, WavReader, is_wav};

/// Input frames converted at once.
const CHUNK: usize = 1024;
/// Filter length for upsampling, samples, and maximum factor by which it grows for downsampling.
const SINC: usize = 128;
const MAX_RATIO: usize = 24;
/// Maximum chunks of silence used to flush the filter.
const MAX_ROUNDS: usize = 8;
/// Maximum consecutive damaged packets.
const MAX_DAMAGED: u32 = 50;
/// Maximum samples per packet.
const MAX_PACKET: usize = 1 << 20;

/// Raw samples, 16 bits, little-endian, mono: `audio/l16` or `audio/pcm` in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bare {
    /// Sampling rate, Hz.
    pub rate: u32,
}

impl Bare {
    /// Parses a media type for raw samples; `None`: another type.
    #[must_use]
    pub fn of_type(mime_type: &str) -> Option<Self> {
        let kind = mime_type.trim().to_ascii_lowercase();
        if !(kind.starts_with("audio/pcm") || kind.starts_with("audio/l16")) {
            return None;
        }
        let rate = kind.split(';').find_map(|p| p.trim().strip_prefix("rate=")?.parse().ok());
        Some(Self { rate: rate.unwrap_or(16_000) })
    }
}

/// Source of samples.
enum Source {
    Bare(File),
    Wav(WavReader),
    Coded { format: Box<dyn FormatReader>, decoder: Box<dyn AudioDecoder>, track: u32, damaged: u32 },
}

/// A sound file being decoded.
pub struct Sound {
    path: PathBuf,
    bare: Option<Bare>,
    wanted: u32,
    source: Source,
    resampler: Option<Converter>,
    /// Decoded, not yet converted.
    waiting: Vec<f32>,
}

/// Converts the sampling rate and compensates the filter's delay.
struct Converter {
    filter: Async<f32>,
    ratio: f64,
    /// Input and output frames so far.
    taken: u64,
    given: u64,
    /// Frames of filter delay still to be skipped.
    skip: usize,
}

impl Sound {
    /// Opens a file for output at `rate` Hz; `bare` is the format if it contains raw samples.
    ///
    /// # Errors
    /// Not a sound file, or an unsupported kind.
    pub fn open(path: &Path, bare: Option<Bare>, rate: u32) -> Result<Self, String> {
        let (source, from) = guarded(|| source(path, bare))?;
        let resampler = if from == rate { None } else { Some(Converter::new(from, rate)?) };
        Ok(Self { path: path.to_owned(), bare, wanted: rate, source, resampler, waiting: Vec::new() })
    }

    /// Restarts from the beginning.
    ///
    /// # Errors
    /// The file can no longer be read.
    pub fn rewind(&mut self) -> Result<(), String> {
        *self = Self::open(&self.path, self.bare, self.wanted)?;
        Ok(())
    }

    /// The next chunk; empty at the end.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read(&mut self) -> Result<Vec<i16>, String> {
        let Some(resampler) = &mut self.resampler else {
            let frames = guarded(|| self.source.frames())?;
            return Ok(frames.into_iter().map(sample).collect());
        };
        loop {
            while self.waiting.len() < CHUNK {
                let more = guarded(|| self.source.frames())?;
                if more.is_empty() {
                    break;
                }
                self.waiting.extend(more);
            }
            let chunk: Vec<f32> = self.waiting.drain(..self.waiting.len().min(CHUNK)).collect();
            let ended = chunk.len() < CHUNK;
            let out = if ended { resampler.finish(chunk)? } else { resampler.convert(chunk)? };
            if ended || !out.is_empty() {
                return Ok(out.into_iter().map(sample).collect());
            }
        }
    }
}

impl Converter {
    fn new(from: u32, to: u32) -> Result<Self, String> {
        // When downsampling, the filter must be as long in time as when upsampling, to be steep enough.
        let length = SINC * (from.div_ceil(to).max(1) as usize).min(MAX_RATIO);
        let parameters = SincInterpolationParameters::new(length, WindowFunction::Blackman2);
        let ratio = f64::from(to) / f64::from(from);
        let filter = Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input);
        let filter = filter.map_err(|e| e.to_string())?;
        let skip = filter.output_delay();
        Ok(Self { filter, ratio, taken: 0, given: 0, skip })
    }

    /// Converts a full chunk; there is no output while the filter fills.
    fn convert(&mut self, chunk: Vec<f32>) -> Result<Vec<f32>, String> {
        self.taken += chunk.len() as u64;
        let input = InterleavedOwned::new_from(chunk, 1, CHUNK).map_err(|e| e.to_string())?;
        let mut out = self.filter.process(&input, None).map_err(|e| e.to_string())?.take_data();
        let late = self.skip.min(out.len());
        self.skip -= late;
        out.drain(..late);
        self.given += out.len() as u64;
        Ok(out)
    }

    /// Converts the rest, and flushes the filter.
    fn finish(&mut self, mut chunk: Vec<f32>) -> Result<Vec<f32>, String> {
        let wanted = ((self.taken + chunk.len() as u64) as f64 * self.ratio).round() as u64;
        let most = usize::try_from(wanted.saturating_sub(self.given)).unwrap_or(usize::MAX);
        let mut out = Vec::new();
        for _ in 0..MAX_ROUNDS {
            if out.len() >= most {
                break;
            }
            chunk.resize(CHUNK, 0.0);
            out.extend(self.convert(std::mem::take(&mut chunk))?);
        }
        out.truncate(most);
        // Nothing follows.
        (self.taken, self.given) = (0, 0);
        Ok(out)
    }
}

/// A malformed file may cause a panic in a decoder.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err("the file is damaged".to_owned()))
}

/// Decodes a sound in memory as [`Sound`] would, up to `most` frames; returns the number of frames.
///
/// # Errors
/// Not a sound file, an unsupported kind, or damaged.
pub fn examine(bytes: Vec<u8>, most: usize) -> Result<usize, String> {
    guarded(|| {
        let (mut source, _rate) = coded(Box::new(Cursor::new(bytes)))?;
        let mut frames = 0;
        while frames < most {
            match source.frames()?.len() {
                0 => break,
                n => frames += n,
            }
        }
        Ok(frames)
    })
}

/// Opens a file; returns its rate, Hz.
fn source(path: &Path, bare: Option<Bare>) -> Result<(Source, u32), String> {
    let file = File::open(path).map_err(|e| format!("the sound cannot be read: {e}"))?;
    if let Some(Bare { rate }) = bare {
        return Ok((Source::Bare(file), checked_rate(rate)?));
    }
    if file.metadata().is_ok_and(|m| m.len() == 0) {
        return Err("the file is empty".to_owned());
    }
    coded(Box::new(file))
}

fn coded(mut file: Box<dyn ReadSeek>) -> Result<(Source, u32), String> {
    let unreadable = |e: std::io::Error| format!("the sound cannot be read: {e}");
    let start = sound_begins(&mut file).map_err(unreadable)?;
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
    if file.read_exact(&mut head).is_ok() && is_wav(&head) {
        file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        let wav = WavReader::open(file)?;
        checked_channels(wav.channels())?;
        let rate = checked_rate(wav.rate())?;
        return Ok((Source::Wav(wav), rate));
    }
    let file = Box::new(Untagged::new(file, start).map_err(unreadable)?);
    let stream = MediaSourceStream::new(file, MediaSourceStreamOptions::default());
    let (formats, meta) = (FormatOptions::default(), MetadataOptions::default());
    let opened = symphonia::default::get_probe().probe(&Hint::new(), stream, formats, meta);
    let format = opened.map_err(|e| {
        if let Error::DecodeError(why) = e {
            format!("the file is damaged: {why}")
        } else {
            "neither a WAV file nor MP3".to_owned()
        }
    })?;
    let track = format.default_track(TrackType::Audio).ok_or("the file contains no audio")?;
    let (id, parameters) = (track.id, track.codec_params.as_ref().and_then(|p| p.audio()));
    let parameters = parameters.ok_or("the file contains no audio")?;
    let options = AudioDecoderOptions::default();
    let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options);
    let decoder =
        decoder.map_err(|_| "unsupported encoding; PCM, float, A-law, µ-law and MP3 are supported")?;
    let channels = parameters.channels.as_ref().map_or(0, |c| c.count());
    // For MP3 it is known after the first frame.
    checked_channels(channels.max(1))?;
    let rate = checked_rate(parameters.sample_rate.unwrap_or(0))?;
    Ok((Source::Coded { format, decoder, track: id, damaged: 0 }, rate))
}

fn checked_channels(channels: usize) -> Result<(), String> {
    if (1..=2).contains(&channels) {
        Ok(())
    } else {
        Err(format!("{channels} channels; one or two are supported"))
    }
}

fn checked_rate(rate: u32) -> Result<u32, String> {
    if (8000..=192_000).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("a sampling rate of {rate} Hz; 8000 to 192000 are supported"))
    }
}

impl Source {
    /// Some frames as mono, −1 to 1; none at the end.
    fn frames(&mut self) -> Result<Vec<f32>, String> {
        match self {
            Self::Bare(file) => {
                let mut bytes = Vec::with_capacity(2 * CHUNK);
                let limit = 2 * CHUNK as u64;
                file.by_ref().take(limit).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
                let value = |b: &[u8; 2]| f32::from(i16::from_le_bytes(*b)) / 32_768.0;
                Ok(bytes.as_chunks::<2>().0.iter().map(value).collect())
            }
            Self::Wav(wav) => wav.frames(),
            Self::Coded { format, decoder, track, damaged } => loop {
                let packet = match format.next_packet() {
                    Ok(Some(packet)) => packet,
                    // A truncated file ends here.
                    Ok(None) | Err(Error::IoError(_)) => return Ok(Vec::new()),
                    Err(e) => return Err(format!("the file is damaged: {e}")),
                };
                if packet.track_id != *track {
                    continue;
                }
                match decoder.decode(&packet) {
                    Ok(buffer) => {
                        let (samples, channels) =
                            (buffer.samples_interleaved(), buffer.spec().channels().count());
                        if samples == 0 || samples > MAX_PACKET || !(1..=2).contains(&channels) {
                            continue;
                        }
                        let mut all = vec![0f32; samples];
                        buffer.copy_to_slice_interleaved(&mut all);
                        *damaged = 0;
                        let mix = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
                        return Ok(all.chunks(channels).map(mix).collect());
                    }
                    Err(Error::DecodeError(_) | Error::IoError(_)) if *damaged < MAX_DAMAGED => *damaged += 1,
                    Err(e) => return Err(format!("the file is damaged: {e}")),
                }
            },
        }
    }
}

fn sample(v: f32) -> i16 {
    (v * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711;
    use hound::{SampleFormat, WavSpec};

    fn tone(rate: u32, i: u32) -> f64 {
        (f64::from(i) * 440.0 * 2.0 * std::f64::consts::PI / f64::from(rate)).sin() * 0.5
    }

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("branchline-sound-{}-{name}", std::process::id()))
    }

    fn linear(rate: u32, channels: u16, bits: u16, format: SampleFormat) -> PathBuf {
        let path = temporary(&format!("{rate}-{channels}-{bits}.wav"));
        let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: format };
        let mut w = hound::WavWriter::create(&path, spec).unwrap();
        for i in 0..rate {
            for _ in 0..channels {
                match format {
                    SampleFormat::Float => w.write_sample(tone(rate, i) as f32).unwrap(),
                    SampleFormat::Int => {
                        w.write_sample((tone(rate, i) * ((1i64 << (bits - 1)) - 1) as f64) as i32).unwrap()
                    }
                }
            }
        }
        w.finalize().unwrap();
        path
    }

    /// A WAV file with 8-bit samples and this format tag.
    fn logarithmic(tag: u16, rate: u32, data: &[u8], claimed: u32) -> Vec<u8> {
        let mut f = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
        f.extend(tag.to_le_bytes());
        f.extend([1, 0]);
        f.extend(rate.to_le_bytes());
        f.extend(rate.to_le_bytes());
        f.extend([1, 0, 8, 0, 0, 0]);
        f.extend(b"junk\x05\0\0\0extra\0data");
        f.extend(claimed.to_le_bytes());
        f.extend(data);
        let size = (f.len() as u32 - 8 - data.len() as u32).wrapping_add(claimed).to_le_bytes();
        f[4..8].copy_from_slice(&size);
        f
    }

    fn coded(tag: u16) -> PathBuf {
        let encode = if tag == 6 { g711::alaw_encode } else { g711::ulaw_encode };
        let data: Vec<u8> = (0..8000).map(|i| encode((tone(8000, i) * 32_767.0) as i16)).collect();
        let path = temporary(&format!("{tag}.wav"));
        std::fs::write(&path, logarithmic(tag, 8000, &data, 8000)).unwrap();
        path
    }

    fn all(sound: &mut Sound) -> Vec<i16> {
        let mut all = Vec::new();
        loop {
            let piece = sound.read().unwrap();
            if piece.is_empty() {
                return all;
            }
            all.extend(piece);
        }
    }

    /// One second of 440 Hz at half scale, at 8 kHz.
    fn check(all: &[i16], what: &str) {
        assert!((7900..=8800).contains(&all.len()), "{what}: {}", all.len());
        let middle = &all[2000..6000];
        let crossings = middle.windows(2).filter(|w| (w[0] < 0) != (w[1] < 0)).count();
        assert!((438..=442).contains(&crossings), "{what}: {crossings}");
        let rms = (middle.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 4000.0).sqrt();
        assert!((rms / 11_585.0 - 1.0).abs() < 0.06, "{what}: {rms}");
    }

    #[test]
    fn every_kind_decodes_to_the_same_tone() {
        let mp3 = temporary("tone.mp3");
        std::fs::write(&mp3, include_bytes!("../../../tests/vectors/tone.mp3")).unwrap();
        let files = [
            linear(8000, 1, 16, SampleFormat::Int),
            linear(16_000, 2, 16, SampleFormat::Int),
            linear(44_100, 2, 24, SampleFormat::Int),
            linear(48_000, 1, 32, SampleFormat::Float),
            linear(96_000, 2, 32, SampleFormat::Int),
            linear(11_025, 1, 8, SampleFormat::Int),
            coded(6),
            coded(7),
            mp3,
        ];
        for path in files {
            let mut sound = Sound::open(&path, None, 8000).unwrap();
            let what = path.display().to_string();
            check(&all(&mut sound), &what);
            sound.rewind().unwrap();
            check(&all(&mut sound), &what);
            std::fs::remove_file(path).unwrap();
        }
    }

    /// Level in the middle of the output for a second of `hz` at half scale, measured at `listen` Hz; dB.
    fn response(from: u32, to: u32, hz: f64, listen: f64) -> f64 {
        use std::f64::consts::TAU;
        let path = temporary(&format!("sweep-{from}-{hz}"));
        let at = |i: u32| (16_384.0 * (TAU * hz * f64::from(i) / f64::from(from)).sin()).round() as i16;
        let bytes: Vec<u8> = (0..from).flat_map(|i| at(i).to_le_bytes()).collect();
        std::fs::write(&path, bytes).unwrap();
        let out = all(&mut Sound::open(&path, Some(Bare { rate: from }), to).unwrap());
        std::fs::remove_file(path).unwrap();
        assert!(out.len().abs_diff(to as usize) <= 1, "{from}->{to}: a second is {} samples", out.len());
        let middle = &out[to as usize / 4..to as usize * 3 / 4];
        let (mut re, mut im) = (0.0, 0.0);
        for (i, s) in middle.iter().enumerate() {
            let a = TAU * listen * i as f64 / f64::from(to);
            re += f64::from(*s) * a.cos();
            im += f64::from(*s) * a.sin();
        }
        20.0 * (2.0 * (re * re + im * im).sqrt() / middle.len() as f64 / 16_384.0).max(1e-9).log10()
    }

    #[test]
    fn odd_rates_are_converted_flat_and_without_aliases() {
        for from in [11_025, 16_000, 44_100, 48_000, 96_000, 192_000] {
            let flat = response(from, 8000, 3400.0, 3400.0);
            assert!(flat.abs() < 0.5, "{from}: 3400 Hz at {flat:.2} dB");
            for hz in [4600.0, 5000.0] {
                let alias = response(from, 8000, hz, 8000.0 - hz);
                assert!(alias < -60.0, "{from}: {hz} Hz folds back at {alias:.1} dB");
            }
        }
        let up = response(8000, 48_000, 3000.0, 5000.0);
        assert!(up < -60.0, "the image of 3000 Hz: {up:.1} dB");
    }

    #[test]
    fn raw_samples_are_decoded_by_their_media_type() {
        assert_eq!(Bare::of_type("audio/L16;rate=8000"), Some(Bare { rate: 8000 }));
        assert_eq!(Bare::of_type(" audio/pcm "), Some(Bare { rate: 16_000 }));
        assert_eq!(Bare::of_type("audio/wav"), None);
        let path = temporary("bare");
        let bytes: Vec<u8> =
            (0..48_000).flat_map(|i| ((tone(48_000, i) * 32_767.0) as i16).to_le_bytes()).collect();
        std::fs::write(&path, bytes).unwrap();
        check(&all(&mut Sound::open(&path, Some(Bare { rate: 48_000 }), 8000).unwrap()), "bare");
        assert!(Sound::open(&path, Some(Bare { rate: 0 }), 8000).is_err());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn other_files_say_why() {
        let why = |bytes: &[u8]| examine(bytes.to_vec(), 1 << 20).unwrap_err();
        assert!(why(b"<html>not found</html>").contains("neither a WAV file nor MP3"));
        assert!(why(b"").contains("neither"));
        assert!(why(&logarithmic(6, 0, &[1; 99], 99)).contains("a sampling rate of 0 Hz"));
        assert!(why(&logarithmic(7, 4000, &[1; 99], 99)).contains("a sampling rate of 4000 Hz"));
        assert!(why(&logarithmic(0x50, 8000, &[1; 99], 99)).contains("unsupported encoding"));
        // Truncated, or with a wrong length: the available samples are played.
        assert_eq!(examine(logarithmic(7, 8000, &[1; 99], 4_000_000_000), 1 << 20), Ok(99));
        assert_eq!(examine(logarithmic(7, 8000, &[], 0), 1 << 20), Ok(0));
        let mp3 = include_bytes!("../../../tests/vectors/tone.mp3");
        let half = examine(mp3[..mp3.len() / 2].to_vec(), 1 << 20).unwrap();
        assert!((2000..6000).contains(&half), "{half}");
    }
}
