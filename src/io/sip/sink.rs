//! What the SIP sockets ask of the gateway, and report to it. The driver implements it.

use std::fmt::Debug;
use std::rc::Rc;

use crate::base::pool::Standing;
use crate::sip::flow::Flow;

/// The gateway as the SIP sockets see it.
pub trait SipSink: Debug {
    /// A message was received: a datagram, or a frame of a stream.
    fn message(self: Rc<Self>, source: Flow, bytes: &[u8]);
    /// A stream message without usable framing was received, of which this is the head.
    fn broken(self: Rc<Self>, source: Flow, head: &[u8]);
    /// A peer cannot be reached, or its `open` connection is lost. `again`: the connection is opened under the same name
    /// when something is sent there.
    fn unreachable(self: Rc<Self>, target: Flow, again: bool, open: bool);
    /// True if a connection of this peer may be accepted now.
    fn may_connect(self: Rc<Self>, peer: Flow) -> bool;
    /// True if so many more bytes of this source may be received.
    fn may_send(self: Rc<Self>, source: Flow, bytes: usize) -> bool;
    /// The classification of a source.
    fn standing(&self, source: Flow) -> Standing;
    /// True if requests of this source are accepted.
    fn accepts(&self, source: Flow) -> bool;
    /// True if the source is known: configured, authenticated, or the peer of a dialog.
    fn knows(&self, source: Flow) -> bool;
    /// True while a call or a registration uses the connection to this peer.
    fn uses(&self, peer: &Flow) -> bool;
}
