//! What listens to a leg: whether somebody speaks, digits in the sound, answering-machine detection. All hear what was
//! received, before mute.

use super::amd::{self, Amd, News};
use crate::dsp::dtmf::DtmfDetector;
use crate::dsp::level::rms;
use crate::dsp::resample::Resampler;

/// Root mean square from which a frame has voice.
const VOICED: f32 = 300.0;
/// Frames of voice until somebody speaks, frames without until nobody does: 60 and 300 ms.
const BEGIN: u32 = 3;
const END: u32 = 15;

/// Samples of a frame in the telephone band.
const TELEPHONE_FRAME: usize = 160;

/// Whether somebody speaks.
#[derive(Debug, Clone, Default)]
pub struct Speaking {
    on: bool,
    /// Frames that say otherwise.
    against: u32,
    /// What was last told.
    told: bool,
}

impl Speaking {
    /// Takes a frame, `None` while the leg is muted.
    pub fn frame(&mut self, frame: Option<&[i16]>) {
        let Some(frame) = frame else {
            (self.on, self.against) = (false, 0);
            return;
        };
        let voiced = rms(frame) >= VOICED;
        self.against = if voiced == self.on { 0 } else { self.against + 1 };
        if self.against >= if voiced { BEGIN } else { END } {
            (self.on, self.against) = (voiced, 0);
        }
    }

    /// What has changed since it was last told.
    #[must_use]
    pub fn news(&self) -> Option<bool> {
        (self.on != self.told).then_some(self.on)
    }

    /// It has been told.
    pub fn tell(&mut self) {
        self.told = self.on;
    }
}

/// All that listen to one leg.
#[derive(Debug)]
pub struct InputAnalysis {
    /// Whether somebody speaks; `None`: nobody asked.
    pub speaking: Option<Speaking>,
    /// From the leg's rate down to the telephone band, where that is not it already.
    narrow: Option<Resampler>,
    /// Digits in the sound.
    dtmf: DtmfDetector,
    /// Answering-machine detection.
    pub amd: Option<Box<Amd>>,
    /// Its news that nobody was told yet.
    pub verdict: Option<News>,
}

impl InputAnalysis {
    /// InputAnalysis of a leg at `rate` Hz, to which nobody listens yet.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            speaking: None,
            narrow: Resampler::new(rate, amd::RATE),
            dtmf: DtmfDetector::new(amd::RATE),
            amd: None,
            verdict: None,
        }
    }

    /// Takes what was received in this tick; a digit that was heard in it, where no events were agreed (`in_band`). On
    /// hold there is nothing to hear.
    pub fn frame(&mut self, frame: &[i16], muted: bool, held: bool, in_band: bool) -> Option<char> {
        if let Some(s) = &mut self.speaking {
            s.frame((!muted && !held).then_some(frame));
        }
        let analysed = self.amd.as_ref().is_some_and(|a| !a.is_over());
        if !analysed && !in_band {
            return None;
        }
        let mut low = [0; TELEPHONE_FRAME];
        let frame = match &mut self.narrow {
            Some(narrow) => {
                narrow.process(frame, &mut low);
                &low[..]
            }
            None => frame,
        };
        // One piece of news at a time: they are seldom.
        if self.verdict.is_none()
            && let Some(amd) = &mut self.amd
        {
            self.verdict = amd.frame((!held).then_some(frame));
        }
        if in_band { self.dtmf.frame(frame) } else { None }
    }

    /// The leg ends: an analysis that is not done says so.
    pub fn end(&mut self) {
        if self.verdict.is_none() {
            self.verdict = self.amd.as_mut().and_then(|amd| amd.end());
        }
        if let Some(s) = &mut self.speaking {
            s.frame(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_begins_after_60_ms_and_ends_after_300() {
        let (loud, quiet) = ([1000i16; 160], [0i16; 160]);
        let mut s = Speaking::default();
        let mut told = Vec::new();
        for tick in 0..100 {
            s.frame(Some(if (10..30).contains(&tick) || tick == 5 { &loud } else { &quiet }));
            if let Some(on) = s.news() {
                s.tell();
                told.push((tick, on));
            }
        }
        assert_eq!(told, [(12, true), (44, false)]);
        (0..5).for_each(|_| s.frame(Some(&loud)));
        assert_eq!(s.news(), Some(true));
        s.tell();
        s.frame(None);
        assert_eq!(s.news(), Some(false), "muted");
    }
}
