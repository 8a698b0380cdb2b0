//! The settings in force, for all parts of the control thread: a reload replaces them everywhere at once.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::Config;

/// A handle on the settings in force.
#[derive(Debug, Clone)]
pub struct Settings(Rc<RefCell<Rc<Config>>>);

impl Settings {
    /// These are in force.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Self {
        Self(Rc::new(RefCell::new(config)))
    }

    /// The settings in force now.
    #[must_use]
    pub fn current(&self) -> Rc<Config> {
        Rc::clone(&self.0.borrow())
    }

    /// Free space that recordings leave on their disk, bytes.
    #[must_use]
    pub fn min_free(&self) -> u64 {
        u64::from(self.current().recording.min_free_mb) << 20
    }

    /// From now on these are in force.
    pub fn replace(&self, config: Rc<Config>) {
        *self.0.borrow_mut() = config;
    }
}
