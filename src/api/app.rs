//! What requests are answered from.

use std::cell::Cell;
use std::rc::Rc;

use super::http::clients::Clients;
use crate::config::Config;
use crate::io::driver::Driver;

/// What every request is answered from.
pub struct App {
    /// Name of this gateway.
    pub instance_id: Rc<str>,
    /// The running gateway.
    pub driver: Rc<Driver>,
    /// Open connections.
    pub clients: Rc<Clients>,
    /// The step of the self-test that runs; empty: none.
    pub self_test_step: Cell<&'static str>,
}

impl App {
    /// Of a gateway that nobody has asked anything yet.
    #[must_use]
    pub fn new(instance_id: Rc<str>, driver: Rc<Driver>) -> Self {
        Self { instance_id, driver, clients: Rc::default(), self_test_step: Cell::default() }
    }

    /// Settings in force.
    #[must_use]
    pub fn config(&self) -> Rc<Config> {
        self.driver.settings()
    }
}
