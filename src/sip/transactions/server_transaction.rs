//! A server transaction: its state machine and associated data.

use std::rc::Rc;

use crate::base::pool::Held;
use crate::sip::flow::Flow;
use crate::sip::server_invite::ServerInvite;
use crate::sip::server_non_invite::Server;
use crate::sip::table::{MergeKey, ServerKey};
use crate::sip::transaction_machine::Machine;
use crate::wire::Request;

/// A response counts as delivered after this many retransmissions without failure. A connection attempt
/// without reply takes a few seconds to fail, and retransmissions are at most 4 s apart.
const FOUND_ITS_WAY: u8 = 3;

/// A server transaction with its associated data.
#[derive(Debug)]
pub struct ServerTx {
    pub(super) machine: ServerMachine,
    /// Key for matching retransmissions; `None` if none are expected.
    pub(super) key: Option<Rc<ServerKey>>,
    pub(super) merge: Option<Rc<MergeKey>>,
    /// The request, until its final response. Of an INVITE, only the headers needed for responses.
    pub(super) request: Option<Rc<Request>>,
    pub(super) cseq: u32,
    /// To tag of all our responses.
    pub(super) tag: String,
    pub(super) reply_to: Flow,
    /// Its places in the pools; `None` once it is only retransmitting its response.
    pub(super) held: Option<Places>,
    /// Messages sent since the last delivery failure, if there was one.
    pub(super) failing: Option<u8>,
}

/// A transaction's share of the pools.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) transaction: Held,
    pub(super) bytes: Held,
}

#[derive(Debug)]
pub(super) enum ServerMachine {
    Invite(ServerInvite),
    Other(Server),
}

impl ServerMachine {
    pub(super) fn as_machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Invite(m) => m,
            Self::Other(m) => m,
        }
    }
}

impl ServerTx {
    /// Size of its keys, bytes.
    pub(super) fn keys(&self) -> usize {
        self.key.as_ref().map_or(0, |k| k.size()) + self.merge.as_ref().map_or(0, |m| m.size())
    }

    /// True if its response could recently not be delivered.
    pub(super) fn is_unanswerable(&self) -> bool {
        self.failing.is_some_and(|since| since < FOUND_ITS_WAY)
    }
}
