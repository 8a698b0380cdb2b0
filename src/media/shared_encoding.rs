//! Shared encoding for legs that hear the same: among the listen-only legs of a room, the first of each codec
//! encodes, and the others send its payloads with their own headers and keys.
//!
//! A leg that starts to speak, or gets a private playback, continues with a copy of the shared encoder, so
//! that there is no audible discontinuity. A leg that falls silent joins after 200 ms.

use super::command::Slot;
use super::endpoint::Endpoint;
use super::party::Party;
use super::rtp_endpoint::endpoint::RtpEndpoint;
use super::rtp_endpoint::sharing::Key;
use super::rtp_endpoint::transport::MediaTransport;
use super::schedule::{Parties, Turn, at};

/// Maximum number of groups; legs that do not fit encode separately.
const MAX_GROUPS: usize = 64;

#[derive(Debug)]
struct Group {
    key: Key,
    leader: Slot,
    /// The highest packet loss of its far ends, per cent.
    loss: u8,
}

/// The groups of this tick.
#[derive(Debug, Default)]
pub(super) struct Shares {
    groups: heapless::Vec<Group, MAX_GROUPS>,
    /// Sharing disabled, for comparison.
    pub(super) apart: bool,
}

impl Shares {
    /// Groups those of these parties that share one encoding in this tick.
    pub(super) fn assign<W: MediaTransport>(&mut self, parties: &mut Parties<W>, together: &[Turn]) {
        self.groups.clear();
        for turn in together {
            let Some(party) = at(parties, turn.slot) else { continue };
            let key = if self.apart { None } else { key(party) };
            let Endpoint::Rtp(rtp) = &mut party.endpoint;
            rtp.share_mut().key = key;
            if let (true, Some(key)) = (rtp.share().leads, key) {
                self.join(key, turn.slot, rtp.loss());
            }
        }
        for turn in together {
            self.place(parties, turn.slot);
        }
        for group in &self.groups {
            if let Some(leader) = rtp(parties, group.leader) {
                leader.expect_loss(group.loss);
            }
        }
    }

    /// The leader of the group with this key, possibly this leg; `None` if the maximum number of groups is
    /// reached.
    fn join(&mut self, key: Key, slot: Slot, loss: u8) -> Option<Slot> {
        if let Some(group) = self.groups.iter_mut().find(|g| g.key == key) {
            group.loss = group.loss.max(loss);
            return Some(group.leader);
        }
        self.groups.push(Group { key, leader: slot, loss }).ok()?;
        Some(slot)
    }

    fn place<W: MediaTransport>(&mut self, parties: &mut Parties<W>, slot: Slot) {
        let Some(own) = rtp(parties, slot) else { return };
        let loss = own.loss();
        let leader = own.share().key.and_then(|key| self.join(key, slot, loss));
        let share = own.share_mut();
        match leader {
            Some(other) if other != slot => {
                share.follows = Some(other);
                share.leads = false;
                return;
            }
            Some(_) => share.leads = true,
            None => {
                share.leads = false;
                own.expect_loss(loss);
            }
        }
        if let Some(before) = own.share_mut().follows.take() {
            go_on(parties, before, slot);
        }
    }
}

/// The RTP endpoint of the party in a slot.
fn rtp<W: MediaTransport>(parties: &mut Parties<W>, slot: Slot) -> Option<&mut RtpEndpoint<W>> {
    let Endpoint::Rtp(rtp) = &mut at(parties, slot)?.endpoint;
    Some(rtp)
}

/// The sharing key of this party, while it only listens.
fn key<W: MediaTransport>(party: &mut Party<W>) -> Option<Key> {
    let only_listens = !party.membership.in_mix && !party.private.any() && !party.closing;
    let room = party.heard_room();
    let Endpoint::Rtp(rtp) = &mut party.endpoint;
    rtp.share_key(room, only_listens)
}

/// The encoder of this leg is about to change its state: it leaves its group, and its followers continue
/// without it.
pub(super) fn part_ways<W: MediaTransport>(parties: &mut Parties<W>, slot: Slot) {
    let Some(own) = rtp(parties, slot) else { return };
    own.share_mut().unsettle();
    if let Some(before) = own.share_mut().follows.take() {
        return go_on(parties, before, slot);
    }
    let mut heir = None;
    for i in 0..parties.len() as Slot {
        let Some(follower) = rtp(parties, i).filter(|r| r.share().follows == Some(slot)) else { continue };
        let share = follower.share_mut();
        match heir {
            Some(_) => share.follows = heir,
            None => {
                (share.follows, share.leads) = (None, true);
                heir = Some(i);
                go_on(parties, slot, i);
            }
        }
    }
}

/// `to` continues from the state of `from`.
fn go_on<W: MediaTransport>(parties: &mut Parties<W>, from: Slot, to: Slot) {
    let Ok([Some(from), Some(to)]) = parties.get_disjoint_mut([usize::from(from), usize::from(to)]) else {
        return;
    };
    let (Endpoint::Rtp(own), Endpoint::Rtp(other)) = (&mut to.endpoint, &from.endpoint);
    own.go_on_from(other);
    let (to, from) = (&mut to.membership, &from.membership);
    (to.hears, to.heard_at) = (from.hears, from.heard_at);
    if let (Some(down), Some(other)) = (&mut to.converters.down, &from.converters.down) {
        down.copy_from(other);
    }
}

/// The leg whose encoding a party sends instead of its own.
pub(super) fn leader_of<W: MediaTransport>(party: &Party<W>) -> Option<Slot> {
    let Endpoint::Rtp(rtp) = &party.endpoint;
    rtp.share().follows
}

/// Lets every follower among these send its leader's payloads.
pub(super) fn follow<W: MediaTransport>(parties: &mut Parties<W>, together: &[Turn]) {
    for turn in together {
        let i = usize::from(turn.slot);
        let Some(leader) = parties.get(i).and_then(|p| leader_of(p.as_ref()?)) else { continue };
        let Ok([Some(follower), Some(leader)]) = parties.get_disjoint_mut([i, usize::from(leader)]) else {
            continue;
        };
        let (Endpoint::Rtp(follower), Endpoint::Rtp(leader)) = (&mut follower.endpoint, &leader.endpoint);
        follower.transmit_encoded(leader);
    }
}
