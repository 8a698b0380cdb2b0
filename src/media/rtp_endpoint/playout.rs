//! Playout: decides when each packet is played, conceals missing ones, and keeps the delay as small as the
//! network allows.
//!
//! A sample is played a certain delay after its earliest possible arrival. This delay follows the network's
//! jitter by removing or repeating single pitch periods of the audio, which also compensates clock drift.

use super::decoders::{Decoders, change_rate};
use super::timeline::{RATE, Timeline};
use crate::codec::{Codec, opus};
use crate::dsp::comfort_noise::LevelNoise;
use crate::dsp::prefetch::{TELEPHONE, touch};
use crate::dsp::{MAX_FRAME, frame_len, stretch};
use crate::rtp::delay::DelayEstimator;
use crate::rtp::jitter::{Counts, Head, JitterBuffer};

/// Maximum reads of the jitter buffer per tick.
const MAX_READS: usize = 40;
/// Maximum consecutive concealed frames; silence follows, which is not counted.
const MAX_CONCEALED: u32 = 5;
/// Delay above the target by more than this is reduced, ms: a 20 ms packet arrives at any time within a tick.
const SLACK_MS: f64 = 22.0;
/// Delay below the target by more than this is increased, ms.
const LACK_MS: f64 = 5.0;
/// Ticks between two time-scale modifications: at most an eighth faster or slower.
const REST: u8 = 4;
/// Packets are dropped at once if the delay exceeds the target by more than this, ms.
const FAR_MS: f64 = 150.0;
/// A packet may be played this much before its delay has elapsed, ms.
const EARLY_MS: f64 = 10.0;
/// Loss rates above which to wait for the next packet, and below which to stop waiting; and the smoothing
/// factor of the loss rate.
const LOSSY: f64 = 0.015;
const LOSSLESS: f64 = 0.005;
const LOSS_WEIGHT: f64 = 0.01;
/// Audio up to this much older than a comfort-noise packet is played after it without ending the noise: 2 s.
const LATEST: i64 = 2 * RATE as i64;
/// Length of a frame, ms.
const TICK_MS: f64 = 20.0;
/// Delays that no network causes, ms: the stream has restarted.
const ABSURD_MS: f64 = 2000.0;

/// The receiving side of a stream.
#[derive(Debug)]
pub struct Playout {
    jitter: JitterBuffer,
    delay: DelayEstimator,
    decoders: Decoders,
    timeline: Timeline,
    /// Decoded samples not yet played, at the rate of the codec decoded last.
    fifo: Box<[i16]>,
    len: usize,
    /// Timeline position of the sample after the fifo.
    tail: Option<i64>,
    /// Delay of the last packet played, ms.
    delayed: f64,
    /// How much earlier the last packet could have arrived, ms: the margin for jitter.
    slack: f64,
    packet_samples: usize,
    /// Consecutive concealed frames.
    run: u32,
    concealed: u64,
    /// Those of them that may turn out to be silence that the far end did not send.
    doubtful: u64,
    /// Comfort noise of the far end, starting at this timestamp (RFC 3389).
    noise: Option<(i64, LevelNoise)>,
    /// A packet was skipped since the last one was decoded.
    missed: bool,
    /// Smoothed packet loss rate.
    losses: f64,
    /// Packets are delayed until their successor has arrived.
    waits: bool,
    /// Packets that arrived, but too late to be played.
    too_late: u64,
    stretching: Stretching,
}

/// Time-scale modification.
#[derive(Debug, Clone, Copy, Default)]
struct Stretching {
    /// Ticks until the next modification is allowed.
    rest: u8,
    /// Pieces removed and repeated.
    shortened: u64,
    lengthened: u64,
}

/// Longest G.711 or G.722 packet accepted: 200 ms (RFC 3551 §4.2), at 8 bytes per millisecond.
const LONGEST: usize = 200 * 8;
/// Jitter buffer size, bytes: 64 packets of 20 ms of G.711, or six of 200 ms; 16 of the largest of Opus.
const WAITING: usize = 64 * 160;
const WAITING_OPUS: usize = 2 * WAITING;

/// Jitter buffer size for a codec, bytes.
fn waiting(codec: Codec) -> usize {
    if codec == Codec::Opus { WAITING_OPUS } else { WAITING }
}

/// Largest payload accepted, bytes.
fn largest(codec: Codec) -> usize {
    if codec == Codec::Opus { 1276 } else { LONGEST }
}

/// Fifo size, samples: the longest packet, the remainder, and what is repeated. One byte of G.722 is two
/// samples.
fn room(codec: Codec) -> usize {
    match codec {
        Codec::Opus => opus::MAX_SAMPLES + 2 * MAX_FRAME,
        Codec::G722 => LONGEST * 2 + 3 * MAX_FRAME,
        Codec::Pcmu | Codec::Pcma => LONGEST + 3 * MAX_FRAME,
    }
}

/// True if timestamp `at` comes after `since`; if much older, it belongs to another time base.
fn follows(at: i64, since: i64) -> bool {
    at >= since || since - at > LATEST
}

impl Playout {
    /// Playout of `codec` for a leg at `leg_rate` Hz. Allocates all memory it will need.
    #[must_use]
    pub fn new(codec: Codec, leg_rate: u32) -> Self {
        Self::of_several(codec, &[], leg_rate)
    }

    /// Playout if several codecs were negotiated.
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

    /// Sets the clock rate of G.722 given in the SDP, Hz; corrected from its packets if wrong.
    pub fn describe_clock(&mut self, clock: u32) {
        self.timeline.describe_clock(clock);
    }

