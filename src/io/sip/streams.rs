//! SIP connections over TCP and TLS, certificates, and the processor time quota of handshakes.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use super::connections::Connections;
use super::handshakes::Handshakes;
use crate::io::net::tls::Tls;
use crate::io::system::executor::Executor;

/// The connections and their shared state.
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

    /// Processor time quota of handshakes.
    pub fn handshakes(&self) -> RefMut<'_, Handshakes> {
        self.handshakes.borrow_mut()
    }

    /// TLS configuration of the last reload.
    #[must_use]
    pub fn tls(&self) -> Tls {
        self.tls.borrow().clone()
    }

    /// Replaces the certificates; open connections keep theirs.
    pub fn set_tls(&self, tls: Tls) {
        *self.tls.borrow_mut() = tls;
    }
}
