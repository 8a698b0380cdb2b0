//! DNS queries and responses (RFC 1035, RFC 2782, RFC 3403, RFC 6891), as needed to locate SIP servers.
//!
//! The parser is lenient: errors after the answer section do not invalidate the answer.

use std::net::IpAddr;

use super::dns_reader::{Reader, write_name};

/// Maximum size of a response, bytes; larger ones are ignored.
pub const MAX_ANSWER: usize = 16 * 1024;
/// UDP payload size advertised by EDNS, bytes (RFC 6891).
pub const MAX_DATAGRAM: u16 = 1232;
/// Maximum length of a CNAME chain.
pub const MAX_ALIASES: usize = 16;
/// Maximum records read per section.
const MAX_RECORDS: u16 = 256;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATION: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const RCODE: u16 = 0x000f;

const CLASS_IN: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const OPT: u16 = 41;

const NO_ERROR: u16 = 0;
const NAME_ERROR: u16 = 3;

/// Record type of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Hosts and ports of a service.
    Srv,
    /// Rules that lead to services.
    Naptr,
}

impl Kind {
    /// Its type number (RFC 1035 §3.2.2).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
            Self::Naptr => 35,
        }
    }
}

/// A record of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// One server of a service.
    Srv(Srv),
    /// One server of a service.
    Naptr(Naptr),
}

/// One server of a service (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// The lowest is tried first.
    pub priority: u16,
    /// Share of the calls among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host; empty (the root): the service is not offered.
    pub target: String,
}

/// A NAPTR rule (RFC 3403).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// The lowest is tried first.
    pub order: u16,
    /// The lowest of one order is tried first.
    pub preference: u16,
    /// `s`: the replacement names SRV records. Lower case.
    pub flags: String,
    /// As `sip+d2u`. Lower case.
    pub service: String,
    /// The domain name for the next query.
    pub replacement: String,
}

/// Result of a query to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The records, and their TTL in seconds.
    Records(Vec<Record>, u32),
    /// No records of this type (NXDOMAIN or NODATA, RFC 2308).
    Nothing {
        /// TTL of this result in seconds, if known.
        ttl: Option<u32>,
        /// False: from a server that neither recurses nor is authoritative; another one may know better.
        sure: bool,
    },
    /// The name is an alias of this one, TTL in seconds: query that name.
    Alias(String, u32),
    /// Truncated: repeat over TCP. The records received, and their TTL in seconds.
    Truncated(Vec<Record>, u32),
    /// The server failed, refused, or did not understand the query.
    Failed,
}

/// A query for records of `kind` of `name`, with an OPT record if `edns` (RFC 6891); `None` if it is not a
/// domain name.
#[must_use]
pub fn query(id: u16, name: &str, kind: Kind, edns: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 32);
    for field in [id, RECURSION_DESIRED, 1, 0, 0, u16::from(edns)] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    write_name(&mut out, name)?;
    for field in [kind.code(), CLASS_IN] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    if edns {
        // Root name, type OPT, our UDP size as class, extended RCODE 0, version 0, no flags, no options.
        out.push(0);
        for field in [OPT, MAX_DATAGRAM, 0, 0, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
    Some(out)
}

/// A record in wire format.
struct Raw<'a> {
    owner: String,
    code: u16,
    ttl: u32,
    /// Its data as a part of the message, since compressed names refer to earlier bytes.
    data: Reader<'a>,
}

/// Parses the response to the query `id` for `name`; `None` if it does not belong to it.
#[must_use]
pub fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    if bytes.len() > MAX_ANSWER {
        return None;
    }
    let mut from = Reader::new(bytes);
    let (answered, flags) = (from.u16()?, from.u16()?);
    let [questions, answers, authorities, more] = [from.u16()?, from.u16()?, from.u16()?, from.u16()?];
    if answered != id || flags & RESPONSE == 0 || flags & OPCODE != 0 {
        return None;
    }
    let rcode = flags & RCODE;
    let failed = rcode != NO_ERROR && rcode != NAME_ERROR;
    if questions == 0 {
        // Some servers that do not understand a query omit the question, too.
        return failed.then_some(Answer::Failed);
    }
    let asked = from.name().zip(from.u16()).zip(from.u16());
    let Some(((asked, code), _class)) = asked else { return Some(Answer::Failed) };
    if !same(&asked, name) || code != kind.code() {
        return None;
    }
    if failed {
        return Some(Answer::Failed);
    }
    for _ in 1..questions {
        let _others = (from.name(), from.u16(), from.u16());
    }
    let (found, whole) = section(&mut from, answers);
    let truncated = flags & TRUNCATION != 0;
    if !whole && !truncated {
        return Some(Answer::Failed);
    }
    let (authority, whole) = section(&mut from, authorities);
    let additional = if whole { section(&mut from, more).0 } else { Vec::new() };
    // Upper bits of the RCODE, e.g. for an unsupported EDNS version (RFC 6891 §6.1.3).
    if additional.iter().any(|r| r.code == OPT && r.ttl >> 24 != 0) {
        return Some(Answer::Failed);
    }
    let sure = flags & (AUTHORITATIVE | RECURSION_AVAILABLE) != 0;
    Some(conclude(&found, &authority, name, kind, (truncated, rcode == NAME_ERROR, sure)))
}

