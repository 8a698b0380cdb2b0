//! A room: one sum a tick, from which every listener takes its own away.

use crate::dsp::comfort_noise::ComfortNoise;
use crate::dsp::{self, MAX_FRAME, frame_len};

/// A mixer of fixed size.
#[derive(Debug)]
pub struct Room {
    /// Sampling rate, Hz.
    pub rate: u32,
    sum: [i32; MAX_FRAME],
    /// The sum in 16 bits, if it fits.
    narrow: [i16; MAX_FRAME],
    fits: bool,
    /// True while nothing has been added in this tick.
    silent: bool,
    /// What is heard while nobody says anything.
    noise: Option<ComfortNoise>,
    /// The sum holds nothing but that.
    only_noise: bool,
}

impl Room {
    /// A room at `rate` Hz.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            sum: [0; MAX_FRAME],
            narrow: [0; MAX_FRAME],
            fits: false,
            silent: true,
            noise: None,
            only_noise: false,
        }
    }

    /// The same with a faint noise while nobody says anything.
    #[must_use]
    pub fn with_comfort_noise(rate: u32, seed: u32) -> Self {
        Self { noise: Some(ComfortNoise::new(seed)), ..Self::new(rate) }
    }

    /// Samples of a frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        frame_len(self.rate)
    }

    /// Begins a tick.
    pub fn clear(&mut self) {
        if !self.silent {
            let n = self.frame_len();
            self.sum.get_mut(..n).unwrap_or_default().fill(0);
            (self.silent, self.fits, self.only_noise) = (true, false, false);
        }
    }

    /// Adds a source's frame.
    pub fn add(&mut self, frame: &[i16]) {
        dsp::add(&mut self.sum, frame);
        self.silent = false;
    }

    /// All sources are in: from here on it is heard.
    pub fn settle(&mut self) {
        let n = self.frame_len();
        let Some(sum) = self.sum.get_mut(..n) else { return };
        if let Some(noise) = &mut self.noise
            && (self.silent || sum.iter().all(|s| *s == 0))
        {
            noise.add(sum);
            (self.silent, self.only_noise) = (false, true);
        }
        if !self.silent {
            self.fits = dsp::narrow(sum, &mut self.narrow);
        }
    }

    /// True when nobody says anything in this tick.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent || self.only_noise
    }

    /// What a listener hears who has added `own`, or nothing.
    pub fn heard(&self, own: Option<&[i16]>, out: &mut [i16]) {
        match own {
            _ if self.silent => out.fill(0),
            Some(own) if self.fits && dsp::quiet_minus_own(&self.narrow, own, out) => {}
            Some(own) => dsp::minus_own(&self.sum, own, out),
            None => dsp::limited(&self.sum, out),
        }
    }
}
