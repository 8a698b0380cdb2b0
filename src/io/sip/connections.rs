//! SIP connections that are open, and TLS servers to which they may be reopened: addresses and certificate
//! names.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use crate::base::pool::{Held, Pool, Sizes, Standing};
use crate::base::source::Source;
use crate::io::net::locate::Place;
use crate::sip::Bytes;
use crate::sip::flow::{ConnId, Flow, Transport};

/// Maximum open SIP connections, both directions.
pub const MAX_CONNECTIONS: usize = 256;
/// 32 of them are reserved for outgoing connections, and 64 more for sources with registered phones or
/// trunks. One unknown source may have 64.
const SIZES: Sizes = Sizes { all: MAX_CONNECTIONS, outside: 224, strangers: 160, share: 64 };
/// Maximum connections of one source whose calls require a password, and of all such sources.
const OF_FOREIGN: (usize, usize) = (8, 128);
/// A connection without registration and call on which nothing was received for this long may be closed for a
/// new one.
const IDLE: Duration = Duration::from_secs(5);
/// Maximum messages and bytes queued for a peer that does not read; the connection is closed if either is
/// exceeded.
const MAX_WAITING: usize = 64;
const MAX_WAITING_BYTES: usize = 128 * 1024;
/// Maximum TLS servers remembered.
const MAX_NAMES: usize = 512;

/// The connection table.
#[derive(Debug)]
pub struct Connections {
    open: BTreeMap<ConnId, Open>,
    pool: Pool,
    /// Connections closed in favour of new ones.
    made_room: u64,
    /// Refused connections of sources whose calls require a password.
    foreign_refused: u64,
    /// TLS servers by the id of their connection, open or not; the connection is used for this server only.
    servers: BTreeMap<ConnId, Server>,
    next: ConnId,
}

#[derive(Debug)]
struct Open {
    peer: Flow,
    sender: Sender<Bytes>,
    give_up: Sender<()>,
    waiting: Rc<Cell<usize>>,
    /// Its slot in the pool; `None` once it was closed for a new one.
    held: Option<Held>,
    /// When something was last received; `None`: outgoing connection.
    heard: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct Server {
    place: Place,
    lax: bool,
}

/// A connection's end of its send queue.
#[derive(Debug)]
pub struct Queue {
    /// Messages to be written.
    pub outgoing: Receiver<Bytes>,
    /// Signals that the connection must be closed: the peer does not read, or the slot is needed.
    pub given_up: Receiver<()>,
    waiting: Rc<Cell<usize>>,
}

impl Queue {
    /// Reports this many bytes as written.
    pub fn wrote(&self, bytes: usize) {
        self.waiting.set(self.waiting.get().saturating_sub(bytes));
    }
}

/// Classification of the peer of an incoming connection.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The quota that its connection counts against.
    pub standing: Standing,
    /// Its calls require a password.
    pub foreign: bool,
}

impl Default for Connections {
    fn default() -> Self {
        let (open, servers) = (BTreeMap::new(), BTreeMap::new());
        Self { open, pool: Pool::new(SIZES), made_room: 0, foreign_refused: 0, servers, next: 0 }
    }
}

/// Whether a connection must be opened for a message.
#[derive(Debug)]
pub enum Opening {
    /// Already open; the message is queued.
    No,
    /// It must be opened; the message is queued.
    Yes {
        /// Its address and connection id.
        peer: Flow,
        /// Its queue.
        queue: Queue,
        /// The name that the certificate must contain.
        name: String,
        /// Any certificate is accepted.
        lax: bool,
    },
    /// The maximum number of connections is reached.
    Full,
}

impl Connections {
    /// A new connection from `peer`; `None` if the quota of its source or of its class is used up, and no
    /// open connection can be closed for it. `in_use`: a registration or call uses the connection.
    pub fn accept(
        &mut self,
        now: Instant,
        peer: Flow,
        caller: Caller,
        in_use: impl Fn(&Flow) -> bool,
    ) -> Option<(ConnId, Queue)> {
        let source = Source::of(peer.addr.ip());
        if caller.foreign && (self.pool.held_by(source) >= OF_FOREIGN.0 || self.pool.used() >= OF_FOREIGN.1) {
            self.foreign_refused += 1;
            return None;
        }
        if !self.pool.fits(source, caller.standing, 1) {
            let own = self.pool.share_is_used(source, caller.standing, 1);
            self.make_room(now, own.then_some(source), in_use);
        }
        let held = self.pool.take(source, caller.standing, 1)?;
        self.next += 1;
        let id = self.next;
        let queue = self.add(id, peer, held, Some(now));
        Some((id, queue))
    }

    fn add(&mut self, id: ConnId, peer: Flow, held: Held, heard: Option<Instant>) -> Queue {
        let (sender, outgoing) = async_channel::bounded(MAX_WAITING);
        let (give_up, given_up) = async_channel::bounded(1);
        let waiting = Rc::new(Cell::new(0));
        let open = Open { peer, sender, give_up, waiting: Rc::clone(&waiting), held: Some(held), heard };
        self.open.insert(id, open);
        Queue { outgoing, given_up, waiting }
    }

