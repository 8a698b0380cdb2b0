//! The HTTP connections that are open, and which of them make room for a new one: whoever has asked nothing, or has been
//! answered, waits at the cost of nobody.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use async_channel::{Receiver, Sender};

use crate::base::source::Source;

/// Connections that are served at once, and of them those of one source.
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
    waits: Option<(Instant, ClientId)>,
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
    /// Takes in a new connection. Where there is no place, the one that has waited for longest gives way: of its own source
    /// if that has its half of all.
    pub fn open(&self, now: Instant, ip: IpAddr) -> Entry {
        let mut state = self.state.borrow_mut();
        let source = Source::of(ip);
        let served = |c: &Client| !c.in_lobby;
        let mine = |c: &Client| served(c) && c.source == source;
        let own_is_full = state.count(mine) >= MAX_OF_SOURCE;
        let has_place = if own_is_full {
            state.make_room(mine)
        } else {
            state.count(served) < MAX_CONNECTIONS || state.make_room(served)
        };
        if !has_place {
            let in_lobby = |c: &Client| c.in_lobby;
            if state.count(in_lobby) >= LOBBY && !state.make_room(in_lobby) {
                // All are being answered, which takes a moment: the oldest goes all the same.
                state.give_way(in_lobby, |id, _| id);
            }
        }
        let only_health = !has_place && !ip.to_canonical().is_loopback();
        state.crowded += u64::from(only_health);
        state.next += 1;
        let id = state.next;
        let (sender, give_way) = async_channel::bounded(1);
        let client = Client { source, in_lobby: !has_place, waits: Some((now, id)), give_way: sender };
        state.open.insert(id, client);
        Entry { id, only_health, give_way }
    }

    /// A connection has nothing to answer any more, or (`None`) has sent a complete head.
    pub fn note(&self, id: ClientId, waits_since: Option<Instant>) {
        if let Some(client) = self.state.borrow_mut().open.get_mut(&id) {
            client.waits = waits_since.map(|at| (at, id));
        }
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

    /// The one of these that has waited for longest gives way; true if there is one.
    fn make_room(&mut self, which: impl Fn(&Client) -> bool) -> bool {
        self.give_way(|c| which(c) && c.waits.is_some(), |_, c| c.waits)
    }

    fn give_way<K: Ord>(
        &mut self,
        which: impl Fn(&Client) -> bool,
        age: impl Fn(ClientId, &Client) -> K,
    ) -> bool {
        let candidates = self.open.iter().filter(|(_, c)| which(c));
        let oldest = candidates.min_by_key(|(id, c)| age(**id, c)).map(|(id, _)| *id);
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
    use crate::io::clock;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn one_source_has_half_and_its_own_idle_ones_give_way() {
        let (c, now) = (Clients::default(), clock::now().mono);
        let first: Vec<Entry> = (0..40).map(|_| c.open(now, ip(1))).collect();
        assert!(first.iter().all(|e| !e.only_health));
        assert_eq!(c.counts(), (32, 8, 0));
        assert!(first.iter().take(8).all(|e| !e.give_way.is_empty()), "the oldest");
        // With requests on all of them, it finds no more places, and others do.
        first.iter().for_each(|e| c.note(e.id, None));
        assert!(c.open(now, ip(1)).only_health);
        assert!(!c.open(now, ip(2)).only_health);
    }

    #[test]
    fn a_new_one_takes_the_place_of_who_has_waited_for_longest() {
        let (c, now) = (Clients::default(), clock::now().mono);
        let all: Vec<Entry> = (0..64).map(|n| c.open(now + Duration::from_secs(n), ip(n as u8))).collect();
        c.note(all[0].id, None);
        c.note(all[1].id, Some(now + Duration::from_secs(100)));
        assert!(!c.open(now, ip(100)).only_health);
        assert_eq!(
            all.iter().position(|e| !e.give_way.is_empty()),
            Some(2),
            "0 is served, 1 was served later"
        );
    }

    #[test]
    fn where_all_are_busy_loopback_and_health_still_get_in() {
        let (c, now) = (Clients::default(), clock::now().mono);
        for n in 0..64 {
            let entry = c.open(now, ip(n));
            c.note(entry.id, None);
        }
        let loopback = c.open(now, IpAddr::from([127, 0, 0, 1]));
        assert!(!loopback.only_health);
        c.note(loopback.id, None);
        let others: Vec<Entry> = (100..120).map(|n| c.open(now, ip(n))).collect();
        assert!(others.iter().all(|e| e.only_health));
        assert_eq!(c.counts().0, 64 + LOBBY);
        assert!(loopback.give_way.is_empty(), "what is being answered gives way last");
        c.close(loopback.id);
        assert_eq!(c.counts().0, 64 + LOBBY - 1);
    }
}
