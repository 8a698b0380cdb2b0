//! Sender and receiver reports (RFC 3550 §6.4), with the SDES CNAME that every compound packet needs.

/// A report block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block {
    /// SSRC that it reports about.
    pub ssrc: u32,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning (24 bits).
    pub lost: u32,
    /// Extended highest sequence number received.
    pub highest: u32,
    /// Jitter in clock units.
    pub jitter: u32,
    /// Middle of the NTP time of the last sender report received.
    pub last_sr: u32,
    /// Time since then, in 1/65536 s.
    pub delay: u32,
}

/// Sender information of an SR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// NTP time, 32.32 fixed point.
    pub ntp: u64,
    /// The same instant in the stream's timestamps.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub bytes: u32,
}

/// Contents of a compound packet received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Its SSRC.
    pub ssrc: u32,
    /// Its sender information.
    pub sent: Option<Sent>,
    /// Its block about our stream.
    pub about_us: Option<Block>,
    /// It contains a BYE.
    pub bye: bool,
}

/// Longest compound packet made here, bytes.
pub const MAX_REPORT: usize = 128;

/// Writes a compound packet into `out`: SR or RR with at most one block, then SDES. Returns its length.
pub fn write(
    out: &mut [u8; MAX_REPORT],
    ssrc: u32,
    sent: Option<Sent>,
    block: Option<Block>,
    cname: &str,
) -> usize {
    let mut w = Writer { out, at: 0 };
    let (kind, words) = if sent.is_some() { (200u8, 6u16) } else { (201, 1) };
    let count = u8::from(block.is_some());
    w.u8(0x80 | count);
    w.u8(kind);
    w.u16(words + if count == 1 { 6 } else { 0 });
    w.u32(ssrc);
    if let Some(s) = sent {
        w.u32((s.ntp >> 32) as u32);
        w.u32(s.ntp as u32);
        w.u32(s.timestamp);
        w.u32(s.packets);
        w.u32(s.bytes);
    }
    if let Some(b) = block {
        w.u32(b.ssrc);
        w.u32(u32::from(b.fraction_lost) << 24 | b.lost & 0x00ff_ffff);
        w.u32(b.highest);
        w.u32(b.jitter);
        w.u32(b.last_sr);
        w.u32(b.delay);
    }
    let name = cname.as_bytes().get(..cname.len().min(40)).unwrap_or_default();
    let length = 4 + 2 + name.len() + 1;
    let padded = length.div_ceil(4) * 4;
    w.u8(0x81);
    w.u8(202);
    w.u16(u16::try_from(padded / 4).unwrap_or(0));
    w.u32(ssrc);
    w.u8(1);
    w.u8(u8::try_from(name.len()).unwrap_or(0));
    for b in name {
        w.u8(*b);
    }
    for _ in 0..padded - length + 1 {
        w.u8(0);
    }
    w.at
}

struct Writer<'a> {
    out: &'a mut [u8; MAX_REPORT],
    at: usize,
}

impl Writer<'_> {
    fn u8(&mut self, v: u8) {
        if let Some(b) = self.out.get_mut(self.at) {
            *b = v;
            self.at += 1;
        }
    }
    fn u16(&mut self, v: u16) {
        for b in v.to_be_bytes() {
            self.u8(b);
        }
    }
    fn u32(&mut self, v: u32) {
        for b in v.to_be_bytes() {
            self.u8(b);
        }
    }
}

/// Parses a compound packet; `None` if it is not one. Unknown parts are skipped.
#[must_use]
pub fn parse(bytes: &[u8], our_ssrc: u32) -> Option<Report> {
    let mut report = Report::default();
    let mut rest = bytes;
    let mut first = true;
    while !rest.is_empty() {
        let (h, _) = rest.split_first_chunk::<4>()?;
        let length = (usize::from(u16::from_be_bytes([h[2], h[3]])) + 1) * 4;
        if h[0] >> 6 != 2 || (first && !matches!(h[1], 200 | 201)) {
            return None;
        }
        let body = rest.get(4..length)?;
        let count = usize::from(h[0] & 31);
        match h[1] {
            200 => {
                report.ssrc = word(body, 0)?;
                let ntp = u64::from(word(body, 1)?) << 32 | u64::from(word(body, 2)?);
                let (timestamp, packets, octets) = (word(body, 3)?, word(body, 4)?, word(body, 5)?);
                report.sent = Some(Sent { ntp, timestamp, packets, bytes: octets });
                report.about_us = blocks(body, 6, count, our_ssrc).or(report.about_us);
            }
            201 => {
                report.ssrc = word(body, 0)?;
                report.about_us = blocks(body, 1, count, our_ssrc).or(report.about_us);
            }
            203 => report.bye = true,
            _ => {}
        }
        rest = rest.get(length..)?;
        first = false;
    }
    (!first).then_some(report)
}