    /// Closes the connection that has been idle for longest, of this source or of any unknown source, if it
    /// is not in use.
    fn make_room(&mut self, now: Instant, of: Option<Source>, in_use: impl Fn(&Flow) -> bool) {
        let is_idle = |o: &Open| o.heard.is_some_and(|at| now.saturating_duration_since(at) >= IDLE);
        let may = |o: &Open| {
            let held = o.held.as_ref();
            held.is_some_and(|h| of.map_or(h.is_a_strangers(), |of| h.source() == of))
        };
        let idle = self.open.values_mut().filter(|o| is_idle(o) && may(o) && !in_use(&o.peer));
        let Some(oldest) = idle.min_by_key(|o| o.heard) else { return };
        self.made_room += 1;
        // A second signal has no effect.
        let _told = oldest.give_up.try_send(());
        if let Some(held) = oldest.held.take() {
            self.pool.release(held);
        }
    }

    /// Something was received on a connection.
    pub fn heard(&mut self, id: ConnId, now: Instant) {
        if let Some(Open { heard: Some(at), .. }) = self.open.get_mut(&id) {
            *at = now;
        }
    }

    /// Number of connections refused, and closed in favour of new ones.
    #[must_use]
    pub fn turned_away(&self) -> (u64, u64) {
        (self.pool.refused() + self.foreign_refused, self.made_room)
    }

    /// The target with the connection for this server under this name: another name at the same address gets
    /// another connection. Without TLS the address is sufficient. Also returns the connection id of a server
    /// removed from the table for this one, if any.
    pub fn lead_to(&mut self, place: Place, lax: bool) -> (Flow, Option<ConnId>) {
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
        (Flow { conn: Some(id), ..target }, forgotten)
    }

    /// Queues a message for a target.
    pub fn send(
        &mut self,
        now: Instant,
        target: Flow,
        bytes: Bytes,
        in_use: impl Fn(&Flow) -> bool,
    ) -> Opening {
        if let Some(open) = self.find(target).and_then(|id| self.open.get(&id)) {
            enqueue(open, bytes);
            return Opening::No;
        }
        let known = target.conn.and_then(|id| self.servers.get(&id).map(|s| (id, s)));
        let (id, to, name, lax) = match known {
            // A Contact may contain another port of its address: the connection is that of the server
            // nevertheless.
            Some((id, server)) => (id, server.place.target, server.place.name.clone(), server.lax),
            None => {
                self.next += 1;
                (self.next, target, target.addr.ip().to_string(), false)
            }
        };
        let peer = Flow { conn: Some(id), ..to };
        let source = Source::of(peer.addr.ip());
        if !self.pool.fits(source, Standing::Own, 1) {
            self.make_room(now, None, in_use);
        }
        let Some(held) = self.pool.take(source, Standing::Own, 1) else { return Opening::Full };
        let queue = self.add(id, peer, held, None);
        if let Some(open) = self.open.get(&id) {
            enqueue(open, bytes);
        }
        Opening::Yes { peer, queue, name, lax }
    }

    /// The connection with the given id, otherwise one to the same address. A connection to a TLS server is
    /// used only for its own name.
    fn find(&self, target: Flow) -> Option<ConnId> {
        if let Some(id) = target.conn.filter(|id| self.open.contains_key(id) || self.servers.contains_key(id))
        {
            return Some(id).filter(|id| self.open.contains_key(id));
        }
        let same = |open: &Open| open.peer.addr == target.addr && open.peer.transport == target.transport;
        self.open.iter().find(|(id, open)| same(open) && !self.servers.contains_key(id)).map(|(id, _)| *id)
    }

    /// Removes a closed connection; true if it belongs to a named server and is reopened when needed.
    pub fn close(&mut self, id: ConnId) -> bool {
        if let Some(held) = self.open.remove(&id).and_then(|open| open.held) {
            self.pool.release(held);
        }
        self.servers.contains_key(&id)
    }

    /// True while messages are queued on a connection.
    #[must_use]
    pub fn waits(&self, id: ConnId) -> bool {
        self.open.get(&id).is_some_and(|open| !open.sender.is_empty())
    }

