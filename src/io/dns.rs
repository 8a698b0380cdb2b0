//! A stub resolver: asks name servers over UDP, over TCP where the answer is too large, and remembers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use async_io::Async;

use super::tcp::Stream;
use super::{clock, timer};
use crate::base::rng::Rng;
use crate::wire::dns::{self, Answer, Kind, MAX_ANSWER, Record};

/// A server has this long to answer.
const PATIENCE: Duration = Duration::from_millis(1200);
/// Times that all servers are asked.
const ROUNDS: usize = 2;
/// Answers remembered.
const MAX_CACHE: usize = 512;
/// Longest time a record is remembered, seconds, whatever it says.
const LONGEST: u32 = 3600;
/// How long it is remembered that there is nothing.
const NOTHING: Duration = Duration::from_secs(30);
/// How long it is remembered that nobody answered, so that calls do not wait for dead servers one after another.
const SILENCE: Duration = Duration::from_secs(10);
/// Names that lead to others, followed.
const MAX_ALIASES: usize = 4;

/// What was asked for, what came of it, and until when that holds.
type Cache = BTreeMap<(String, Kind), (Instant, Vec<Record>)>;

/// The resolver.
#[derive(Debug)]
pub struct Dns {
    /// Servers of the configuration; none: the system's.
    servers: Vec<SocketAddr>,
    cache: RefCell<Cache>,
    rng: RefCell<Rng>,
}

impl Dns {
    /// A resolver that asks `servers`, or those of the system where there are none.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, rng: Rng) -> Self {
        Self { servers, cache: RefCell::default(), rng: RefCell::new(rng) }
    }

    /// True when all questions go to servers of the configuration.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Chance for whoever orders the answers.
    pub fn draw<T>(&self, f: impl FnOnce(&mut Rng) -> T) -> T {
        f(&mut self.rng.borrow_mut())
    }

    /// The records of `kind` of `name`; empty when there are none, or nobody could tell.
    pub async fn look_up(&self, name: &str, kind: Kind) -> Vec<Record> {
        let key = (name.trim_end_matches('.').to_ascii_lowercase(), kind);
        if let Some(known) = self.remembered(&key) {
            return known;
        }
        let mut asked = key.0.clone();
        let mut found = None;
        for _ in 0..MAX_ALIASES {
            match self.ask(&asked, kind).await {
                Some(Answer::Alias(next)) => asked = next,
                Some(Answer::Records(records, ttl)) => {
                    found = Some((records, ttl));
                    break;
                }
                Some(Answer::Truncated | Answer::Refused) | None => break,
            }
        }
        let (records, keep) = match found {
            Some((records, _)) if records.is_empty() => (records, NOTHING),
            Some((records, ttl)) => (records, Duration::from_secs(ttl.min(LONGEST).into())),
            None => (Vec::new(), SILENCE),
        };
        self.remember(key, &records, keep);
        records
    }

    fn remembered(&self, key: &(String, Kind)) -> Option<Vec<Record>> {
        let cache = self.cache.borrow();
        cache.get(key).filter(|(until, _)| *until > clock::now().mono).map(|(_, records)| records.clone())
    }

    fn remember(&self, key: (String, Kind), records: &[Record], keep: Duration) {
        let now = clock::now().mono;
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= MAX_CACHE {
            cache.retain(|_, (until, _)| *until > now);
        }
        if cache.len() >= MAX_CACHE {
            cache.pop_first();
        }
        cache.insert(key, (now + keep, records.to_vec()));
    }

    /// Asks the servers in turn until one can tell.
    async fn ask(&self, name: &str, kind: Kind) -> Option<Answer> {
        let servers = if self.servers.is_empty() { system_servers() } else { self.servers.clone() };
        for _ in 0..ROUNDS {
            for server in &servers {
                let id = u16::try_from(self.rng.borrow_mut().below(1 << 16)).unwrap_or_default();
                let question = dns::query(id, name, kind)?;
                let over_udp = timer::within(PATIENCE, ask_udp(*server, &question, id, name, kind)).await;
                let answer = match over_udp.flatten() {
                    Some(Answer::Truncated) => {
                        timer::within(PATIENCE, ask_tcp(*server, &question, id, name, kind)).await.flatten()
                    }
                    other => other,
                };
                if let Some(answer @ (Answer::Records(..) | Answer::Alias(_))) = answer {
                    return Some(answer);
                }
            }
        }
        log::info!(kind:? = kind; "no name server answers");
        None
    }
}

async fn ask_udp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    // A socket of its own for each question: its port is as hard to guess as the id.
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = Async::<UdpSocket>::bind((any, 0)).ok()?;
    socket.get_ref().connect(server).ok()?;
    socket.send(question).await.ok()?;
    let mut buffer = [0u8; 4096];
    loop {
        let n = socket.recv(&mut buffer).await.ok()?;
        if let Some(answer) = dns::answer(buffer.get(..n)?, id, name, kind) {
            return Some(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    let stream = Stream::connect(server).await.ok()?;
    let mut framed = u16::try_from(question.len()).ok()?.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await.ok()?;
    let mut got = Vec::new();
    let mut chunk = [0u8; 2048];
    loop {
        if let Some((head, rest)) = got.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head));
            if length > MAX_ANSWER {
                return None;
            }
            if let Some(whole) = rest.get(..length) {
                return dns::answer(whole, id, name, kind);
            }
        }
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        got.extend_from_slice(chunk.get(..n)?);
    }
}

/// The name servers of the system; read each time, since they change with the network.
fn system_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    servers_of(&text)
}

fn servers_of(resolv_conf: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    };
    resolv_conf.lines().filter_map(address).take(3).map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_servers_are_read() {
        let text = "# x\nnameserver 192.0.2.1\nsearch a b\nnameserver bad\n nameserver 2001:db8::1\n";
        let got: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(got, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
