//! Calculates the media memory needed for the limits of a profile, by creating the largest object of each
//! kind once and measuring it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rtrb::RingBuffer;

use super::media_memory::{PIECE, measure};
use super::rtp_ports::Pair;
use crate::codec::Codec;
use crate::config::Config;
use crate::dsp::frame_len;
use crate::dsp::resample::Resampler;
use crate::media::amd::{Amd, Parameters};
use crate::media::converters::Converters;
use crate::media::party::Party;
use crate::media::play::{Feeding, Play};
use crate::media::record::{Recording, Shared};
use crate::media::room::Room;
use crate::media::rtp_endpoint::coders::Coders;
use crate::media::rtp_endpoint::renegotiation::Renegotiation;
use crate::media::rtp_endpoint::sender::Digits;
use crate::sdp::{Description, Local, Negotiated, accept};

/// Capacity of a ring, frames: 2 s, or 1 s at rates above 16 kHz.
const RING_FRAMES: usize = 100;
/// Sampling rates of legs and rooms, Hz.
const RATES: [u32; 3] = [8000, 16_000, 48_000];
/// Highest playback rate, Hz.
const HIGHEST: u32 = 48_000;
/// One of this many legs may change its coders while the previous ones are not yet freed.
const CHANGING: usize = 8;
/// Reserve for fragmentation: one part in this many.
const GAPS: usize = 16;

/// Media memory by kind, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaPlan {
    /// Legs, with coders for all negotiable codecs.
    pub legs: usize,
    /// Rooms.
    pub rooms: usize,
    /// Playbacks and their rings.
    pub playbacks: usize,
    /// Recordings and their rings.
    pub recordings: usize,
    /// Tables, queues and buffers of the thread.
    pub thread: usize,
}

impl MediaPlan {
    /// For all limits reached at once; `thread` is the memory of the thread itself, without its stack. All 0
    /// if the program uses another allocator.
    #[must_use]
    pub fn of(config: &Config, thread: usize) -> Self {
        let l = &config.limits;
        let n = |v: u32| usize::try_from(v).unwrap_or(usize::MAX);
        let (legs, opus) = (n(l.legs), n(l.opus_legs.min(l.legs)));
        let complexity = u8::try_from(config.rtp.opus_complexity).unwrap_or(10);
        let others: Vec<Codec> = Codec::ALL.iter().copied().filter(|c| *c != Codec::Opus).collect();
        let plain = coders(&others, complexity);
        let rich = if opus > 0 { coders(Codec::ALL, complexity).max(plain) } else { plain };
        let changing = (legs / CHANGING).max(2) * plain + (opus / CHANGING).max(1) * (rich - plain);
        let ring = |rate, channels| measure(|| RingBuffer::<i16>::new(ring_samples(rate, channels)));
        let recording = measure(|| Box::new(std::mem::MaybeUninit::<Recording>::uninit()))
            + measure(|| Arc::new(Shared::default()));
        let usual = ring(16_000, 2).max(ring(HIGHEST, 1));
        let playback = measure(|| Box::new(std::mem::MaybeUninit::<Play>::uninit()))
            + measure(|| Arc::new(Feeding::default()))
            + measure(|| RingBuffer::<i16>::new(n(HIGHEST / 2)));
        let of_recordings = n(l.recordings);
        Self {
            legs: legs * (leg() + plain) + opus * (rich - plain) + changing,
            rooms: n(l.rooms) * measure(|| Box::new(Room::new(HIGHEST))),
            playbacks: n(l.playbacks) * playback,
            recordings: of_recordings * (recording + usual)
                + opus.min(of_recordings) * ring(HIGHEST, 2).saturating_sub(usual),
            thread,
        }
    }

    /// Sum including the reserve, bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        let all = self.legs + self.rooms + self.playbacks + self.recordings + self.thread;
        (all + all / GAPS).next_multiple_of(PIECE)
    }
}

/// A leg without its coders: room converters, analysis, and queued commands.
fn leg() -> usize {
    let converters = |(leg, room): (u32, u32)| {
        measure(|| Box::new(Converters { up: Resampler::new(leg, room), down: Resampler::new(room, leg) }))
    };
    let pairs = RATES.iter().flat_map(|leg| RATES.iter().map(move |room| (*leg, *room)));
    measure(|| Box::new(std::mem::MaybeUninit::<Party<Pair>>::uninit()))
        // For the current room, and the next or previous one.
        + 2 * pairs.map(converters).max().unwrap_or(0)
        + measure(|| Box::new(Amd::new(Parameters::default())))
        + measure(|| Box::new(Digits::new()))
        + measure(|| Box::new(std::mem::MaybeUninit::<Renegotiation>::uninit()))
}

/// Size of the largest coders for a session with these codecs, with any of them first, and any sampling rate
/// of the leg.
fn coders(codecs: &[Codec], complexity: u8) -> usize {
    let of = |(first, rate): (Codec, u32)| {
        let Some(stream) = agreed(first, codecs) else { return 0 };
        measure(|| Box::new(Coders::new(&stream, rate, complexity)))
    };
    let all = codecs.iter().flat_map(|first| RATES.iter().map(|rate| (*first, *rate)));
    all.map(of).max().unwrap_or(0)
}

/// A session with `codecs`, `first` before all others.
fn agreed(first: Codec, codecs: &[Codec]) -> Option<Negotiated> {
    let ordered = || std::iter::once(first).chain(codecs.iter().copied().filter(|c| *c != first));
    let numbers: String = ordered().map(|c| format!(" {}", c.payload_type())).collect();
    let opus = if codecs.contains(&Codec::Opus) { "a=rtpmap:111 opus/48000/2\r\n" } else { "" };
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP{numbers}\r\n{opus}"
    );
    let at = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let answer = Description::parse(text.as_bytes()).ok()?;
    accept(&answer, &Local::at(at, 4000), codecs, true, at).ok()
}

/// Capacity of a recording's ring in samples, whole frames of all channels.
#[must_use]
pub fn ring_samples(rate: u32, channels: u16) -> usize {
    let frames = if rate > 16_000 { RING_FRAMES / 2 } else { RING_FRAMES };
    frame_len(rate) * usize::from(channels) * frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_can_be_first_in_a_session() {
        for codecs in [Codec::ALL, &[Codec::G722, Codec::Pcmu, Codec::Pcma]] {
            for first in codecs {
                let stream = agreed(*first, codecs).unwrap();
                assert_eq!(stream.codec, *first);
                assert_eq!(stream.formats.codecs().count(), codecs.len(), "{first:?}");
            }
        }
    }

    #[test]
    fn with_another_allocator_the_plan_is_zero() {
        let plan = MediaPlan::of(&Config::default(), 0);
        assert_eq!(plan, MediaPlan::default());
    }
}
