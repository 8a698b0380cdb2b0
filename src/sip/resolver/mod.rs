//! A sans-IO stub resolver: one query to several name servers ([`query`]), state of the servers
//! ([`servers`]), the [`cache`], and system configuration ([`system`]).

pub mod cache;
pub mod query;
#[cfg(test)]
mod query_test;
pub mod servers;
pub mod system;
#[cfg(test)]
pub(super) mod virtual_servers;

use crate::wire::dns::Kind;

/// A name (lower case, without final dot) and the record type queried.
pub type Question = (String, Kind);

/// The query for `kind` records of `name`.
#[must_use]
pub fn question(name: &str, kind: Kind) -> Question {
    (name.trim_end_matches('.').to_ascii_lowercase(), kind)
}
