//! From packets to frames: when each packet is played, what is made up where none is, and how the delay is kept as
//! small as the network allows.
//!
//! Time rules: a sample is played some delay after the earliest moment at which it could have come. That delay is kept
//! near what the network's jitter asks for, by leaving out or repeating single periods of the sound; this is also what
//! takes up the difference between two clocks.

use super::decoders::{Decoders, change_rate};
use super::timeline::{RATE, Timeline};
use crate::codec::{Codec, opus};
use crate::dsp::comfort_noise::LevelNoise;
use crate::dsp::prefetch::{TELEPHONE, touch};
use crate::dsp::{MAX_FRAME, frame_len, stretch};
use crate::rtp::delay::DelayEstimator;
use crate::rtp::jitter::{Counts, Head, JitterBuffer};

/// Reads of the jitter buffer in one tick at most.
const MAX_READS: usize = 40;
/// Frames in a row that are made up; after that it is silence, and no longer counted.
const MAX_CONCEALED: u32 = 5;
/// What is above the target by this much is shortened, ms: a packet of 20 ms comes at any time of a tick.
const SLACK_MS: f64 = 22.0;
/// What is below it by this much is lengthened, ms.
const LACK_MS: f64 = 5.0;
/// Ticks between two pieces left out or repeated: at most an eighth faster or slower.
const REST: u8 = 4;
/// Far above the target, packets are left out at once, ms.
const FAR_MS: f64 = 150.0;
/// A packet may be played this much before its delay is over, ms.
const EARLY_MS: f64 = 10.0;
/// Shares of lost packets from which waiting for their successors is worth it, and below which it is not any more; and
/// how fast they are learnt.
const LOSSY: f64 = 0.015;
const LOSSLESS: f64 = 0.005;
const LOSS_WEIGHT: f64 = 0.01;
/// How much older than news of the far end's silence sound may be that is played after it: 2 s.
const LATEST: i64 = 2 * RATE as i64;
/// Length of a frame, ms.
const TICK_MS: f64 = 20.0;
/// Delays that no network makes: the stream begins anew, ms.
const ABSURD_MS: f64 = 2000.0;

/// The receiving end of a stream.
#[derive(Debug)]
pub struct Playout {
    jitter: JitterBuffer,
    delay: DelayEstimator,
    decoders: Decoders,
    timeline: Timeline,
    /// Decoded, not yet played, at the rate of the codec decoded last.
    fifo: Box<[i16]>,
    len: usize,
    /// When what follows the fifo was said.
    tail: Option<i64>,
    /// Delay at which sound was last played, ms.
    delayed: f64,
    /// How long before it was needed the last packet could have come, ms: what jitter may take.
    slack: f64,
    packet_samples: usize,
    /// Frames made up in a row.
    run: u32,
    concealed: u64,
    /// Of these, those that may turn out to be silence the far end did not send.
    doubtful: u64,
    /// What the far end's silence sounds like, from this timestamp on (RFC 3389).
    noise: Option<(i64, LevelNoise)>,
    /// A packet was given up since the last one was decoded.
    missed: bool,
    /// Share of packets lost lately.
    losses: f64,
    /// Packets wait for their successors.
    waits: bool,
    /// Packets that came, but could not be played in time.
    too_late: u64,
    stretching: Stretching,
}

/// How the sound was stretched.
#[derive(Debug, Clone, Copy, Default)]
struct Stretching {
    /// Ticks until it may be stretched again.
    rest: u8,
    /// Pieces left out and repeated.
    shortened: u64,
    lengthened: u64,
}

/// Longest packet of G.711 and G.722 that is taken: 200 ms (RFC 3551 §4.2), at 8 bytes a millisecond.
const LONGEST: usize = 200 * 8;
/// Room for packets that wait, bytes: 64 of 20 ms of G.711, or six of 200 ms; 16 of the largest of Opus.
const WAITING: usize = 64 * 160;
const WAITING_OPUS: usize = 2 * WAITING;

/// Room for packets of a codec that wait, bytes.
fn waiting(codec: Codec) -> usize {
    if codec == Codec::Opus { WAITING_OPUS } else { WAITING }
}

/// Largest payload taken, bytes.
fn largest(codec: Codec) -> usize {
    if codec == Codec::Opus { 1276 } else { LONGEST }
}

