//! The transaction layer: owns all transactions, dispatches messages to them, reports events to the
//! transaction user.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use super::client_transaction::ClientTx;
use super::event::{ClientId, Event, Failure, ServerId};
use super::server_transaction::{Places, ServerTx};
use super::transmit::Transmit;
use crate::base::deadlines::Deadlines;
use crate::base::ids::Table;
use crate::base::pool::{Pool, Sizes};
use crate::base::rng::Rng;
use crate::sip::flow::Flow;
use crate::sip::keyed_hash::KeyedHash;
use crate::sip::locals::Locals;
use crate::sip::proven::Proven;
use crate::sip::table::{ClientKey, MergeKey, ServerKey};
use crate::sip::transaction_machine::Machine;
use crate::sip::{Bytes, Output};

/// A transaction of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ref {
    Client(ClientId),
    Server(ServerId),
}

/// Numbers for `/metrics`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Fired timers, by their letters in RFC 3261 table 4 and RFC 6026: A, E and G retransmit, B, F and H
    /// time out.
    pub timers: BTreeMap<&'static str, u64>,
    /// Responses without a matching transaction.
    pub stray_responses: u64,
    /// Merged requests (482).
    pub merged: u64,
    /// Requests refused because all transactions are in use (503).
    pub overload: u64,
    /// Client transactions terminated early to free space for another.
    pub forgotten: u64,
    /// Malformed requests answered with 4xx or 5xx.
    pub refused: u64,
}

/// Average message memory of a server transaction, bytes: 8 MiB for 8,192.
const BYTES_PER_TRANSACTION: usize = 1024;
/// Minimum of the total, since a message can have 64 KiB.
const MIN_BYTES: usize = 4 * 1024 * 1024;

/// All transactions of a gateway.
#[derive(Debug)]
pub struct Transactions {
    pub(super) clients: Table<ClientTx>,
    pub(super) servers: Table<ServerTx>,
    /// Limits of server transactions, and of the bytes they store.
    pub(super) pool: Pool,
    pub(super) bytes: Pool,
    /// Sources with verified addresses.
    pub(super) proven: Proven,
    /// Generates To tags of stateless responses.
    pub(super) tags: KeyedHash,
    /// The request currently being answered statelessly.
    pub(super) stateless: Option<ServerId>,
    pub(super) client_keys: BTreeMap<ClientKey, ClientId>,
    pub(super) server_keys: BTreeMap<Rc<ServerKey>, ServerId>,
    pub(super) merges: BTreeMap<Rc<MergeKey>, ServerId>,
    pub(super) deadlines: Deadlines<Ref>,
    pub(super) out: VecDeque<Transmit>,
    pub(super) events: VecDeque<Event>,
    pub(super) locals: Locals,
    pub(super) rng: Rng,
    pub(super) counters: Counters,
}

