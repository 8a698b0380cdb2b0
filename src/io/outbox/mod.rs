//! The SQLite file that keeps events, legs and recordings over restarts, and the thread that writes it.

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
