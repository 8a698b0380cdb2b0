//! SIP over TCP and TLS: accepted and opened connections, framing, keep-alives, bounded sending.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_rustls::TlsAcceptor;
use rustls_pki_types::ServerName;
use smol::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::connections::{Caller, Opening, Queue};
use super::handshakes::timed;
use super::sink::SipSink;
use super::streams::SipStreams;
use crate::base::pool::Standing;
use crate::base::source::Source;
use crate::io::net::tcp::{Listener, Stream};
use crate::io::system::clock;
use crate::io::system::seldom::Seldom;
use crate::io::system::timer;
use crate::sip::Bytes;
use crate::sip::flow::{ConnId, Flow, Transport};
use crate::wire::stream::{Frame, next_frame};

/// A connection without received data for this long is closed: no registration lasts longer.
const IDLE: Duration = Duration::from_secs(3700);
/// A new connection must receive a message within this time.
const FIRST_WORD: Duration = Duration::from_secs(32);
/// Time limit to establish TCP and TLS: shorter than a silent server's, so that UDP is tried afterwards.
const CONNECT: Duration = Duration::from_secs(3);
/// Sent data must be acknowledged within this time, or the connection is closed: before the transaction times
/// out (timers B and F, 32 s, RFC 3261 §17.1), so that another route is tried in time, and a dead connection
/// is not mistaken for a silent far end.
const UNHEARD: Duration = Duration::from_secs(20);
/// Interval after which a keep-alive CRLF is sent on an idle connection, to refresh NAT bindings (RFC 5626
/// §4.4.1).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A far end that has answered keep-alives before must answer within this time (RFC 5626 §4.4.1).
const PONG: Duration = Duration::from_secs(10);

trait ReadWrite: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> ReadWrite for T {}
type Io = std::pin::Pin<Box<dyn ReadWrite>>;

/// Context of a connection's task.
#[derive(Debug, Clone)]
struct Link {
    streams: Rc<SipStreams>,
    sink: Rc<dyn SipSink>,
}

impl Link {
    /// For calls that take `Rc<Self>`.
    fn sink(&self) -> Rc<dyn SipSink> {
        Rc::clone(&self.sink)
    }
}

/// Accepts connections until the program ends.
pub async fn run(streams: Rc<SipStreams>, sink: Rc<dyn SipSink>, listener: Listener, transport: Transport) {
    let link = Link { streams, sink };
    let mut refused = Seldom::default();
    loop {
        let (stream, addr) = listener.accept().await;
        let peer = Flow { transport, addr, conn: None };
        if !link.sink().may_connect(peer) {
            continue;
        }
        let now = clock::now().mono;
        let caller = Caller { standing: link.sink.standing(peer), foreign: !link.sink.accepts(peer) };
        let in_use = |peer: &Flow| link.sink.uses(peer);
        let place = link.streams.connections().accept(now, peer, caller, in_use);
        let Some((id, queue)) = place else {
            if let Some(times) = refused.note(now) {
                log::warn!(source:% = addr.ip(), times; "SIP connections refused: the quota of their source or source class is used up");
            }
            continue;
        };
        let peer = Flow { conn: Some(id), ..peer };
        link.streams.spawn(accepted(link.clone(), stream, peer, queue));
    }
}

async fn accepted(link: Link, stream: Stream, peer: Flow, queue: Queue) {
    stream.set_user_timeout(UNHEARD);
    let io: Option<Io> = match (peer.transport, link.streams.tls().acceptor()) {
        (Transport::Tls, Some(acceptor)) => handshake(&link, acceptor, stream, peer).await,
        (Transport::Tls, None) => None,
        (Transport::Tcp | Transport::Udp, _) => Some(Box::pin(stream.into_inner())),
    };
    match io {
        Some(io) => serve(link, io, peer, queue).await,
        None => close(&link, peer, false),
    }
}

