//! DNS transport of the resolver (`sip::resolver`): queries name servers over UDP, and over TCP if truncated.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use async_io::Async;

use super::race::Race;
use super::tcp::Stream;
use crate::base::rng::Rng;
use crate::io::system::clock;
use crate::io::system::timer;
use crate::io::system::workers::NAMES;
use crate::sip::locator::is_local;
use crate::sip::resolver::Question;
use crate::sip::resolver::cache::{Cache, Known};
use crate::sip::resolver::query::{Outcome, Over, Query, Sending, Step};
use crate::sip::resolver::servers::Servers;
use crate::sip::resolver::system::{Settings, hosts};
use crate::wire::dns::{self, Answer, Kind, MAX_ANSWER, Record};

/// Maximum wait for a fresh answer if a stale one is cached (RFC 8767 §5).
const STALE_WAIT: Duration = Duration::from_millis(1800);
/// Time limit for look-ups by the operating system.
const SYSTEM: Duration = Duration::from_secs(8);

/// The DNS resolver.
#[derive(Debug)]
pub struct Dns {
    /// Configured servers; empty: those of the system.
    servers: Vec<SocketAddr>,
    known: RefCell<Servers>,
    cache: RefCell<Cache>,
    rng: RefCell<Rng>,
}

impl Dns {
    /// A resolver that queries `servers`, or those of the system if empty.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, rng: Rng) -> Self {
        Self { servers, known: RefCell::default(), cache: RefCell::default(), rng: RefCell::new(rng) }
    }

    /// Random numbers for ordering the answers.
    pub fn fork(&self) -> Rng {
        self.rng.borrow_mut().fork()
    }

    /// The records for a question; empty if there are none, or no server answered.
    pub async fn look_up(&self, question: Question) -> Vec<Record> {
        let (name, kind) = &question;
        if matches!(kind, Kind::A | Kind::Aaaa)
            && let Some(ips) = self.own_names(name).await
        {
            let fits = |ip: &IpAddr| ip.is_ipv4() == (*kind == Kind::A);
            return ips.into_iter().filter(fits).map(Record::Address).collect();
        }
        let known = self.cache.borrow().get(clock::now().mono, &question);
        let limit = match known {
            Known::Fresh(records) => return records,
            Known::Stale => Some(STALE_WAIT),
            Known::No => None,
        };
        let outcome = self.ask(question.clone(), limit).await;
        if matches!(outcome, Outcome::Failure | Outcome::Silence) {
            log::info!(kind:? = question.1; "no name server answers");
        }
        self.remember(question, outcome)
    }

    fn remember(&self, question: Question, outcome: Outcome) -> Vec<Record> {
        let now = clock::now().mono;
        let answering = self.known.borrow().any_answers(now);
        self.cache.borrow_mut().put(now, question, outcome, answering)
    }

    /// Addresses of names that are not resolved by name servers: `/etc/hosts` and system look-ups.
    async fn own_names(&self, name: &str) -> Option<Vec<IpAddr>> {
        if self.servers.is_empty() {
            let found = hosts(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), name);
            if !found.is_empty() {
                return Some(found);
            }
        }
        // Multicast DNS, and single-label names that need a search domain.
        let systems = is_local(name) || (self.servers.is_empty() && !name.contains('.'));
        if !systems {
            return None;
        }
        let host = name.to_owned();
        let ask = NAMES.run(move || {
            (host.as_str(), 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default()
        });
        Some(timer::within(SYSTEM, ask).await.and_then(Result::ok).unwrap_or_default())
    }

    fn settings(&self) -> Settings {
        if !self.servers.is_empty() {
            return Settings::of(self.servers.clone());
        }
        // Read for each query, since it changes with the network.
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Settings::of_resolv_conf(&text, interface)
    }

    async fn ask(&self, question: Question, limit: Option<Duration>) -> Outcome {
        let now = clock::now().mono;
        let mut query = Query::new(now, question, &self.settings(), &self.known.borrow(), limit);
        let mut sent: Race<'_, (u32, Option<Answer>)> = Race::default();
        loop {
            let now = clock::now().mono;
            let step = query.poll(now, &mut self.known.borrow_mut(), &mut self.rng.borrow_mut());
            let until = match step {
                Step::Done(outcome) => return outcome,
                Step::Send(sending) => {
                    sent.add(async move { (sending.number, exchange(&sending).await) });
                    continue;
                }
                Step::Wait(until) => until,
            };
            let came = smol::future::or(async { Some(sent.next().await) }, async {
                timer::sleep_until(Some(until)).await;
                None
            });
            let Some((number, answer)) = came.await else { continue };
            let now = clock::now().mono;
            let known = &mut self.known.borrow_mut();
            match answer {
                Some(answer) => query.answered(now, number, answer, known),
                None => query.failed(now, number, known),
            }
        }
    }
}

/// Index of a network interface.
pub(super) fn interface(name: &str) -> Option<u32> {
    let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    let path = is_name.then(|| format!("/sys/class/net/{name}/ifindex"))?;
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

async fn exchange(sending: &Sending) -> Option<Answer> {
    match sending.over {
        Over::Udp => ask_udp(sending).await,
        Over::Tcp => ask_tcp(sending).await,
    }
}

async fn ask_udp(sending: &Sending) -> Option<Answer> {
    let server = sending.server;
    // A separate socket per query: its random port protects against spoofing, as the id does.
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = Async::<UdpSocket>::bind((any, 0)).ok()?;
    socket.get_ref().connect(server).ok()?;
    socket.send(&sending.bytes).await.ok()?;
    // On the heap: a look-up has several of these.
    let mut buffer = vec![0u8; 4096];
    loop {
        let n = socket.recv(&mut buffer).await.ok()?;
        if let Some(answer) = read(buffer.get(..n)?, sending) {
            return Some(answer);
        }
    }
}

async fn ask_tcp(sending: &Sending) -> Option<Answer> {
    let stream = Stream::connect(sending.server).await.ok()?;
    let mut framed = u16::try_from(sending.bytes.len()).ok()?.to_be_bytes().to_vec();
    framed.extend_from_slice(&sending.bytes);
    stream.write_all(&framed).await.ok()?;
    let mut got = Vec::new();
    let mut chunk = vec![0u8; 2048];
    loop {
        if let Some((head, rest)) = got.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head));
            if length > MAX_ANSWER {
                return None;
            }
            if let Some(whole) = rest.get(..length) {
                return read(whole, sending);
            }
        }
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        got.extend_from_slice(chunk.get(..n)?);
    }
}

fn read(bytes: &[u8], sending: &Sending) -> Option<Answer> {
    dns::answer(bytes, sending.id, &sending.question.0, sending.question.1)
}
