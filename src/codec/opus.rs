//! Opus (RFC 6716, RFC 7587) using libopus, mono at 48 kHz. Encoder and decoder states are in our own memory,
//! so that they can be copied, and nothing is allocated per frame.
#![expect(unsafe_code, reason = "libopus is C; its bindings have no way to copy a state")]

use std::ffi::c_int;

use opusic_sys as sys;

/// The one sampling rate used, Hz.
pub const RATE: u32 = 48_000;
/// Longest packet a decoder must handle: 120 ms in samples.
pub const MAX_SAMPLES: usize = 5760;
/// Largest packet produced, bytes.
pub const MAX_PACKET: usize = 400;
/// Default bit rate, bit/s: below that of G.711, and high enough that single tones keep their level within 1
/// dB, unlike at the 32,000 recommended for full-band speech (RFC 7587 §3.1.1).
pub const DEFAULT_BITRATE: u32 = 48_000;

/// Format parameters of the far end (RFC 7587 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpusFmtp {
    /// It uses in-band forward error correction.
    pub fec: bool,
    /// We may use discontinuous transmission.
    pub dtx: bool,
    /// Constant bit rate.
    pub cbr: bool,
    /// Bit rate, bit/s.
    pub bitrate: u32,
    /// Highest sampling rate it plays, Hz.
    pub playback_rate: u32,
}

impl Default for OpusFmtp {
    fn default() -> Self {
        Self { fec: false, dtx: false, cbr: false, bitrate: DEFAULT_BITRATE, playback_rate: RATE }
    }
}

/// Bandwidth by sampling rate, Hz.
const BANDWIDTHS: [(u32, c_int); 5] = [
    (8000, sys::OPUS_BANDWIDTH_NARROWBAND),
    (12_000, sys::OPUS_BANDWIDTH_MEDIUMBAND),
    (16_000, sys::OPUS_BANDWIDTH_WIDEBAND),
    (24_000, sys::OPUS_BANDWIDTH_SUPERWIDEBAND),
    (48_000, sys::OPUS_BANDWIDTH_FULLBAND),
];

/// A libopus state: contiguous and without internal pointers, so it can be copied bytewise.
type State = Box<[u64]>;

fn memory(size: c_int) -> State {
    vec![0; usize::try_from(size).unwrap_or(0).div_ceil(8)].into_boxed_slice()
}

/// An encoder.
#[derive(Clone)]
pub struct Encoder {
    state: State,
    loss: u8,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("opus::Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder with these parameters; `complexity` is 0 to 10.
    #[must_use]
    pub fn new(wishes: &OpusFmtp, complexity: u8) -> Self {
        // SAFETY: takes and returns plain numbers.
        let mut state = memory(unsafe { sys::opus_encoder_get_size(1) });
        // SAFETY: the memory has the size asked for and the alignment of pointers.
        let done = unsafe {
            sys::opus_encoder_init(state.as_mut_ptr().cast(), RATE as i32, 1, sys::OPUS_APPLICATION_VOIP)
        };
        debug_assert_eq!(done, sys::OPUS_OK);
        let mut new = Self { state, loss: 0 };
        let wide_enough = BANDWIDTHS.iter().find(|(rate, _)| *rate >= wishes.playback_rate);
        let bandwidth = wide_enough.map_or(sys::OPUS_BANDWIDTH_FULLBAND, |(_, bandwidth)| *bandwidth);
        let bitrate = wishes.bitrate.clamp(6000, 128_000) as c_int;
        for (request, value) in [
            (sys::OPUS_SET_BITRATE_REQUEST, bitrate),
            (sys::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(complexity.min(10))),
            (sys::OPUS_SET_MAX_BANDWIDTH_REQUEST, bandwidth),
            (sys::OPUS_SET_VBR_REQUEST, c_int::from(!wishes.cbr)),
            (sys::OPUS_SET_INBAND_FEC_REQUEST, c_int::from(wishes.fec)),
            (sys::OPUS_SET_DTX_REQUEST, c_int::from(wishes.dtx)),
        ] {
            new.set(request, value);
        }
        new
    }

    fn set(&mut self, request: c_int, value: c_int) {
        // SAFETY: the state is initialized; all these requests take one int by value.
        let done = unsafe { sys::opus_encoder_ctl(self.state.as_mut_ptr().cast(), request, value) };
        debug_assert_eq!(done, sys::OPUS_OK, "request {request}");
    }

    /// Sets the expected packet loss, percent, for forward error correction.
    pub fn expect_loss(&mut self, percent: u8) {
        if self.loss != percent {
            self.loss = percent;
            self.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, c_int::from(percent.min(100)));
        }
    }