/// TLS handshake of an incoming connection, within the processor time quota of its source.
async fn handshake(link: &Link, acceptor: &TlsAcceptor, stream: Stream, peer: Flow) -> Option<Io> {
    let source = Source::of(peer.addr.ip());
    let known = link.sink.standing(peer) != Standing::Stranger;
    if !link.streams.handshakes().admit(clock::now().mono, source, known) {
        return None;
    }
    let (mut used, accept) = (Duration::ZERO, acceptor.accept(stream.into_inner()));
    let outcome = timer::within(CONNECT, timed(accept, &mut used)).await;
    link.streams.handshakes().charge(clock::now().mono, source, known, used);
    match outcome? {
        Ok(tls) => Some(Box::pin(tls)),
        Err(e) => {
            log::debug!(error:% = e; "a TLS handshake failed");
            None
        }
    }
}

/// Sends on an open connection to the target, or opens one.
pub fn send(streams: &Rc<SipStreams>, sink: &Rc<dyn SipSink>, target: Flow, bytes: Bytes) {
    let now = clock::now().mono;
    let opening = streams.connections().send(now, target, bytes, |peer| sink.uses(peer));
    match opening {
        Opening::No => {}
        Opening::Yes { peer, queue, name, lax } => {
            let link = Link { streams: Rc::clone(streams), sink: Rc::clone(sink) };
            streams.spawn(connect(link, peer, queue, name, lax));
        }
        Opening::Full => Rc::clone(sink).unreachable(target, true, false),
    }
}

async fn connect(link: Link, peer: Flow, queue: Queue, name: String, lax: bool) {
    match timer::within(CONNECT, open(&link, peer, name, lax)).await {
        Some(Ok(io)) => serve(link, io, peer, queue).await,
        Some(Err(e)) => {
            log::info!(error:% = e, transport = peer.transport.as_str(); "SIP connection failed");
            close(&link, peer, false);
        }
        None => close(&link, peer, false),
    }
}

async fn open(link: &Link, peer: Flow, name: String, lax: bool) -> std::io::Result<Io> {
    let stream = Stream::connect(peer.addr).await?;
    stream.set_user_timeout(UNHEARD);
    let stream = stream.into_inner();
    if peer.transport != Transport::Tls {
        return Ok(Box::pin(stream));
    }
    let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
    Ok(Box::pin(link.streams.tls().connector(lax).connect(name, stream).await?))
}

/// Removes a connection; `open`: it was established.
fn close(link: &Link, peer: Flow, open: bool) {
    let again = peer.conn.is_some_and(|id| link.streams.connections().close(id));
    link.sink().unreachable(peer, again, open);
}

async fn serve(link: Link, io: Io, peer: Flow, queue: Queue) {
    let (mut reader, mut writer) = smol::io::split(io);
    let heard = Heard::default();
    let write = write(&mut writer, &queue, &heard);
    let given_up = async {
        // The sender lives as long as the connection is in the table.
        let _word = queue.given_up.recv().await;
    };
    smol::future::or(smol::future::or(read(&link, &mut reader, peer, &heard), write), given_up).await;
    close(&link, peer, true);
    close_gently(reader, writer).await;
}

/// Receive state of a connection.
#[derive(Debug, Default)]
struct Heard {
    /// When data was last received.
    last: Cell<Option<Instant>>,
    /// The far end answers our keep-alives.
    answers_pings: Cell<bool>,
    /// When the last keep-alive was sent, if nothing was received since.
    asked: Cell<Option<Instant>>,
}

impl Heard {
    fn note(&self, now: Instant, bytes: &[u8]) {
        self.last.set(Some(now));
        // The far end's own keep-alive may look the same.
        if self.asked.take().is_some() && bytes == b"\r\n" {
            self.answers_pings.set(true);
        }
    }

    /// True if a far end that answers keep-alives has not answered this one.
    fn is_dead(&self, asked: Instant) -> bool {
        self.answers_pings.get() && self.last.get().is_none_or(|at| at < asked)
    }
}

