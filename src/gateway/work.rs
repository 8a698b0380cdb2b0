//! What the shell does on the gateway's behalf and reports back.

use std::net::IpAddr;

/// Names one piece of work.
pub type WorkId = u64;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Look up the addresses of a host.
    Resolve {
        /// Goes back with the result.
        id: WorkId,
        /// The name.
        host: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkResult {
    /// The addresses, best first; empty when the name is not known.
    Resolved(Vec<IpAddr>),
}
