//! Conference mixing (mix-minus): each room is summed once, and every leg hears the sum without its own
//! signal.

use super::command::Slot;
use super::party::Party;
use super::room::Room;
use super::rtp_endpoint::transport::MediaTransport;
use super::schedule::{Parties, Turn};
use crate::dsp::level::is_below;
use crate::dsp::{MAX_FRAME, copy};

/// Frames with no sample louder than this are not mixed: the smallest step of A-law.
const INAUDIBLE: i16 = 8;

type Rooms = [Option<Box<Room>>];

/// Prepares what a party adds to its room in this tick, if anything.
pub(super) fn speak<W: MediaTransport>(party: &mut Party<W>, rooms: &Rooms) {
    party.mute.begin_tick();
    let (n, rate) = (party.frame_len(), party.rate());
    let member = &mut party.membership;
    let was_in_mix = std::mem::take(&mut member.in_mix);
    let Some(Some(room)) = member.room.and_then(|r| rooms.get(usize::from(r))) else { return };
    if party.mute.is_inaudible() || party.endpoint.is_quiet() {
        return;
    }
    let m = room.frame_len();
    let (Some(input), Some(frame)) = (party.input.get(..n), member.frame.get_mut(..m)) else { return };
    if is_below(input, INAUDIBLE) {
        return;
    }
    let mixing = room.mixing();
    let changed = std::mem::replace(&mut member.mixed_at, mixing) != mixing;
    member.in_mix = true;
    match member.converters.up.as_mut().filter(|_| mixing != rate) {
        Some(up) => {
            if !was_in_mix || changed {
                up.reset();
            }
            up.process(input, frame);
        }
        None if party.mute.is_audible() => {
            member.converted = false;
            return;
        }
        None => copy(input, frame),
    }
    party.mute.fade(frame);
    member.converted = true;
}

/// Adds the frames of all active members of a room, two at a time.
pub(super) fn sum_up<W: MediaTransport>(parties: &Parties<W>, rooms: &mut Rooms, together: &[Turn]) {
    let Some(room) = together.first().and_then(|t| rooms.get_mut(usize::from(t.room()?))?.as_mut()) else {
        return;
    };
    let n = room.frame_len();
    let said = |slot: Slot| {
        let party = parties.get(usize::from(slot))?.as_ref().filter(|p| p.membership.in_mix)?;
        Some(party.said(n))
    };
    let mut all = together.iter().filter_map(|t| said(t.slot));
    while let Some(first) = all.next() {
        match all.next() {
            Some(second) => room.add_pair(first, second),
            None => room.add(first),
        }
    }
    room.settle();
}

/// Computes what a party hears: the sum of its room without its own signal, plus its private playbacks.
/// `frame` is scratch memory.
pub(super) fn hear<W: MediaTransport>(party: &mut Party<W>, rooms: &Rooms, frame: &mut [i16; MAX_FRAME]) {
    let (n, rate) = (party.frame_len(), party.rate());
    let room = party.heard_room().and_then(|r| rooms.get(usize::from(r))?.as_deref());
    let member = &mut party.membership;
    let heard_before = std::mem::replace(&mut member.hears, room.is_some());
    let Some(output) = party.output.get_mut(..n) else { return };
    match room {
        Some(room) => {
            let m = room.frame_len();
            let said = if member.converted { &member.frame } else { &party.input };
            let own = if member.in_mix { said.get(..m) } else { None };
            let mixing = room.mixing();
            let changed = std::mem::replace(&mut member.heard_at, mixing) != mixing;
            match member.converters.down.as_mut().filter(|_| mixing != rate) {
                Some(down) => {
                    if !heard_before || changed {
                        down.reset();
                    }
                    let Some(heard) = frame.get_mut(..m) else { return };
                    room.heard(own, heard);
                    down.process(heard, output);
                }
                None => room.heard(own, output),
            }
        }
        None => output.fill(0),
    }
    if !party.mute.deaf {
        party.private.add_to(output);
    }
}