    /// Encodes a packet of 10, 20, 40 or 60 ms; returns its length in bytes, at most 2 if nothing needs to be
    /// sent (discontinuous transmission), 0 for another number of samples.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        let room = out.len().min(MAX_PACKET) as i32;
        // SAFETY: the state is initialized; both buffers have the given lengths.
        let len = unsafe {
            sys::opus_encode(
                self.state.as_mut_ptr().cast(),
                samples.as_ptr(),
                samples.len() as c_int,
                out.as_mut_ptr(),
                room,
            )
        };
        usize::try_from(len).unwrap_or(0)
    }

    /// Copies the state of `other`, which must have the same parameters.
    pub fn copy_from(&mut self, other: &Self) {
        if self.state.len() == other.state.len() {
            self.state.copy_from_slice(&other.state);
            self.loss = other.loss;
        }
    }
}

/// A decoder.
pub struct Decoder {
    state: State,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("opus::Decoder").finish_non_exhaustive()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        // SAFETY: takes and returns plain numbers.
        let mut state = memory(unsafe { sys::opus_decoder_get_size(1) });
        // SAFETY: the memory has the size asked for and the alignment of pointers.
        let done = unsafe { sys::opus_decoder_init(state.as_mut_ptr().cast(), RATE as i32, 1) };
        debug_assert_eq!(done, sys::OPUS_OK);
        Self { state }
    }
}

/// Number of samples in a packet; `None` if it is not a valid Opus packet.
#[must_use]
pub fn samples_of(payload: &[u8]) -> Option<usize> {
    // SAFETY: the payload has the given length.
    let n = unsafe { sys::opus_packet_get_nb_samples(payload.as_ptr(), payload.len() as i32, RATE as i32) };
    usize::try_from(n).ok().filter(|n| (1..=MAX_SAMPLES).contains(n))
}