fn word(body: &[u8], index: usize) -> Option<u32> {
    let b = body.get(index * 4..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*b))
}

fn blocks(body: &[u8], start: usize, count: usize, ours: u32) -> Option<Block> {
    (0..count).find_map(|i| {
        let at = start + i * 6;
        let ssrc = word(body, at)?;
        let loss = word(body, at + 1)?;
        let block = Block {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            lost: loss & 0x00ff_ffff,
            highest: word(body, at + 2)?,
            jitter: word(body, at + 3)?,
            last_sr: word(body, at + 4)?,
            delay: word(body, at + 5)?,
        };
        (ssrc == ours).then_some(block)
    })
}

/// NTP time of nanoseconds since the Unix epoch, 32.32 fixed point.
#[must_use]
pub fn ntp(unix_ns: u64) -> u64 {
    const EPOCHS_APART: u64 = 2_208_988_800;
    let (secs, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    ((secs + EPOCHS_APART) << 32) | ((ns << 32) / 1_000_000_000)
}

/// Round-trip time from a block about our stream that arrived at `now` (NTP), ms.
#[must_use]
pub fn round_trip_ms(block: &Block, now: u64) -> Option<f64> {
    if block.last_sr == 0 {
        return None;
    }
    let arrival = (now >> 16) as u32;
    let units = arrival.wrapping_sub(block.last_sr).wrapping_sub(block.delay);
    // A small clock error makes it negative: no result.
    (units < u32::MAX / 2).then(|| f64::from(units) * 1000.0 / 65536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_read_back() {
        let sent = Sent { ntp: ntp(1_776_330_000_500_000_000), timestamp: 7, packets: 8, bytes: 9 };
        let block =
            Block { ssrc: 42, fraction_lost: 3, lost: 4, highest: 5, jitter: 6, last_sr: 7, delay: 8 };
        let mut out = [0u8; MAX_REPORT];
        for cname in ["a", "ab", "abc", "abcd", "a-long-name-with-many-characters-in-it-and-more"] {
            let n = write(&mut out, 1, Some(sent), Some(block), cname);
            assert_eq!(n % 4, 0);
            let r = parse(&out[..n], 42).unwrap();
            assert_eq!(r, Report { ssrc: 1, sent: Some(sent), about_us: Some(block), bye: false });
            assert_eq!(parse(&out[..n], 43).unwrap().about_us, None);
        }
        let n = write(&mut out, 1, None, None, "x");
        assert_eq!(parse(&out[..n], 42).unwrap().ssrc, 1);
    }

    #[test]
    fn round_trips_come_from_the_reports() {
        let sent_at = ntp(1_000_000_000_000);
        let block = Block { last_sr: (sent_at >> 16) as u32, delay: 65536 / 10, ..Block::default() };
        let back = ntp(1_000_150_000_000);
        assert!((round_trip_ms(&block, back).unwrap() - 50.0).abs() < 0.1);
        assert_eq!(round_trip_ms(&Block::default(), back), None);
    }

    #[test]
    fn garbage_is_refused() {
        let mut out = [0u8; MAX_REPORT];
        let n = write(&mut out, 1, None, Some(Block::default()), "x");
        for cut in 1..n {
            if cut % 4 != 0 || parse(&out[..cut], 0).is_none() {
                continue;
            }
            assert!(cut == 32, "a cut at {cut} is still whole");
        }
        assert_eq!(parse(&[], 0), None);
        assert_eq!(parse(&[0x80, 202, 0, 0], 0), None);
        assert_eq!(parse(&[0x80, 200, 0xff, 0xff, 1, 2, 3, 4], 0), None);
    }
}
