//! Open HTTP connections, and eviction: idle connections are closed to make space for new ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use async_channel::{Receiver, Sender};

use crate::base::source::Source;

/// Most connections served at once, and most with requests in progress per source.
pub const MAX_CONNECTIONS: usize = 64;
const MAX_OF_SOURCE: usize = MAX_CONNECTIONS / 2;
/// Additional connections: served if from loopback, otherwise only for `/health` or with an error.
const LOBBY: usize = 8;

/// Identifies a connection.
pub type ClientId = u64;

#[derive(Debug)]
struct Client {
    source: Source,
    in_lobby: bool,
    /// Time since which no complete request head has been received; `None`: a request is in progress.
    waits: Option<Instant>,
    give_way: Sender<()>,
}

/// Result of accepting a connection.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: ClientId,
    /// Only `/health` is served.
    pub only_health: bool,
    /// Signals that the connection is evicted.
    pub give_way: Receiver<()>,
}

/// Open connections.
#[derive(Debug, Default)]
pub struct Clients {
    state: RefCell<ClientTable>,
}

#[derive(Debug, Default)]
struct ClientTable {
    open: BTreeMap<ClientId, Client>,
    next: ClientId,
    gave_way: u64,
    crowded: u64,
}

impl Clients {
    /// Adds a new connection. If all places are taken, the connection idle for longest is evicted, preferably
    /// of a source with more than half of them.
    pub fn open(&self, now: Instant, ip: IpAddr) -> Entry {
        let mut state = self.state.borrow_mut();
        let loopback = ip.to_canonical().is_loopback();
        let served = |c: &Client| !c.in_lobby;
        let in_lobby = |c: &Client| c.in_lobby;
        let lobby_is_full = state.count(in_lobby) >= LOBBY;
        let has_place =
            state.count(served) < MAX_CONNECTIONS || ((!loopback || lobby_is_full) && state.make_room());
        if !has_place && lobby_is_full && !state.give_way(|c| in_lobby(c) && c.waits.is_some()) {
            // All have requests in progress, which are short: the oldest is evicted anyway.
            state.give_way(in_lobby);
        }
        let only_health = !has_place && !loopback;
        state.crowded += u64::from(only_health);
        state.next += 1;
        let id = state.next;
        let (sender, give_way) = async_channel::bounded(1);
        let (source, waits) = (Source::of(ip), Some(now));
        state.open.insert(id, Client { source, in_lobby: !has_place, waits, give_way: sender });
        Entry { id, only_health, give_way }
    }

    /// A connection has become idle.
    pub fn waits(&self, id: ClientId, since: Instant) {
        if let Some(client) = self.state.borrow_mut().open.get_mut(&id) {
            client.waits = Some(since);
        }
    }

    /// A connection has sent a complete request head. False if half of all places are processing requests of
    /// its source: since such connections cannot be evicted, this one is not served.
    #[must_use]
    pub fn begins(&self, id: ClientId) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(source) = state.open.get(&id).map(|c| c.source) else { return true };
        let admitted = state.count(|c| c.source == source && c.waits.is_none()) < MAX_OF_SOURCE;
        if let Some(client) = state.open.get_mut(&id).filter(|_| admitted) {
            client.waits = None;
        }
        state.crowded += u64::from(!admitted);
        admitted
    }

    /// A connection was closed.
    pub fn close(&self, id: ClientId) {
        self.state.borrow_mut().open.remove(&id);
    }

    /// Connections open, evicted, and refused because all places were taken.
    #[must_use]
    pub fn counts(&self) -> (usize, u64, u64) {
        let state = self.state.borrow();
        (state.open.len(), state.gave_way, state.crowded)
    }
}

impl ClientTable {
    fn count(&self, which: impl Fn(&Client) -> bool) -> usize {
        self.open.values().filter(|c| which(c)).count()
    }

    /// Evicts the connection idle for longest, preferably of a source with more than half of the places; true
    /// if there is one.
    fn make_room(&mut self) -> bool {
        let mut of_source: BTreeMap<Source, usize> = BTreeMap::new();
        for client in self.open.values().filter(|c| !c.in_lobby) {
            *of_source.entry(client.source).or_default() += 1;
        }
        let has_much = |c: &Client| of_source.get(&c.source).is_some_and(|n| *n > MAX_OF_SOURCE);
        let may = |c: &Client| !c.in_lobby && c.waits.is_some();
        self.give_way(|c| may(c) && has_much(c)) || self.give_way(may)
    }

    /// Evicts the matching connection idle for longest, on a tie the first; true if there is one.
    fn give_way(&mut self, which: impl Fn(&Client) -> bool) -> bool {
        let candidates = self.open.iter().filter(|(_, c)| which(c));
        let oldest = candidates.min_by_key(|(_, c)| c.waits).map(|(id, _)| *id);
        let Some(client) = oldest.and_then(|id| self.open.remove(&id)) else { return false };
        self.gave_way += 1;
        // Its task may have ended already.
        let _told = client.give_way.try_send(());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::io::system::clock;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn who_has_more_than_half_makes_room_and_has_half_answered_at_once() {
        let (c, now) = (Clients::default(), clock::now().mono);
        let other = c.open(now, ip(2));
        let flood: Vec<Entry> = (0..63).map(|n| c.open(now + Duration::from_secs(n + 1), ip(1))).collect();
        assert!(!c.open(now + Duration::from_secs(99), ip(3)).only_health);
        assert!(other.give_way.is_empty() && !flood[0].give_way.is_empty(), "not the oldest of all");
        let answered = flood.iter().skip(1).filter(|e| c.begins(e.id)).count();
        assert_eq!(answered, 32);
        assert!(c.begins(other.id));
    }

    #[test]
    fn a_new_one_takes_the_place_of_who_has_waited_for_longest() {
        let (c, now) = (Clients::default(), clock::now().mono);
        let all: Vec<Entry> = (0..64).map(|n| c.open(now + Duration::from_secs(n), ip(n as u8))).collect();
        assert!(c.begins(all[0].id) && c.begins(all[1].id));
        c.waits(all[1].id, now + Duration::from_secs(100));
        assert!(!c.open(now, ip(100)).only_health);
        assert_eq!(
            all.iter().position(|e| !e.give_way.is_empty()),
            Some(2),
            "0 is answered, 1 was answered later"
        );
    }

    #[test]
    fn where_all_are_busy_loopback_and_health_still_get_in() {
        let (c, now) = (Clients::default(), clock::now().mono);
        for n in 0..64 {
            assert!(c.begins(c.open(now, ip(n)).id));
        }
        let loopback = c.open(now, IpAddr::from([127, 0, 0, 1]));
        assert!(!loopback.only_health && c.begins(loopback.id));
        let others: Vec<Entry> = (100..120).map(|n| c.open(now, ip(n))).collect();
        assert!(others.iter().all(|e| e.only_health));
        assert_eq!(c.counts().0, 64 + LOBBY);
        assert!(loopback.give_way.is_empty(), "what is being answered gives way last");
        c.close(loopback.id);
        assert_eq!(c.counts().0, 64 + LOBBY - 1);
    }
}
