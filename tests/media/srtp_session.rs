//! SRTP over a bad network with injected junk: the call continues, no other source is played, and only the
//! far end can decrypt what is sent.

use branchline::base::rng::Rng;
use branchline::dsp::resample::Resampler;
use branchline::media::command::MediaEvent;
use branchline::media::converters::Converters;
use branchline::media::messages::EngineCommand;
use branchline::media::room::Room;
use branchline::rtp::packet::{Packet, header};
use branchline::rtp::srtp::Context;
use branchline::sdp::{Keyed, Negotiated};
use branchline::wire::crypto::{MasterKey, Suite};

use crate::wire::{Bench, FarWire, Phone, at, level, stream};

const SEEDS: u64 = 40;

/// Encrypts a packet.
fn sealed(crypt: &mut Context, packet: &[u8]) -> Vec<u8> {
    let mut out = packet.to_vec();
    out.resize(packet.len() + 64, 0);
    let len = crypt.protect(&mut out, packet.len()).unwrap();
    out.truncate(len);
    out
}

/// A datagram that is not a packet of the call, though it may look like one.
fn junk(rng: &mut Rng, recorded: &[Vec<u8>], n: u16) -> Vec<u8> {
    match rng.below(5) {
        0 => (0..rng.below(400)).map(|_| rng.u32() as u8).collect(),
        // The right header and sequence number, unencrypted.
        1 => [&header(false, 0, n, u32::from(n) * 160, 77)[..], &[0x80; 160]].concat(),
        // A duplicate, and one with a flipped bit.
        2 => recorded.first().cloned().unwrap_or_default(),
        3 => {
            let mut copy = recorded.last().cloned().unwrap_or_default();
            if let Some(b) = copy.get_mut(20) {
                *b ^= 1;
            }
            copy
        }
        // RTCP packets without a valid tag.
        _ => [&[0x80, 201, 0, 1][..], &[7; 24]].concat(),
    }
}

#[test]
fn junk_does_not_affect_an_encrypted_call() {
    let (mut lost, mut thrown, mut sent) = (0u32, 0u32, 0u32);
    for seed in 0..SEEDS {
        let mut rng = Rng::from_number(seed);
        let suite = Suite::ALL[seed as usize % Suite::ALL.len()];
        let (ours, theirs) = (MasterKey::random(suite, &mut rng), MasterKey::random(suite, &mut rng));
        let mut b: Bench<FarWire> = Bench::new();
        b.order(EngineCommand::OpenRoom(3, Box::new(Room::new(16_000))));
        let (mut secret, mut plain) = (Phone::new(4000, 500.0), Phone::new(4002, 1100.0));
        let keyed = Negotiated { srtp: Some(Keyed { tag: 1, ours, theirs }), ..stream(4000) };
        for (slot, leg) in [secret.leg(keyed), plain.leg(stream(4002))].into_iter().enumerate() {
            b.order(EngineCommand::Open(slot as u16, leg));
            let c = Converters { up: Resampler::new(8000, 16_000), down: Resampler::new(16_000, 8000) };
            b.order(EngineCommand::Join(slot as u16, 3, Box::new(c)));
        }
        let mut seal = Context::new(&theirs).unwrap();
        let mut recorded: Vec<Vec<u8>> = Vec::new();
        let mut late: Vec<Vec<u8>> = Vec::new();
        for n in 0..250u32 {
            let packet = sealed(&mut seal, &secret.packet());
            sent += 1;
            let mut inbox: Vec<Vec<u8>> = std::mem::take(&mut late);
            match rng.below(100) {
                0..=10 => lost += 1,
                11..=20 => late.push(packet.clone()),
                21..=30 => inbox.extend([packet.clone(), packet.clone()]),
                _ => inbox.push(packet.clone()),
            }
            recorded.push(packet);
            for _ in 0..rng.below(3) {
                thrown += 1;
                inbox.push(junk(&mut rng, &recorded, n as u16));
            }
            secret.far.0.borrow_mut().inbox.extend(inbox.into_iter().map(|p| (at(4000), p)));
            plain.talk((n + 1) * 20, b.now_ns);
            secret.far.0.borrow_mut().now_ns = b.now_ns;
            b.tick();
        }
        // The plain phone hears the encrypted one, and nothing as loud as the junk.
        let heard = plain.hear();
        let found = level(&heard[16_000..], 500.0);
        assert!((4000.0..8500.0).contains(&found), "seed {seed}: {found}");
        // Only the far end can decrypt what we send.
        let mut open = Context::new(&ours).unwrap();
        let mut audio = Vec::new();
        let packets: Vec<Vec<u8>> = secret.far.0.borrow().sent.iter().map(|s| s.bytes.clone()).collect();
        for mut bytes in packets {
            let len = bytes.len();
            let clear = open.unprotect(&mut bytes, len).expect("every packet of ours is authentic");
            audio.extend(
                Packet::parse(&bytes[..clear])
                    .unwrap()
                    .payload
                    .iter()
                    .map(|b| branchline::codec::g711::ulaw_decode(*b)),
            );
        }
        assert!(level(&audio[8000..], 1100.0) > 7000.0, "seed {seed}");
        assert!(
            !b.facts.iter().any(|f| matches!(f, MediaEvent::Silent { .. } | MediaEvent::Closed { .. })),
            "seed {seed}"
        );
        b.order(EngineCommand::Quality(0));
        b.tick();
        let quality = b.facts.iter().rev().find_map(|f| match f {
            MediaEvent::Quality { quality, .. } => Some(*quality),
            _ => None,
        });
        let quality = quality.unwrap();
        assert!(quality.received >= 180 && quality.foreign > 60, "seed {seed}: {quality:?}");
    }
    println!("encrypted media: {sent} packets, {lost} lost, {thrown} thrown in");
    assert!(lost * 12 > sent && thrown > sent / 2);
}
