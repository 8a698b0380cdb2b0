//! The SQLite database that stores events, legs and recordings over restarts, and its writer thread.

mod backlog;
pub mod fault;
pub mod judge;
mod open;
pub mod read;
mod rescue;
pub mod rows;
mod schema;
pub mod store;
mod sync_thread;
pub mod thread;
