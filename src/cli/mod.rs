//! Command line: the gateway service, and commands for its operator.

pub mod arguments;
pub mod banner;
pub mod boards;
pub mod call;
pub mod client;
pub mod configuration;
pub mod failure;
pub mod outbox;
pub mod output;
mod program;
pub mod self_test;
pub mod service;
pub mod status;

pub use program::main;
