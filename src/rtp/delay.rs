//! Packet delay statistics: playout delay and clock drift estimated from arrival times.

/// Width of a lateness class, ms, and number of classes: 0 to 200 ms.
const CLASS_MS: f64 = 5.0;
const CLASSES: usize = 40;
/// Largest target delay, ms.
pub const MAX_TARGET_MS: f64 = 200.0;
/// Share of packets that may arrive too late.
const TOO_LATE: f64 = 0.01;
/// Exponential forgetting per packet: half of the weight is older than 9 s at 50 packets a second.
const FORGET: f64 = 0.9985;
/// Weights are scaled down when the total reaches this.
const LARGE: f64 = 1e6;
/// Target before any packet, and safety margin, ms: ticks and packet arrivals are not synchronized.
const FIRST_MS: f64 = 10.0;
const MARGIN_MS: f64 = 3.0;
/// Length of the windows whose fastest packet is the reference for zero delay, ms.
const WINDOW_MS: f64 = 4000.0;
/// A step in transit time that indicates a different stream, ms.
const JUMP_MS: f64 = 2000.0;
/// If all packets of this period, ms, are later than the fastest one by this much, ms, the path or a clock
/// has changed permanently.
const STEP_TIME_MS: f64 = 200.0;
const STEP_MS: f64 = 150.0;

/// Delay statistics of one stream.
#[derive(Debug, Clone)]
pub struct DelayEstimator {
    lateness: Lateness,
    /// Reference for transit times: arrival in ns and timestamp.
    origin: Option<(u64, i64)>,
    /// Fastest transit of this window and of the previous one, ms.
    fastest: f64,
    before: f64,
    window_began: f64,
    target: f64,
    drift: Drift,
    /// Since when all packets have been far too late, ms.
    off_since: Option<f64>,
}

/// Histogram of packet lateness with exponential forgetting. Weights grow with time instead of decaying
/// down, and the sum above the current class is kept: a packet updates one class only.
#[derive(Debug, Clone)]
struct Lateness {
    weights: [f64; CLASSES],
    /// Total weight; 0 before the first packet.
    total: f64,
    /// The highest class that is needed: it and all above it hold more than [`TOO_LATE`] of the packets.
    last: usize,
    /// Weight of all classes above `last`.
    above: f64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { weights: [0.0; CLASSES], total: 0.0, last: 0, above: 0.0 }
    }
}

impl Lateness {
    /// Adds a packet; returns the class up to which to wait: at most [`TOO_LATE`] of all packets are later.
    fn note(&mut self, class: usize) -> usize {
        let first = self.total == 0.0;
        self.total = if first { 1.0 } else { self.total / FORGET };
        let weight = if first { 1.0 } else { self.total * (1.0 - FORGET) };
        if let Some(w) = self.weights.get_mut(class) {
            *w += weight;
        }
        if class > self.last {
            self.above += weight;
        }
        if self.total > LARGE {
            self.scale_down();
        }
        let most = self.total * TOO_LATE;
        while self.above > most && self.last + 1 < CLASSES {
            self.last += 1;
            self.above -= self.of(self.last);
        }
        while self.last > 0 && self.above + self.of(self.last) <= most {
            self.above += self.of(self.last);
            self.last -= 1;
        }
        self.last
    }

    fn of(&self, class: usize) -> f64 {
        self.weights.get(class).copied().unwrap_or(0.0)
    }

    fn scale_down(&mut self) {
        self.weights.iter_mut().for_each(|w| *w /= self.total);
        self.total = 1.0;
        self.above = self.weights.iter().skip(self.last + 1).sum();
    }
}

/// Linear regression through the fastest transits of all windows.
#[derive(Debug, Clone, Copy, Default)]
struct Drift {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Drift {
    fn add(&mut self, at_ms: f64, transit_ms: f64) {
        self.n += 1.0;
        self.x += at_ms;
        self.y += transit_ms;
        self.xx += at_ms * at_ms;
        self.xy += at_ms * transit_ms;
    }

    fn slope(&self) -> f64 {
        let spread = self.n * self.xx - self.x * self.x;
        if self.n < 3.0 || spread <= 0.0 { 0.0 } else { (self.n * self.xy - self.x * self.y) / spread }
    }
}

impl Default for DelayEstimator {
    fn default() -> Self {
        Self {
            lateness: Lateness::default(),
            origin: None,
            fastest: f64::INFINITY,
            before: f64::INFINITY,
            window_began: 0.0,
            target: FIRST_MS,
            drift: Drift::default(),
            off_since: None,
        }
    }
}

impl DelayEstimator {
    /// Records the arrival of a packet with this extended timestamp; `clock` in Hz.
    pub fn note(&mut self, arrival_ns: u64, timestamp: i64, clock: u32) {
        let Some((at, transit)) = self.transit(arrival_ns, timestamp, clock) else {
            self.origin = Some((arrival_ns, timestamp));
            return self.note(arrival_ns, timestamp, clock);
        };
        let off = if self.baseline().is_finite() { transit - self.baseline() } else { 0.0 };
        self.off_since = (off > STEP_MS).then(|| self.off_since.unwrap_or(at));
        let stepped = self.off_since.is_some_and(|since| at - since > STEP_TIME_MS);
        if off.abs() > JUMP_MS || stepped {
            *self = Self { origin: Some((arrival_ns, timestamp)), ..Self::default() };
            return self.note(arrival_ns, timestamp, clock);
        }
        if at - self.window_began > WINDOW_MS {
            if self.fastest.is_finite() {
                self.drift.add(at, self.fastest);
            }
            (self.before, self.fastest, self.window_began) = (self.fastest, f64::INFINITY, at);
        }
        self.fastest = self.fastest.min(transit);
        let late = (transit - self.baseline()).max(0.0);
        let class = ((late / CLASS_MS) as usize).min(CLASSES - 1);
        let last = self.lateness.note(class);
        let top = if last == 0 { 0.0 } else { (last as f64 + 1.0) * CLASS_MS };
        self.target = (top + MARGIN_MS).clamp(FIRST_MS, MAX_TARGET_MS);
    }

