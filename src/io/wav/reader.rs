//! Reads WAV files as written by various tools: RIFF, RIFX, RF64 and BW64, with unknown sizes from streaming
//! writers, and any chunks before the samples.

use std::io::{self, Read, Seek, SeekFrom};

use super::adpcm::{Adpcm, Kind};
use crate::codec::g711;

/// A readable and seekable file.
pub trait ReadSeek: Read + Seek + Send + Sync {}

impl<T: Read + Seek + Send + Sync> ReadSeek for T {}

/// Sizes from here on mean "unknown": 0x7ffff000 is used by sox, 0x7fffffff and 0xffffffff by others.
const UNKNOWN: u32 = 0x7fff_f000;
/// Known chunk ids, to distinguish a chunk header from arbitrary printable bytes.
const KNOWN: [&[u8; 4]; 20] = [
    b"fmt ", b"data", b"LIST", b"fact", b"JUNK", b"junk", b"PAD ", b"bext", b"iXML", b"axml", b"id3 ",
    b"ID3 ", b"cue ", b"smpl", b"inst", b"PEAK", b"cart", b"chna", b"FLLR", b"DISP",
];
/// Maximum chunks before the samples.
const MAX_CHUNKS: usize = 256;
/// Frames read at once.
const FRAMES: usize = 1024;

/// Encoding of a single sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    /// Integers of this many bytes; unsigned if one byte.
    Pcm(usize),
    Float32,
    Float64,
    Alaw,
    Ulaw,
}

/// Encoding of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Each(Sample),
    Blocks(Adpcm),
}

impl Sample {
    /// Bytes per sample.
    fn bytes(self) -> usize {
        match self {
            Self::Pcm(n) => n,
            Self::Float32 => 4,
            Self::Float64 => 8,
            Self::Alaw | Self::Ulaw => 1,
        }
    }
}

/// Contents of the `fmt` chunk.
#[derive(Debug, Clone, Copy)]
struct Format {
    coding: Coding,
    channels: usize,
    rate: u32,
}

/// Reads the samples of a WAV file.
pub struct WavReader {
    file: Box<dyn ReadSeek>,
    format: Format,
    /// Big-endian numbers (RIFX).
    big_endian: bool,
    /// Bytes of samples left.
    left: u64,
    /// Frames left, if the file contains their number: the last block may be padded.
    frames_left: Option<u64>,
}

/// True for the first twelve bytes of a WAV file.
#[must_use]
pub fn is_wav(head: &[u8; 12]) -> bool {
    let [a, b, c, d, _, _, _, _, form @ ..] = head;
    [b"RIFF", b"RIFX", b"RF64", b"BW64"].contains(&&[*a, *b, *c, *d]) && form == b"WAVE"
}

