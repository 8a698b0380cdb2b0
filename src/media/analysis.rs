//! Analysis of a leg's input: speech detection, in-band DTMF, answering-machine detection. All use the
//! received audio before mute.

use super::amd::{self, Amd, AmdEvent};
use crate::dsp::dtmf::DtmfDetector;
use crate::dsp::level::rms;
use crate::dsp::resample::Resampler;

/// RMS level above which a frame counts as voice.
const VOICED: f32 = 300.0;
/// Frames with voice until speech starts, and without voice until it stops: 60 and 300 ms.
const BEGIN: u32 = 3;
const END: u32 = 15;

/// Samples of a frame at 8 kHz.
const TELEPHONE_FRAME: usize = 160;

/// Speech detector.
#[derive(Debug, Clone, Default)]
pub struct Speaking {
    on: bool,
    /// Consecutive frames that contradict `on`.
    against: u32,
    /// Last state reported.
    told: bool,
}

impl Speaking {
    /// Analyses a frame; `None` while the leg is muted.
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

    /// The current state, if it differs from the last reported one.
    #[must_use]
    pub fn news(&self) -> Option<bool> {
        (self.on != self.told).then_some(self.on)
    }

    /// Marks the current state as reported.
    pub fn tell(&mut self) {
        self.told = self.on;
    }
}

/// All analysis of one leg.
#[derive(Debug)]
pub struct InputAnalysis {
    /// Speech detection; `None`: not requested.
    pub speaking: Option<Speaking>,
    /// From the leg's rate to 8 kHz, unless the leg's rate is 8 kHz.
    narrow: Option<Resampler>,
    /// In-band DTMF.
    dtmf: DtmfDetector,
    /// Answering-machine detection.
    pub amd: Option<Box<Amd>>,
    /// Result not yet reported.
    pub verdict: Option<AmdEvent>,
}

impl InputAnalysis {
    /// Analysis of a leg at `rate` Hz; speech and answering-machine detection are off.
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

    /// Analyses the audio received in this tick; returns a digit detected in it, if telephone events were not
    /// negotiated (`in_band`). Audio is ignored on hold.
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
        // One result at a time: results are rare.
        if self.verdict.is_none()
            && let Some(amd) = &mut self.amd
        {
            self.verdict = amd.frame((!held).then_some(frame));
        }
        if in_band { self.dtmf.frame(frame) } else { None }
    }

    /// The leg ends: a running analysis returns its result.
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
