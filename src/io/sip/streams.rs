//! SIP connections over TCP and TLS, with the certificates and the processor time of their handshakes.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::connections::Connections;
use super::handshakes::Handshakes;
use crate::io::net::tls::Tls;
use crate::io::system::executor::Executor;

/// The connections, and what they share.
#[derive(Debug)]
pub struct SipStreams {
    executor: Rc<Executor>,
    connections: RefCell<Connections>,
    handshakes: RefCell<Handshakes>,
    tls: RefCell<Tls>,
}

impl SipStreams {
    /// Without connections.
    #[must_use]
    pub fn new(executor: Rc<Executor>, tls: Tls) -> Self {
        Self {
            executor,
            connections: RefCell::default(),
            handshakes: RefCell::default(),
            tls: RefCell::new(tls),
        }
    }

    /// Runs the task of a connection.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    /// The open connections.
    pub fn connections(&self) -> RefMut<'_, Connections> {
        self.connections.borrow_mut()
    }

    /// Processor time that handshakes have taken.
    pub fn handshakes(&self) -> RefMut<'_, Handshakes> {
        self.handshakes.borrow_mut()
    }

    /// Certificates: those of the last reload.
    #[must_use]
    pub fn tls(&self) -> Tls {
        self.tls.borrow().clone()
    }

    /// Replaces the certificates; open connections keep those that they were opened with.
    pub fn set_tls(&self, tls: Tls) {
        *self.tls.borrow_mut() = tls;
    }
}
