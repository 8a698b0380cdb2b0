//! The stock of socket pairs that the shell holds ready for media.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::media::command::{PortId, Slot};

/// A bound RTP/RTCP socket pair, as the gateway knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub id: PortId,
    /// Our address as the far end should use it.
    pub address: IpAddr,
    /// RTP port; RTCP is the next one.
    pub port: u16,
}

/// Socket pairs and engine places that are free.
#[derive(Debug, Default)]
pub struct Ports {
    stock: VecDeque<Port>,
    free_slots: Vec<Slot>,
    slots: u16,
}

impl Ports {
    /// As many engine places as legs are allowed, and no sockets yet.
    #[must_use]
    pub fn new(legs: u32) -> Self {
        let slots = u16::try_from(legs).unwrap_or(u16::MAX);
        Self { stock: VecDeque::new(), free_slots: (0..slots).rev().collect(), slots }
    }

    /// Adds a pair to the stock.
    pub fn add(&mut self, port: Port) {
        self.stock.push_back(port);
    }

    /// Takes a pair of the family of `peer`, or any if there is none of it.
    pub fn take(&mut self, peer: Option<IpAddr>) -> Option<Port> {
        let fits = |p: &Port| peer.is_none_or(|ip| ip.is_ipv4() == p.address.is_ipv4());
        let at = self.stock.iter().position(fits)?;
        self.stock.remove(at)
    }

    /// Pairs in stock.
    #[must_use]
    pub fn stock(&self) -> usize {
        self.stock.len()
    }

    /// Takes a place in the engine.
    pub fn take_slot(&mut self) -> Option<Slot> {
        self.free_slots.pop()
    }

    /// Gives a place back.
    pub fn free_slot(&mut self, slot: Slot) {
        self.free_slots.push(slot);
    }

    /// Places in use.
    #[must_use]
    pub fn slots_used(&self) -> u32 {
        u32::from(self.slots).saturating_sub(u32::try_from(self.free_slots.len()).unwrap_or(u32::MAX))
    }
}
