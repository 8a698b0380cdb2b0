//! The HTTP connections that are open, and which of them make room for a new one: whoever has asked nothing, or has been
//! answered, waits at the cost of nobody.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use async_channel::{Receiver, Sender};

use crate::base::source::Source;

/// Connections that are served at once, and of them those of one source with requests being answered.
pub const MAX_CONNECTIONS: usize = 64;
const MAX_OF_SOURCE: usize = MAX_CONNECTIONS / 2;
/// Connections beyond: they are served on loopback, and elsewhere for `/health`, or told that there is no room.
const LOBBY: usize = 8;

/// Names a connection.
pub type ClientId = u64;

#[derive(Debug)]
struct Client {
    source: Source,
    in_lobby: bool,
    /// Since when it has had no complete head for us; `None`: its request is being answered.
    waits: Option<Instant>,
    give_way: Sender<()>,
}

/// How a connection was taken in.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub id: ClientId,
    /// It is served `/health` only.
    pub only_health: bool,
    /// Another takes its place.
    pub give_way: Receiver<()>,
}

/// Open connections.
#[derive(Debug, Default)]
pub struct Clients {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<ClientId, Client>,
    next: ClientId,
    gave_way: u64,
    crowded: u64,
}

impl Clients {
    /// Takes in a new connection. Where there is no place, the one that has waited for longest gives way: of a source that
    /// has more than its half if there is one.
    pub fn open(&self, now: Instant, ip: IpAddr) -> Entry {
        let mut state = self.state.borrow_mut();
        let loopback = ip.to_canonical().is_loopback();
        let served = |c: &Client| !c.in_lobby;
        let in_lobby = |c: &Client| c.in_lobby;
        let lobby_is_full = state.count(in_lobby) >= LOBBY;
        let has_place =
            state.count(served) < MAX_CONNECTIONS || ((!loopback || lobby_is_full) && state.make_room());
        if !has_place && lobby_is_full && !state.give_way(|c| in_lobby(c) && c.waits.is_some()) {
            // All are being answered, which takes a moment: the oldest goes all the same.
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

    /// A connection has nothing to answer any more.
    pub fn waits(&self, id: ClientId, since: Instant) {
        if let Some(client) = self.state.borrow_mut().open.get_mut(&id) {
            client.waits = Some(since);
        }
    }

    /// A connection has sent a complete head. False when half of all places answer requests of its source already: such a
    /// connection cannot give way, so that this one is not answered.
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

    /// A connection is closed.
    pub fn close(&self, id: ClientId) {
        self.state.borrow_mut().open.remove(&id);
    }

    /// Connections that are open, that have given way to others, and that found no place.
    #[must_use]
    pub fn counts(&self) -> (usize, u64, u64) {
        let state = self.state.borrow();
        (state.open.len(), state.gave_way, state.crowded)
    }
}

impl State {
    fn count(&self, which: impl Fn(&Client) -> bool) -> usize {
        self.open.values().filter(|c| which(c)).count()
    }

    /// The one that has waited for longest gives way, of those whose source has more than half if there are any; true if
    /// there is one.
    fn make_room(&mut self) -> bool {
        let mut of_source: BTreeMap<Source, usize> = BTreeMap::new();
        for client in self.open.values().filter(|c| !c.in_lobby) {
            *of_source.entry(client.source).or_default() += 1;
        }
        let has_much = |c: &Client| of_source.get(&c.source).is_some_and(|n| *n > MAX_OF_SOURCE);
        let may = |c: &Client| !c.in_lobby && c.waits.is_some();
        self.give_way(|c| may(c) && has_much(c)) || self.give_way(may)
    }

    /// The one of these that has waited for longest gives way, and of such as began together the first; true if there is
    /// one.
    fn give_way(&mut self, which: impl Fn(&Client) -> bool) -> bool {
        let candidates = self.open.iter().filter(|(_, c)| which(c));
        let oldest = candidates.min_by_key(|(_, c)| c.waits).map(|(id, _)| *id);
        let Some(client) = oldest.and_then(|id| self.open.remove(&id)) else { return false };
        self.gave_way += 1;
        // Its task may have ended by itself.
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
