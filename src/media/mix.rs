//! Who hears what: each room is summed once, and every leg hears the sum without itself.

use super::command::Slot;
use super::leg::Leg;
use super::room::Room;
use super::rtp_endpoint::transport::MediaTransport;
use super::schedule::{Legs, Turn};
use crate::dsp::MAX_FRAME;
use crate::dsp::level::is_below;

/// Samples no louder than this are not mixed: the smallest step of A-law.
const INAUDIBLE: i16 = 8;

type Rooms = [Option<Box<Room>>];

/// Has what a leg says ready for its room, if that is anything.
pub(super) fn speak<W: MediaTransport>(leg: &mut Leg<W>, rooms: &Rooms) {
    let was_in_mix = std::mem::take(&mut leg.in_mix);
    leg.open_or_close();
    let Some(Some(room)) = leg.room.and_then(|r| rooms.get(usize::from(r))) else { return };
    if leg.is_shut() || leg.is_quiet() {
        return;
    }
    let (n, m) = (leg.frame_len(), room.frame_len());
    let (Some(input), Some(in_room)) = (leg.input.get(..n), leg.in_room.get_mut(..m)) else { return };
    if is_below(input, INAUDIBLE) {
        return;
    }
    let mixing = room.mixing();
    let changed = std::mem::replace(&mut leg.mixed_at, mixing) != mixing;
    leg.in_mix = true;
    match leg.converters.up.as_mut().filter(|_| mixing != leg.rate) {
        Some(up) => {
            if !was_in_mix || changed {
                up.reset();
            }
            up.process(input, in_room);
        }
        None if leg.open == (true, true) => {
            leg.made_over = false;
            return;
        }
        None => copy(input, in_room),
    }
    Leg::<W>::ramp(leg.open, in_room);
    leg.made_over = true;
}

/// Adds the frames of all of a room who say something, two at a time.
pub(super) fn sum_up<W: MediaTransport>(legs: &Legs<W>, rooms: &mut Rooms, together: &[Turn]) {
    let Some(room) = together.first().and_then(|t| rooms.get_mut(usize::from(t.room()?))?.as_mut()) else {
        return;
    };
    let n = room.frame_len();
    let said = |slot: Slot| legs.get(usize::from(slot))?.as_ref().filter(|l| l.in_mix).map(|l| l.in_room(n));
    let mut all = together.iter().filter_map(|t| said(t.slot));
    while let Some(first) = all.next() {
        match all.next() {
            Some(second) => room.add_pair(first, second),
            None => room.add(first),
        }
    }
    room.settle();
}

/// Gives a leg what it hears: the sum of its room without itself, and what only it hears. `frame` is lent.
pub(super) fn hear<W: MediaTransport>(leg: &mut Leg<W>, rooms: &Rooms, frame: &mut [i16; MAX_FRAME]) {
    let n = leg.frame_len();
    let room = leg.room.and_then(|r| rooms.get(usize::from(r))?.as_deref());
    let room = room.filter(|_| !leg.deaf && !leg.held);
    let heard_before = std::mem::replace(&mut leg.hears, room.is_some());
    match room {
        Some(room) => {
            let m = room.frame_len();
            let said = if leg.made_over { &leg.in_room } else { &leg.input };
            let own = if leg.in_mix { said.get(..m) } else { None };
            let Some(output) = leg.output.get_mut(..n) else { return };
            let mixing = room.mixing();
            let changed = std::mem::replace(&mut leg.heard_at, mixing) != mixing;
            match leg.converters.down.as_mut().filter(|_| mixing != leg.rate) {
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
        None => leg.output.fill(0),
    }
    if !leg.deaf {
        leg.add_private();
    }
}

/// Copies a frame; where the lengths differ, as much as fits.
pub(super) fn copy(from: &[i16], to: &mut [i16]) {
    for (t, f) in to.iter_mut().zip(from) {
        *t = *f;
    }
}
