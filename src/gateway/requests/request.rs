//! The requests that we send, and what each is for.

use super::bye::Bye;
use super::notice::Notice;
use crate::gateway::leg_id::LegId;
use crate::gateway::trunks::TrunkId;
use crate::sdp::Local;
use crate::sip::transactions::ClientId;
use crate::wire::{Draft, Method};

/// A request of ours, with what its sending and its response need.
#[derive(Debug)]
pub enum OutboundRequest {
    /// The INVITE of an outbound leg, written once the address is known.
    Invite(LegId),
    /// A re-INVITE or UPDATE that describes our end so.
    Change(LegId, Method, Draft, Local),
    /// A REFER.
    Refer(LegId, Draft),
    /// An INFO with a digit.
    Info(LegId, Draft),
    /// A NOTIFY of a leg.
    Notify(LegId, Notice, Draft),
    /// A SUBSCRIBE that lets a subscription of ours go on.
    Subscribe(LegId, Draft),
    /// A PRACK.
    Prack(LegId, Draft),
    /// A BYE, and what answers a challenge to it.
    Bye(Draft, Box<Bye>),
    /// The REGISTER of a trunk, written once the address is known.
    Register(TrunkId),
    /// No request: the addresses of a trunk's peer are wanted.
    LookUp(TrunkId),
    /// The ACK to a 2xx of this transaction and fork.
    Ack(ClientId, String, Draft),
}

impl OutboundRequest {
    /// True for an INVITE, or another offer, of this leg.
    #[must_use]
    pub fn offers_for(&self, leg: LegId) -> bool {
        matches!(self, Self::Invite(id) | Self::Change(id, ..) if *id == leg)
    }
}

/// What a request of ours is for that has been sent: who hears of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestContext {
    /// The INVITE of an outbound leg.
    Invite(LegId),
    /// An INVITE whose leg is gone: a late 2xx is acknowledged and ended.
    AbandonedInvite,
    /// A re-INVITE or UPDATE of a leg.
    Change(LegId),
    /// A re-INVITE whose leg is gone: a late 2xx is acknowledged.
    AbandonedChange,
    /// A REFER of a leg.
    Refer(LegId),
    /// An INFO of a leg, with a digit.
    Info(LegId),
    /// A REGISTER of a trunk.
    Register(TrunkId),
    /// A PRACK in an early dialog of a leg.
    Prack(LegId),
    /// A NOTIFY of a subscription to a leg's transfer; with the last one the leg ends when its far end has it.
    Notify(LegId, Notice),
}
