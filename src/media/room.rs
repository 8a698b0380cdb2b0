//! A room: one sum per tick; every listener hears the sum minus its own signal.

use crate::dsp::comfort_noise::ComfortNoise;
use crate::dsp::limiter::KNEE;
use crate::dsp::{self, MAX_FRAME, frame_len};

/// Sampling rate needed by the members of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemberRates {
    /// No members.
    Nothing,
    /// All members have this rate, Hz.
    One(u32),
    /// The room's own rate is needed.
    Own,
}

/// Content of the sum of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Nothing has been added.
    Nothing,
    /// Comfort noise alone.
    Noise,
    /// Frames of sources.
    Sound,
}

/// A mixer of fixed size.
#[derive(Debug)]
pub struct Room {
    /// Sampling rate, Hz.
    pub rate: u32,
    /// The rate used for mixing in this tick, Hz: the common rate of all members, if they have one.
    mixing: u32,
    wanted: MemberRates,
    /// All sources of this tick have been added.
    settled: bool,
    /// The sum, once it may exceed 16 bits; all zero before.
    sum: [i32; MAX_FRAME],
    /// The sum in 16 bits.
    narrow: [i16; MAX_FRAME],
    /// Upper bound of the sum's samples, while not `wide`.
    bound: i32,
    /// The sum is in `sum`.
    wide: bool,
    /// `narrow` holds the complete sum.
    fits: bool,
    content: Content,
    /// Comfort noise while no member contributes.
    noise: Option<ComfortNoise>,
}