    /// Number of open connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

fn enqueue(open: &Open, bytes: Bytes) {
    let size = bytes.len();
    let fits = open.sender.is_empty() || open.waiting.get() + size <= MAX_WAITING_BYTES;
    if fits && open.sender.try_send(bytes).is_ok() {
        open.waiting.set(open.waiting.get() + size);
    } else if !open.sender.is_closed() {
        // The peer does not read. A second signal has no effect.
        let _told = open.give_up.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        let addr = "192.0.2.1:5061".parse().unwrap();
        Place { target: Flow { transport: Transport::Tls, addr, conn: None }, name: name.into() }
    }

    fn send(c: &mut Connections, to: Flow) -> Opening {
        c.send(crate::io::system::clock::now().mono, to, Bytes::from(b"x".as_slice()), |_| false)
    }

    fn accept(c: &mut Connections, now: Instant, ip: &str, standing: Standing) -> Option<(ConnId, Queue)> {
        let addr = format!("{ip}:40000").parse().unwrap();
        let peer = Flow { transport: Transport::Tcp, addr, conn: None };
        c.accept(now, peer, Caller { standing, foreign: false }, |peer| {
            peer.addr.ip().to_string() == "192.0.2.77"
        })
    }

    #[test]
    fn one_source_cannot_take_all_connections_and_idle_ones_are_closed() {
        let (mut c, now) = (Connections::default(), crate::io::system::clock::now().mono);
        let mut mine: Vec<_> =
            (0..300).filter_map(|_| accept(&mut c, now, "192.0.2.1", Standing::Stranger)).collect();
        assert_eq!(mine.len(), 64);
        let others: Vec<_> = (0..100)
            .filter_map(|n| accept(&mut c, now, &format!("192.0.2.{}", 100 + n), Standing::Stranger))
            .collect();
        assert_eq!(others.len(), 96, "unknown sources have 160");
        assert!(accept(&mut c, now, "198.51.100.1", Standing::Known { members: 1 }).is_some());
        let server = "203.0.113.1:5060".parse().unwrap();
        let target = Flow { transport: Transport::Tcp, addr: server, conn: None };
        assert!(matches!(send(&mut c, target), Opening::Yes { .. }), "outgoing");
        // All but one connection of each source are idle, and one of the others is in use.
        let later = now + IDLE;
        let (last, _) = mine.pop().unwrap();
        c.heard(last, later);
        assert!(accept(&mut c, later, "192.0.2.1", Standing::Stranger).is_some());
        assert!(!mine[0].1.given_up.is_empty() && mine[1].1.given_up.is_empty(), "the oldest of this source");
        assert!(
            accept(&mut c, later, "192.0.2.2", Standing::Stranger).is_some(),
            "the oldest of any unknown source"
        );
        assert_eq!((c.pool.used(), c.turned_away().1), (162, 2));
        // A closed connection is removed later, and counted once.
        assert!(!c.close(mine[0].0));
        assert_eq!(c.pool.used(), 162);
        assert!(!c.close(mine[5].0));
        assert_eq!(c.pool.used(), 161);
    }

    #[test]
    fn a_registered_connection_is_kept_and_a_peer_that_does_not_read_is_closed() {
        let (mut c, now) = (Connections::default(), crate::io::system::clock::now().mono);
        let used: Vec<_> =
            (0..64).filter_map(|_| accept(&mut c, now, "192.0.2.77", Standing::Stranger)).collect();
        assert!(accept(&mut c, now + IDLE, "192.0.2.77", Standing::Stranger).is_none());
        assert!(used.iter().all(|(_, queue)| queue.given_up.is_empty()));
        let (id, queue) = accept(&mut c, now, "192.0.2.3", Standing::Stranger).unwrap();
        let to = Flow { conn: Some(id), ..c.open[&id].peer };
        for _ in 0..2 {
            assert!(matches!(c.send(now, to, Bytes::from(vec![0; 60_000]), |_| false), Opening::No));
        }
        assert!(queue.given_up.is_empty());
        queue.wrote(queue.outgoing.try_recv().unwrap().len());
        c.send(now, to, Bytes::from(vec![0; 60_000]), |_| false);
        assert!(queue.given_up.is_empty(), "120 kB wait");
        c.send(now, to, Bytes::from(vec![0; 60_000]), |_| false);
        assert!(!queue.given_up.is_empty());
    }

    #[test]
    fn names_at_one_address_have_separate_connections() {
        let mut c = Connections::default();
        let one = c.lead_to(place("one.example"), false).0;
        let two = c.lead_to(place("two.example"), false).0;
        assert_ne!(one.conn, two.conn);
        assert_eq!(c.lead_to(place("one.example"), false).0, one);
        assert_ne!(
            c.lead_to(place("one.example"), true).0.conn,
            one.conn,
            "lax verification needs another connection"
        );
        let Opening::Yes { peer, name, .. } = send(&mut c, one) else { panic!() };
        assert_eq!((peer, name.as_str()), (one, "one.example"));
        assert!(matches!(send(&mut c, one), Opening::No));
        assert!(matches!(send(&mut c, two), Opening::Yes { .. }));
        assert!(matches!(send(&mut c, Flow { conn: None, ..one }), Opening::Yes { .. }));
        assert!(c.close(peer.conn.unwrap()), "it is reopened when needed");
        // Also for another port of that address: it belongs to the server under its name.
        let hop = Flow { addr: "192.0.2.1:5071".parse().unwrap(), ..one };
        let Opening::Yes { peer, name, .. } = send(&mut c, hop) else { panic!() };
        assert_eq!((peer, name.as_str()), (one, "one.example"));
    }

    #[test]
    fn the_removal_of_a_server_is_reported() {
        let mut c = Connections::default();
        let lead = |c: &mut Connections, n: usize| c.lead_to(place(&format!("{n}.example")), false);
        let first = lead(&mut c, 0).0;
        assert!((1..MAX_NAMES).all(|n| lead(&mut c, n).1.is_none()));
        assert_eq!(lead(&mut c, MAX_NAMES).1, first.conn);
        assert!(!c.close(first.conn.unwrap()), "its server was removed");
    }
}