impl Decoder {
    /// Decodes a packet; returns the number of samples, 0 if it is invalid.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        if payload.is_empty() {
            return 0;
        }
        self.run(payload, out, false)
    }

    /// Extrapolates a lost packet: 2.5 ms or a multiple. Returns the number of samples.
    pub fn conceal(&mut self, out: &mut [i16]) -> usize {
        self.run(&[], out, false)
    }

    /// Recovers a lost packet from its successor (FEC), or extrapolates it. Returns the number of samples.
    pub fn recover(&mut self, successor: &[u8], out: &mut [i16]) -> usize {
        self.run(successor, out, !successor.is_empty())
    }

    fn run(&mut self, payload: &[u8], out: &mut [i16], fec: bool) -> usize {
        let data = if payload.is_empty() { std::ptr::null() } else { payload.as_ptr() };
        // SAFETY: the state is initialized; both buffers have the given lengths, and an empty payload is a
        // null pointer as required.
        let n = unsafe {
            sys::opus_decode(
                self.state.as_mut_ptr().cast(),
                data,
                payload.len() as i32,
                out.as_mut_ptr(),
                out.len().min(MAX_SAMPLES) as c_int,
                c_int::from(fec),
            )
        };
        usize::try_from(n).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn tone(hz: f64, from: usize, n: usize) -> Vec<i16> {
        let at = |i: usize| 8000.0 * (2.0 * PI * hz * (from + i) as f64 / f64::from(RATE)).sin();
        (0..n).map(|i| at(i) as i16).collect()
    }

    fn rms(x: &[i16]) -> f64 {
        (x.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
    }

    #[test]
    fn packets_of_every_length_come_back_as_long_and_as_loud() {
        for ms in [10, 20, 40, 60] {
            let n = ms * 48;
            let mut encoder = Encoder::new(&OpusFmtp { fec: true, ..OpusFmtp::default() }, 5);
            let mut decoder = Decoder::default();
            let (mut packet, mut heard) = ([0; MAX_PACKET], vec![0; n]);
            for f in 0..600 / ms {
                let len = encoder.encode(&tone(500.0, f * n, n), &mut packet);
                assert_eq!(samples_of(&packet[..len]), Some(n), "{ms} ms");
                assert_eq!(decoder.decode(&packet[..len], &mut heard), n);
            }
            assert!((rms(&heard) / 5657.0 - 1.0).abs() < 0.1, "{ms} ms: {}", rms(&heard));
        }
        assert_eq!(
            Encoder::new(&OpusFmtp::default(), 5).encode(&[0; 1440], &mut [0; MAX_PACKET]),
            0,
            "30 ms"
        );
    }

    #[test]
    fn an_encoder_goes_on_where_another_stood() {
        let mut a = Encoder::new(&OpusFmtp::default(), 5);
        let mut b = Encoder::new(&OpusFmtp::default(), 5);
        let (mut x, mut y) = ([0; MAX_PACKET], [0; MAX_PACKET]);
        for f in 0..50 {
            a.encode(&tone(300.0, f * 960, 960), &mut x);
        }
        b.copy_from(&a);
        for f in 50..60 {
            let frame = tone(300.0, f * 960, 960);
            let (n, m) = (a.encode(&frame, &mut x), b.encode(&frame, &mut y));
            assert_eq!((n, &x[..n]), (m, &y[..m]), "frame {f}");
        }
    }

    #[test]
    fn a_lost_packet_is_in_its_successor_where_that_was_agreed() {
        let mut encoder = Encoder::new(&OpusFmtp { fec: true, ..OpusFmtp::default() }, 5);
        encoder.expect_loss(20);
        let (mut with, mut without) = (Decoder::default(), Decoder::default());
        let mut packets = Vec::new();
        for f in 0..40 {
            // A tone that starts in the lost packet: it cannot be extrapolated.
            let frame = if f == 30 { tone(400.0, 0, 960) } else { vec![0; 960] };
            let mut p = [0; MAX_PACKET];
            let n = encoder.encode(&frame, &mut p);
            packets.push(p[..n].to_vec());
        }
        let mut out = [0; 960];
        for p in &packets[..30] {
            with.decode(p, &mut out);
            without.decode(p, &mut out);
        }
        assert_eq!(with.recover(&packets[31], &mut out), 960);
        let found = rms(&out);
        assert_eq!(without.conceal(&mut out), 960);
        assert!(found > 500.0 && rms(&out) < 100.0, "{found} against {}", rms(&out));
    }

    #[test]
    fn silence_need_not_be_sent_where_that_was_agreed() {
        let lengths = |dtx: bool| {
            let mut e = Encoder::new(&OpusFmtp { dtx, ..OpusFmtp::default() }, 5);
            (0..100).map(|_| e.encode(&[0; 960], &mut [0; MAX_PACKET])).filter(|n| *n > 2).count()
        };
        assert!(lengths(false) == 100 && lengths(true) < 40, "{} of 100", lengths(true));
    }

    #[test]
    fn garbage_is_refused() {
        let mut d = Decoder::default();
        assert_eq!(d.decode(&[], &mut [0; 960]), 0);
        assert_eq!(d.decode(&[0xff; 3], &mut [0; 960]), 0);
        assert_eq!(samples_of(&[]), None);
    }
}