/// The records of a section, and whether all of it could be parsed.
fn section<'a>(from: &mut Reader<'a>, count: u16) -> (Vec<Raw<'a>>, bool) {
    let mut out = Vec::new();
    for _ in 0..count.min(MAX_RECORDS) {
        match raw(from) {
            Some(r) => out.push(r),
            None => return (out, false),
        }
    }
    (out, count <= MAX_RECORDS)
}

fn raw<'a>(from: &mut Reader<'a>) -> Option<Raw<'a>> {
    let (owner, code, class, ttl) = (from.name()?, from.u16()?, from.u16()?, from.u32()?);
    let length = from.u16()?;
    let data = from.part(usize::from(length))?;
    // A TTL with the highest bit set is treated as 0 (RFC 2181 §8); in OPT the field is not a TTL.
    let ttl = if ttl >> 31 == 1 && code != OPT { 0 } else { ttl };
    // Records of other classes are ignored.
    let code = if class == CLASS_IN || code == OPT { code } else { 0 };
    Some(Raw { owner, code, ttl, data })
}

fn conclude(
    found: &[Raw<'_>],
    authority: &[Raw<'_>],
    name: &str,
    kind: Kind,
    (truncated, no_such_name, sure): (bool, bool, bool),
) -> Answer {
    let (mut owner, mut ttl) = (name.to_owned(), u32::MAX);
    for _ in 0..=MAX_ALIASES {
        let of_owner = || found.iter().filter(|r| same(&r.owner, &owner));
        let records: Vec<(u32, Record)> =
            of_owner().filter_map(|r| Some((r.ttl, record(r, kind)?))).collect();
        if !records.is_empty() {
            // The TTL of the result is the lowest of the chain.
            let ttl = records.iter().map(|(ttl, _)| *ttl).min().unwrap_or(0).min(ttl);
            let records = records.into_iter().map(|(_, r)| r).collect();
            return if truncated { Answer::Truncated(records, ttl) } else { Answer::Records(records, ttl) };
        }
        let alias =
            of_owner().filter(|r| r.code == CNAME).find_map(|r| Some((r.data.clone().name()?, r.ttl)));
        match alias {
            Some((next, held)) => (owner, ttl) = (next, ttl.min(held)),
            None if truncated => return Answer::Truncated(Vec::new(), 0),
            // The server did not follow the alias to its end, e.g. into another zone.
            None if !same(&owner, name) && !owner.is_empty() => return Answer::Alias(owner, ttl),
            None => return nothing(authority, no_such_name, sure),
        }
    }
    // The aliases form a loop.
    Answer::Nothing { ttl: None, sure: false }
}

fn nothing(authority: &[Raw<'_>], no_such_name: bool, sure: bool) -> Answer {
    let held = |r: &Raw<'_>| {
        let mut data = r.data.clone();
        let _names = (data.name()?, data.name()?);
        let mut minimum = 0;
        for _ in 0..5 {
            minimum = data.u32()?;
        }
        Some(minimum.min(r.ttl))
    };
    let ttl = authority.iter().filter(|r| r.code == SOA).find_map(held);
    // NS records without answer and SOA: a referral, from a server that should have recursed.
    let referral = !no_such_name && ttl.is_none() && authority.iter().any(|r| r.code == NS);
    if referral { Answer::Failed } else { Answer::Nothing { ttl, sure } }
}

fn record(raw: &Raw<'_>, kind: Kind) -> Option<Record> {
    if raw.code != kind.code() {
        return None;
    }
    let mut data = raw.data.clone();
    match kind {
        Kind::A => <[u8; 4]>::try_from(data.rest()).ok().map(|a| Record::Address(a.into())),
        Kind::Aaaa => <[u8; 16]>::try_from(data.rest()).ok().map(|a| Record::Address(a.into())),
        Kind::Srv => {
            let (priority, weight, port) = (data.u16()?, data.u16()?, data.u16()?);
            Some(Record::Srv(Srv { priority, weight, port, target: data.name()? }))
        }
        Kind::Naptr => {
            let (order, preference) = (data.u16()?, data.u16()?);
            let (flags, service, _regexp) = (data.text()?, data.text()?, data.text()?);
            Some(Record::Naptr(Naptr { order, preference, flags, service, replacement: data.name()? }))
        }
    }
}

/// True if both are the same domain name.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}