impl Transactions {
    /// An empty layer for at most `max` client and `max` server transactions. A client transaction beyond
    /// that replaces one that has its final response. Server transactions and the bytes they store are
    /// limited per source.
    #[must_use]
    pub fn new(locals: Locals, mut rng: Rng, max: usize) -> Self {
        Self {
            clients: Table::new(max),
            servers: Table::new(max.saturating_add(1)),
            pool: Pool::new(Sizes::of(max)),
            bytes: Pool::new(Sizes::of(max.saturating_mul(BYTES_PER_TRANSACTION).max(MIN_BYTES))),
            proven: Proven::default(),
            tags: KeyedHash::new(&mut rng),
            stateless: None,
            client_keys: BTreeMap::new(),
            server_keys: BTreeMap::new(),
            merges: BTreeMap::new(),
            deadlines: Deadlines::default(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            locals,
            rng,
            counters: Counters::default(),
        }
    }

    /// Fires all timers due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(r) = self.deadlines.pop_due(now) {
            if let Some((machine, _)) = machine_of(&mut self.clients, &mut self.servers, r) {
                if let Some((_, timer)) = machine.poll_timeout() {
                    *self.counters.timers.entry(timer).or_default() += 1;
                }
                machine.handle_timeout(now);
            }
            self.settle(r);
        }
    }

    /// Collects outputs of a transaction, updates its deadline, removes it once terminated.
    pub(super) fn settle(&mut self, r: Ref) {
        let failure = self.failure_of(r);
        let Some((machine, target)) = machine_of(&mut self.clients, &mut self.servers, r) else { return };
        let mut sent = false;
        while let Some(out) = machine.poll() {
            match (out, r) {
                (Output::Transmit(bytes), _) => {
                    sent = true;
                    self.out.push_back(Transmit { target, bytes });
                }
                (Output::TimedOut, Ref::Client(id)) => self.events.push_back(Event::Failed(id, failure)),
                (Output::AckMissing, Ref::Server(id)) => {
                    self.events.push_back(Event::AckMissing(id, failure));
                }
                (Output::TimedOut, Ref::Server(_)) | (Output::AckMissing, Ref::Client(_)) => {}
            }
        }
        let (next, over) = (machine.poll_timeout(), machine.is_terminated());
        self.deadlines.set(r, next.map(|(at, _)| at));
        if over {
            self.remove(r);
        } else if sent {
            self.note_sent(r);
        }
    }

    /// Why a transaction has timed out.
    fn failure_of(&self, r: Ref) -> Failure {
        let undelivered = match r {
            Ref::Client(id) => self.clients.get(id).is_some_and(|tx| tx.undelivered),
            Ref::Server(id) => self.servers.get(id).is_some_and(ServerTx::is_unanswerable),
        };
        if undelivered { Failure::Transport } else { Failure::Timeout }
    }

    /// The last message counts as delivered until the shell reports otherwise.
    fn note_sent(&mut self, r: Ref) {
        match r {
            Ref::Client(id) => self.clients.get_mut(id).into_iter().for_each(|tx| tx.undelivered = false),
            Ref::Server(id) => {
                let failing = self.servers.get_mut(id).and_then(|tx| tx.failing.as_mut());
                failing.into_iter().for_each(|since| *since = since.saturating_add(1));
            }
        }
    }

    pub(super) fn remove(&mut self, r: Ref) {
        match r {
            Ref::Client(id) => {
                if let Some(tx) = self.clients.remove(id) {
                    self.client_keys.remove(&tx.key);
                    self.events.push_back(Event::Gone(id));
                }
            }
            Ref::Server(id) => {
                if let Some(tx) = self.servers.remove(id) {
                    if let Some(key) = &tx.key {
                        self.server_keys.remove(key);
                    }
                    if let Some(m) = &tx.merge {
                        self.merges.remove(m);
                    }
                    self.release(tx.held);
                }
            }
        }
    }

    pub(super) fn release(&mut self, places: Option<Places>) {
        if let Some(Places { transaction, bytes }) = places {
            self.pool.release(transaction);
            self.bytes.release(bytes);
        }
    }

    /// The next message to send; call until `None`.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// The next event; call until `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        // A stateless request that was not answered at once is dropped.
        if let Some(id) = self.stateless.take_if(|_| self.events.is_empty()) {
            self.remove(Ref::Server(id));
        }
        self.events.pop_front()
    }

    /// Pools of server transactions and of their bytes.
    #[must_use]
    pub fn pools(&self) -> (&Pool, &Pool) {
        (&self.pool, &self.bytes)
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next().map(|(at, _)| at)
    }

    /// Running timers, at most one per transaction.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.deadlines.len()
    }

    /// Live transactions: client and server.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    /// True without transactions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Numbers for `/metrics`.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Sends a keep-alive (RFC 5626 §3.5.1) without waiting for the pong.
    pub fn ping(&mut self, target: Flow) {
        self.out.push_back(Transmit { target, bytes: Bytes::from(b"\r\n\r\n".as_slice()) });
    }

    /// Our addresses.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.locals
    }
}

/// The state machine of a transaction, and its flow.
fn machine_of<'a>(
    clients: &'a mut Table<ClientTx>,
    servers: &'a mut Table<ServerTx>,
    r: Ref,
) -> Option<(&'a mut dyn Machine, Flow)> {
    match r {
        Ref::Client(id) => clients.get_mut(id).map(|tx| (tx.machine.as_machine(), tx.target)),
        Ref::Server(id) => servers.get_mut(id).map(|tx| (tx.machine.as_machine(), tx.reply_to)),
    }
}
