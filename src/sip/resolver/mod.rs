//! A stub resolver without sockets: one question to several name servers ([`query`]), what is known of those
//! ([`servers`]) and of the names ([`cache`]), and the system's files ([`system`]).

pub mod cache;
pub mod query;
#[cfg(test)]
mod query_test;
pub mod servers;
pub mod system;
#[cfg(test)]
pub(super) mod virtual_servers;

use crate::wire::dns::Kind;

/// A name, lower case and without its last dot, and what is asked about it.
pub type Question = (String, Kind);

/// The question for `kind` of `name`.
#[must_use]
pub fn question(name: &str, kind: Kind) -> Question {
    (name.trim_end_matches('.').to_ascii_lowercase(), kind)
}
