//! A simulated network between a speaker and a playout, in virtual time: it delays, loses and reorders
//! packets, and the two ends have different clocks.

use branchline::base::rng::Rng;
use branchline::codec::Codec;
use branchline::codec::coder::Encoder;
use branchline::codec::g722;
use branchline::codec::opus::OpusFmtp;
use branchline::dsp::frame_len;
use branchline::dsp::resample::Resampler;
use branchline::media::rtp_endpoint::playout::Playout;

/// Network impairments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Packet loss, per cent.
    pub loss: u32,
    /// Maximum additional delay of a packet, ms; uniformly distributed.
    pub jitter: u32,
    /// By how much the speaker's clock is faster, parts per million.
    pub drift: i32,
}

/// Result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Played audio at the codec's rate.
    pub heard: Vec<i16>,
    /// The original audio.
    pub said: Vec<i16>,
    /// Share of concealed frames, per cent.
    pub concealed: f64,
    /// Mean playout delay, ms.
    pub delay: f64,
    /// Packets that arrived too late.
    pub late: u64,
    /// Pieces removed and repeated.
    pub stretched: (u64, u64),
    pub drift_ppm: f64,
}

/// Twelve seconds of speech at 16 kHz: a male, then a female voice.
pub fn speech() -> Vec<i16> {
    let code = include_bytes!("../vectors/speech.g722");
    let mut out = vec![0; code.len() * 2];
    g722::Decoder::default().decode(code, &mut out);
    out
}

/// Frames of the speech, `times` over, at another rate.
pub fn frames(rate: u32, times: usize) -> Vec<Vec<i16>> {
    let mut resampler = Resampler::new(16_000, rate);
    let speech = speech().repeat(times);
    let convert = |frame: &[i16]| {
        let mut out = vec![0; frame_len(rate)];
        match &mut resampler {
            Some(r) => r.process(frame, &mut out),
            None => out.copy_from_slice(frame),
        }
        out
    };
    speech.chunks_exact(320).map(convert).collect()
}

/// Sends the speech through the network.
pub fn travel(codec: Codec, weather: Weather, times: usize, seed: u64) -> Outcome {
    let rate = codec.sample_rate();
    let mut rng = Rng::from_number(seed);
    let wishes = OpusFmtp { fec: true, ..OpusFmtp::default() };
    let mut encoder = Encoder::new(codec, &wishes, 5);
    encoder.expect_loss(weather.loss as u8);
    let said = frames(rate, times);
    // Arrival, sequence number, timestamp, payload.
    let mut packets: Vec<(u64, u64, u32, Vec<u8>)> = Vec::new();
    let period = 20e6 * (1.0 - f64::from(weather.drift) / 1e6);
    for (i, frame) in said.iter().enumerate() {
        let mut payload = vec![0; 480];
        let n = encoder.encode(frame, &mut payload);
        let n = n + encoder.finish(&mut payload[n..]);
        payload.truncate(n);
        let late = if weather.jitter > 0 { u64::from(rng.below(weather.jitter * 1000)) * 1000 } else { 0 };
        if i >= 2 && rng.chance(weather.loss) {
            continue;
        }
        let sent = 1_000_000_000 + (i as f64 * period) as u64;
        let stamp = (i as u32).wrapping_mul(codec.clock() / 50).wrapping_add(0xffff_0000);
        packets.push((sent + late, 1000 + i as u64, stamp, payload));
    }
    packets.sort_by_key(|p| p.0);
    let mut playout = Playout::new(codec, rate);
    let (mut heard, mut delays) = (Vec::new(), Vec::new());
    let mut frame = vec![0; frame_len(rate)];
    let mut arrived = packets.iter().peekable();
    let begin = 1_000_000_000 + u64::from(rng.below(20_000)) * 1000;
    for tick in 0..(said.len() as f64 * period / 20e6) as u64 {
        let now = begin + tick * 20_000_000;
        while let Some((at, sequence, stamp, payload)) = arrived.next_if(|p| p.0 <= now) {
            playout.insert(*sequence, *stamp, Some(codec), payload, *at);
        }
        playout.frame(now, false, &mut frame);
        heard.extend_from_slice(&frame);
        delays.push(playout.delay_ms());
    }
    let steady = delays.get(50..).unwrap_or_default();
    Outcome {
        heard,
        concealed: playout.concealed() as f64 * 100.0 / said.len() as f64,
        said: said.concat(),
        delay: steady.iter().sum::<f64>() / steady.len() as f64,
        late: playout.counts().late,
        stretched: playout.stretched(),
        drift_ppm: playout.drift_ppm(),
    }
}