/// Samples decoded ahead: the longest packet, what was left, and what is repeated. A byte of G.722 is two samples.
fn room(codec: Codec) -> usize {
    match codec {
        Codec::Opus => opus::MAX_SAMPLES + 2 * MAX_FRAME,
        Codec::G722 => LONGEST * 2 + 3 * MAX_FRAME,
        Codec::Pcmu | Codec::Pcma => LONGEST + 3 * MAX_FRAME,
    }
}

/// True when what has the timestamp `at` comes after what has `since`; late by too much, it is from another count of time.
fn follows(at: i64, since: i64) -> bool {
    at >= since || since - at > LATEST
}

impl Playout {
    /// A player of `codec` for a leg at `leg_rate` Hz. Allocates all it will ever need.
    #[must_use]
    pub fn new(codec: Codec, leg_rate: u32) -> Self {
        Self::of_several(codec, &[], leg_rate)
    }

    /// The same where further codecs may come.
    #[must_use]
    pub fn of_several(first: Codec, others: &[Codec], leg_rate: u32) -> Self {
        let most = |of: fn(Codec) -> usize| others.iter().copied().map(of).fold(of(first), usize::max);
        Self {
            jitter: JitterBuffer::new(most(largest), most(waiting)),
            delay: DelayEstimator::default(),
            decoders: Decoders::new(first, others, leg_rate),
            timeline: Timeline::new(first),
            fifo: vec![0; most(room)].into_boxed_slice(),
            len: 0,
            tail: None,
            delayed: 0.0,
            slack: 0.0,
            packet_samples: frame_len(first.sample_rate()),
            run: MAX_CONCEALED,
            concealed: 0,
            doubtful: 0,
            noise: None,
            missed: false,
            losses: 0.0,
            waits: false,
            too_late: 0,
            stretching: Stretching::default(),
        }
    }

    /// G.722 was described with this clock, Hz; its packets tell whether that is so.
    pub fn describe_clock(&mut self, clock: u32) {
        self.timeline.describe_clock(clock);
    }

    /// Clock of the timestamps of a codec, Hz, as far as is known.
    #[must_use]
    pub fn clock(&self, codec: Codec) -> u32 {
        self.timeline.clock(codec)
    }

