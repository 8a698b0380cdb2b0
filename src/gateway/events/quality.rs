//! Media quality of a leg in events and API.

use schemars::JsonSchema;
use serde::Serialize;

use crate::media::command::Quality;

/// Media quality of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct QualityReport {
    /// Mean opinion score by the E-model (ITU-T G.107), 1 to 4.5; 0: no media received yet.
    pub mos_score: f64,
    /// RTP packets received.
    pub rtp_packets_received: u64,
    /// RTP packets lost.
    pub rtp_packets_lost: u64,
    /// Interarrival jitter, ms.
    pub rtp_jitter_ms: f64,
    /// RTP packets from other sources than the far end, ignored.
    pub rtp_packets_foreign: u64,
    /// 20 ms frames concealed because no packet arrived in time.
    pub concealed: u64,
    /// Packets that arrived too late for playout.
    pub late: u64,
    /// Ticks of the media thread that started more than 5 ms late.
    pub late_ticks: u64,
    /// Round-trip time from the far end's RTCP, ms; null: it sends none.
    pub rtt_ms: Option<f64>,
    /// Clock drift of the far end relative to ours, parts per million; positive: faster.
    pub drift_ppm: f64,
}

impl From<&Quality> for QualityReport {
    fn from(q: &Quality) -> Self {
        let places = |v: f64, factor: f64| (v * factor).round() / factor;
        Self {
            mos_score: places(q.mos, 100.0),
            rtp_packets_received: q.received,
            rtp_packets_lost: q.lost,
            rtp_jitter_ms: places(q.jitter_ms, 100.0),
            rtp_packets_foreign: q.foreign,
            concealed: q.concealed,
            late: q.late,
            late_ticks: q.late_ticks,
            rtt_ms: q.rtt_ms.map(|ms| places(ms, 10.0)),
            drift_ppm: places(q.drift_ppm, 10.0),
        }
    }
}
