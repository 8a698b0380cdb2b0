//! Messages on a stream (RFC 3261 §18.3): framing by Content-Length, keep-alives, limits.

use super::error::WireError;
use super::headers::same;
use super::limits::MAX_MESSAGE;

/// The next element of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// Incomplete.
    More,
    /// A complete message of this many bytes.
    Message(usize),
    /// Double-CRLF pings, total length in bytes; one CRLF pong is sent (RFC 5626 §3.5.1).
    Ping(usize),
    /// Bytes to skip: stray line ends and pongs.
    Skip(usize),
    /// Framing lost: answer if possible and close. Length of the header part.
    Broken(usize),
}

/// Classifies the start of `bytes`.
#[must_use]
pub fn next_frame(bytes: &[u8]) -> Frame {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    match bytes {
        // Consecutive pings get one answer.
        [b'\r', b'\n', b'\r', b'\n', ..] => return Frame::Ping(blank),
        // A lone CRLF is a pong, or the first half of a ping.
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Frame::More,
        [b'\r' | b'\n', ..] => return Frame::Skip(blank),
        _ => {}
    }
    let Some((head, body)) = split_head(bytes) else {
        return if bytes.len() > MAX_MESSAGE { Frame::Broken(bytes.len()) } else { Frame::More };
    };
    let head_len = bytes.len() - body.len();
    match body_length(head) {
        Ok(length) if head_len.saturating_add(length) > MAX_MESSAGE => Frame::Broken(head_len),
        Ok(length) if body.len() >= length => Frame::Message(head_len + length),
        Ok(_) => Frame::More,
        Err(_) => Frame::Broken(head_len),
    }
}

/// Splits a message at the empty line; the header part includes its line ends.
#[must_use]
pub fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut line_start = 0;
    for (i, b) in bytes.iter().enumerate() {
        if *b != b'\n' {
            continue;
        }
        let line = bytes.get(line_start..i)?;
        if (line.is_empty() || line == b"\r") && line_start > 0 {
            return bytes.get(..line_start).zip(bytes.get(i + 1..));
        }
        line_start = i + 1;
    }
    None
}

/// Content-Length of a header part; on a stream it is mandatory, once (RFC 3261 §18.3).
fn body_length(head: &[u8]) -> Result<usize, WireError> {
    let mut found = None;
    for line in head.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = String::from_utf8_lossy(line.get(..colon).unwrap_or_default());
        if line.starts_with(b" ") || line.starts_with(b"\t") || !same(name.trim(), "Content-Length") {
            continue;
        }
        let value = String::from_utf8_lossy(line.get(colon + 1..).unwrap_or_default());
        let length = content_length(value.trim())?;
        if found.replace(length).is_some() {
            return Err(WireError::Twice("Content-Length"));
        }
    }
    found.ok_or(WireError::Missing("Content-Length"))
}

/// A Content-Length value: digits only, bounded.
///
/// # Errors
/// A sign, characters other than digits, or a length beyond the maximum message.
pub fn content_length(value: &str) -> Result<usize, WireError> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WireError::Value("Content-Length"));
    }
    value.parse().map_err(|_| WireError::TooLarge("Content-Length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_by_their_length() {
        let m = b"OPTIONS sip:a SIP/2.0\r\nl: 3\r\n\r\nabcNEXT";
        assert_eq!(next_frame(m), Frame::Message(m.len() - 4));
        for cut in 1..m.len() - 4 {
            assert_eq!(next_frame(&m[..cut]), Frame::More, "{cut}");
        }
        assert_eq!(next_frame(b"O sip:a SIP/2.0\nContent-Length : 0\n\nX"), Frame::Message(36));
    }

    #[test]
    fn keep_alives_are_distinguished_from_messages() {
        assert_eq!(next_frame(b"\r\n\r\nINVITE"), Frame::Ping(4));
        assert_eq!(next_frame(&b"\r\n".repeat(500)), Frame::Ping(1000), "consecutive pings together");
        assert_eq!(next_frame(&[b'\n'; 900]), Frame::Skip(900));
        assert_eq!(next_frame(b"\r\nINVITE"), Frame::Skip(2));
        assert_eq!(next_frame(b"\r\n"), Frame::More);
        assert_eq!(next_frame(b""), Frame::More);
    }

    #[test]
    fn lost_framing_is_reported() {
        for l in [
            "Content-Length: -1",
            "Content-Length: x",
            "l: 1\r\nContent-Length: 1",
            "X: y",
            "l: 99999999999999999999",
            "l: 70000",
        ] {
            let m = format!("O sip:a SIP/2.0\r\n{l}\r\n\r\n");
            assert_eq!(next_frame(m.as_bytes()), Frame::Broken(m.len()), "{l}");
        }
        assert_eq!(next_frame(&[b'a'; MAX_MESSAGE + 1]), Frame::Broken(MAX_MESSAGE + 1));
    }
}
