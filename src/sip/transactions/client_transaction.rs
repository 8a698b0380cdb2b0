//! A client transaction: its machine, and what belongs to it.

use super::transmit::Transmit;
use crate::sip::client::Client;
use crate::sip::client_invite::ClientInvite;
use crate::sip::machine::Machine;
use crate::sip::table::ClientKey;
use crate::sip::target::Target;
use crate::wire::Draft;

/// A client transaction with what belongs to it.
#[derive(Debug)]
pub struct ClientTx {
    pub(super) machine: ClientMachine,
    pub(super) key: ClientKey,
    pub(super) target: Target,
    /// The request without its Via, to send it again another way.
    pub(super) draft: Draft,
    pub(super) sent: Draft,
    /// TCP was our choice because of the size: UDP is tried when it fails.
    pub(super) may_fall_back: bool,
    pub(super) cancel_wanted: bool,
    /// It has been sent again because its connection was lost.
    pub(super) resent: bool,
    /// As far as is known it has not reached the far end, or no response can come the way it went.
    pub(super) undelivered: bool,
    /// ACKs to 2xx responses by the tag of the fork.
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

    /// The timer that runs.
    fn timer(&self) -> Option<&'static str> {
        match self {
            Self::Invite(m) => m.poll_timeout(),
            Self::Other(m) => m.poll_timeout(),
        }
        .map(|(_, name)| name)
    }

    /// No response has come, nor has time run out.
    pub(super) fn waits(&self) -> bool {
        matches!(self.timer(), Some("A" | "B" | "E" | "F"))
    }

    /// The final response is in; it only absorbs copies.
    pub(super) fn lingers(&self) -> bool {
        matches!(self.timer(), Some("D" | "K" | "M"))
    }
}
