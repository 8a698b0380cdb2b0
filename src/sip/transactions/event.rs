//! Events of the transaction layer, and ids of transactions.

use std::rc::Rc;

use super::client_transaction::ClientTx;
use super::server_transaction::ServerTx;
use crate::base::ids::Id;
use crate::sip::flow::Flow;
use crate::wire::{Request, Response};

/// Identifies a client transaction.
pub type ClientId = Id<ClientTx>;
/// Identifies a server transaction.
pub type ServerId = Id<ServerTx>;

/// Events for the transaction user.
#[derive(Debug)]
pub enum Event {
    /// A new request, neither ACK nor CANCEL; requires a final response.
    Request(ServerId, Rc<Request>, Flow),
    /// An ACK to a 2xx.
    Ack(Box<Request>),
    /// The INVITE was cancelled (the CANCEL is answered); requires a 487.
    Cancelled(ServerId),
    /// A response that is not a retransmission.
    Response(ClientId, Box<Response>),
    /// No response will come.
    Failed(ClientId, Failure),
    /// No ACK to our final response to an INVITE: timeout, or the response could not be delivered.
    AckMissing(ServerId, Failure),
    /// The client transaction has terminated.
    Gone(ClientId),
}

/// Reason for a request without final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No response in time.
    Timeout,
    /// The message could not be delivered.
    Transport,
}

/// All transactions are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many transactions")]
pub struct Overload;
