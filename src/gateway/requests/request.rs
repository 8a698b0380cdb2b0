//! Our requests and their purposes.

use super::bye::Bye;
use super::notice::Notice;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::trunks::TrunkId;
use crate::sdp::Local;
use crate::sip::transactions::ClientId;
use crate::wire::{Draft, Method};

/// An outbound request with the data for sending it and handling its response.
#[derive(Debug)]
pub enum OutboundRequest {
    /// The INVITE of an outbound leg; built once the target is known.
    Invite(LegId),
    /// A re-INVITE or UPDATE with this description of our end.
    Change(LegId, Method, Draft, Local),
    /// A REFER.
    Refer(LegId, Draft),
    /// An INFO with a DTMF digit.
    Info(LegId, Draft),
    /// A NOTIFY of a leg.
    Notify(LegId, Notice, Draft),
    /// A SUBSCRIBE that extends one of our subscriptions.
    Subscribe(LegId, Draft),
    /// A PRACK.
    Prack(LegId, Draft),
    /// A BYE, and the data to answer a challenge.
    Bye(Draft, Box<Bye>),
    /// The REGISTER of a trunk; built once the target is known.
    Register(TrunkId),
    /// Not a request: look-up of the addresses of a trunk's peer.
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

/// Purpose of a request in progress: who handles its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestContext {
    /// The INVITE of an outbound leg.
    Invite(LegId),
    /// An INVITE whose leg was removed: a late 2xx is acknowledged and ended.
    AbandonedInvite,
    /// A re-INVITE or UPDATE of a leg.
    Change(LegId),
    /// A re-INVITE whose leg was removed: a late 2xx is acknowledged.
    AbandonedChange,
    /// A REFER of a leg.
    Refer(LegId),
    /// An INFO of a leg with a DTMF digit.
    Info(LegId),
    /// A REGISTER of a trunk.
    Register(TrunkId),
    /// A PRACK in an early dialog of a leg.
    Prack(LegId),
    /// A NOTIFY about a leg's transfer; after the final one is delivered, the leg ends.
    Notify(LegId, Notice),
}
