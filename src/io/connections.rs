//! The SIP connections that are open, and those that may be opened again: who they lead to and by which name.

use std::collections::BTreeMap;

use async_channel::{Receiver, Sender, TrySendError};

use super::locate::Place;
use crate::base::source::Source;
use crate::sip::Bytes;
use crate::sip::target::{ConnId, Target, Transport};

/// Connections open at once, both ways.
const MAX_OPEN: usize = 256;
/// Connections of one stranger.
const MAX_OF_STRANGER: usize = 8;
/// Messages waiting for a peer that does not read; past it the connection is closed.
const MAX_WAITING: usize = 64;
/// Names of TLS servers that are remembered.
const MAX_NAMES: usize = 512;

/// Open connections.
#[derive(Debug, Default)]
pub struct Connections {
    open: BTreeMap<ConnId, Open>,
    /// TLS servers by the connection that leads to them, open or not: it is theirs alone.
    servers: BTreeMap<ConnId, Server>,
    next: ConnId,
}

#[derive(Debug)]
struct Open {
    peer: Target,
    sender: Sender<Bytes>,
    give_up: Sender<()>,
}

#[derive(Debug, PartialEq, Eq)]
struct Server {
    place: Place,
    lax: bool,
}

/// A connection's end of its queue.
#[derive(Debug)]
pub struct Queue {
    /// What is to be written.
    pub outgoing: Receiver<Bytes>,
    /// The peer reads nothing: the connection is given up.
    pub given_up: Receiver<()>,
}

/// Whether a connection has to be opened for a message.
#[derive(Debug)]
pub enum Opening {
    /// It is open; the message is queued.
    No,
    /// It has to be; the message is queued.
    Yes {
        /// Where it leads, and its number.
        peer: Target,
        /// Its queue.
        queue: Queue,
        /// The name that a certificate has to carry.
        name: String,
        /// Any certificate will do.
        lax: bool,
    },
    /// Too many are open.
    Full,
}

impl Connections {
    /// A new connection from `peer`; `None` when too many are open. Strangers may have half of all, and few each.
    pub fn accept(&mut self, peer: Target, stranger: bool) -> Option<(ConnId, Queue)> {
        let from = Source::of(peer.addr.ip());
        let from_there = self.open.values().filter(|o| Source::of(o.peer.addr.ip()) == from).count();
        if stranger && (from_there >= MAX_OF_STRANGER || self.open.len() >= MAX_OPEN / 2) {
            return None;
        }
        self.next += 1;
        let id = self.next;
        self.add(id, peer).map(|queue| (id, queue))
    }

    fn add(&mut self, id: ConnId, peer: Target) -> Option<Queue> {
        if self.open.len() >= MAX_OPEN {
            return None;
        }
        let (sender, outgoing) = async_channel::bounded(MAX_WAITING);
        let (give_up, given_up) = async_channel::bounded(1);
        self.open.insert(id, Open { peer, sender, give_up });
        Some(Queue { outgoing, given_up })
    }

