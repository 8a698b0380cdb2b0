//! A seeded simulated network between gateways, without sockets, clock or threads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::config::{Config, Sources, load};
use branchline::gateway::Gateway;
use branchline::gateway::events::Event;
use branchline::gateway::interface::work::{Work, WorkId, WorkResult};
use branchline::gateway::resources::ports::Port;
use branchline::media::command::{Command, MediaEvent, Quality, Slot};
use branchline::sip::flow::{Flow, NextHop, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::uri::Host;

use crate::described::next_event;
use crate::phone::{PHONE, Phone};

/// Faults applied to datagrams, in percent, and delays.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub loss: u32,
    pub duplicate: u32,
    pub reorder: u32,
    pub delay_ms: u32,
}

/// Default faults of the simulations.
pub const HARSH: Faults = Faults { loss: 12, duplicate: 12, reorder: 12, delay_ms: 30 };
pub const NONE: Faults = Faults { loss: 0, duplicate: 0, reorder: 0, delay_ms: 5 };

/// Faults injected in a run.
#[derive(Debug, Default, Clone, Copy)]
pub struct Injected {
    pub sent: u64,
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
}

pub struct Node {
    pub gw: Gateway,
    pub addr: SocketAddr,
    pub events: Vec<Event>,
    next_port: u32,
    /// Ports passed to the media engine.
    opened: u32,
    /// Destination of the leg whose media was updated last, if it sends.
    pub rtp: Option<SocketAddr>,
    /// Drops everything it receives.
    pub deaf: bool,
    /// Everything it sends is lost.
    pub dumb: bool,
    /// Closing its media is delayed, as while a recording is being completed.
    pub slow_media: bool,
    closing: Vec<Slot>,
}

struct Datagram {
    /// A node, or the phone.
    to: Option<usize>,
    from: SocketAddr,
    transport: Transport,
    bytes: Vec<u8>,
}

pub struct Net {
    pub nodes: Vec<Node>,
    /// A phone that calls node 0.
    pub phone: Phone,
    pub now: Now,
    pub start: Instant,
    faults: Faults,
    pub rng: Rng,
    wires: BTreeMap<(Instant, u64), Datagram>,
    /// Pending look-ups with completion time: node and query.
    lookups: BTreeMap<(Instant, u64), (usize, WorkId, NextHop)>,
    sequence: u64,
    pub injected: Injected,
    /// Number of messages sent by method or status code.
    pub traffic: BTreeMap<String, u64>,
    /// Messages sent over TLS.
    pub secure: Vec<String>,
    /// Messages sent to unknown destinations.
    pub unreachable: Vec<Vec<u8>>,
    /// Actions scheduled by tests.
    pub agenda: BTreeSet<(Instant, u32)>,
}

pub fn config(extra: &str) -> Rc<Config> {
    let limits = if extra.starts_with("[limits]") { "" } else { "[limits]\nlegs = 8\n" };
    let text = format!("{limits}{extra}");
    Rc::new(load(&Sources { file: Some(("sim", &text)), env: &[] }).unwrap())
}

impl Net {
    pub fn new(seed: u64, nodes: usize, faults: Faults, extra: &str) -> Self {
        let mut rng = Rng::from_number(seed);
        let start = Instant::now();
        let make = |i: usize| {
            let addr: SocketAddr = format!("10.0.0.{}:5060", i + 1).parse().unwrap();
            let locals = Locals { v4: Some(addr), ..Locals::default() };
            let gw = Gateway::new(config(extra), locals, rng.fork());
            let (deaf, dumb, slow_media, closing) = (false, false, false, Vec::new());
            let (events, rtp) = (Vec::new(), None);
            Node { gw, addr, events, next_port: 0, opened: 0, rtp, deaf, dumb, slow_media, closing }
        };
        let nodes: Vec<Node> = (0..nodes).map(make).collect();
        let phone = Phone::new(nodes[0].addr, Rng::from_number(seed ^ 0x9e37));
        let now = Now { mono: start, utc: Utc(Duration::from_secs(1_776_330_000)) };
        let mut net = Self {
            nodes,
            phone,
            now,
            start,
            faults,
            rng,
            wires: BTreeMap::new(),
            lookups: BTreeMap::new(),
            sequence: 0,
            injected: Injected::default(),
            traffic: BTreeMap::new(),
            secure: Vec::new(),
            unreachable: Vec::new(),
            agenda: BTreeSet::new(),
        };
        for i in 0..net.nodes.len() {
            net.drain(i);
        }
        net
    }

