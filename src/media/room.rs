//! A room: one sum a tick, from which every listener takes its own away.

use crate::dsp::{self, MAX_FRAME, frame_len};

/// A mixer of fixed size.
#[derive(Debug)]
pub struct Room {
    /// Sampling rate, Hz.
    pub rate: u32,
    sum: [i32; MAX_FRAME],
    /// True while nothing has been added in this tick.
    silent: bool,
}

impl Room {
    /// A room at `rate` Hz.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate, sum: [0; MAX_FRAME], silent: true }
    }

    /// Samples of a frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        frame_len(self.rate)
    }

    /// Begins a tick.
    pub fn clear(&mut self) {
        if !self.silent {
            self.sum = [0; MAX_FRAME];
            self.silent = true;
        }
    }

    /// Adds a source's frame.
    pub fn add(&mut self, frame: &[i16]) {
        dsp::add(&mut self.sum, frame);
        self.silent = false;
    }

    /// What a listener hears who has added `own`, or nothing.
    pub fn heard(&self, own: Option<&[i16]>, out: &mut [i16]) {
        match own {
            _ if self.silent => out.fill(0),
            Some(own) => dsp::minus_own(&self.sum, own, out),
            None => dsp::limited(&self.sum, out),
        }
    }
}
