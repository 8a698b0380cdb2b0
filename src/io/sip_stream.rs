//! SIP over TCP and TLS: accepted and opened connections, framing, keep-alives, bounded sending.

use std::rc::Rc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use smol::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::connections::{Opening, Queue};
use super::shell::Shell;
use super::tcp::{Listener, Stream};
use super::timer;
use crate::sip::Bytes;
use crate::sip::target::{ConnId, Target, Transport};
use crate::wire::stream::{Frame, next_frame};

/// A connection on which nothing comes for this long is closed: no registration lasts longer.
const IDLE: Duration = Duration::from_secs(3700);
/// A new connection has to say something within this time.
const FIRST_WORD: Duration = Duration::from_secs(32);
/// TCP and TLS have this long to come up: less than a silent server has, so that UDP gets its turn after it.
const CONNECT: Duration = Duration::from_secs(3);
/// On connections that stay silent for this long a CRLF keeps the routers' memory fresh (RFC 5626 §4.4.1).
const KEEP_ALIVE: Duration = Duration::from_secs(100);

trait ReadWrite: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> ReadWrite for T {}
type Io = std::pin::Pin<Box<dyn ReadWrite>>;

/// Accepts connections until the program ends.
pub async fn run(shell: Rc<Shell>, listener: Listener, transport: Transport) {
    loop {
        let (stream, addr) = listener.accept().await;
        if !shell.hears(addr.ip()) {
            continue;
        }
        let stranger = !shell.accepts(addr.ip());
        let peer = Target { transport, addr, conn: None };
        let Some((id, queue)) = shell.connections().borrow_mut().accept(peer, stranger) else {
            log::warn!("a sip connection is refused: too many are open");
            continue;
        };
        let peer = Target { conn: Some(id), ..peer };
        shell.spawn(accepted(Rc::clone(&shell), stream, peer, queue));
    }
}

async fn accepted(shell: Rc<Shell>, stream: Stream, peer: Target, queue: Queue) {
    let io: Option<Io> = match (peer.transport, shell.tls().acceptor()) {
        (Transport::Tls, Some(acceptor)) => {
            match timer::within(CONNECT, acceptor.accept(stream.into_inner())).await {
                Some(Ok(tls)) => Some(Box::pin(tls)),
                Some(Err(e)) => {
                    log::info!(error:% = e; "a TLS handshake failed");
                    None
                }
                None => None,
            }
        }
        (Transport::Tls, None) => None,
        (Transport::Tcp | Transport::Udp, _) => Some(Box::pin(stream.into_inner())),
    };
    match io {
        Some(io) => serve(shell, io, peer, queue).await,
        None => close(&shell, peer),
    }
}

/// Sends on an open connection to the target, or opens one.
pub fn send(shell: &Rc<Shell>, target: Target, bytes: Bytes) {
    let opening = shell.connections().borrow_mut().send(target, bytes);
    match opening {
        Opening::No => {}
        Opening::Yes { id, queue, name, lax } => {
            let peer = Target { conn: Some(id), ..target };
            shell.spawn(connect(Rc::clone(shell), peer, queue, name, lax));
        }
        Opening::Full => shell.unreachable(target),
    }
}

async fn connect(shell: Rc<Shell>, peer: Target, queue: Queue, name: String, lax: bool) {
    match timer::within(CONNECT, open(&shell, peer, name, lax)).await {
        Some(Ok(io)) => serve(shell, io, peer, queue).await,
        Some(Err(e)) => {
            log::info!(error:% = e, transport = peer.transport.as_str(); "a sip connection cannot be opened");
            close(&shell, peer);
        }
        None => close(&shell, peer),
    }
}

async fn open(shell: &Shell, peer: Target, name: String, lax: bool) -> std::io::Result<Io> {
    let stream = Stream::connect(peer.addr).await?.into_inner();
    if peer.transport != Transport::Tls {
        return Ok(Box::pin(stream));
    }
    let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
    Ok(Box::pin(shell.tls().connector(lax).connect(name, stream).await?))
}

fn close(shell: &Rc<Shell>, peer: Target) {
    if let Some(id) = peer.conn {
        shell.connections().borrow_mut().close(id);
    }
    shell.unreachable(peer);
}

async fn serve(shell: Rc<Shell>, io: Io, peer: Target, queue: Queue) {
    let (mut reader, mut writer) = smol::io::split(io);
    let write = write(&mut writer, &queue);
    let given_up = async {
        // The sender lives as long as the connection is listed.
        let _word = queue.given_up.recv().await;
    };
    smol::future::or(smol::future::or(read(&shell, &mut reader, peer), write), given_up).await;
    close(&shell, peer);
    close_gently(reader, writer).await;
}

async fn write(writer: &mut WriteHalf<Io>, queue: &Queue) {
    loop {
        let silence = async {
            timer::sleep(KEEP_ALIVE).await;
            Some(Bytes::from(b"\r\n\r\n".as_slice()))
        };
        let next = async { queue.outgoing.recv().await.ok() };
        let Some(bytes) = smol::future::or(next, silence).await else { return };
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// Ends our side, then reads for a moment what is still on its way, so that the far end sees the last message.
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
    // Whether it ended by itself or by the clock makes no difference.
    let _ended = timer::within(Duration::from_secs(1), drain).await;
}

async fn read(shell: &Rc<Shell>, reader: &mut ReadHalf<Io>, source: Target) {
    let mut pending: Vec<u8> = Vec::new();
    let mut chunk = vec![0u8; 8192];
    let mut patience = FIRST_WORD;
    loop {
        match next_frame(&pending) {
            Frame::More => {
                let Some(Ok(n)) = timer::within(patience, reader.read(&mut chunk)).await else { return };
                if n == 0 {
                    return;
                }
                pending.extend_from_slice(chunk.get(..n).unwrap_or_default());
            }
            Frame::Message(n) => {
                patience = IDLE;
                let message: Vec<u8> = pending.drain(..n).collect();
                shell.message(source, &message);
                smol::future::yield_now().await;
            }
            Frame::Ping(n) => {
                patience = IDLE;
                pending.drain(..n);
                send(shell, source, Bytes::from(b"\r\n".as_slice()));
            }
            Frame::Skip(n) => {
                pending.drain(..n);
            }
            Frame::Broken(n) => {
                // The head may still be good enough for a 400; then the connection is of no more use.
                shell.call(|g, now| g.handle_broken(now, source, pending.get(..n).unwrap_or_default()));
                return written(shell, source.conn).await;
            }
        }
    }
}

/// Waits a moment until what is queued for a connection is on its way.
async fn written(shell: &Shell, id: Option<ConnId>) {
    let waiting = async {
        while id.is_some_and(|id| shell.connections().borrow().waits(id)) {
            timer::sleep(Duration::from_millis(5)).await;
        }
    };
    let _sent = timer::within(Duration::from_secs(1), waiting).await;
}