    /// The codec decoded last; before any was, the first of the agreement.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.decoders.now.codec
    }

    /// Its sampling rate, Hz.
    fn rate(&self) -> u32 {
        self.codec().sample_rate()
    }

    /// Has all fetched that a tick needs of it.
    pub(super) fn touch(&self) -> i64 {
        let n = frame_len(self.rate());
        let concealer = &self.decoders.now.concealer;
        let frames = touch(self.fifo.get(..n).unwrap_or_default()) ^ touch(concealer.next_to_go(n));
        let few = self.delay.target() + self.delay.drift_ppm() + self.losses;
        frames ^ touch(self.jitter.next_cell(TELEPHONE)) ^ few as i64 ^ self.stretching.shortened as i64
    }

    /// Another stream begins.
    pub fn clear(&mut self) {
        self.jitter.clear();
        self.delay = DelayEstimator::default();
        self.timeline.restart();
        self.tail = None;
        self.concealed = self.concealed();
        (self.doubtful, self.missed, self.noise) = (0, false, None);
    }

    /// The far end tells how loud its silence is, dB below overload, in the packet that came last: nothing more comes
    /// until somebody speaks. What is to be played before is played first.
    pub fn comfort(&mut self, level: u8) {
        let since = self.timeline.last();
        match &mut self.noise {
            Some((at, noise)) if follows(since, *at) => {
                *at = since;
                noise.set_level(level);
            }
            Some(_) => {}
            None => self.noise = Some((since, LevelNoise::new(level))),
        }
    }

    /// Takes a packet of a codec; one of none only holds its place in the order.
    pub fn insert(
        &mut self,
        sequence: u64,
        timestamp: u32,
        codec: Option<Codec>,
        payload: &[u8],
        arrival_ns: u64,
    ) {
        let payload = if codec.is_some() { payload } else { &[] };
        let audio = codec.map(|codec| (codec, payload.len()));
        let said = self.timeline.place(sequence, timestamp, audio, arrival_ns);
        if !payload.is_empty() {
            self.delay.note(arrival_ns, said, RATE);
        }
        self.jitter.insert(sequence, said, codec, payload);
    }

    /// The far end is not heard any more, nor is its silence.
    pub fn end_comfort(&mut self) {
        self.noise = None;
    }

    /// How long samples of the codec last, in units of the timeline.
    fn units(&self, samples: usize) -> i64 {
        samples as i64 * i64::from(RATE / self.rate())
    }

    /// The delay to keep, ms: for Opus one packet more where packets get lost, so that the next one is here when a lost one
    /// is to be made up from it.
    fn target(&self) -> f64 {
        self.delay.target() + if self.waits { TICK_MS } else { 0.0 }
    }

    /// How late the sample behind the fifo would be, were it played now, ms.
    fn lateness(&self, now_ns: u64, timestamp: i64) -> f64 {
        let waiting = self.len as f64 * 1000.0 / f64::from(self.rate());
        self.delay.playing_delay(now_ns, timestamp, RATE) + waiting
    }

    /// The next frame, at the leg's rate. While a digit is coming in (`silent`) nothing is made up.
    pub fn frame(&mut self, now_ns: u64, silent: bool, out: &mut [i16]) {
        self.fill(now_ns, silent);
        if self.run == 0 {
            self.keep_delay();
            self.fill(now_ns, silent);
        }
        let n = frame_len(self.rate());
        match (&mut self.decoders.now.converter, self.fifo.get(..n)) {
            (Some(c), Some(frame)) => c.process(frame, out),
            (None, Some(frame)) => out.iter_mut().zip(frame).for_each(|(o, f)| *o = *f),
            (_, None) => out.fill(0),
        }
        self.fifo.copy_within(n..self.len.max(n), 0);
        self.len -= n.min(self.len);
    }

    /// Samples that a frame still wants: another number once the codec changes.
    fn wanting(&self) -> usize {
        frame_len(self.rate()).saturating_sub(self.len)
    }

    /// Decodes, conceals or waits until a frame is there.
    fn fill(&mut self, now_ns: u64, silent: bool) {
        for _ in 0..MAX_READS {
            if self.wanting() == 0 {
                return;
            }
            if !self.play_next(now_ns) {
                self.conceal(silent, self.wanting());
            }
        }
        if self.wanting() > 0 {
            self.conceal(true, self.wanting());
        }
    }

    /// Decodes the next packet if it is here and its time has come.
    fn play_next(&mut self, now_ns: u64) -> bool {
        let Some(head) = self.jitter.head() else { return false };
        if head.is_empty {
            self.jitter.take();
            return true;
        }
        let lateness = self.lateness(now_ns, head.timestamp);
        let target = self.target();
        let alone = self.jitter.held() == 1;
        if lateness < -ABSURD_MS || (lateness > target + FAR_MS && !alone) {
            // A stream that begun anew, or a standstill: only what comes last is worth hearing.
            self.jitter.take();
            self.too_late += 1;
            return true;
        }
        if self.tail != Some(head.timestamp) {
            let playing = self.tail.is_some() && self.run < MAX_CONCEALED;
            let due = if playing { self.delayed - EARLY_MS } else { target };
            if lateness < due {
                if playing && self.slack < target - LACK_MS {
                    // Too little delay: what is made up now is added to it.
                    self.delayed += TICK_MS;
                    self.slack += TICK_MS;
                } else if head.missing > 0 {
                    // What is made up now stands for the first of those that are missing.
                    self.jitter.pass();
                    self.missed = true;
                }
                return false;
            }
        }
        let unsent = self.tail.is_some_and(|t| head.timestamp - t >= self.units(self.packet_samples));
        if unsent && head.missing == 0 && !self.missed {
            // The far end sent nothing in between: there was nothing to make up for.
            self.concealed = self.concealed();
        }
        let lost = self.missed || head.missing > 0;
        self.losses += (f64::from(u8::from(lost)) - self.losses) * LOSS_WEIGHT;
        let most = if self.waits { LOSSLESS } else { LOSSY };
        self.waits = self.codec() == Codec::Opus && self.losses > most;
        (self.doubtful, self.missed, self.delayed) = (0, false, lateness);
        self.slack = self.delay.playing_delay(now_ns, head.timestamp, RATE);
        head.codec.into_iter().for_each(|codec| self.go_on_with(codec));
        self.decode(head.timestamp);
        true
    }

    /// What follows is of this codec: what was decoded and not played goes before it.
    fn go_on_with(&mut self, codec: Codec) {
        let before = self.rate();
        if !self.decoders.select(codec) {
            return;
        }
        let rate = self.rate();
        if rate != before {
            self.len = change_rate(&mut self.fifo, self.len, before, rate);
            self.packet_samples = self.packet_samples * rate as usize / before as usize;
        }
    }

    fn decode(&mut self, timestamp: i64) {
        let payload = self.jitter.take();
        let Some(to) = self.fifo.get_mut(self.len..) else { return };
        let voice = &mut self.decoders.now;
        let got = voice.decoder.decode(payload, to);
        if got == 0 {
            return;
        }
        if voice.codec != Codec::Opus
            && let Some(fresh) = to.get_mut(..got)
        {
            voice.concealer.good(fresh);
        }
        self.len += got;
        self.packet_samples = got;
        self.tail = Some(timestamp + self.units(got));
        self.run = 0;
        self.noise.take_if(|(since, _)| follows(timestamp, *since));
    }

    /// Makes up some samples; after a while, silence.
    fn conceal(&mut self, silent: bool, samples: usize) {
        let quiet = silent || self.run >= MAX_CONCEALED;
        // Opus makes up whole packets, as what the next one tells of a lost one is a whole packet's worth.
        let whole = if self.codec() == Codec::Opus { self.packet_samples } else { samples };
        let Some(to) = self.fifo.get_mut(self.len..self.len + whole) else { return };
        if let Some((_, noise)) = &mut self.noise {
            noise.fill(to);
            // Nothing is missing, and what comes next waits as the first of all did.
            self.run = MAX_CONCEALED;
        } else if quiet {
            to.fill(0);
        } else {
            // The packet just given up may be found in the next one, if that follows it.
            let voice = &mut self.decoders.now;
            let follows = |h: &Head| self.missed && h.missing == 0 && h.codec == Some(voice.codec);
            let next = self.jitter.head().filter(follows);
            let successor = if next.is_some() { self.jitter.peek() } else { &[] };
            if !voice.decoder.conceal(successor, to) {
                voice.concealer.missing(to);
            }
            self.run += 1;
            self.concealed += 1;
            self.doubtful += 1;
        }
        self.len += whole;
    }

    /// Leaves out or repeats a little where the delay is not what it should be.
    fn keep_delay(&mut self) {
        self.stretching.rest = self.stretching.rest.saturating_sub(1);
        let Some(tail) = self.tail.filter(|_| self.stretching.rest == 0) else { return };
        let rate = self.rate();
        let n = frame_len(rate);
        let (slack, target) = (self.slack, self.target());
        let before = self.len;
        let more = self.len >= 2 * n || self.jitter.head().is_some_and(|h| h.timestamp == tail);
        if slack > target + SLACK_MS && more {
            if let Some(x) = self.fifo.get_mut(..self.len) {
                self.len = stretch::shorten(x, rate);
                self.stretching.shortened += u64::from(self.len < before);
            }
        } else if slack < target - LACK_MS {
            self.len = stretch::lengthen(&mut self.fifo, self.len, rate);
            self.stretching.lengthened += u64::from(self.len > before);
        }
        if self.len != before {
            self.stretching.rest = REST;
        }
    }

    /// True when there has been nothing but silence from the far end for a while.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.run >= MAX_CONCEALED && self.len == 0 && self.noise.is_none()
    }

    /// Frames made up because something was lost or late. Those at the end of what has come are not among them until the
    /// next packet tells that there was more: a far end that suppresses silence sends nothing.
    #[must_use]
    pub fn concealed(&self) -> u64 {
        self.concealed.saturating_sub(self.doubtful)
    }

    /// Counters of the packets.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = self.jitter.counts();
        Counts { late: counts.late + self.too_late, ..counts }
    }

    /// Pieces left out, and pieces repeated, to keep the delay.
    #[must_use]
    pub fn stretched(&self) -> (u64, u64) {
        (self.stretching.shortened, self.stretching.lengthened)
    }

    /// Delay at which sound was last played, ms after the earliest moment it could have been.
    #[must_use]
    pub fn delay_ms(&self) -> f64 {
        self.delayed
    }

    /// How much faster than ours the far end's clock runs, parts per million.
    #[must_use]
    pub fn drift_ppm(&self) -> f64 {
        self.delay.drift_ppm()
    }
}