    /// Restarts a node without its state.
    pub fn restart(&mut self, node: usize, extra: &str) {
        let locals = Locals { v4: Some(self.nodes[node].addr), ..Locals::default() };
        self.nodes[node].gw = Gateway::new(config(extra), locals, self.rng.fork());
        (self.nodes[node].next_port, self.nodes[node].opened) = (0, 0);
        self.drain(node);
    }

    pub fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Calls an operation of a node, and processes its outputs.
    pub fn with<T>(&mut self, node: usize, f: impl FnOnce(&mut Gateway, Now) -> T) -> T {
        let out = f(&mut self.nodes[node].gw, self.now);
        self.drain(node);
        out
    }

    /// Ends the delay of a node's media, and completes pending closes.
    pub fn close_media(&mut self, node: usize) {
        self.nodes[node].slow_media = false;
        for slot in std::mem::take(&mut self.nodes[node].closing) {
            let fact = MediaEvent::Closed { slot, quality: Quality::default() };
            self.with(node, |gw, now| gw.handle_media(now, fact));
        }
    }

    /// Calls an operation of the phone, and sends its messages.
    pub fn with_phone<T>(&mut self, f: impl FnOnce(&mut Phone, Instant) -> T) -> T {
        let out = f(&mut self.phone, self.now.mono);
        while let Some(t) = self.phone.poll_transmit() {
            self.send(PHONE.parse().unwrap(), t.target, &t.bytes);
        }
        out
    }

    fn drain(&mut self, i: usize) {
        loop {
            let node = &mut self.nodes[i];
            while node.gw.ports().stock(node.addr.ip()) < 4 {
                node.next_port += 1;
                let port = 10_000 + (node.next_port as u16) * 2;
                node.gw.ports().add(Port { id: node.next_port, address: node.addr.ip(), port });
            }
            while let Some(e) = next_event(&mut node.gw) {
                node.events.push(e);
            }
            let mut busy = false;
            while let Some(c) = node.gw.poll_media() {
                busy = true;
                match c {
                    Command::Close { slot } if node.slow_media => node.closing.push(slot),
                    Command::Close { slot } => {
                        node.gw
                            .handle_media(self.now, MediaEvent::Closed { slot, quality: Quality::default() });
                    }
                    Command::Open { stream, .. } => {
                        node.opened += 1;
                        node.rtp = stream.direction.sends().then_some(stream.rtp);
                    }
                    Command::Update { stream, .. } => {
                        node.rtp = stream.direction.sends().then_some(stream.rtp);
                    }
                    _ => {}
                }
            }
            while let Some(work) = node.gw.poll_work() {
                busy = true;
                if let Work::Locate { id, hop, .. } = work {
                    let wait = Duration::from_millis(self.rng.below(4000).into());
                    self.sequence += 1;
                    self.lookups.insert((self.now.mono + wait, self.sequence), (i, id, hop));
                }
            }
            let from = node.addr;
            let mut out = Vec::new();
            while let Some(t) = node.gw.poll_transmit() {
                out.push(t);
            }
            busy |= !out.is_empty();
            for t in out {
                self.send(from, t.target, &t.bytes);
            }
            if !busy {
                return;
            }
        }
    }

