//! Writes a growing WAV file: samples are buffered and written in large chunks, and the header is updated.
//! The header is created by hound, whose sample writer would be the largest cost of a recording.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use hound::{SampleFormat, WavSpec};

use super::repair::{HEADER, MAX_DATA, TOO_LONG};

/// Size of the buffer, bytes.
const PIECE: usize = 64 * 1024;

/// A file of 16-bit samples, mono or stereo.
#[derive(Debug)]
pub(in crate::io) struct WavFile {
    file: File,
    channels: u16,
    header: Vec<u8>,
    /// The first `gathered` bytes are not yet written.
    piece: Box<[u8]>,
    gathered: usize,
    /// Audio in the file, bytes.
    written: u64,
}

impl WavFile {
    /// Creates a file; an existing one is never overwritten.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(in crate::io) fn create(path: &Path, sample_rate: u32, channels: u16) -> std::io::Result<Self> {
        let spec = WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut header = spec.into_header_for_infinite_file();
        put_sizes(&mut header, 0);
        file.write_all(&header)?;
        Ok(Self { file, channels, header, piece: vec![0; PIECE].into_boxed_slice(), gathered: 0, written: 0 })
    }

    /// A second handle to the file, for syncing.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(in crate::io) fn try_clone(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Audio recorded so far, bytes.
    fn data(&self) -> u64 {
        self.written + self.gathered as u64
    }

    /// Frames recorded so far.
    pub(in crate::io) fn frames(&self) -> u64 {
        self.data() / (u64::from(self.channels.max(1)) * 2)
    }

    /// Appends samples: left channel or mono, and optionally the same number of the right channel.
    ///
    /// # Errors
    /// Errors of the operating system, or the maximum file size is reached.
    pub(in crate::io) fn append(&mut self, left: &[i16], right: Option<&[i16]>) -> std::io::Result<()> {
        let size = left.len() * 2 * if right.is_some() { 2 } else { 1 };
        if self.data() + size as u64 > MAX_DATA {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, TOO_LONG));
        }
        if self.gathered + size > PIECE {
            self.write_piece()?;
        }
        let end = self.gathered + size;
        // A frame is much smaller than the buffer.
        let to = self.piece.get_mut(self.gathered..end).unwrap_or_default();
        self.gathered = end;
        match right {
            Some(right) => {
                for ((to, l), r) in to.as_chunks_mut::<4>().0.iter_mut().zip(left).zip(right) {
                    *to = (u32::from(*l as u16) | u32::from(*r as u16) << 16).to_le_bytes();
                }
            }
            None => {
                for (to, x) in to.as_chunks_mut::<2>().0.iter_mut().zip(left) {
                    *to = x.to_le_bytes();
                }
            }
        }
        Ok(())
    }

    fn write_piece(&mut self) -> std::io::Result<()> {
        let piece = self.piece.get(..self.gathered).unwrap_or_default();
        // Part of it may have been written already, if the last attempt failed halfway.
        self.file.seek(SeekFrom::Start(HEADER + self.written))?;
        self.file.write_all(piece)?;
        self.written += piece.len() as u64;
        self.gathered = 0;
        Ok(())
    }

    /// Writes the buffer, and updates the header.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(in crate::io) fn flush(&mut self) -> std::io::Result<()> {
        self.write_piece()?;
        put_sizes(&mut self.header, self.written);
        self.file.write_all_at(&self.header, 0)
    }
}

/// Sets the sizes in the header for this many bytes of audio.
fn put_sizes(header: &mut [u8], data: u64) {
    let end = header.len();
    for (at, size) in [(4, data + HEADER - 8), (end.saturating_sub(4), data)] {
        if let Some(to) = header.get_mut(at..at + 4) {
            to.copy_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_valid_after_every_flush() {
        let path = std::env::temp_dir().join(format!("branchline-wav-file-{}.wav", std::process::id()));
        for channels in [1u16, 2] {
            // It may be left over from an earlier run.
            let _gone = std::fs::remove_file(&path);
            let mut w = WavFile::create(&path, 16_000, channels).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), HEADER);
            let sample = |i: usize| (i * 7 % 65_536) as u16 as i16;
            let left: Vec<i16> = (0..320).map(sample).collect();
            let right: Vec<i16> = (0..320).map(|i| sample(i + 9000)).collect();
            for n in 1..=200u32 {
                w.append(&left, (channels == 2).then_some(&right)).unwrap();
                if n % 50 == 0 {
                    w.flush().unwrap();
                    let mut reader = hound::WavReader::open(&path).unwrap();
                    let spec = reader.spec();
                    assert_eq!(
                        (spec.channels, spec.sample_rate, spec.bits_per_sample),
                        (channels, 16_000, 16)
                    );
                    assert_eq!((u64::from(reader.duration()), reader.duration()), (w.frames(), n * 320));
                    let all: Vec<i16> = reader.samples().map(Result::unwrap).collect();
                    let k = usize::from(channels);
                    assert!(all.iter().step_by(k).zip(left.iter().cycle()).all(|(a, b)| a == b));
                    assert!(
                        k == 1
                            || all.iter().skip(1).step_by(2).zip(right.iter().cycle()).all(|(a, b)| a == b)
                    );
                }
            }
            assert!(WavFile::create(&path, 16_000, channels).is_err(), "never overwritten");
        }
        std::fs::remove_file(path).unwrap();
    }
}