    /// The target with the connection that leads to this very server under this very name: to another name at
    /// the same address goes another one. Where there is no TLS the address says it all. With it the connection to a
    /// server that is forgotten for this one, if any.
    pub fn lead_to(&mut self, place: Place, lax: bool) -> (Target, Option<ConnId>) {
        if place.target.transport != Transport::Tls {
            return (place.target, None);
        }
        let mut forgotten = None;
        let target = place.target;
        let wanted = Server { place, lax };
        let known = self.servers.iter().find(|(_, s)| **s == wanted).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| {
            if self.servers.len() >= MAX_NAMES {
                forgotten = self.servers.keys().find(|id| !self.open.contains_key(id)).copied();
                forgotten.map(|id| self.servers.remove(&id));
            }
            self.next += 1;
            self.servers.insert(self.next, wanted);
            self.next
        });
        (Target { conn: Some(id), ..target }, forgotten)
    }

    /// Queues a message for a target.
    pub fn send(&mut self, target: Target, bytes: Bytes) -> Opening {
        if let Some(open) = self.find(target).and_then(|id| self.open.get(&id)) {
            enqueue(open, bytes);
            return Opening::No;
        }
        let known = target.conn.and_then(|id| self.servers.get(&id).map(|s| (id, s)));
        let (id, to, name, lax) = match known {
            // A Contact may name another port of its address: the connection is that of the server all the same.
            Some((id, server)) => (id, server.place.target, server.place.name.clone(), server.lax),
            None => {
                self.next += 1;
                (self.next, target, target.addr.ip().to_string(), false)
            }
        };
        let peer = Target { conn: Some(id), ..to };
        let Some(queue) = self.add(id, peer) else { return Opening::Full };
        if let Some(open) = self.open.get(&id) {
            enqueue(open, bytes);
        }
        Opening::Yes { peer, queue, name, lax }
    }

    /// The connection named, else one to the same address. A connection to a server under its name serves
    /// those who asked for that name only.
    fn find(&self, target: Target) -> Option<ConnId> {
        if let Some(id) = target.conn.filter(|id| self.open.contains_key(id) || self.servers.contains_key(id))
        {
            return Some(id).filter(|id| self.open.contains_key(id));
        }
        let same = |open: &Open| open.peer.addr == target.addr && open.peer.transport == target.transport;
        self.open.iter().find(|(id, open)| same(open) && !self.servers.contains_key(id)).map(|(id, _)| *id)
    }

    /// A connection is closed; true when it leads to a server by name, and is opened again under it when it is needed.
    pub fn close(&mut self, id: ConnId) -> bool {
        self.open.remove(&id);
        self.servers.contains_key(&id)
    }

    /// True while messages wait to be written on a connection.
    #[must_use]
    pub fn waits(&self, id: ConnId) -> bool {
        self.open.get(&id).is_some_and(|open| !open.sender.is_empty())
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True when none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

fn enqueue(open: &Open, bytes: Bytes) {
    if let Err(TrySendError::Full(_)) = open.sender.try_send(bytes) {
        // A peer that reads nothing is as good as gone. Told twice is told once.
        let _told = open.give_up.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        let addr = "192.0.2.1:5061".parse().unwrap();
        Place { target: Target { transport: Transport::Tls, addr, conn: None }, name: name.into() }
    }

    #[test]
    fn names_at_one_address_have_connections_of_their_own() {
        let mut c = Connections::default();
        let one = c.lead_to(place("one.example"), false).0;
        let two = c.lead_to(place("two.example"), false).0;
        assert_ne!(one.conn, two.conn);
        assert_eq!(c.lead_to(place("one.example"), false).0, one);
        assert_ne!(c.lead_to(place("one.example"), true).0.conn, one.conn, "less careful is another one");
        let bytes = Bytes::from(b"x".as_slice());
        let Opening::Yes { peer, name, .. } = c.send(one, Bytes::clone(&bytes)) else { panic!() };
        assert_eq!((peer, name.as_str()), (one, "one.example"));
        assert!(matches!(c.send(one, Bytes::clone(&bytes)), Opening::No));
        assert!(matches!(c.send(two, Bytes::clone(&bytes)), Opening::Yes { .. }));
        assert!(matches!(c.send(Target { conn: None, ..one }, Bytes::clone(&bytes)), Opening::Yes { .. }));
        assert!(c.close(peer.conn.unwrap()), "it leads there again");
        // Even for who knows another port of that address: it is the server's, under its name.
        let hop = Target { addr: "192.0.2.1:5071".parse().unwrap(), ..one };
        let Opening::Yes { peer, name, .. } = c.send(hop, bytes) else { panic!() };
        assert_eq!((peer, name.as_str()), (one, "one.example"));
    }

    #[test]
    fn a_server_that_is_forgotten_is_told() {
        let mut c = Connections::default();
        let lead = |c: &mut Connections, n: usize| c.lead_to(place(&format!("{n}.example")), false);
        let first = lead(&mut c, 0).0;
        assert!((1..MAX_NAMES).all(|n| lead(&mut c, n).1.is_none()));
        assert_eq!(lead(&mut c, MAX_NAMES).1, first.conn);
        assert!(!c.close(first.conn.unwrap()), "it leads nowhere now");
    }
}