impl Room {
    /// A room at `rate` Hz.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            mixing: rate,
            wanted: MemberRates::Nothing,
            settled: true,
            sum: [0; MAX_FRAME],
            narrow: [0; MAX_FRAME],
            bound: 0,
            wide: false,
            fits: true,
            content: Content::Nothing,
            noise: None,
        }
    }

    /// A room with comfort noise while no member contributes.
    #[must_use]
    pub fn with_comfort_noise(rate: u32, seed: u32) -> Self {
        Self { noise: Some(ComfortNoise::new(seed)), ..Self::new(rate) }
    }

    /// Samples of a frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        frame_len(self.mixing)
    }

    /// The rate used for mixing in this tick, Hz.
    #[must_use]
    pub fn mixing(&self) -> u32 {
        self.mixing
    }

    /// Registers a member whose frames have this rate, Hz.
    pub fn note_member(&mut self, rate: u32) {
        self.wanted = match self.wanted {
            MemberRates::Nothing if rate <= self.rate => MemberRates::One(rate),
            MemberRates::One(same) if same == rate => MemberRates::One(rate),
            MemberRates::Nothing | MemberRates::One(_) | MemberRates::Own => MemberRates::Own,
        };
    }

    /// Requests mixing at the room's own rate.
    pub fn need_own_rate(&mut self) {
        self.wanted = MemberRates::Own;
    }

    /// Starts a tick, after all members are registered. Conversion is the largest cost, so members with a
    /// common rate are mixed at that rate; the change back to it waits for silence, since it removes the
    /// converters' delay.
    pub fn begin(&mut self) {
        self.settled = false;
        let quiet = self.content != Content::Sound;
        if self.content != Content::Nothing {
            let n = self.frame_len();
            self.narrow.get_mut(..n).unwrap_or_default().fill(0);
            if self.wide {
                self.sum.get_mut(..n).unwrap_or_default().fill(0);
            }
            (self.content, self.wide, self.fits, self.bound) = (Content::Nothing, false, true, 0);
        }
        match std::mem::replace(&mut self.wanted, MemberRates::Nothing) {
            MemberRates::Own => self.mixing = self.rate,
            MemberRates::One(rate) if quiet => self.mixing = rate,
            // The members of the previous common rate have left; the new ones only have converters for the
            // room's rate.
            MemberRates::One(rate) if rate != self.mixing => self.mixing = self.rate,
            MemberRates::One(_) | MemberRates::Nothing => {}
        }
    }

    /// Adds a source's frame. The sum is computed in 16 bits while it cannot overflow: twice as fast.
    pub fn add(&mut self, frame: &[i16]) {
        self.content = Content::Sound;
        if self.wide {
            return dsp::add(&mut self.sum, frame);
        }
        self.bound += dsp::add_narrow(&mut self.narrow, frame);
        if self.bound > i32::from(i16::MAX) {
            self.widen(&[frame]);
        }
    }

    /// Adds the frames of two sources: faster than two single adds.
    pub fn add_pair(&mut self, first: &[i16], second: &[i16]) {
        if self.wide {
            self.add(first);
            return self.add(second);
        }
        self.content = Content::Sound;
        self.bound += dsp::add_narrow_pair(&mut self.narrow, first, second);
        if self.bound > i32::from(i16::MAX) {
            self.widen(&[first, second]);
        }
    }

    /// Continues in 32 bits: the last frames added may have wrapped the sum and are subtracted again.
    fn widen(&mut self, last: &[&[i16]]) {
        let n = self.frame_len();
        for frame in last {
            self.narrow.iter_mut().zip(*frame).for_each(|(s, x)| *s = s.wrapping_sub(*x));
        }
        for (wide, s) in self.sum.iter_mut().zip(&self.narrow).take(n) {
            *wide = i32::from(*s);
        }
        self.wide = true;
        last.iter().for_each(|frame| dsp::add(&mut self.sum, frame));
    }

    /// All sources have been added: listeners may read the sum from now on.
    pub fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let n = self.frame_len();
        let Some(sum) = self.sum.get_mut(..n) else { return };
        let nothing = if self.wide { sum.iter().all(|s| *s == 0) } else { self.bound == 0 };
        if let Some(noise) = self.noise.as_mut().filter(|_| nothing) {
            noise.add(sum);
            (self.content, self.wide) = (Content::Noise, true);
        }
        if self.wide {
            self.fits = dsp::narrow(sum, &mut self.narrow);
        }
    }

    /// The frame for a listener that has added `own`, or nothing.
    pub fn heard(&self, own: Option<&[i16]>, out: &mut [i16]) {
        // So quiet that the limiter cannot be active for any listener.
        let quiet = !self.wide && self.bound <= KNEE;
        match own {
            _ if self.content == Content::Nothing => out.fill(0),
            Some(own) if quiet => dsp::subtract(&self.narrow, own, out),
            Some(own) if self.fits && dsp::quiet_minus_own(&self.narrow, own, out) => {}
            Some(own) if self.wide => dsp::minus_own(&self.sum, own, out),
            Some(own) => dsp::minus_own(&self.narrow, own, out),
            None if self.wide => dsp::limited(&self.sum, out),
            None => dsp::limited(&self.narrow, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_hears_the_others_at_any_level() {
        for loud in [100, 9000, 20_000, 32_767] {
            let frames: Vec<[i16; 320]> = (0..4i16)
                .map(|n| std::array::from_fn(|i| ((i as i16 % 9 - 4) * (loud / 4)).saturating_add(n)))
                .collect();
            let mut room = Room::new(16_000);
            for pass in 0..2 {
                room.begin();
                match frames.as_chunks::<2>().0 {
                    pairs if pass == 0 => pairs.iter().for_each(|[a, b]| room.add_pair(a, b)),
                    _ => frames.iter().for_each(|f| room.add(f)),
                }
                room.settle();
                let sum: Vec<i32> = (0..320).map(|i| frames.iter().map(|f| i32::from(f[i])).sum()).collect();
                let mut out = [0i16; 320];
                for f in &frames {
                    room.heard(Some(f), &mut out);
                    let want: Vec<i16> =
                        sum.iter().zip(f).map(|(s, x)| dsp::limiter::soft(s - i32::from(*x))).collect();
                    assert_eq!(out[..], want, "{loud}");
                }
                room.heard(None, &mut out);
                assert_eq!(out[..], sum.iter().map(|s| dsp::limiter::soft(*s)).collect::<Vec<_>>(), "{loud}");
            }
            room.begin();
            room.settle();
            let mut out = [7i16; 320];
            room.heard(None, &mut out);
            assert_eq!(out, [0; 320], "the last tick is cleared");
        }
    }

    #[test]
    fn members_of_one_rate_are_mixed_at_it() {
        let mut room = Room::new(48_000);
        let mut mixed = |rates: &[u32], own: bool, loud: bool| {
            rates.iter().for_each(|r| room.note_member(*r));
            if own {
                room.need_own_rate();
            }
            room.begin();
            if loud {
                let n = room.frame_len();
                room.add(&[1000; MAX_FRAME][..n]);
            }
            room.settle();
            room.mixing()
        };
        assert_eq!(mixed(&[8000, 8000], false, true), 8000);
        assert_eq!(mixed(&[8000, 16_000], false, true), 48_000);
        assert_eq!(mixed(&[16_000, 16_000], false, true), 48_000, "not before silence");
        assert_eq!(mixed(&[16_000, 16_000], false, false), 48_000);
        assert_eq!(mixed(&[16_000, 16_000], false, true), 16_000);
        assert_eq!(mixed(&[8000], false, true), 48_000, "members changed without silence");
        assert_eq!(mixed(&[8000], false, false), 48_000);
        assert_eq!(mixed(&[8000], false, true), 8000);
        assert_eq!(mixed(&[16_000], true, false), 48_000, "the room is recorded");
    }
}
