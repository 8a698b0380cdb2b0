//! DNS questions and answers (RFC 1035, RFC 2782, RFC 3403), as far as finding SIP servers needs them.

use std::net::IpAddr;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// Largest answer that is read, bytes: a larger one is no answer to a question of ours.
pub const MAX_ANSWER: usize = 16 * 1024;
/// Answers over UDP that we say we take, bytes (RFC 6891).
pub const MAX_DATAGRAM: u16 = 1232;
/// Names an answer may lead through before it is given up.
const MAX_ALIASES: usize = 8;

/// What is asked for.
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
    fn code(self) -> TYPE {
        match self {
            Self::A => TYPE::A,
            Self::Aaaa => TYPE::AAAA,
            Self::Srv => TYPE::SRV,
            Self::Naptr => TYPE::NAPTR,
        }
    }
}

/// A record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// One server of a service.
    Srv(Srv),
    /// One rule.
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
    /// Host.
    pub target: String,
}

/// One rule (RFC 3403).
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
    /// The name to go on with.
    pub replacement: String,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The records, and for how many seconds they hold. None: there are none of this kind.
    Records(Vec<Record>, u32),
    /// The name is another's: ask for that.
    Alias(String),
    /// It did not fit: ask over TCP.
    Truncated,
    /// The server cannot tell.
    Refused,
}

/// The message that asks for records of `kind` of `name`; `None` when it is no domain name.
#[must_use]
pub fn query(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind.code()), QCLASS::CLASS(CLASS::IN), false));
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: MAX_DATAGRAM, version: 0 });
    packet.build_bytes_vec().ok()
}

/// Reads the answer to the question `id` for `name`; `None` when it is not that.
#[must_use]
pub fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    if bytes.len() > MAX_ANSWER {
        return None;
    }
    let packet = Packet::parse(bytes).ok()?;
    let asked = packet.questions.first()?;
    let ours = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && same(&asked.qname.to_string(), name)
        && asked.qtype == QTYPE::TYPE(kind.code());
    if !ours {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Answer::Truncated);
    }
    let rcode = packet.rcode();
    if rcode == RCODE::NameError {
        return Some(Answer::Records(Vec::new(), 0));
    }
    Some(if rcode == RCODE::NoError { records(&packet, name, kind) } else { Answer::Refused })
}

fn records(packet: &Packet<'_>, name: &str, kind: Kind) -> Answer {
    let mut owner = name.to_owned();
    for _ in 0..MAX_ALIASES {
        let of_owner = || packet.answers.iter().filter(|r| same(&r.name.to_string(), &owner));
        let found: Vec<(u32, Record)> =
            of_owner().filter_map(|r| Some((r.ttl, record(&r.rdata, kind)?))).collect();
        let alias = of_owner()
            .find_map(|r| if let RData::CNAME(to) = &r.rdata { Some(to.0.to_string()) } else { None });
        match alias {
            Some(next) if found.is_empty() => owner = next,
            _ if found.is_empty() && !same(&owner, name) => return Answer::Alias(owner),
            _ => {
                let ttl = found.iter().map(|(ttl, _)| *ttl).min().unwrap_or(0);
                return Answer::Records(found.into_iter().map(|(_, r)| r).collect(), ttl);
            }
        }
    }
    Answer::Refused
}

