//! Answering-machine detection: classifies who answered by the length of the greeting; then, if requested,
//! detects the machine's beep. Driven by the frames of one leg, 20 ms each.

use crate::dsp::level::{Bank, energy, rms};

/// Sampling rate of the frames, Hz: the telephone band is sufficient.
pub const RATE: u32 = 8000;
const FRAME_MS: u32 = 20;
/// RMS level above which a frame counts as voice.
const VOICED: f32 = 300.0;
/// Frames until speech starts, and until it ends.
const BEGIN: u32 = 2;
const END: u32 = 4;
/// Beep frequencies detected, Hz: 800 to 1200 in steps.
const LOWEST_BEEP: f32 = 800.0;
const STEP: f32 = 12.5;
const BEEPS: usize = 33;
/// Minimum share of a frame's energy at its strongest frequency: a sine between two of the frequencies has
/// 0.47, a musical note less than this.
const PURE: f32 = 0.43;
/// Consecutive frames of one tone that make a beep.
const BEEP_FRAMES: u32 = 4;
/// A beep's level varies by less than this factor from frame to frame.
const STEADY: f32 = 1.6;

/// Frequencies of call-progress tones (ITU-T E.180), Hz, every 50: a frame with this share of its energy
/// there is a call-progress tone.
const PROGRESS: [f32; 9] = [300.0, 350.0, 400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0];
const PROGRESS_SHARE: f32 = 0.9;

/// Parameters of the detection, all in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Initial silence after which the verdict is `NoSpeech`.
    pub initial_silence_timeout: u32,
    /// Speech after which the verdict is `Machine`.
    pub greeting_duration: u32,
    /// Silence after speech after which the verdict is `Human`.
    pub after_greeting_silence: u32,
    /// Time limit of the analysis.
    pub total_analysis_time: u32,
    /// Shorter bursts of speech are ignored.
    pub minimum_word_length: u32,
    /// How long to wait for a machine's beep; 0: beep detection off.
    pub beep_timeout: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            initial_silence_timeout: 2500,
            greeting_duration: 1500,
            after_greeting_silence: 800,
            total_analysis_time: 5000,
            minimum_word_length: 100,
            beep_timeout: 0,
        }
    }
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A short greeting, then silence.
    Human,
    /// A long greeting.
    Machine,
    /// No speech was detected.
    NoSpeech,
    /// The time limit was reached first.
    NotSure,
}

impl Verdict {
    /// Name used in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Machine => "machine",
            Self::NoSpeech => "no_speech",
            Self::NotSure => "not_sure",
        }
    }
}

/// The result, with the measured times, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Who answered.
    pub verdict: Verdict,
    /// Silence before the greeting.
    pub initial_silence_ms: u32,
    /// Speech of the greeting.
    pub greeting_ms: u32,
    /// Time analysed.
    pub total_ms: u32,
}