    /// Sends a message as `from`.
    pub fn send(&mut self, from: SocketAddr, target: Flow, bytes: &[u8]) {
        let tls = target.transport == Transport::Tls;
        if tls {
            self.secure.push(String::from_utf8_lossy(bytes).into_owned());
        }
        let is = |n: &Node| n.addr == target.addr || tls && n.addr.ip() == target.addr.ip();
        let to = self.nodes.iter().position(is);
        if to.is_none() && target.addr.to_string() != PHONE {
            self.unreachable.push(bytes.to_vec());
            return;
        }
        if self.nodes.iter().any(|n| n.dumb && n.addr == from) {
            return;
        }
        self.injected.sent += 1;
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).replace("SIP/2.0 ", "");
        *self.traffic.entry(start.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        let faults = if target.transport == Transport::Tcp { NONE } else { self.faults };
        if self.rng.chance(faults.loss) {
            self.injected.lost += 1;
            return;
        }
        let copies = if self.rng.chance(faults.duplicate) { 2 } else { 1 };
        self.injected.doubled += copies - 1;
        for _ in 0..copies {
            // TCP preserves order.
            let spread = if target.transport == Transport::Tcp { 1 } else { faults.delay_ms.max(1) };
            let mut delay = 5 + self.rng.below(spread);
            if self.rng.chance(faults.reorder) {
                self.injected.reordered += 1;
                delay += 20 + self.rng.below(600);
            }
            self.sequence += 1;
            let at = self.now.mono + Duration::from_millis(delay.into());
            let datagram = Datagram { to, from, transport: target.transport, bytes: bytes.to_vec() };
            self.wires.insert((at, self.sequence), datagram);
        }
    }

    /// Completes the oldest look-up: `node1.test` is the second node, others are unknown.
    fn look_up(&mut self) {
        let Some((_, (node, id, hop))) = self.lookups.pop_first() else { return };
        let targets = self.targets_of(&hop);
        self.with(node, |gw, now| gw.handle_work(now, id, WorkResult::Located(targets)));
    }

    /// `node1.test` is the second node, `node3-1.test` the fourth with fail-over to the second; 99 is the
    /// phone.
    fn targets_of(&self, hop: &NextHop) -> Vec<Flow> {
        if let Host::Ip(ip) = hop.host {
            return vec![hop.at(ip)];
        }
        let Some(list) = hop
            .host
            .to_string()
            .strip_suffix(".test")
            .and_then(|h| h.strip_prefix("node"))
            .map(str::to_owned)
        else {
            return Vec::new();
        };
        let phone: SocketAddr = PHONE.parse().unwrap();
        let at = |n: usize| if n == 99 { Some(phone.ip()) } else { self.nodes.get(n).map(|n| n.addr.ip()) };
        list.split('-').filter_map(|n| at(n.parse().ok()?)).map(|ip| hop.at(ip)).collect()
    }

    fn next_at(&self) -> Option<Instant> {
        let wire = self.wires.keys().next().map(|k| k.0);
        let agenda = self.agenda.first().map(|a| a.0);
        let timers = self.nodes.iter().filter_map(|n| n.gw.poll_timeout()).min();
        let lookup = self.lookups.keys().next().map(|k| k.0);
        [wire, agenda, timers, lookup, self.phone.tx.poll_timeout()].into_iter().flatten().min()
    }

    /// Runs until `until` or until nothing is pending; returns an agenda item that is due.
    pub fn run(&mut self, until: Instant) -> Option<u32> {
        for _ in 0..200_000 {
            let Some(at) = self.next_at().filter(|at| *at <= until) else {
                let rest = until.saturating_duration_since(self.now.mono);
                self.now = self.now.after(rest);
                return None;
            };
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            if self.agenda.first().is_some_and(|a| a.0 <= self.now.mono) {
                return self.agenda.pop_first().map(|a| a.1);
            }
            if self.wires.keys().next().is_some_and(|k| k.0 <= self.now.mono) {
                let Some((_, d)) = self.wires.pop_first() else { continue };
                let source = Flow { transport: d.transport, addr: d.from, conn: None };
                match d.to {
                    Some(to) if !self.nodes[to].deaf => {
                        self.nodes[to].gw.handle_message(self.now, source, &d.bytes);
                        self.drain(to);
                    }
                    Some(_) => {}
                    None => self.with_phone(|p, now| p.handle(now, source, &d.bytes)),
                }
                continue;
            }
            if self.lookups.keys().next().is_some_and(|k| k.0 <= self.now.mono) {
                self.look_up();
                continue;
            }
            if self.phone.tx.poll_timeout().is_some_and(|t| t <= self.now.mono) {
                self.with_phone(Phone::handle_timeout);
            }
            for i in 0..self.nodes.len() {
                if self.nodes[i].gw.poll_timeout().is_some_and(|t| t <= self.now.mono) {
                    self.nodes[i].gw.handle_timeout(self.now);
                    self.drain(i);
                }
            }
        }
        panic!("the simulation does not come to rest");
    }

