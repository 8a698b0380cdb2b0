//! Clock, timers, threads, log, signals and system information.

pub mod clock;
pub mod disk;
pub mod executor;
pub mod free_memory;
pub mod log;
pub mod machine;
pub mod process;
pub mod sd_notify;
pub mod secrets;
pub mod seldom;
pub mod settings;
pub mod signals;
pub mod timer;
pub mod workers;
