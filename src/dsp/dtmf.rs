//! In-band DTMF detection (ITU-T Q.23, Q.24), for far ends without telephone-event.
//!
//! Blocks of 12.5 ms: two consecutive blocks with one frequency of each group and hardly anything else form a
//! digit. A tone of 40 ms always fills two; 23 ms never do.

use super::level::{Bank, energy};

const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Samples of a block at the highest rate, 48 kHz.
const MAX_BLOCK: usize = 600;
/// Consecutive blocks that start a digit, and that end one.
const BEGIN: u8 = 2;
const END: u8 = 2;
/// Minimum energy share of the two frequencies: two pure sines have 0.5, with 1.5 % deviation 0.41.
const PURE: f32 = 0.36;
/// Minimum energy ratio of the strongest frequency of a group to the next.
const CLEAR: f32 = 5.0;
/// Maximum twist: high group 6 dB louder, low group 9 dB.
const TWIST_HIGH: f32 = 4.0;
const TWIST_LOW: f32 = 8.0;
/// Minimum mean square of a digit: −40 dBFS.
const QUIET: f32 = 330.0 * 330.0;

/// Detects the digits of one stream.
#[derive(Debug, Clone)]
pub struct DtmfDetector {
    /// Low group, then high group.
    bank: Bank<8>,
    block: [i16; MAX_BLOCK],
    len: usize,
    wanted: usize,
    candidate: Option<char>,
    hits: u8,
    /// The current digit, already reported, and blocks without it.
    told: Option<char>,
    misses: u8,
}

impl DtmfDetector {
    /// A detector for audio at `rate` Hz: 8, 16 or 48 kHz.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            bank: Bank::new(std::array::from_fn(frequency), rate),
            block: [0; MAX_BLOCK],
            len: 0,
            wanted: (rate as usize / 80).clamp(1, MAX_BLOCK),
            candidate: None,
            hits: 0,
            told: None,
            misses: 0,
        }
    }

    /// Processes a frame; returns the detected digit, once per key press.
    pub fn frame(&mut self, mut frame: &[i16]) -> Option<char> {
        let mut found = None;
        while !frame.is_empty() {
            let n = (self.wanted - self.len).min(frame.len());
            let (now, rest) = frame.split_at(n);
            let room = self.block.iter_mut().skip(self.len);
            room.zip(now).for_each(|(b, x)| *b = *x);
            (self.len, frame) = (self.len + n, rest);
            if self.len == self.wanted {
                self.len = 0;
                let key = self.key();
                found = self.note(key).or(found);
            }
        }
        found
    }

    fn note(&mut self, key: Option<char>) -> Option<char> {
        if self.told.is_some() {
            self.misses = if key == self.told { 0 } else { self.misses + 1 };
            if self.misses < END {
                return None;
            }
            self.told = None;
        }
        self.hits = if key.is_some() && key == self.candidate { self.hits + 1 } else { 1 };
        self.candidate = key;
        if key.is_none() || self.hits < BEGIN {
            return None;
        }
        (self.told, self.misses) = (key, 0);
        key
    }

    /// The key whose two frequencies the block contains, and nothing else.
    fn key(&self) -> Option<char> {
        let block = self.block.get(..self.wanted)?;
        let all = energy(block);
        if all < QUIET * self.wanted as f32 {
            return None;
        }
        let found = self.bank.energies(block);
        let (groups, _) = found.as_chunks::<4>();
        let (row, low) = strongest(groups.first()?)?;
        let (column, high) = strongest(groups.last()?)?;
        let pure = low + high >= PURE * all;
        let balanced = high <= low * TWIST_HIGH && low <= high * TWIST_LOW;
        (pure && balanced).then(|| KEYS.get(row)?.get(column).copied()).flatten()
    }
}

fn frequency(i: usize) -> f32 {
    LOW.iter().chain(&HIGH).nth(i).copied().unwrap_or_default()
}

/// The strongest frequency of a group, if it is clearly dominant.
fn strongest(found: &[f32; 4]) -> Option<(usize, f32)> {
    let (at, most) = found.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let next = found.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, e)| *e).fold(0.0, f32::max);
    (most > next * CLEAR).then_some((at, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::f64::consts::PI;

    struct Press {
        key: char,
        ms: usize,
        /// Frequency deviation, percent; level of the high group relative to the low, dB; noise below the
        /// tone, dB.
        off: f64,
        twist: f64,
        snr: f64,
    }

    fn sound(p: &Press, rate: usize, rng: &mut Rng) -> Vec<i16> {
        let (row, column) = (0..16).map(|i| (i / 4, i % 4)).find(|(r, c)| KEYS[*r][*c] == p.key).unwrap();
        let turn =
            |f: f32, i: usize| 2.0 * PI * f64::from(f) * (1.0 + p.off / 100.0) * i as f64 / rate as f64;
        let mut out = vec![0; rate * 45 / 1000];
        let louder = 10f64.powf(p.twist / 20.0);
        let noise = 4000.0 * 10f64.powf(-p.snr / 20.0);
        for i in 0..rate * p.ms / 1000 {
            let n = (f64::from(rng.below(20_001)) / 10_000.0 - 1.0) * noise;
            let v = 4000.0 * turn(LOW[row], i).sin() + 4000.0 * louder * turn(HIGH[column], i).sin() + n;
            out.push(v as i16);
        }
        out.extend(vec![0; rate * 55 / 1000]);
        out
    }

    fn heard(x: &[i16], rate: u32) -> String {
        let mut d = DtmfDetector::new(rate);
        x.chunks(rate as usize / 50).filter_map(|f| d.frame(f)).collect()
    }

    #[test]
    fn every_key_is_heard_once_at_every_rate_and_tolerance() {
        let mut rng = Rng::from_number(1);
        let all = "123A456B789C*0#D";
        for rate in [8000u32, 16_000, 48_000] {
            for (ms, off, twist, snr) in [
                (100, 0.0, 0.0, 60.0),
                (40, 0.0, 0.0, 30.0),
                (70, 1.5, 2.0, 25.0),
                (70, -1.5, -4.0, 25.0),
                (300, 0.0, 4.0, 15.0),
                (300, 0.5, -7.0, 20.0),
            ] {
                let press = |key| Press { key, ms, off, twist, snr };
                let x: Vec<i16> =
                    all.chars().flat_map(|k| sound(&press(k), rate as usize, &mut rng)).collect();
                assert_eq!(heard(&x, rate), all, "{rate} Hz, {ms} ms, {off} %, {twist} dB, {snr} dB");
            }
        }
    }

    #[test]
    fn a_key_pressed_twice_is_two_digits_and_short_or_wrong_tones_are_none() {
        let mut rng = Rng::from_number(2);
        let press = |ms, off, twist| Press { key: '5', ms, off, twist, snr: 40.0 };
        let mut press = |ms, off, twist| sound(&press(ms, off, twist), 8000, &mut rng);
        assert_eq!(heard(&[press(80, 0.0, 0.0), press(80, 0.0, 0.0)].concat(), 8000), "55");
        for x in [press(20, 0.0, 0.0), press(200, 4.0, 0.0), press(200, 0.0, 20.0), press(200, 0.0, -20.0)] {
            assert_eq!(heard(&x, 8000), "");
        }
        let noise: Vec<i16> = (0..80_000).map(|_| rng.below(20_000) as i16 - 10_000).collect();
        assert_eq!(heard(&noise, 8000), "");
    }
}
