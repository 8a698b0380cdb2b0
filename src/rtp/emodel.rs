//! MOS estimate from network impairments (E-model, ITU-T G.107 with its default values; G.113 for codecs).

use crate::codec::Codec;

/// R-factor of a perfect narrow-band call.
const PERFECT: f64 = 93.2;
/// Delay outside of the network, ms: 20 ms packetization at both ends.
const ENDS_MS: f64 = 40.0;

/// Packet-loss robustness (Bpl, G.113): G.711 with concealment. G.722 and Opus are not tabulated on this
/// scale; G.722 is assumed slightly less robust, Opus equal because of its forward error correction.
fn robustness(codec: Codec) -> f64 {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::Opus => 25.1,
        Codec::G722 => 20.0,
    }
}

/// Impairment by one-way delay (G.107 §7.4, Idd).
fn delay_impairment(one_way_ms: f64) -> f64 {
    if one_way_ms <= 100.0 {
        return 0.0;
    }
    let x = (one_way_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// Estimated MOS, 1 to 4.5. `loss`: share of sent packets that were lost or came too late, per cent;
/// `rtt_ms`: network round-trip time, `playing_ms`: delay added by the jitter buffer.
#[must_use]
pub fn mos(codec: Codec, loss: f64, rtt_ms: f64, playing_ms: f64) -> f64 {
    let loss = loss.clamp(0.0, 100.0);
    let equipment = 95.0 * loss / (loss + robustness(codec));
    let rating = PERFECT - delay_impairment(rtt_ms / 2.0 + playing_ms + ENDS_MS) - equipment;
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r)).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_model() {
        assert!((mos(Codec::Pcmu, 0.0, 0.0, 20.0) - 4.41).abs() < 0.005);
        // 5 % of loss: R = 93.2 - 95 * 5 / 30.1 = 77.4.
        assert!(
            (mos(Codec::Pcma, 5.0, 0.0, 20.0) - 3.93).abs() < 0.02,
            "{}",
            mos(Codec::Pcma, 5.0, 0.0, 20.0)
        );
        // 400 ms one way: Idd = 24.2 (G.107, figure of Idd over Ta), R = 69.
        let late = mos(Codec::Pcmu, 0.0, 680.0, 20.0);
        assert!((late - 3.55).abs() < 0.1, "{late}");
        assert!(mos(Codec::G722, 100.0, 5000.0, 200.0) < 1.1);
    }
}
