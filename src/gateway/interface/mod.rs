//! What goes in and out of the core: commands, replies, work for the driver, views and counters.

pub mod changed;
pub mod command;
pub mod counters;
pub mod error;
pub mod outputs;
pub mod owner;
pub mod replies;
pub mod view;
pub mod work;