    /// Arrival and transit time since the origin, ms.
    fn transit(&self, at_ns: u64, timestamp: i64, clock: u32) -> Option<(f64, f64)> {
        let (origin_ns, origin) = self.origin?;
        let at = at_ns.wrapping_sub(origin_ns) as i64 as f64 / 1e6;
        Some((at, at - (timestamp - origin) as f64 * 1000.0 / f64::from(clock.max(1))))
    }

    fn baseline(&self) -> f64 {
        self.fastest.min(self.before)
    }

    /// Delay, relative to the fastest possible arrival, at which a sample with this timestamp would be played
    /// if it were played now; ms. 0 before the first packet.
    #[must_use]
    pub fn playing_delay(&self, now_ns: u64, timestamp: i64, clock: u32) -> f64 {
        let baseline = self.baseline();
        let transit = self.transit(now_ns, timestamp, clock).map_or(0.0, |(_, t)| t);
        if baseline.is_finite() { transit - baseline } else { 0.0 }
    }

    /// The playout delay at which about one packet in a hundred is too late, 10 to 200 ms.
    #[must_use]
    pub fn target(&self) -> f64 {
        self.target
    }

    /// By how much the far end's clock is faster than ours, parts per million; 0 until enough is measured.
    #[must_use]
    pub fn drift_ppm(&self) -> f64 {
        -self.drift.slope() * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// `n` packets of 20 ms with individual lateness; the far end's clock is fast by `ppm`.
    fn run(n: i64, ppm: f64, mut late_ms: impl FnMut(i64) -> f64) -> DelayEstimator {
        let mut d = DelayEstimator::default();
        for i in 0..n {
            let at = 1e12 + i as f64 * 20e6 * (1.0 - ppm / 1e6) + late_ms(i) * 1e6;
            d.note(at as u64, i * 160, 8000);
        }
        d
    }

    #[test]
    fn the_target_follows_the_lateness() {
        assert!((run(500, 0.0, |_| 7.0).target() - FIRST_MS).abs() < 0.1, "a constant delay does not count");
        let mut rng = Rng::from_number(1);
        let d = run(2000, 0.0, |_| f64::from(rng.below(60)));
        assert!((55.0..=65.0).contains(&d.target()), "{}", d.target());
        // Late packets for a while, then none.
        let d = run(6000, 0.0, |i| if i < 1000 && i % 3 == 0 { 90.0 } else { 0.0 });
        assert!(d.target() < 20.0, "{}", d.target());
        assert!(run(500, 0.0, |i| if i % 2 == 0 { 900.0 } else { 0.0 }).target() <= MAX_TARGET_MS);
    }

    #[test]
    fn a_path_change_is_detected_quickly_and_a_burst_is_not_one() {
        for step in [300.0, 1500.0] {
            let late = |i: i64| if i >= 500 { step } else { 0.0 };
            let d = run(512, 0.0, late);
            let delay = |d: &DelayEstimator, i: i64| {
                d.playing_delay((1e12 + i as f64 * 20e6 + late(i) * 1e6) as u64, i * 160, 8000)
            };
            assert!(delay(&d, 511).abs() < 0.1 && d.target() < 20.0, "{step}: {}", delay(&d, 511));
        }
        // Packets held up for half a second and then delivered in a burst.
        let d = run(600, 0.0, |i| if (500..525).contains(&i) { (525 - i) as f64 * 20.0 } else { 0.0 });
        assert!(d.playing_delay((1e12 + 599.0 * 20e6) as u64, 599 * 160, 8000).abs() < 0.1);
    }

    #[test]
    fn the_clock_of_the_far_end_is_measured() {
        for ppm in [-200.0, -20.0, 0.0, 50.0, 300.0] {
            let mut rng = Rng::from_number(2);
            let d = run(6000, ppm, |_| f64::from(rng.below(20)));
            assert!((d.drift_ppm() - ppm).abs() < 15.0, "{ppm}: {}", d.drift_ppm());
        }
    }

    #[test]
    fn a_restarted_stream_is_not_a_delay() {
        let mut d = run(500, 0.0, |_| 0.0);
        d.note(1_000_000_000_000 + 500 * 20_000_000, 5_000_000, 8000);
        assert!((d.target() - FIRST_MS).abs() < 0.1);
        assert!(d.playing_delay(1_000_000_000_000 + 500 * 20_000_000, 5_000_000, 8000).abs() < 0.1);
    }
}