impl WavReader {
    /// Finds format and samples in a file that starts at the current position.
    ///
    /// # Errors
    /// No format or no samples, or an unsupported kind.
    pub fn open(mut file: Box<dyn ReadSeek>) -> Result<Self, String> {
        let start = file.stream_position().map_err(damaged)?;
        let end = file.seek(SeekFrom::End(0)).map_err(damaged)?;
        file.seek(SeekFrom::Start(start)).map_err(damaged)?;
        let head: [u8; 12] = read(&mut file).map_err(damaged)?;
        let big_endian = head.starts_with(b"RIFX");
        let number = |b: [u8; 4]| if big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) };
        let [_, _, _, _, s0, s1, s2, s3, ..] = head;
        // The writer completed the file: its sizes are valid.
        let finished = u64::from(number([s0, s1, s2, s3])) + 8 == end - start;
        let (mut format, mut long, mut fact) = (None, None, None);
        let mut at = start + 12;
        for _ in 0..MAX_CHUNKS {
            file.seek(SeekFrom::Start(at)).map_err(damaged)?;
            let Ok([a, b, c, d, s0, s1, s2, s3]) = read::<8>(&mut file) else { break };
            let (id, size) = ([a, b, c, d], number([s0, s1, s2, s3]));
            let body = at + 8;
            let rest = end.saturating_sub(body);
            match &id {
                b"fmt " => {
                    let mut bytes = vec![0; usize::try_from(size.min(64)).unwrap_or(64)];
                    file.read_exact(&mut bytes).map_err(damaged)?;
                    format = Some(Format::parse(&bytes, big_endian)?);
                }
                // 64-bit sizes of the file and the samples.
                b"ds64" => {
                    let [_, _, _, _, _, _, _, _, data @ ..] = read::<16>(&mut file).map_err(damaged)?;
                    long = Some(u64::from_le_bytes(data));
                }
                b"fact" => fact = read::<4>(&mut file).ok().map(number).filter(|n| (1..UNKNOWN).contains(n)),
                b"data" => {
                    let format: Format = format.ok_or("the file is damaged: no format before the samples")?;
                    let size = match (size, long) {
                        (u32::MAX, Some(long)) => long,
                        (0, _) if !finished => rest,
                        (UNKNOWN.., _) => rest,
                        (known, _) => known.into(),
                    };
                    let filled_up = matches!(format.coding, Coding::Blocks(_));
                    let frames_left = fact.filter(|_| filled_up).map(u64::from);
                    return Ok(Self { file, format, big_endian, left: size.min(rest), frames_left });
                }
                _ => {}
            }
            at = next_chunk(&mut file, body + u64::from(size), size)?;
        }
        Err("the file is damaged: no samples in it".to_owned())
    }

    /// Sampling rate, Hz.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.format.rate
    }

    /// Channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.format.channels
    }

    /// Some frames as mono, −1 to 1; none at the end.
    ///
    /// # Errors
    /// The file can no longer be read.
    pub fn frames(&mut self) -> Result<Vec<f32>, String> {
        let channels = self.format.channels;
        match self.format.coding {
            Coding::Each(of) => {
                let width = of.bytes();
                let bytes = self.read_up_to(FRAMES * width * channels)?;
                let samples =
                    |frame: &[u8]| mono(frame.chunks_exact(width).map(|b| self.sample(of, b)), channels);
                Ok(bytes.chunks_exact(width * channels).map(samples).collect())
            }
            Coding::Blocks(adpcm) => {
                let bytes = self.read_up_to(adpcm.align())?;
                let decoded = adpcm.decode(&bytes);
                // A truncated block ends the audio.
                if decoded.is_empty() && bytes.len() == adpcm.align() {
                    return Err("the file is damaged: a block of its samples cannot be decoded".to_owned());
                }
                let samples = |frame: &[i16]| mono(frame.iter().map(|s| f32::from(*s) / 32_768.0), channels);
                let mut out: Vec<f32> = decoded.chunks_exact(channels).map(samples).collect();
                if let Some(left) = &mut self.frames_left {
                    out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= out.len() as u64;
                }
                Ok(out)
            }
        }
    }

    /// Up to this many of the remaining bytes.
    fn read_up_to(&mut self, most: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(most);
        let got = (&mut self.file).take(self.left.min(most as u64)).read_to_end(&mut bytes);
        self.left -= got.map_err(|e| e.to_string())? as u64;
        Ok(bytes)
    }

    fn sample(&self, of: Sample, bytes: &[u8]) -> f32 {
        // Little-endian, left-aligned in a 64-bit word.
        let mut word = [0u8; 8];
        let width = bytes.len().min(8);
        for (i, to) in word.iter_mut().skip(8 - width).enumerate() {
            let from = if self.big_endian { width - 1 - i } else { i };
            *to = bytes.get(from).copied().unwrap_or_default();
        }
        let all = i64::from_le_bytes(word);
        let [.., last] = word;
        match of {
            Sample::Pcm(1) => (f32::from(last) - 128.0) / 128.0,
            Sample::Pcm(_) => (all as f64 / 9_223_372_036_854_775_808.0) as f32,
            Sample::Float32 => finite(f64::from(f32::from_bits((all as u64 >> 32) as u32))),
            Sample::Float64 => finite(f64::from_bits(all as u64)),
            Sample::Alaw => f32::from(g711::alaw_decode(last)) / 32_768.0,
            Sample::Ulaw => f32::from(g711::ulaw_decode(last)) / 32_768.0,
        }
    }
}