    /// Current estimate of the clock rate of a codec's timestamps, Hz.
    #[must_use]
    pub fn clock(&self, codec: Codec) -> u32 {
        self.timeline.clock(codec)
    }

    /// The codec decoded last; before that, the first of the negotiated ones.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.decoders.now.codec
    }

    /// Its sampling rate, Hz.
    fn rate(&self) -> u32 {
        self.codec().sample_rate()
    }

    /// Prefetches the memory needed in a tick into the cache.
    pub(super) fn touch(&self) -> i64 {
        let n = frame_len(self.rate());
        let concealer = &self.decoders.now.concealer;
        let frames = touch(self.fifo.get(..n).unwrap_or_default()) ^ touch(concealer.next_to_go(n));
        let few = self.delay.target() + self.delay.drift_ppm() + self.losses;
        frames ^ touch(self.jitter.next_cell(TELEPHONE)) ^ few as i64 ^ self.stretching.shortened as i64
    }

    /// A new stream starts.
    pub fn clear(&mut self) {
        self.jitter.clear();
        self.delay = DelayEstimator::default();
        self.timeline.restart();
        self.tail = None;
        self.concealed = self.concealed();
        (self.doubtful, self.missed, self.noise) = (0, false, None);
    }

    /// The last packet was comfort noise with this level, dB below overload: no further packets until speech.
    /// Queued audio is played first.
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

    /// Inserts a packet; without a codec it only occupies its sequence number.
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

    /// The far end is no longer received: ends its comfort noise.
    pub fn end_comfort(&mut self) {
        self.noise = None;
    }

    /// Duration of samples of the current codec, in timeline units.
    fn units(&self, samples: usize) -> i64 {
        samples as i64 * i64::from(RATE / self.rate())
    }

    /// The target delay, ms: for Opus one packet more under packet loss, so that the next packet has arrived
    /// when a lost one is reconstructed from it.
    fn target(&self) -> f64 {
        self.delay.target() + if self.waits { TICK_MS } else { 0.0 }
    }

    /// Delay at which the sample after the fifo would be played, ms.
    fn lateness(&self, now_ns: u64, timestamp: i64) -> f64 {
        let waiting = self.len as f64 * 1000.0 / f64::from(self.rate());
        self.delay.playing_delay(now_ns, timestamp, RATE) + waiting
    }

    /// The next frame, at the leg's rate. During a received digit (`silent`) nothing is concealed.
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

    /// Samples missing for a frame; changes if the codec changes.
    fn wanting(&self) -> usize {
        frame_len(self.rate()).saturating_sub(self.len)
    }

    /// Decodes or conceals until a frame is complete.
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

    /// Decodes the next packet if it has arrived and is due.
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
            // The stream restarted, or the system stalled: only the latest packet is played.
            self.jitter.take();
            self.too_late += 1;
            return true;
        }
        if self.tail != Some(head.timestamp) {
            let playing = self.tail.is_some() && self.run < MAX_CONCEALED;
            let due = if playing { self.delayed - EARLY_MS } else { target };
            if lateness < due {
                if playing && self.slack < target - LACK_MS {
                    // Delay too small: the concealed audio is inserted.
                    self.delayed += TICK_MS;
                    self.slack += TICK_MS;
                } else if head.missing > 0 {
                    // The concealed audio replaces the first missing packet.
                    self.jitter.pass();
                    self.missed = true;
                }
                return false;
            }
        }
        let unsent = self.tail.is_some_and(|t| head.timestamp - t >= self.units(self.packet_samples));
        if unsent && head.missing == 0 && !self.missed {
            // The far end sent nothing in between: no concealment to count.
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

    /// Switches to this codec, after the samples already decoded.
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

    /// Conceals some samples; silence after a while.
    fn conceal(&mut self, silent: bool, samples: usize) {
        let quiet = silent || self.run >= MAX_CONCEALED;
        // Opus conceals whole packets, since FEC in the next packet covers a whole one.
        let whole = if self.codec() == Codec::Opus { self.packet_samples } else { samples };
        let Some(to) = self.fifo.get_mut(self.len..self.len + whole) else { return };
        if let Some((_, noise)) = &mut self.noise {
            noise.fill(to);
            // Nothing is missing, and the next packet is delayed like the first one.
            self.run = MAX_CONCEALED;
        } else if quiet {
            to.fill(0);
        } else {
            // The skipped packet may be recoverable from the next one, if that follows directly.
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

    /// Removes or repeats a short piece if the delay deviates from the target.
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

    /// True if there has been only silence from the far end for a while.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.run >= MAX_CONCEALED && self.len == 0 && self.noise.is_none()
    }

    /// Frames concealed because of loss or lateness. Those at the end of received audio count only when the
    /// next packet shows that packets were missing: a far end with silence suppression sends nothing.
    #[must_use]
    pub fn concealed(&self) -> u64 {
        self.concealed.saturating_sub(self.doubtful)
    }

    /// Packet counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = self.jitter.counts();
        Counts { late: counts.late + self.too_late, ..counts }
    }

    /// Pieces removed, and pieces repeated, to control the delay.
    #[must_use]
    pub fn stretched(&self) -> (u64, u64) {
        (self.stretching.shortened, self.stretching.lengthened)
    }

    /// Delay of the last packet played, ms after its earliest possible time.
    #[must_use]
    pub fn delay_ms(&self) -> f64 {
        self.delayed
    }

    /// By how much the far end's clock is faster than ours, parts per million.
    #[must_use]
    pub fn drift_ppm(&self) -> f64 {
        self.delay.drift_ppm()
    }
}
