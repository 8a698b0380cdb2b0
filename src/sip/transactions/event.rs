//! What comes of transactions, and their names.

use std::rc::Rc;

use super::client_transaction::ClientTx;
use super::server_transaction::ServerTx;
use crate::base::ids::Id;
use crate::sip::target::Target;
use crate::wire::{Request, Response};

/// Names a client transaction.
pub type ClientId = Id<ClientTx>;
/// Names a server transaction.
pub type ServerId = Id<ServerTx>;

/// What the user of the transactions has to know.
#[derive(Debug)]
pub enum Event {
    /// A new request, not ACK nor CANCEL; it wants a final response.
    Request(ServerId, Rc<Request>, Target),
    /// An ACK to a 2xx.
    Ack(Box<Request>),
    /// The INVITE has been cancelled (the CANCEL is answered); it wants a 487.
    Cancelled(ServerId),
    /// A response that is news.
    Response(ClientId, Box<Response>),
    /// No response will come.
    Failed(ClientId, Failure),
    /// No ACK came for our final response to an INVITE: nobody answered, or the response could not be delivered.
    AckMissing(ServerId, Failure),
    /// Nothing more will be heard of this client transaction.
    Gone(ClientId),
}

/// Why a request failed without a final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered in time.
    Timeout,
    /// The message could not be delivered.
    Transport,
}

/// All transactions are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many transactions")]
pub struct Overload;