/// A result of the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmdEvent {
    /// Who answered.
    Outcome(Outcome),
    /// The beep was detected, ms after the verdict.
    Beep(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AmdPhase {
    Waiting,
    Greeting,
    /// Machine detected, waiting for its beep; time since the verdict, ms.
    Beeping(u32),
    Over,
}

/// An analysis.
#[derive(Debug, Clone)]
pub struct Amd {
    parameters: Parameters,
    state: AmdPhase,
    /// Time since the start, ms: frames received only, and including hold.
    elapsed: u32,
    clock: u32,
    initial: u32,
    greeting: u32,
    burst: u32,
    silence: u32,
    /// Speech, debounced.
    speaking: bool,
    /// Consecutive frames that contradict `speaking`.
    against: u32,
    /// Duration of call-progress tones within the greeting, ms.
    ringing: u32,
    progress: Bank<9>,
    tones: Bank<BEEPS>,
    /// Consecutive frames of one tone, index of its frequency, and its level.
    tonal: u32,
    pitch: usize,
    loud: f32,
}

impl Amd {
    /// An analysis of frames at [`RATE`].
    #[must_use]
    pub fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            state: AmdPhase::Waiting,
            elapsed: 0,
            clock: 0,
            initial: 0,
            greeting: 0,
            burst: 0,
            silence: 0,
            speaking: false,
            against: 0,
            ringing: 0,
            progress: Bank::new(PROGRESS, RATE),
            tones: Bank::new(std::array::from_fn(|i| LOWEST_BEEP + STEP * i as f32), RATE),
            tonal: 0,
            pitch: 0,
            loud: 0.0,
        }
    }

    /// True if no further result will follow.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == AmdPhase::Over
    }

    /// Analyses 20 ms of received audio; `None` while the leg is on hold: only the time limit runs then.
    pub fn frame(&mut self, frame: Option<&[i16]>) -> Option<AmdEvent> {
        self.clock += FRAME_MS;
        if let AmdPhase::Beeping(waited) = self.state {
            return self.listen_for_beep(frame, waited + FRAME_MS);
        }
        if self.state == AmdPhase::Over {
            return None;
        }
        if self.clock >= self.parameters.total_analysis_time {
            self.elapsed = self.clock;
            return Some(self.decide(Verdict::NotSure));
        }
        let frame = frame?;
        self.elapsed += FRAME_MS;
        let was = self.speaking;
        self.debounce(rms(frame) >= VOICED);
        let p = self.parameters;
        if self.speaking && self.is_progress(frame) {
            self.ringing += FRAME_MS;
        }
        match (self.state, self.speaking) {
            (AmdPhase::Greeting, true) => {
                self.burst += FRAME_MS;
                self.greeting += FRAME_MS;
                self.silence = 0;
                if self.greeting >= p.greeting_duration && !self.is_ringing() {
                    return Some(self.decide(Verdict::Machine));
                }
            }
            (AmdPhase::Greeting, false) => return self.pause(was),
            (_, true) => {
                (self.greeting, self.burst, self.state) = (FRAME_MS, FRAME_MS, AmdPhase::Greeting);
            }
            (_, false) => {
                self.initial += FRAME_MS;
                if self.initial >= p.initial_silence_timeout {
                    return Some(self.decide(Verdict::NoSpeech));
                }
            }
        }
        None
    }

    /// Silence after speech.
    fn pause(&mut self, was_speaking: bool) -> Option<AmdEvent> {
        if was_speaking {
            if self.burst < self.parameters.minimum_word_length {
                self.greeting = self.greeting.saturating_sub(self.burst);
            }
            self.burst = 0;
        }
        self.silence += FRAME_MS;
        if self.silence < self.parameters.after_greeting_silence {
            return None;
        }
        if self.greeting > 0 && !self.is_ringing() {
            return Some(self.decide(Verdict::Human));
        }
        self.ringing = 0;
        self.initial += std::mem::take(&mut self.silence);
        self.state = AmdPhase::Waiting;
        None
    }

    /// True if the supposed greeting is a call-progress tone of the network: neither human nor machine,
    /// however long.
    fn is_ringing(&self) -> bool {
        self.ringing * 5 >= self.greeting * 4
    }

    fn is_progress(&self, frame: &[i16]) -> bool {
        let there: f32 = self.progress.energies(frame).iter().sum();
        2.0 * there >= PROGRESS_SHARE * energy(frame).max(1.0)
    }

    fn debounce(&mut self, voiced: bool) {
        if voiced == self.speaking {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= if voiced { BEGIN } else { END } {
            (self.speaking, self.against) = (voiced, 0);
        }
    }

    fn decide(&mut self, verdict: Verdict) -> AmdEvent {
        let waits = verdict == Verdict::Machine && self.parameters.beep_timeout > 0;
        self.state = if waits { AmdPhase::Beeping(0) } else { AmdPhase::Over };
        let silent = verdict == Verdict::NoSpeech;
        AmdEvent::Outcome(Outcome {
            verdict,
            initial_silence_ms: if silent { self.parameters.initial_silence_timeout } else { self.initial },
            greeting_ms: if silent { 0 } else { self.greeting },
            total_ms: self.elapsed,
        })
    }

    fn listen_for_beep(&mut self, frame: Option<&[i16]>, waited: u32) -> Option<AmdEvent> {
        self.state =
            if waited >= self.parameters.beep_timeout { AmdPhase::Over } else { AmdPhase::Beeping(waited) };
        match frame.and_then(|f| self.tone(f)) {
            Some((pitch, loud)) => {
                let same = pitch.abs_diff(self.pitch) <= 2;
                let steady = loud < self.loud * STEADY && self.loud < loud * STEADY;
                self.tonal = if same && steady { self.tonal + 1 } else { 1 };
                (self.pitch, self.loud) = (pitch, loud);
            }
            None => self.tonal = 0,
        }
        if self.tonal < BEEP_FRAMES {
            return None;
        }
        self.state = AmdPhase::Over;
        Some(AmdEvent::Beep(waited))
    }

    /// The dominant tone of a frame and its level, if there is one.
    fn tone(&self, frame: &[i16]) -> Option<(usize, f32)> {
        let all = energy(frame);
        let loud = rms(frame);
        if loud < VOICED {
            return None;
        }
        let found = self.tones.energies(frame).into_iter().enumerate();
        let (pitch, most) = found.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (most / all >= PURE).then_some((pitch, loud))
    }

    /// The call has ended: returns the result, if there was none yet.
    pub fn end(&mut self) -> Option<AmdEvent> {
        if matches!(self.state, AmdPhase::Beeping(_) | AmdPhase::Over) {
            self.state = AmdPhase::Over;
            return None;
        }
        self.elapsed = self.clock;
        Some(self.decide(Verdict::NotSure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// Milliseconds of voice (a loud square wave) and silence alternating, silence first.
    fn outcome(parameters: Parameters, parts: &[u32]) -> Option<Outcome> {
        let mut amd = Amd::new(parameters);
        for (i, ms) in parts.iter().enumerate() {
            let frame = if i % 2 == 0 { [0; 160] } else { [2000; 160] };
            for _ in 0..ms / FRAME_MS {
                if let Some(AmdEvent::Outcome(o)) = amd.frame(Some(&frame)) {
                    return Some(o);
                }
            }
        }
        None
    }

    fn verdict(parts: &[u32]) -> Option<Verdict> {
        outcome(Parameters::default(), parts).map(|o| o.verdict)
    }

    #[test]
    fn greetings_are_classified_by_their_length() {
        assert_eq!(verdict(&[500, 600, 2000]), Some(Verdict::Human));
        assert_eq!(verdict(&[500, 2500]), Some(Verdict::Machine));
        assert_eq!(verdict(&[500, 700, 400, 700, 400, 700]), Some(Verdict::Machine), "pauses in a greeting");
        assert_eq!(verdict(&[3000]), Some(Verdict::NoSpeech));
        assert_eq!(verdict(&[1000, 40, 1000, 40, 5000]), Some(Verdict::NoSpeech), "clicks are ignored");
        let slow = Parameters { total_analysis_time: 2600, ..Parameters::default() };
        assert_eq!(outcome(slow, &[2000, 500, 600]).map(|o| o.verdict), Some(Verdict::NotSure));
        assert_eq!(verdict(&[500, 600, 200]), None);
    }

    #[test]
    fn call_progress_tones_are_not_a_human() {
        let mut amd = Amd::new(Parameters::default());
        let ring = |i: usize| (9000.0 * (2.0 * PI * 425.0 * i as f64 / 8000.0).sin()) as i16;
        let found = (0..300).find_map(|f| {
            let on = f % 250 < 50;
            let frame: Vec<i16> = (0..160).map(|i| if on { ring(f * 160 + i) } else { 0 }).collect();
            amd.frame(Some(&frame))
        });
        let Some(AmdEvent::Outcome(o)) = found else { panic!("no outcome") };
        assert_eq!(o.verdict, Verdict::NoSpeech);
    }

    #[test]
    fn the_figures_are_those_of_the_algorithm() {
        let o = outcome(Parameters::default(), &[3000]).unwrap();
        assert_eq!((o.initial_silence_ms, o.greeting_ms, o.total_ms), (2500, 0, 2500));
        // Speech is detected from its second frame, silence from its fourth.
        let o = outcome(Parameters::default(), &[500, 600, 2000]).unwrap();
        assert_eq!((o.initial_silence_ms, o.greeting_ms, o.total_ms), (520, 640, 1960));
        let o = outcome(Parameters::default(), &[500, 2500]).unwrap();
        assert_eq!((o.initial_silence_ms, o.greeting_ms, o.total_ms), (520, 1500, 2020));
    }

    #[test]
    fn on_hold_only_the_time_limit_runs_and_a_hang_up_is_not_sure() {
        let mut amd = Amd::new(Parameters::default());
        let mut frames = 0;
        while amd.frame(None).is_none() {
            frames += 1;
        }
        assert_eq!((frames, amd.is_over()), (249, true));
        let mut amd = Amd::new(Parameters::default());
        amd.frame(Some(&[0; 160]));
        let Some(AmdEvent::Outcome(o)) = amd.end() else { panic!("no outcome") };
        assert_eq!((o.verdict, o.total_ms, amd.end()), (Verdict::NotSure, 20, None));
    }

    /// Frames until a beep is detected in `sound` at 8 kHz after a machine's greeting.
    fn beep(sound: impl Fn(usize) -> f64) -> Option<u32> {
        let parameters = Parameters { beep_timeout: 5000, ..Parameters::default() };
        let mut amd = Amd::new(parameters);
        while amd.frame(Some(&[2000; 160])).is_none() {}
        for f in 0..250 {
            let frame: Vec<i16> = (0..160).map(|i| sound(f * 160 + i) as i16).collect();
            if let Some(AmdEvent::Beep(ms)) = amd.frame(Some(&frame)) {
                return Some(ms);
            }
        }
        assert!(amd.is_over());
        None
    }

    #[test]
    fn a_beep_is_one_steady_tone() {
        let sine = |hz: f64, i: usize| (2.0 * PI * hz * i as f64 / 8000.0).sin();
        for hz in [800.0, 937.0, 1000.0, 1012.5, 1187.0, 1200.0] {
            let found = beep(|i| if i < 8000 { 0.0 } else { 6000.0 * sine(hz, i) });
            assert_eq!(found, Some(1080), "{hz} Hz");
        }
        assert_eq!(beep(|i| 6000.0 * (sine(440.0, i) + sine(480.0, i))), None, "ringback");
        assert_eq!(beep(|i| 6000.0 * (sine(480.0, i) + sine(620.0, i))), None, "busy");
        assert_eq!(beep(|i| 5000.0 * (sine(880.0, i) + sine(1108.0, i) + sine(660.0, i))), None, "a chord");
        assert_eq!(beep(|i| 100.0 * sine(1000.0, i)), None, "hardly audible");
        let siren = |i: usize| {
            6000.0 * (2.0 * PI * (700.0 + 40.0 * (i as f64 / 400.0).sin()) * i as f64 / 8000.0).sin()
        };
        assert_eq!(beep(siren), None);
    }
}
