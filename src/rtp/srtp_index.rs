//! Packet indices of SRTP (RFC 3711 §3.3.1, §3.3.2): sequence numbers with roll-over counter, and the replay
//! list.

/// Maximum SSRCs per session; further ones replace the oldest.
const MAX_STREAMS: usize = 4;
/// Replay window, packets.
const WINDOW: u64 = 64;

#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: u32,
    highest: u64,
    /// Bit n: `highest - n` was received.
    seen: u64,
    /// The state is that of the previous key: no packet received under the present one.
    inherited: bool,
}

/// Index state of the SSRCs of one session.
#[derive(Debug, Default)]
pub struct Streams(heapless::Vec<Stream, MAX_STREAMS>);

impl Streams {
    /// The most probable index of a sequence number (RFC 3711 appendix A).
    #[must_use]
    pub fn guess(&self, ssrc: u32, sequence: u16) -> u64 {
        let Some(stream) = self.0.iter().find(|s| s.ssrc == ssrc) else { return u64::from(sequence) };
        let (roc, last) = (stream.highest >> 16, (stream.highest & 0xffff) as i64);
        let ahead = i64::from(sequence) - last;
        let roc = if ahead > 0x8000 {
            roc.saturating_sub(1)
        } else if ahead < -0x8000 {
            roc + 1
        } else {
            roc
        };
        roc << 16 | u64::from(sequence)
    }

    /// The same sources under a new key, with an empty replay list: roll-over counters continue (RFC 3711
    /// §3.3.1).
    #[must_use]
    pub fn under_another_key(&self) -> Self {
        let known = self.0.iter().map(|s| Stream { seen: 0, inherited: true, ..*s });
        Self(known.collect())
    }

    /// The alternative index of the first packet of a source after a change of key: some senders reset the
    /// roll-over counter with each key.
    #[must_use]
    pub fn other_guess(&self, ssrc: u32, sequence: u16) -> Option<u64> {
        let anew = u64::from(sequence);
        let inherited = self.0.iter().any(|s| s.ssrc == ssrc && s.inherited);
        (inherited && self.guess(ssrc, sequence) != anew).then_some(anew)
    }

    /// Records the index of an authentic packet; false if already received, or too old to tell.
    pub fn note(&mut self, ssrc: u32, index: u64) -> bool {
        let Some(stream) = self.0.iter_mut().find(|s| s.ssrc == ssrc) else {
            if self.0.is_full() {
                self.0.remove(0);
            }
            return self.0.push(Stream { ssrc, highest: index, seen: 1, inherited: false }).is_ok();
        };
        if stream.inherited {
            *stream = Stream { ssrc, highest: index, seen: 1, inherited: false };
            return true;
        }
        if index > stream.highest {
            let by = index - stream.highest;
            stream.seen = if by < WINDOW { stream.seen << by | 1 } else { 1 };
            stream.highest = index;
            return true;
        }
        let behind = stream.highest - index;
        if behind >= WINDOW || stream.seen >> behind & 1 == 1 {
            return false;
        }
        stream.seen |= 1 << behind;
        true
    }
}

/// The roll-over counter of a packet to send; packets are passed in order.
pub fn sender_index(streams: &mut Streams, ssrc: u32, sequence: u16) -> u32 {
    let index = streams.guess(ssrc, sequence);
    let _in_order = streams.note(ssrc, index);
    (index >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_roll_over_and_back() {
        let mut s = Streams::default();
        assert!(s.note(1, s.guess(1, 65_534)));
        assert_eq!(s.guess(1, 2), 65_536 + 2);
        assert!(s.note(1, 65_536 + 2));
        assert_eq!(s.guess(1, 65_535), 65_535, "late, from before the roll-over");
        assert_eq!(s.guess(1, 40_000), 40_000);
        assert_eq!(s.guess(2, 7), 7, "another SSRC starts from zero");
    }

    #[test]
    fn a_new_key_continues_or_resets_the_roll_over_and_clears_replays() {
        let mut before = Streams::default();
        assert!(before.note(1, 65_535) && before.note(1, 65_536));
        for (index, other) in [(65_537, Some(1)), (65_536 + 9, Some(9))] {
            let s = before.under_another_key();
            assert_eq!((s.guess(1, index as u16), s.other_guess(1, index as u16)), (index, other));
            assert_eq!(s.other_guess(2, 9), None, "an unknown SSRC");
            for settled in [index, other.unwrap()] {
                let mut s = before.under_another_key();
                assert!(s.note(1, settled) && !s.note(1, settled));
                assert_eq!((s.guess(1, settled as u16 + 1), s.other_guess(1, 5)), (settled + 1, None));
            }
        }
    }

    #[test]
    fn copies_and_the_very_late_are_refused() {
        let mut s = Streams::default();
        assert!(s.note(1, 100) && !s.note(1, 100));
        assert!(s.note(1, 99) && !s.note(1, 99));
        assert!(s.note(1, 37) && !s.note(1, 36), "the window is 64 packets");
        assert!(s.note(1, 400) && !s.note(1, 100) && s.note(1, 399));
        for ssrc in 2..9 {
            assert!(s.note(ssrc, 5));
        }
        assert_eq!(s.0.len(), MAX_STREAMS);
    }

    #[test]
    fn sent_packets_roll_over() {
        let mut s = Streams::default();
        let rocs: Vec<u32> =
            (0..4u32).map(|n| sender_index(&mut s, 9, 65_534u16.wrapping_add(n as u16))).collect();
        assert_eq!(rocs, [0, 0, 1, 1]);
    }
}
