//! Shared encoding: its output is equivalent to separate encoding, and it really is shared.

use branchline::codec::Codec;
use branchline::codec::coder::Decoder;
use branchline::dsp::resample::Resampler;
use branchline::media::command::AudioTarget;
use branchline::media::converters::Converters;
use branchline::media::messages::EngineCommand;
use branchline::media::play::{Play, Source};
use branchline::media::room::Room;
use branchline::rtp::packet::Packet;
use branchline::sdp::Negotiated;

use crate::wire::{Bench, FarWire, Phone, level_at, stream_of};

const ROOM: u32 = 16_000;

/// A party: its phone, its session, and when it talks, from and to in ms.
struct Party {
    phone: Phone,
    stream: Negotiated,
    talks: Vec<(u32, u32)>,
}

fn party(i: u16, codec: Codec, ptime: u16, talks: &[(u32, u32)]) -> Party {
    let port = 4000 + 2 * i;
    let mut phone = Phone::new(port, 0.0);
    phone.sequence = 100 * i;
    Party { phone, stream: Negotiated { ptime, ..stream_of(codec, port) }, talks: talks.to_vec() }
}

/// Runs the parties for three seconds in one room, with a private playback for the last one, one leg that is
/// closed meanwhile, and two that leave if `leave`; returns all packets sent.
fn run(apart: bool, leave: bool, mut parties: Vec<Party>) -> Vec<Vec<Vec<u8>>> {
    let mut b: Bench<FarWire> = Bench::new();
    if apart {
        b.engine.encode_apart();
    }
    b.order(EngineCommand::OpenRoom(3, Box::new(Room::new(ROOM))));
    for (slot, p) in parties.iter().enumerate() {
        b.order(EngineCommand::Open(slot as u16, p.phone.leg(p.stream)));
        let rate = p.stream.codec.sample_rate();
        let converters = Converters { up: Resampler::new(rate, ROOM), down: Resampler::new(ROOM, rate) };
        b.order(EngineCommand::Join(slot as u16, 3, Box::new(converters)));
    }
    let last = parties.len() as u16 - 1;
    for ms in (0..3000).step_by(20) {
        for (i, p) in parties.iter_mut().enumerate() {
            let talks = p.talks.iter().any(|(from, to)| (*from..*to).contains(&ms));
            p.phone.freq = if talks { 500.0 + 200.0 * i as f64 } else { 0.0 };
            if !p.talks.is_empty() {
                p.phone.talk(ms + 20, b.now_ns);
            }
        }
        match ms {
            1000 => {
                let tone = branchline::dsp::tone::by_name("dial").unwrap();
                let rate = parties[usize::from(last)].stream.codec.sample_rate();
                let source = Source::Tone(branchline::dsp::tone::ToneGenerator::new(tone, rate));
                b.order(EngineCommand::Play(0, Box::new(Play::new(AudioTarget::Leg(last), rate, source, 0))));
            }
            1300 => b.order(EngineCommand::StopPlay(0)),
            // The first listener: its followers continue without it.
            2000 => b.order(EngineCommand::Close(2)),
            // A follower and a leader, in the middle of a packet.
            2300 if leave => b.order(EngineCommand::Leave(8)),
            2340 if leave => b.order(EngineCommand::Leave(9)),
            _ => {}
        }
        b.tick();
    }
    let sent = |p: &Party| p.phone.far.0.borrow().sent.iter().map(|s| s.bytes.clone()).collect();
    parties.iter().map(sent).collect()
}

/// Two talkers, alternating, simultaneous and silent, and listeners with every packet length.
fn talk_and_listen(codec: Codec) -> Vec<Party> {
    let mut all = vec![
        party(0, Codec::Pcmu, 20, &[(0, 600), (1500, 2500)]),
        party(1, Codec::Pcmu, 20, &[(400, 900), (2200, 2700)]),
    ];
    // Opus has no packets of 30 ms.
    let odd = if codec == Codec::Opus { 60 } else { 30 };
    let lengths = [20, 20, 20, 10, 10, 40, 40, 60, 60, odd, 20];
    all.extend(lengths.into_iter().zip(2u16..).map(|(ptime, i)| party(i, codec, ptime, &[])));
    all
}

