//! The current settings, shared by all parts of the control thread: a reload replaces them everywhere at
//! once.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::Config;

/// A handle to the current settings.
#[derive(Debug, Clone)]
pub struct Settings(Rc<RefCell<Rc<Config>>>);

impl Settings {
    /// Starts with these settings.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Self {
        Self(Rc::new(RefCell::new(config)))
    }

    /// The current settings.
    #[must_use]
    pub fn current(&self) -> Rc<Config> {
        Rc::clone(&self.0.borrow())
    }

    /// Disk space that recordings must leave free, bytes.
    #[must_use]
    pub fn min_free(&self) -> u64 {
        u64::from(self.current().recording.min_free_mb) << 20
    }

    /// Replaces the settings.
    pub fn replace(&self, config: Rc<Config>) {
        *self.0.borrow_mut() = config;
    }
}