    /// Milliseconds since the start of the run.
    pub fn elapsed(&self) -> u64 {
        (self.now.mono - self.start).as_millis() as u64
    }

    /// Runs for `ms`; there must be no agenda.
    pub fn run_for(&mut self, ms: u64) {
        assert_eq!(self.run(self.at(self.elapsed() + ms)), None);
    }

    /// Runs in steps of 10 ms until `done`, for at most `ms`; true if `done`.
    pub fn run_until(&mut self, ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.elapsed() + ms;
        while !done(self) && self.elapsed() < end {
            self.run_for(10);
        }
        done(self)
    }

    /// Event types of one leg of a node, in order.
    pub fn story(&self, node: usize, leg: &str) -> Vec<&'static str> {
        self.nodes[node]
            .events
            .iter()
            .filter(|e| e.leg_id.as_deref() == Some(leg))
            .map(|e| e.kind())
            .collect()
    }

    /// Invariants at the end of every run: no state left, and each leg ended exactly once, last, without
    /// gaps.
    pub fn check_end(&mut self, context: &str) {
        assert!(self.phone.tx.is_empty(), "{context}: the phone still waits for something");
        for (i, node) in self.nodes.iter_mut().enumerate() {
            assert!(node.gw.is_idle(), "{context}: node {i} is not idle: {:#?}", node.gw.view().numbers());
            let stock = node.gw.ports().stock(node.addr.ip()) as u32;
            assert_eq!(node.next_port, node.opened + stock, "{context}: a port of node {i} is lost");
            let mut legs: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
            for e in &node.events {
                if let Some(leg) = &e.leg_id {
                    legs.entry(leg).or_default().push(e);
                }
            }
            for (leg, events) in legs {
                let kinds: Vec<&str> = events.iter().map(|e| e.kind()).collect();
                let ends = kinds.iter().filter(|k| **k == "leg.disconnected").count();
                assert_eq!(
                    (ends, kinds.last()),
                    (1, Some(&"leg.disconnected")),
                    "{context}: {leg}: {kinds:?}"
                );
                let numbers: Vec<u64> = events.iter().map(|e| e.leg_seq.unwrap()).collect();
                assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{context}: {leg}");
            }
        }
    }

    /// The state of a leg as the API shows it; `gone` when it has ended.
    pub fn state(&self, node: usize, leg: &str) -> &'static str {
        self.nodes[node].gw.view().leg(leg).map_or("gone", |l| l.state)
    }

    /// The disconnect reason of a leg.
    pub fn reason(&self, node: usize, leg: &str) -> Option<String> {
        let e = self.nodes[node]
            .events
            .iter()
            .find(|e| e.kind() == "leg.disconnected" && e.leg_id.as_deref() == Some(leg))?;
        e.to_json("")["cdr"]["reason"].as_str().map(str::to_owned)
    }

    /// Ids of the legs of a node, in the order they rang.
    pub fn legs(&self, node: usize) -> Vec<String> {
        let ringing = self.nodes[node].events.iter().filter(|e| e.kind() == "leg.ringing");
        ringing.filter_map(|e| e.leg_id.clone()).collect()
    }
}