#[test]
fn shared_g711_is_bit_exact() {
    let (shared, apart) =
        (run(false, true, talk_and_listen(Codec::Pcmu)), run(true, true, talk_and_listen(Codec::Pcmu)));
    for (i, (a, b)) in shared.iter().zip(&apart).enumerate() {
        assert_eq!(a.len(), b.len(), "party {i}");
        assert!(a.len() > 45, "party {i}: {}", a.len());
        let other = a.iter().zip(b).position(|(x, y)| x != y);
        assert_eq!(other, None, "party {i}: the first packet that differs");
    }
}

fn payloads(sent: &[Vec<u8>]) -> Vec<Vec<u8>> {
    sent.iter().map(|p| Packet::parse(p).unwrap().payload.to_vec()).collect()
}

#[test]
fn listeners_of_one_codec_get_the_same_payloads_under_their_own_headers() {
    for codec in [Codec::Opus, Codec::G722] {
        let sent = run(false, false, talk_and_listen(codec));
        // Parties 3, 4 and the last have packets of 20 ms; the last one heard a tone for a while.
        let (a, b, last) = (payloads(&sent[3]), payloads(&sent[4]), payloads(&sent[12]));
        assert_eq!(a, b, "{codec:?}");
        assert_eq!(a[..50], last[..50], "{codec:?}: until it hears something private");
        assert_ne!(a[51..64], last[51..64], "{codec:?}: while it does");
        assert_eq!(a[90..], last[90..], "{codec:?}: and together again afterwards");
        let header = |p: &[u8]| {
            let p = Packet::parse(p).unwrap();
            (p.ssrc, p.sequence, p.timestamp)
        };
        for pair in sent[4].windows(2) {
            let (x, y) = (header(&pair[0]), header(&pair[1]));
            assert_eq!((x.0, y.1, y.2), (y.0, x.1.wrapping_add(1), x.2.wrapping_add(codec.clock() / 50)));
        }
        assert_ne!(header(&sent[3][0]).0, header(&sent[4][0]).0);
    }
}

#[test]
fn joining_and_leaving_a_group_cause_no_click() {
    for codec in [Codec::Opus, Codec::G722] {
        let rate = f64::from(codec.sample_rate());
        let mut parties = talk_and_listen(codec);
        // One continuous voice.
        parties[0].talks = vec![(0, 3000)];
        parties[1].talks.clear();
        let sent = run(false, false, parties);
        for (i, packets) in sent.iter().enumerate().skip(3) {
            let mut decoder = Decoder::new(codec);
            let mut heard = Vec::new();
            for payload in payloads(packets) {
                let mut out = vec![0i16; 5760];
                let n = decoder.decode(&payload, &mut out);
                heard.extend_from_slice(&out[..n]);
            }
            // With the additional tone, the voice continues, and the peak is not above the sum of both.
            let parts: Vec<f64> =
                heard.chunks_exact(rate as usize / 20).map(|x| level_at(x, 500.0, rate)).collect();
            let steady = &parts[8..parts.len() - 1];
            assert!(steady.iter().all(|l| (6500.0..9500.0).contains(l)), "{codec:?}, party {i}: {steady:?}");
            // The last one heard a tone between 1000 and 1300 ms.
            let peak = |x: &[i16]| x.iter().map(|s| s.unsigned_abs()).max().unwrap();
            let at = |ms: usize| ms * rate as usize / 1000;
            let (before, after) = (peak(&heard[at(200)..at(980)]), peak(&heard[at(1400)..]));
            assert!(before < 10_000 && after < 10_000, "{codec:?}, party {i}: {before}, {after}");
        }
    }
}