/// Mixes a frame to mono.
fn mono(samples: impl Iterator<Item = f32>, channels: usize) -> f32 {
    samples.sum::<f32>() / channels as f32
}

fn finite(v: f64) -> f32 {
    if v.is_finite() { v.clamp(-1.0, 1.0) as f32 } else { 0.0 }
}

impl Format {
    fn parse(bytes: &[u8], big_endian: bool) -> Result<Self, String> {
        let short = |at: usize| {
            let b = bytes.get(at..).and_then(|b| b.first_chunk::<2>()).copied();
            let b = b.ok_or("the file is damaged: its format is cut short")?;
            Ok::<u16, &str>(if big_endian { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) })
        };
        let (low, high) = if big_endian { (6, 4) } else { (4, 6) };
        let rate = u32::from(short(high)?) << 16 | u32::from(short(low)?);
        let (channels, align, bits) = (usize::from(short(2)?), usize::from(short(12)?), short(14)?);
        // WAVE_FORMAT_EXTENSIBLE: the format tag is at the start of the GUID after the channel mask.
        let tag = match short(0)? {
            0xfffe => short(24)?,
            tag => tag,
        };
        // Samples are padded to whole bytes; 24-bit samples may use four bytes.
        let width = match (bits, align == 4 * channels) {
            (17..=24, true) => 4,
            _ => usize::from(bits.div_ceil(8)),
        };
        let coding = match (tag, width) {
            // One byte per sample, regardless of the other fields.
            (6, _) => Coding::Each(Sample::Alaw),
            (7, _) => Coding::Each(Sample::Ulaw),
            (1, 1..=4) if bits > 0 => Coding::Each(Sample::Pcm(width)),
            (3, 4) => Coding::Each(Sample::Float32),
            (3, 8) => Coding::Each(Sample::Float64),
            (2 | 0x11, 1) if bits == 4 => {
                let kind = if tag == 2 { Kind::Microsoft } else { Kind::Ima };
                let adpcm = Adpcm::new(kind, channels, align);
                Coding::Blocks(adpcm.ok_or("the file is damaged: its blocks hold no samples")?)
            }
            _ => {
                return Err(format!(
                    "unsupported encoding (format {tag:#x}, {bits} bits); PCM, float, A-law, µ-law, ADPCM and MP3 are supported"
                ));
            }
        };
        Ok(Self { coding, channels, rate })
    }
}

/// Offset of the next chunk: after the pad byte of an odd-sized one, which some writers omit.
fn next_chunk(file: &mut Box<dyn ReadSeek>, end: u64, size: u32) -> Result<u64, String> {
    if size.is_multiple_of(2) {
        return Ok(end);
    }
    let mut id_at = |at: u64| {
        file.seek(SeekFrom::Start(at)).map_err(damaged)?;
        Ok::<Option<[u8; 4]>, String>(read::<4>(file).ok())
    };
    let (padded, unpadded) = (id_at(end + 1)?, id_at(end)?);
    let known = |id: Option<[u8; 4]>| id.is_some_and(|id| KNOWN.contains(&&id));
    let printable = |id: Option<[u8; 4]>| id.is_some_and(|id| id.iter().all(|b| (0x20..0x7f).contains(b)));
    let without = match (known(padded), known(unpadded)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => !printable(padded) && printable(unpadded),
    };
    Ok(if without { end } else { end + 1 })
}

fn read<const N: usize>(file: &mut Box<dyn ReadSeek>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(e: io::Error) -> String {
    if e.kind() == io::ErrorKind::UnexpectedEof {
        "the file is damaged: it is cut short".to_owned()
    } else {
        format!("the sound cannot be read: {e}")
    }
}

#[cfg(test)]
#[path = "reader_test.rs"]
mod tests;
