//! A client transaction: its state machine and associated data.

use super::transmit::Transmit;
use crate::sip::client_invite::ClientInvite;
use crate::sip::client_non_invite::Client;
use crate::sip::flow::Flow;
use crate::sip::table::ClientKey;
use crate::sip::transaction_machine::Machine;
use crate::wire::Draft;

/// A client transaction with its associated data.
#[derive(Debug)]
pub struct ClientTx {
    pub(super) machine: ClientMachine,
    pub(super) key: ClientKey,
    pub(super) target: Flow,
    /// The request without Via, for resending it over another transport.
    pub(super) draft: Draft,
    pub(super) sent: Draft,
    /// TCP was chosen because of the size: fall back to UDP if it fails.
    pub(super) may_fall_back: bool,
    pub(super) cancel_wanted: bool,
    /// It was resent because its connection was lost.
    pub(super) resent: bool,
    /// As far as is known it did not reach the far end, or no response can return on its flow.
    pub(super) undelivered: bool,
    /// ACKs to 2xx responses, by To tag of the fork.
    pub(super) acks: Vec<(String, Transmit)>,
}

#[derive(Debug)]
pub(super) enum ClientMachine {
    Invite(ClientInvite),
    Other(Client),
}

impl ClientMachine {
    pub(super) fn as_machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Invite(m) => m,
            Self::Other(m) => m,
        }
    }

    /// The running timer.
    fn timer(&self) -> Option<&'static str> {
        match self {
            Self::Invite(m) => m.poll_timeout(),
            Self::Other(m) => m.poll_timeout(),
        }
        .map(|(_, name)| name)
    }

    /// True while neither a response nor a timeout has occurred.
    pub(super) fn waits(&self) -> bool {
        matches!(self.timer(), Some("A" | "B" | "E" | "F"))
    }

    /// True after the final response, while it only absorbs retransmissions.
    pub(super) fn lingers(&self) -> bool {
        matches!(self.timer(), Some("D" | "K" | "M"))
    }
}
