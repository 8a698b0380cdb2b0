//! The imperative shell around the gateway: feeds it what sockets, timers and the API bring, and carries
//! out what it asks for.

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use super::executor::Executor;
use super::resolve::resolve;
use super::sip_tcp::{self, Connections};
use super::udp::Udp;
use super::{clock, timer};
use crate::base::time::Now;
use crate::gateway::Gateway;
use crate::gateway::work::{Work, WorkId, WorkResult};
use crate::sip::target::{Target, Transport};
use crate::sip::transactions::Transmit;

/// The running gateway.
#[derive(Debug)]
pub struct Shell {
    executor: Rc<Executor>,
    gateway: RefCell<Gateway>,
    udp: Vec<Rc<Udp>>,
    connections: RefCell<Connections>,
    /// Wakes the timer task when the next deadline may have changed.
    wake: Sender<()>,
    woken: Receiver<()>,
    started: Instant,
}

impl Shell {
    /// A shell around `gateway` that sends SIP on these sockets.
    #[must_use]
    pub fn new(executor: Rc<Executor>, gateway: Gateway, udp: Vec<Rc<Udp>>) -> Self {
        let (wake, woken) = async_channel::bounded(1);
        Self {
            executor,
            gateway: RefCell::new(gateway),
            udp,
            connections: RefCell::default(),
            wake,
            woken,
            started: clock::now().mono,
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        clock::now().mono - self.started
    }

    /// Why the gateway is not doing its work, if it is not.
    #[must_use]
    pub fn standing_still(&self) -> Option<String> {
        None
    }

    /// Runs a task beside the gateway.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    /// Open SIP connections.
    #[must_use]
    pub fn connections(&self) -> &RefCell<Connections> {
        &self.connections
    }

    /// True when calls from this address are welcome.
    #[must_use]
    pub fn accepts(&self, ip: IpAddr) -> bool {
        self.gateway.borrow().accepts(ip)
    }

    /// Asks or tells the gateway something, and carries out what follows.
    pub fn call<T>(self: &Rc<Self>, f: impl FnOnce(&mut Gateway, Now) -> T) -> T {
        let out = f(&mut self.gateway.borrow_mut(), clock::now());
        self.pump();
        out
    }

    /// A SIP message has come.
    pub fn message(self: &Rc<Self>, source: Target, bytes: &[u8]) {
        self.call(|gateway, now| gateway.handle_message(now, source, bytes));
    }

    /// A peer cannot be reached.
    pub fn unreachable(self: &Rc<Self>, target: Target) {
        // Not from within a call of the gateway: sending may fail while it is being drained.
        let shell = Rc::clone(self);
        self.spawn(async move { shell.call(|gateway, now| gateway.handle_unreachable(now, target)) });
    }

    /// Fires the gateway's timers until the program ends.
    pub async fn run_timers(self: Rc<Self>) {
        loop {
            let next = self.gateway.borrow().poll_timeout();
            let due = async {
                timer::sleep_until(next).await;
                true
            };
            let woken = async {
                // The sender lives as long as the shell.
                let _word = self.woken.recv().await;
                false
            };
            if smol::future::or(due, woken).await {
                self.call(Gateway::handle_timeout);
            }
        }
    }

    /// Carries out everything the gateway asks for.
    fn pump(self: &Rc<Self>) {
        loop {
            let transmit = self.gateway.borrow_mut().poll_transmit();
            let Some(t) = transmit else { break };
            self.transmit(t);
        }
        loop {
            let work = self.gateway.borrow_mut().poll_work();
            let Some(work) = work else { break };
            self.start(work);
        }
        // A full channel means that the timer task is about to look anyway.
        let _woken = self.wake.try_send(());
    }

    fn transmit(self: &Rc<Self>, t: Transmit) {
        match t.target.transport {
            Transport::Tcp => sip_tcp::send(self, t.target, t.bytes),
            Transport::Udp => {
                let family =
                    |u: &&Rc<Udp>| u.local_addr().is_ok_and(|a| a.is_ipv4() == t.target.addr.is_ipv4());
                let Some(udp) = self.udp.iter().find(family) else { return };
                if let Err(e) = udp.send(t.target.addr, &t.bytes) {
                    log::debug!(error:% = e; "udp send");
                }
            }
        }
    }

    fn start(self: &Rc<Self>, work: Work) {
        match work {
            Work::Resolve { id, host } => {
                let shell = Rc::clone(self);
                self.spawn(async move {
                    let addresses = resolve(host).await;
                    shell.done(id, WorkResult::Resolved(addresses));
                });
            }
        }
    }

    fn done(self: &Rc<Self>, id: WorkId, result: WorkResult) {
        self.call(|gateway, now| gateway.handle_work(now, id, result));
    }
}

/// The address to give as ours where all are bound: that of the route to the outside.
#[must_use]
pub fn own_address(bound: IpAddr) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    let (any, out): (SocketAddr, SocketAddr) = if bound.is_ipv4() {
        (([0, 0, 0, 0], 0).into(), ([192, 0, 2, 1], 9).into())
    } else {
        (([0u16; 8], 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into())
    };
    // Connecting a UDP socket sends nothing; it only asks for the route.
    let probe = std::net::UdpSocket::bind(any).and_then(|s| s.connect(out).and_then(|()| s.local_addr()));
    probe.map_or(bound, |a| a.ip())
}
