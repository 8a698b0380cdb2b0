//! HTTP requests of the control thread: connections are kept open and used again, names are resolved by the gateway's
//! own resolver.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::Async;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ureq_proto::http::Uri;

use super::dns::Dns;
use super::http_call::{HttpCall, HttpError, HttpResponse};
use super::http_client::Rules;
use super::race::Race;
use super::tcp::Stream;
use crate::io::system::clock;
use crate::io::system::timer;
use crate::io::system::workers::NAMES;
use crate::wire::dns::{Kind, Record};

/// Maximum idle connections.
const MAX_IDLE: usize = 16;
/// Idle time after which a connection is not used again.
const IDLE: Duration = Duration::from_secs(15);
/// Head start of an address over the next one (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Maximum addresses tried.
const MAX_ADDRESSES: usize = 16;

/// Where a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    tls: bool,
    host: String,
    port: u16,
    /// The URL was given by the operator: its address may be any.
    trusted: bool,
}

impl Origin {
    fn of(uri: &Uri, trusted: bool) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, host, port, trusted })
    }
}

#[derive(Debug)]
enum Connection {
    Plain(Async<TcpStream>),
    Tls(Box<TlsStream<Async<TcpStream>>>),
}

impl Connection {
    async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// False if the server has closed it, or sent something that nobody requested.
    fn is_open(&self) -> bool {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        matches!(socket.get_ref().peek(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// One request and its response.
    async fn exchange(&mut self, mut call: HttpCall, bytes: &[u8]) -> Result<HttpResponse, HttpError> {
        // A kept connection may be reset when it is written to.
        self.write_all(bytes).await.map_err(closed)?;
        let mut buffer = [0; 2048];
        loop {
            match self.read(&mut buffer).await {
                Ok(0) => return call.handle_end(),
                Ok(n) => {
                    if let Some(response) = call.handle_bytes(buffer.get(..n).unwrap_or_default())? {
                        return Ok(response);
                    }
                }
                Err(e) => return call.handle_end().map_err(|_| closed(e)),
            }
        }
    }
}

fn closed(e: std::io::Error) -> HttpError {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    if matches!(e.kind(), BrokenPipe | ConnectionReset) { HttpError::Closed } else { e.into() }
}

#[derive(Debug)]
struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

/// Client for requests to servers given by the operator or an API client.
pub struct HttpPool {
    dns: Rc<Dns>,
    rules: Rules,
    tls: TlsConnector,
    /// Time limit of a request and its response together.
    limit: Duration,
    idle: RefCell<Vec<Idle>>,
}

impl std::fmt::Debug for HttpPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPool").finish_non_exhaustive()
    }
}

impl HttpPool {
    /// A client whose requests take at most `limit`.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(dns: Rc<Dns>, rules: Rules, limit: Duration) -> Result<Self, rustls::Error> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { dns, rules, tls: TlsConnector::from(Arc::new(config)), limit, idle: RefCell::default() })
    }

    /// Sends a POST request. `trusted`: the URL was given by the operator. Redirects are not followed.
    ///
    /// # Errors
    /// There is no response.
    pub async fn post(
        &self,
        url: &str,
        trusted: bool,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpResponse, HttpError> {
        // Boxed once: debug builds copy futures that are moved.
        let exchange = Box::pin(self.exchange(url, trusted, fields, body));
        timer::within(self.limit, exchange).await.unwrap_or(Err(HttpError::Timeout(self.limit.as_secs())))
    }

    async fn exchange(
        &self,
        url: &str,
        trusted: bool,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HttpResponse, HttpError> {
        let uri: Uri = url.parse().map_err(|_| HttpError::BadRequest)?;
        let origin = Origin::of(&uri, trusted).ok_or(HttpError::BadRequest)?;
        if let Some(mut connection) = self.take_idle(&origin) {
            let (call, bytes) = HttpCall::post(&uri, fields, body)?;
            match connection.exchange(call, &bytes).await {
                // The server closed it at the same time: the request goes over a new connection (RFC 9112 §9.3.1).
                Err(HttpError::Closed) => {}
                outcome => return self.keep(origin, connection, outcome),
            }
        }
        let (call, bytes) = HttpCall::post(&uri, fields, body)?;
        let mut connection = self.connect(&origin).await?;
        let outcome = connection.exchange(call, &bytes).await;
        self.keep(origin, connection, outcome)
    }

    fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        let now = clock::now().mono;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|i| now < i.since + IDLE);
        while let Some(at) = idle.iter().rposition(|i| i.origin == *origin) {
            let found = idle.remove(at).connection;
            if found.is_open() {
                return Some(found);
            }
        }
        None
    }

