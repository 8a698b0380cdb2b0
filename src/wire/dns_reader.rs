//! DNS message encoding: numbers, names with compression, character strings (RFC 1035 §3.1, §4.1.4).

/// Maximum length of a name, bytes as encoded (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
/// Maximum length of a label, bytes.
const MAX_LABEL: usize = 63;

/// Reads a message or a part of it; names may refer to earlier parts of the message.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a message.
    #[must_use]
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0, end: message.len() }
    }

    /// The next `n` bytes as a separate part.
    pub(super) fn part(&mut self, n: usize) -> Option<Self> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.end)?;
        let part = Self { message: self.message, at: self.at, end };
        self.at = end;
        Some(part)
    }

    /// The remaining bytes.
    #[must_use]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.message.get(self.at..self.end).unwrap_or_default()
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        self.part(n).map(|p| p.rest())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// 16 bits.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// 32 bits.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A character string, in lower case.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u8()?;
        self.take(usize::from(length)).map(|t| String::from_utf8_lossy(t).to_ascii_lowercase())
    }

    /// A domain name without trailing dot; empty: the root. Bytes not allowed in host names are escaped, so
    /// that such a name never equals one of ours.
    pub(super) fn name(&mut self) -> Option<String> {
        let (mut out, mut bytes) = (String::new(), 0);
        let mut from = Self { message: self.message, at: self.at, end: self.end };
        // Each pointer must refer to an earlier offset than the previous one, so that there are no loops.
        let mut before = self.at;
        let mut pointed = false;
        loop {
            let length = usize::from(from.u8()?);
            match length {
                0 => break,
                1..=MAX_LABEL => {
                    let label = from.take(length)?;
                    bytes += length + 1;
                    if bytes >= MAX_NAME {
                        return None;
                    }
                    push_label(&mut out, label);
                }
                0xc0.. => {
                    let to = (length & 0x3f) << 8 | usize::from(from.u8()?);
                    if !pointed {
                        self.at = from.at;
                    }
                    pointed = true;
                    if to >= before {
                        return None;
                    }
                    before = to;
                    from = Self { message: self.message, at: to, end: self.message.len() };
                }
                _ => return None,
            }
        }
        if !pointed {
            self.at = from.at;
        }
        Some(out)
    }
}

fn push_label(out: &mut String, label: &[u8]) {
    if !out.is_empty() {
        out.push('.');
    }
    for byte in label {
        if byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\') {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("\\{byte:03}"));
        }
    }
}

/// Writes a name; `None` if it is not a domain name.
pub(super) fn write_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() + 2 > MAX_NAME {
        return None;
    }
    for label in name.split('.') {
        let fits = (1..=MAX_LABEL).contains(&label.len());
        if !fits || !label.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return None;
        }
        out.push(u8::try_from(label.len()).ok()?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_at(message: &[u8], at: usize) -> Option<(String, usize)> {
        let mut r = Reader { message, at, end: message.len() };
        r.name().map(|n| (n, r.at))
    }

    #[test]
    fn compressed_names_are_read_without_loops() {
        let message = b"\x03abc\0\x01x\xc0\x00\xc0\x05";
        assert_eq!(name_at(message, 0), Some(("abc".into(), 5)));
        assert_eq!(name_at(message, 5), Some(("x.abc".into(), 9)));
        assert_eq!(name_at(message, 9), Some(("x.abc".into(), 11)));
        for bad in [&b"\xc0\x00"[..], b"\x01a\xc0\x00", b"\xc0\x02\0", b"\x05ab", b"\x40a\0", b"", b"\xc0"] {
            assert_eq!(name_at(bad, 0), None, "{bad:?}");
        }
        assert_eq!(name_at(b"\x03a.b\x01\0\0", 0), Some(("a\\046b.\\000".into(), 7)));
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        assert_eq!(name_at(&[&long[..], b"\0"].concat(), 0), None, "256 bytes");
    }

    #[test]
    fn only_domain_names_are_written() {
        let written = |name: &str| {
            let mut out = Vec::new();
            write_name(&mut out, name).map(|()| out)
        };
        assert_eq!(written("_sip._udp.a."), Some(b"\x04_sip\x04_udp\x01a\0".to_vec()));
        for bad in ["", ".", "a..b", "ä.example", "a b", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(written(bad), None, "{bad}");
        }
    }
}
