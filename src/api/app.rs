//! Shared state of all requests.

use std::cell::Cell;
use std::rc::Rc;

use super::http::clients::Clients;
use crate::config::Config;
use crate::io::driver::Driver;

/// Shared state of all requests.
pub struct App {
    /// Name of this gateway.
    pub instance_id: Rc<str>,
    /// The running gateway.
    pub driver: Rc<Driver>,
    /// Open connections.
    pub clients: Rc<Clients>,
    /// Current step of a running self-test; empty: none.
    pub self_test_step: Cell<&'static str>,
}

impl App {
    /// State at startup.
    #[must_use]
    pub fn new(instance_id: Rc<str>, driver: Rc<Driver>) -> Self {
        Self { instance_id, driver, clients: Rc::default(), self_test_step: Cell::default() }
    }

    /// Current settings.
    #[must_use]
    pub fn config(&self) -> Rc<Config> {
        self.driver.settings()
    }
}
