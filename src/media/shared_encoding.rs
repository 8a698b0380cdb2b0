//! One encoding for all who hear the same: of the legs that only listen, and to the same room, the first of each codec
//! encodes, and the others send its payloads under headers, and keys, of their own.
//!
//! Whoever begins to say something, or hears something private, goes on by itself from where the shared encoder stands,
//! so that its far end hears no seam. Whoever falls silent joins after [`SETTLED`] ticks.

use super::command::{RoomSlot, Slot};
use super::leg::Leg;
use super::rtp_endpoint::transport::MediaTransport;
use super::schedule::{Legs, Turn, at};
use crate::codec::Codec;
use crate::codec::opus::Wishes;

/// Ticks without anything of its own after which a leg joins others: 200 ms.
const SETTLED: u8 = 10;
/// Groups at most; who finds no place in one encodes by itself.
const MAX_GROUPS: usize = 64;

/// What legs have in common that can share an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    /// `None`: they hear nothing.
    room: Option<RoomSlot>,
    codec: Codec,
    wishes: Wishes,
    ptime: u16,
    /// Samples of the packet that is being filled.
    samples: usize,
}

#[derive(Debug)]
struct Group {
    key: Key,
    leader: Slot,
    /// The most that one of its far ends loses, per cent.
    loss: u8,
}

/// A leg's part in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    key: Option<Key>,
    /// Whose payloads it sends.
    pub(super) follows: Option<Slot>,
    /// Somebody may follow it.
    pub(super) leads: bool,
    /// Ticks in which it had nothing of its own and heard the same room.
    settled: u8,
    /// The room it heard last.
    room: Option<RoomSlot>,
}

/// The groups of this tick.
#[derive(Debug, Default)]
pub(super) struct Shares {
    groups: heapless::Vec<Group, MAX_GROUPS>,
    /// Nobody shares: for comparison.
    pub(super) apart: bool,
}

impl Shares {
    /// Finds out who of these goes along with whom in this tick.
    pub(super) fn assign<W: MediaTransport>(&mut self, legs: &mut Legs<W>, together: &[Turn]) {
        self.groups.clear();
        for turn in together {
            let Some(leg) = at(legs, turn.slot) else { continue };
            leg.part.key = if self.apart { None } else { leg.key() };
            if let (true, Some(key)) = (leg.part.leads, leg.part.key) {
                self.join(key, turn.slot, leg.loss);
            }
        }
        for turn in together {
            self.place(legs, turn.slot);
        }
        for group in &self.groups {
            if let Some(leader) = at(legs, group.leader) {
                leader.coders.encoder.expect_loss(group.loss);
            }
        }
    }

    /// The leader of the group with this key, which may be this leg; `None` when there is no room for another group.
    fn join(&mut self, key: Key, slot: Slot, loss: u8) -> Option<Slot> {
        if let Some(group) = self.groups.iter_mut().find(|g| g.key == key) {
            group.loss = group.loss.max(loss);
            return Some(group.leader);
        }
        self.groups.push(Group { key, leader: slot, loss }).ok()?;
        Some(slot)
    }

    fn place<W: MediaTransport>(&mut self, legs: &mut Legs<W>, slot: Slot) {
        let Some(leg) = at(legs, slot) else { return };
        let (part, loss) = (leg.part, leg.loss);
        let leader = part.key.and_then(|key| self.join(key, slot, loss));
        match leader {
            Some(other) if other != slot => {
                leg.part.follows = Some(other);
                leg.part.leads = false;
                return;
            }
            Some(_) => leg.part.leads = true,
            None => {
                leg.part.leads = false;
                leg.coders.encoder.expect_loss(loss);
            }
        }
        if let Some(before) = leg.part.follows.take() {
            go_on(legs, before, slot);
        }
    }
}

/// The state of this leg's encoder is about to change: whoever goes along with it goes on without it, and it goes on
/// without others.
pub(super) fn part_ways<W: MediaTransport>(legs: &mut Legs<W>, slot: Slot) {
    let Some(leg) = at(legs, slot) else { return };
    (leg.part.leads, leg.part.settled) = (false, 0);
    if let Some(before) = leg.part.follows.take() {
        return go_on(legs, before, slot);
    }
    let mut heir = None;
    for i in 0..legs.len() as Slot {
        let Some(follower) = at(legs, i).filter(|l| l.part.follows == Some(slot)) else { continue };
        match heir {
            Some(_) => follower.part.follows = heir,
            None => {
                (follower.part.follows, follower.part.leads) = (None, true);
                heir = Some(i);
                go_on(legs, slot, i);
            }
        }
    }
}

/// `to` goes on from where `from` stands.
fn go_on<W: MediaTransport>(legs: &mut Legs<W>, from: Slot, to: Slot) {
    let Ok([Some(from), Some(to)]) = legs.get_disjoint_mut([usize::from(from), usize::from(to)]) else {
        return;
    };
    to.coders.encoder.copy_from(&from.coders.encoder);
    to.sender.go_on_from(&from.sender);
    (to.hears, to.heard_at) = (from.hears, from.heard_at);
    if let (Some(down), Some(other)) = (&mut to.converters.down, &from.converters.down) {
        down.copy_from(other);
    }
}

/// Lets every follower among these send what its leader has made.
pub(super) fn follow<W: MediaTransport>(legs: &mut Legs<W>, together: &[Turn]) {
    for turn in together {
        let i = usize::from(turn.slot);
        let Some(leader) = legs.get(i).and_then(|l| l.as_ref()?.part.follows) else { continue };
        let Ok([Some(follower), Some(leader)]) = legs.get_disjoint_mut([i, usize::from(leader)]) else {
            continue;
        };
        follower.transmit_made(&leader.sender);
    }
}

impl<W: MediaTransport> Leg<W> {
    /// What this leg has in common with others, while it only listens.
    fn key(&mut self) -> Option<Key> {
        let only_listens = !self.in_mix
            && !self.has_private
            && !self.closing
            && self.stream.direction.sends()
            && !self.proof.is_missing()
            && self.coders.converter.is_none()
            && self.sender.has_no_digits();
        let room = self.room.filter(|_| !self.deaf && !self.held);
        if room != self.part.room {
            // Its encoder has heard something else: it joins those of the new room later, and leads none there before.
            self.part.room = room;
            (self.part.settled, self.part.leads) = (0, false);
        }
        let settled = self.part.settled;
        self.part.settled = if only_listens { settled.saturating_add(1) } else { 0 };
        let no_seam = self.sender.is_new() || settled >= SETTLED;
        (only_listens && no_seam).then_some(Key {
            room,
            codec: self.stream.codec,
            wishes: self.stream.wishes,
            ptime: self.stream.ptime,
            samples: self.sender.samples(),
        })
    }
}
