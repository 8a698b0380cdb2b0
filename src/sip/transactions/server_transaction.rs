//! A server transaction: its machine, and what belongs to it.

use std::rc::Rc;

use crate::base::pool::Held;
use crate::sip::machine::Machine;
use crate::sip::server::Server;
use crate::sip::server_invite::ServerInvite;
use crate::sip::table::{MergeKey, ServerKey};
use crate::sip::target::Target;
use crate::wire::Request;

/// A response that is repeated so often after the last failure has found its way, as far as is known. A connection that
/// nobody refuses or accepts takes a few seconds to fail, and repetitions are at most 4 s apart.
const FOUND_ITS_WAY: u8 = 3;

/// A server transaction with what belongs to it.
#[derive(Debug)]
pub struct ServerTx {
    pub(super) machine: ServerMachine,
    /// What copies of the request are found by; nothing where none are expected.
    pub(super) key: Option<Rc<ServerKey>>,
    pub(super) merge: Option<Rc<MergeKey>>,
    /// The request, until its final response: what is left is the response. Of an INVITE, what that is made of alone.
    pub(super) request: Option<Rc<Request>>,
    pub(super) cseq: u32,
    /// Tag of all our responses.
    pub(super) tag: String,
    pub(super) reply_to: Target,
    /// Its places in the pools; nothing for what is over with its response.
    pub(super) held: Option<Places>,
    /// Messages sent since one could not be delivered, if that was ever so.
    pub(super) failing: Option<u8>,
}

/// What a transaction holds of the pools.
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
    /// Bytes of what it is found by.
    pub(super) fn keys(&self) -> usize {
        self.key.as_ref().map_or(0, |k| k.size()) + self.merge.as_ref().map_or(0, |m| m.size())
    }

    /// True when its response could not be delivered of late.
    pub(super) fn is_unanswerable(&self) -> bool {
        self.failing.is_some_and(|since| since < FOUND_ITS_WAY)
    }
}