async fn write(writer: &mut WriteHalf<Io>, queue: &Queue, heard: &Heard) {
    let mut asked: Option<Instant> = None;
    loop {
        let wait = if asked.is_some() { PONG } else { KEEP_ALIVE };
        let silence = async {
            timer::sleep(wait).await;
            None
        };
        let next = async { Some(queue.outgoing.recv().await.ok()) };
        let bytes = match (smol::future::or(next, silence).await, asked.take()) {
            (Some(Some(bytes)), _) => bytes,
            (Some(None), _) => return,
            (None, Some(at)) if heard.is_dead(at) => return,
            (None, Some(_)) => continue,
            (None, None) => {
                let now = clock::now().mono;
                heard.asked.set(Some(now));
                asked = Some(now);
                Bytes::from(b"\r\n\r\n".as_slice())
            }
        };
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        queue.wrote(bytes.len());
    }
}

/// Closes our side, then reads what is in flight for a short time, so that the far end receives the last
/// message.
async fn close_gently(mut reader: ReadHalf<Io>, mut writer: WriteHalf<Io>) {
    let drain = async {
        if writer.close().await.is_err() {
            return;
        }
        let mut sink = [0u8; 4096];
        for _ in 0..256 {
            if !matches!(reader.read(&mut sink).await, Ok(n) if n > 0) {
                return;
            }
        }
    };
    // Closed by the far end or timed out: no difference.
    let _ended = timer::within(Duration::from_secs(1), drain).await;
}

async fn read(link: &Link, reader: &mut ReadHalf<Io>, source: Flow, heard: &Heard) {
    let mut pending: Vec<u8> = Vec::new();
    let mut chunk = vec![0u8; 8192];
    // Until a valid message was received, and while the source is unknown, total time is limited.
    let mut until = clock::now().mono + FIRST_WORD;
    let mut spoke = false;
    loop {
        match next_frame(&pending) {
            Frame::More => {
                let known = spoke && link.sink.knows(source);
                let now = clock::now().mono;
                let patience = if known { IDLE } else { until.saturating_duration_since(now) };
                let Some(Ok(n)) = timer::within(patience, reader.read(&mut chunk)).await else { return };
                if known {
                    // A source that is no longer known gets the time limit of an unknown one: the last
                    // responses of a call may follow.
                    until = clock::now().mono + FIRST_WORD;
                }
                if n == 0 || !link.sink().may_send(source, n) {
                    return;
                }
                let fresh = chunk.get(..n).unwrap_or_default();
                let now = clock::now().mono;
                heard.note(now, fresh);
                source.conn.into_iter().for_each(|id| link.streams.connections().heard(id, now));
                pending.extend_from_slice(fresh);
                // Do not starve other tasks while data keeps coming.
                smol::future::yield_now().await;
            }
            Frame::Message(n) => {
                spoke = true;
                let message: Vec<u8> = pending.drain(..n).collect();
                link.sink().message(source, &message);
                smol::future::yield_now().await;
            }
            Frame::Ping(n) => {
                spoke = true;
                pending.drain(..n);
                send(&link.streams, &link.sink, source, Bytes::from(b"\r\n".as_slice()));
            }
            Frame::Skip(n) => {
                pending.drain(..n);
            }
            Frame::Broken(n) => {
                // The head may still be sufficient for a 400; then the connection is closed.
                link.sink().broken(source, pending.get(..n).unwrap_or_default());
                return written(&link.streams, source.conn).await;
            }
        }
    }
}

/// Waits a short time until the messages queued for a connection are written.
async fn written(streams: &SipStreams, id: Option<ConnId>) {
    let waiting = async {
        while id.is_some_and(|id| streams.connections().waits(id)) {
            timer::sleep(Duration::from_millis(5)).await;
        }
    };
    let _sent = timer::within(Duration::from_secs(1), waiting).await;
}
