//! HTTP: connections and access control, heads, bodies, errors and replies.

pub mod access;
pub mod body;
pub mod clients;
pub mod conditional;
pub mod connection;
pub mod error;
pub mod head;
pub mod origin;
pub mod reply;
pub mod response;