fn record(data: &RData<'_>, kind: Kind) -> Option<Record> {
    let text = |c: &simple_dns::CharacterString<'_>| c.to_string().to_ascii_lowercase();
    match (data, kind) {
        (RData::A(a), Kind::A) => Some(Record::Address(IpAddr::V4(a.address.into()))),
        (RData::AAAA(a), Kind::Aaaa) => Some(Record::Address(IpAddr::V6(a.address.into()))),
        // A target of "." says that there is no such service (RFC 2782).
        (RData::SRV(s), Kind::Srv) => Some(s).filter(|s| !s.target.to_string().is_empty()).map(|s| {
            let target = s.target.to_string();
            Record::Srv(Srv { priority: s.priority, weight: s.weight, port: s.port, target })
        }),
        (RData::NAPTR(n), Kind::Naptr) => Some(Record::Naptr(Naptr {
            order: n.order,
            preference: n.preference,
            flags: text(&n.flags),
            service: text(&n.services),
            replacement: n.replacement.to_string(),
        })),
        _ => None,
    }
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME, SRV};

    use super::*;

    fn reply(name: &'static str, kind: Kind, answers: Vec<(&'static str, RData<'static>)>) -> Vec<u8> {
        let mut p = Packet::new_reply(7);
        p.questions.push(Question::new(
            Name::new(name).unwrap(),
            QTYPE::TYPE(kind.code()),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        for (owner, data) in answers {
            p.answers.push(ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, data));
        }
        p.build_bytes_vec_compressed().unwrap()
    }

    fn a(last: u8) -> RData<'static> {
        RData::A(A { address: u32::from_be_bytes([192, 0, 2, last]) })
    }

    #[test]
    fn questions_carry_their_id_and_want_recursion() {
        let bytes = query(7, "_sip._udp.example.com", Kind::Srv).unwrap();
        assert_eq!((bytes[..2].to_vec(), bytes[2] & 1), (vec![0, 7], 1));
        assert!(query(7, &"a".repeat(300), Kind::A).is_none());
    }

    #[test]
    fn answers_are_taken_only_for_what_was_asked() {
        let bytes = reply("Pbx.example.com", Kind::A, vec![("pbx.example.com", a(1))]);
        let want = Answer::Records(vec![Record::Address("192.0.2.1".parse().unwrap())], 60);
        assert_eq!(answer(&bytes, 7, "pbx.example.com", Kind::A), Some(want));
        assert_eq!(answer(&bytes, 8, "pbx.example.com", Kind::A), None, "another id");
        assert_eq!(answer(&bytes, 7, "pbx.example.org", Kind::A), None, "another name");
        assert_eq!(answer(&bytes, 7, "pbx.example.com", Kind::Aaaa), None, "another kind");
        assert_eq!(answer(&[0; 11], 7, "pbx.example.com", Kind::A), None);
    }

    #[test]
    fn aliases_are_followed_and_their_circles_left() {
        let cname = |to| RData::CNAME(CNAME(Name::new(to).unwrap()));
        let bytes = reply("a", Kind::A, vec![("a", cname("b")), ("b", a(9))]);
        assert!(matches!(answer(&bytes, 7, "a", Kind::A), Some(Answer::Records(r, 60)) if r.len() == 1));
        let bytes = reply("a", Kind::A, vec![("a", cname("b"))]);
        assert_eq!(answer(&bytes, 7, "a", Kind::A), Some(Answer::Alias("b".into())));
        let bytes = reply("a", Kind::A, vec![("a", cname("b")), ("b", cname("a"))]);
        assert_eq!(answer(&bytes, 7, "a", Kind::A), Some(Answer::Refused));
    }

    #[test]
    fn a_service_at_the_root_is_none() {
        let srv = |target| {
            RData::SRV(SRV { priority: 1, weight: 2, port: 5060, target: Name::new(target).unwrap() })
        };
        let name = "_sip._udp.example.com";
        let bytes = reply(name, Kind::Srv, vec![(name, srv(""))]);
        assert_eq!(answer(&bytes, 7, name, Kind::Srv), Some(Answer::Records(vec![], 0)));
        let bytes = reply(name, Kind::Srv, vec![(name, srv("one.example.com"))]);
        let Some(Answer::Records(r, _)) = answer(&bytes, 7, name, Kind::Srv) else { panic!() };
        assert!(matches!(&r[0], Record::Srv(s) if s.target == "one.example.com" && s.port == 5060));
    }
}
