//! Skips tags and padding before the audio of an MP3 file.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::io::wav::reader::ReadSeek;

/// Maximum number of tags skipped.
const MAX_TAGS: usize = 32;
/// Maximum padding skipped after them, bytes.
const MAX_PADDING: usize = 64 * 1024;

/// Offset of the audio: after ID3v2 (all versions) and APE tags, and zeros. Tags are skipped as a whole,
/// since a picture in a tag may contain bytes that look like audio.
///
/// # Errors
/// Errors of the operating system.
pub fn sound_begins(file: &mut Box<dyn ReadSeek>) -> io::Result<u64> {
    let mut at = 0;
    for _ in 0..MAX_TAGS {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 32];
        let got = read_up_to(file, &mut head)?;
        let Some(length) = tag_length(&head).filter(|_| got >= 10) else { break };
        at += length;
    }
    file.seek(SeekFrom::Start(at))?;
    let mut padding = Vec::new();
    file.by_ref().take(MAX_PADDING as u64).read_to_end(&mut padding)?;
    let zeros = padding.iter().take_while(|b| **b == 0).count();
    Ok(if zeros < MAX_PADDING { at + zeros as u64 } else { at })
}

/// The total length of a tag with this header, bytes.
fn tag_length(head: &[u8; 32]) -> Option<u64> {
    match head {
        // Sizes use seven bits per byte; a footer is as long as the header.
        [b'I', b'D', b'3', major, minor, flags, a, b, c, d, ..] if *major != 0xff && *minor != 0xff => {
            let size = [a, b, c, d]
                .into_iter()
                .try_fold(0u64, |n, b| (*b < 0x80).then_some(n << 7 | u64::from(*b)))?;
            Some(10 + size + if flags & 0x10 != 0 { 10 } else { 0 })
        }
        // The size excludes the header, which is present if the third-highest flag bit is set.
        [
            b'A',
            b'P',
            b'E',
            b'T',
            b'A',
            b'G',
            b'E',
            b'X',
            _,
            _,
            _,
            _,
            a,
            b,
            c,
            d,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            flags,
            ..,
        ] if flags & 0x20 != 0 => Some(32 + u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}

fn read_up_to(file: &mut Box<dyn ReadSeek>, to: &mut [u8]) -> io::Result<usize> {
    let mut got = Vec::with_capacity(to.len());
    file.by_ref().take(to.len() as u64).read_to_end(&mut got)?;
    to.iter_mut().zip(&got).for_each(|(to, b)| *to = *b);
    Ok(got.len())
}

/// A file without the tags before its audio.
pub struct Untagged {
    file: Box<dyn ReadSeek>,
    start: u64,
    len: u64,
}

impl Untagged {
    /// The file starting at `start`.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn new(mut file: Box<dyn ReadSeek>, start: u64) -> io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?.saturating_sub(start);
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, start, len })
    }
}

impl Read for Untagged {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.file.read(to)
    }
}

impl Seek for Untagged {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => self.file.seek(SeekFrom::Start(at.saturating_add(self.start)))?,
            SeekFrom::End(_) | SeekFrom::Current(_) => self.file.seek(to)?,
        };
        at.checked_sub(self.start).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl MediaSource for Untagged {
    fn is_seekable(&self) -> bool {
        true
    }
    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn id3(version: u8, flags: u8, body: usize) -> Vec<u8> {
        let n = body as u32;
        let size = [21, 14, 7, 0].map(|s| (n >> s & 0x7f) as u8);
        let mut tag = [&b"ID3"[..], &[version, 0, flags], &size].concat();
        // Bytes that look like MP3 frames, as in a picture.
        tag.extend([0xff, 0xfb, 0x90, 0x44].iter().cycle().take(body));
        if flags & 0x10 != 0 {
            tag.extend(b"3DI\x04\0\x10\0\0\0\0");
        }
        tag
    }

    #[test]
    fn tags_are_skipped_by_their_length() {
        let ape = |size: u32, flags: u8| {
            let mut tag = b"APETAGEX\xd0\x07\0\0".to_vec();
            tag.extend(size.to_le_bytes());
            tag.extend([1, 0, 0, 0, 0, 0, 0, flags]);
            tag.extend([0; 8]);
            tag.extend(vec![0xff; size as usize]);
            tag
        };
        for (before, what) in [
            (vec![], "nothing"),
            (id3(2, 0, 100), "2.2"),
            (id3(3, 0, 3_000_000), "a large picture"),
            (id3(4, 0x10, 5000), "2.4 with a footer"),
            ([id3(3, 0, 50_000), id3(4, 0, 20)].concat(), "two"),
            ([id3(3, 0, 10), vec![0; 60_000]].concat(), "padding behind it"),
            (vec![0; 5000], "zeros"),
            ([ape(52, 0xa0), id3(3, 0, 10)].concat(), "APE and ID3"),
        ] {
            let mut file: Box<dyn ReadSeek> = Box::new(Cursor::new([&before[..], b"\xff\xfbsound"].concat()));
            assert_eq!(sound_begins(&mut file).unwrap(), before.len() as u64, "{what}");
            let mut rest = Vec::new();
            let mut untagged = Untagged::new(file, before.len() as u64).unwrap();
            untagged.seek(SeekFrom::Start(2)).unwrap();
            untagged.read_to_end(&mut rest).unwrap();
            assert_eq!((rest.as_slice(), untagged.byte_len()), (&b"sound"[..], Some(7)), "{what}");
        }
    }

    #[test]
    fn only_tags_are_skipped() {
        for bytes in
            [&b"ID3"[..], b"ID3\x03\0\0\xff\0\0\0xxxxxxxxx", b"ID3\xff\0\0\0\0\0\x01xxxxxx", b"", b"RIFF"]
        {
            let mut file: Box<dyn ReadSeek> = Box::new(Cursor::new(bytes.to_vec()));
            assert_eq!(sound_begins(&mut file).unwrap(), 0, "{bytes:?}");
        }
    }
}