    /// Keeps the connection if it can be used again.
    fn keep(
        &self,
        origin: Origin,
        connection: Connection,
        outcome: Result<HttpResponse, HttpError>,
    ) -> Result<HttpResponse, HttpError> {
        if outcome.as_ref().is_ok_and(|r| r.reusable) {
            let mut idle = self.idle.borrow_mut();
            if idle.len() >= MAX_IDLE {
                // The one that was idle for longest.
                idle.remove(0);
            }
            idle.push(Idle { origin, connection, since: clock::now().mono });
        }
        outcome
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, HttpError> {
        let mut ips = self.addresses(&origin.host).await;
        if ips.is_empty() {
            return Err(HttpError::HostNotFound);
        }
        if !origin.trusted {
            ips.retain(|ip| self.rules.permit(*ip));
            if ips.is_empty() {
                return Err(HttpError::Forbidden);
            }
        }
        let stream =
            connect_any(ips.into_iter().map(|ip| SocketAddr::new(ip, origin.port))).await?.into_inner();
        if !origin.tls {
            return Ok(Connection::Plain(stream));
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| HttpError::BadRequest)?;
        Ok(Connection::Tls(Box::new(self.tls.connect(name, stream).await?)))
    }

    /// The addresses of a host, IPv6 and IPv4 in turns.
    async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(ip) = host.parse() {
            return vec![ip];
        }
        let of = |kind| self.dns.look_up((host.to_owned(), kind));
        let (v6, v4) = smol::future::zip(of(Kind::Aaaa), of(Kind::A)).await;
        let mut found = in_turns(v6, v4);
        if found.is_empty() {
            // Names that only the operating system knows, by a search domain or its directory service.
            let name = host.to_owned();
            let look_up =
                move || (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect());
            found = NAMES.run(look_up).await.ok().and_then(Result::ok).unwrap_or_default();
        }
        found.truncate(MAX_ADDRESSES);
        found
    }
}

fn in_turns(v6: Vec<Record>, v4: Vec<Record>) -> Vec<IpAddr> {
    let ip = |record| if let Record::Address(ip) = record { Some(ip) } else { None };
    let (mut v6, mut v4) = (v6.into_iter().filter_map(ip), v4.into_iter().filter_map(ip));
    let mut out = Vec::new();
    loop {
        let (a, b) = (v6.next(), v4.next());
        if a.is_none() && b.is_none() {
            return out;
        }
        out.extend(a.into_iter().chain(b));
    }
}

/// Connects to the first address that answers: each is tried when the one before has failed, or after a head start
/// (RFC 8305).
async fn connect_any(mut addresses: impl Iterator<Item = SocketAddr>) -> std::io::Result<Stream> {
    let mut tries = Race::default();
    let (mut running, mut last) = (0usize, None);
    loop {
        let head_start = match addresses.next() {
            Some(address) => {
                tries.add(Stream::connect(address));
                running += 1;
                Some(clock::now().mono + HEAD_START)
            }
            None if running == 0 => {
                return Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()));
            }
            None => None,
        };
        let outcome = smol::future::or(async { Some(tries.next().await) }, async {
            timer::sleep_until(head_start).await;
            None
        });
        match outcome.await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(e)) => (running, last) = (running - 1, Some(e)),
            None => {}
        }
    }
}
