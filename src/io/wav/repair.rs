//! Repairs the header of a truncated WAV file according to its actual length.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Properties of a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Sampling rate, Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Length of the audio, ms.
    pub duration_ms: u64,
}

/// Size of an empty recording, bytes.
pub const HEADER: u64 = 44;
/// Maximum audio data of a WAV file, bytes, with a reserve for one more frame.
pub const MAX_DATA: u64 = u32::MAX as u64 - 64 * 1024;
/// Error text for longer recordings.
pub const TOO_LONG: &str = "a WAV file holds at most 4 GiB";

/// Bytes read to find the data chunk.
const HEAD: usize = 512;

/// Offset of the data, and frame size.
struct Layout {
    sample_rate: u32,
    channels: u16,
    frame: u64,
    data_at: u64,
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

/// Parses the chunks up to the data.
fn layout(head: &[u8]) -> Option<Layout> {
    if head.get(..4)? != b"RIFF" || head.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut at = 12usize;
    let mut format = None;
    while let (Some(name), Some(size)) = (head.get(at..at + 4), u32_at(head, at + 4)) {
        let body = at + 8;
        match name {
            b"fmt " => {
                format = Some((u32_at(head, body + 4)?, u16_at(head, body + 2)?, u16_at(head, body + 12)?))
            }
            b"data" => {
                let (sample_rate, channels, frame) = format?;
                return Some(Layout { sample_rate, channels, frame: u64::from(frame), data_at: body as u64 });
            }
            _ => {}
        }
        at = body.checked_add(usize::try_from(size).ok()?)?.checked_add(usize::from(size % 2 == 1))?;
    }
    None
}

fn head_of(file: &File) -> Result<(Layout, u64), String> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut head).map_err(|e| e.to_string())?;
    let found = layout(&head).filter(|l| l.frame > 0 && l.sample_rate > 0 && l.data_at <= length);
    found.map(|l| (l, length)).ok_or_else(|| "it contains no audio".to_owned())
}

/// Properties of a file by its actual length, whatever its header says.
///
/// # Errors
/// It is not a WAV file, or errors of the operating system.
pub fn examine(path: &Path) -> Result<Facts, String> {
    let (l, length) = head_of(&File::open(path).map_err(|e| e.to_string())?)?;
    Ok(l.facts((length - l.data_at) / l.frame * l.frame))
}

impl Layout {
    /// Properties for this many bytes of data.
    fn facts(&self, data: u64) -> Facts {
        Facts {
            sample_rate: self.sample_rate,
            channels: self.channels,
            bytes: self.data_at + data,
            duration_ms: data / self.frame * 1000 / u64::from(self.sample_rate),
        }
    }
}

/// Updates the header to the actual length; an incomplete frame at the end is removed.
///
/// # Errors
/// It is not a WAV file, or errors of the operating system.
pub fn repair(path: &Path) -> Result<Facts, String> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| e.to_string())?;
    let (l, length) = head_of(&file)?;
    let data = (length - l.data_at) / l.frame * l.frame;
    let whole = l.data_at + data;
    let put = |file: &mut File, at: u64, value: u64| -> std::io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes())
    };
    let mut mended = || -> std::io::Result<()> {
        if whole < length {
            file.set_len(whole)?;
        }
        put(&mut file, 4, whole - 8)?;
        put(&mut file, l.data_at - 4, data)
    };
    mended().map_err(|e| e.to_string())?;
    Ok(l.facts(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{SampleFormat, WavSpec, WavWriter};

    #[test]
    fn a_file_truncated_anywhere_is_repaired() {
        let path = std::env::temp_dir().join(format!("branchline-repair-{}.wav", std::process::id()));
        let spec =
            WavSpec { channels: 2, sample_rate: 8000, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut w = WavWriter::create(&path, spec).unwrap();
        (0..16_000i16).for_each(|i| w.write_sample(i).unwrap());
        w.finalize().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [44, 45, 47, 48, 1000, 12_345, whole.len() - 1, whole.len()] {
            // The header has the sizes from before the truncation, or zeros.
            for silent in [false, true] {
                let mut part = whole[..cut].to_vec();
                if silent {
                    part[4..8].fill(0);
                    part[40..44].fill(0);
                }
                std::fs::write(&path, &part).unwrap();
                let facts = repair(&path).unwrap();
                let frames = (cut as u64 - 44) / 4;
                let wanted =
                    Facts { sample_rate: 8000, channels: 2, bytes: 44 + frames * 4, duration_ms: frames / 8 };
                assert_eq!(facts, wanted, "{cut}");
                let samples: Vec<i16> =
                    hound::WavReader::open(&path).unwrap().into_samples().map(Result::unwrap).collect();
                assert_eq!(samples, (0..frames as i16 * 2).collect::<Vec<_>>(), "{cut}");
            }
        }
        for bad in [
            &b""[..],
            b"RIFF",
            &[0; 600],
            b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
            b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff",
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(repair(&path).is_err(), "{bad:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(repair(&path).is_err());
    }
}
