//! picoserve over the gateway's own sockets, with the strict head reader as its gate.
//!
//! The engine never sees a client's head: the gate judges it, keeps it for [`dispatch`], and hands the
//! engine a canonical one whose only variable parts are the method, the body length and `Connection`.

use std::cell::RefCell;
use std::io::Read as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use embedded_io_async::ErrorType;
use picoserve::io::{BaseWrite, Read, Socket, Write};
use picoserve::mem::{BorrowedBuffer, BorrowedCursor};
use picoserve::request::{Path, Request};
use picoserve::response::{Content, ForEachHeader, HeadersIter, Response, ResponseWriter, StatusCode};
use picoserve::routing::PathRouterService;
use picoserve::{ResponseSent, Timer};

use super::super::app::App;
use super::super::dispatch;
use super::clients::{ClientId, Entry, MAX_CONNECTIONS};
use super::error::{ApiError, MAX_BODY};
use super::head::{Head, Verdict, judge};
use super::origin;
use super::reply::{FilePart, Reply};
use crate::io::tcp::Stream;
use crate::io::workers::FILES;
use crate::io::{clock, timer};

/// Marker of the executor picoserve runs on.
pub struct Smol;

/// Timers of the control thread.
pub struct SmolTimer;

impl Timer<Smol> for SmolTimer {
    async fn delay(&self, d: picoserve::time::Duration) {
        timer::sleep(Duration::from_millis(d.as_millis())).await;
    }
}

/// Time from the first byte of a head to its last.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Time limits of a connection: head 5 s, body 10 s, idle 30 s, write 10 s.
pub fn config() -> picoserve::Config {
    let secs = picoserve::time::Duration::from_secs;
    picoserve::Config::new(picoserve::Timeouts {
        start_read_request: secs(5),
        persistent_start_read_request: secs(30),
        read_request: secs(10),
        write: secs(10),
    })
    .keep_connection_alive()
}

/// Bytes picoserve needs for the canonical head.
pub const ENGINE_BUFFER: usize = 512;

/// A failed socket operation; what failed is of no use to the far end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SocketError(#[from] std::io::Error);

impl embedded_io_async::Error for SocketError {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        embedded_io_async::ErrorKind::Other
    }
}

/// The head of the request in hand, passed around the engine.
pub type Slot = Rc<RefCell<Option<Head>>>;

/// One connection.
pub struct Connection {
    stream: Rc<Stream>,
    gate: Gate,
}

/// The read half: judges heads and frames bodies.
pub struct Gate {
    stream: Rc<Stream>,
    slot: Slot,
    app: Rc<App>,
    client: ClientId,
    only_health: bool,
    /// Read from the socket, not yet judged.
    pending: Vec<u8>,
    /// Canonical head the engine has not read yet.
    canonical: Vec<u8>,
    body_left: u64,
    last: bool,
}

/// The write half: gathers what one flush sends.
pub struct Out {
    stream: Rc<Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// A connection whose heads land in `slot`.
    pub fn new(stream: Stream, slot: Slot, app: Rc<App>, entry: &Entry) -> Self {
        let stream = Rc::new(stream);
        let gate = Gate {
            stream: Rc::clone(&stream),
            slot,
            app,
            client: entry.id,
            only_health: entry.only_health,
            pending: Vec::new(),
            canonical: Vec::new(),
            body_left: 0,
            last: false,
        };
        Self { stream, gate }
    }
}

impl Gate {
    /// Reads until a head is complete; false at the end of the connection, or of the time a head has from
    /// its first byte on. Until then the engine's limits hold.
    async fn next_head(&mut self) -> Result<bool, SocketError> {
        self.app.clients.waits(self.client, clock::now().mono);
        if self.pending.is_empty() && !self.fill().await? {
            return Ok(false);
        }
        let too_slow = async {
            timer::sleep(HEAD_TIME).await;
            Ok(false)
        };
        smol::future::or(self.rest_of_head(), too_slow).await
    }

    async fn rest_of_head(&mut self) -> Result<bool, SocketError> {
        loop {
            // Empty lines before a request are skipped (RFC 9112 §2.2).
            let blank = self.pending.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            self.pending.drain(..blank);
            match judge(&self.pending) {
                Verdict::More => {
                    if !self.fill().await? {
                        return Ok(false);
                    }
                }
                Verdict::Good(head, len) => {
                    self.pending.drain(..len);
                    let may = !self.only_health && self.app.clients.begins(self.client);
                    if !may && !dispatch::is_health(&head) {
                        let full = format!(
                            "{MAX_CONNECTIONS} connections are open already, or half of that of yours"
                        );
                        self.turn_down(&ApiError::Unavailable(full), None, head.method == "HEAD").await?;
                        return Ok(false);
                    }
                    self.accept(head).await?;
                    return Ok(true);
                }
                Verdict::Bad(status, why) => {
                    self.refuse(status, why).await?;
                    return Ok(false);
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<bool, SocketError> {
        let mut chunk = [0u8; 4096];
        let n = self.stream.read(&mut chunk).await?;
        self.pending.extend_from_slice(chunk.get(..n).unwrap_or_default());
        Ok(n > 0)
    }

    async fn accept(&mut self, head: Head) -> Result<(), SocketError> {
        // Too large a body is never read: the reply says so and the connection ends.
        let oversize = head.body_len > MAX_BODY;
        self.body_left = if oversize { 0 } else { head.body_len };
        self.last = oversize || !head.keep_alive;
        let connection = if self.last { "Connection: close\r\n" } else { "" };
        let method = if head.method == "HEAD" { "HEAD" } else { "POST" };
        let canonical =
            format!("{method} / HTTP/1.1\r\nContent-Length: {}\r\n{connection}\r\n", self.body_left);
        self.canonical = canonical.into_bytes();
        if head.expects_continue && !oversize && self.pending.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        *self.slot.borrow_mut() = Some(head);
        Ok(())
    }

    async fn refuse(&mut self, status: u16, why: &'static str) -> Result<(), SocketError> {
        // Methods are case-sensitive, and stand before everything that can be wrong with a head.
        let to_head = self.pending.starts_with(b"HEAD ");
        self.turn_down(&ApiError::BadRequest(why.to_owned()), Some(status), to_head).await
    }

    /// Answers with an error, and nothing more on this connection.
    async fn turn_down(
        &mut self,
        e: &ApiError,
        status: Option<u16>,
        to_head: bool,
    ) -> Result<(), SocketError> {
        self.last = true;
        let mut reply = Reply::error(&self.app.instance_id, e);
        reply.status = status.unwrap_or(reply.status);
        self.stream.write_all(&reply.dated(clock::now().utc).to_bytes(to_head)).await?;
        Ok(())
    }
}

impl ErrorType for Gate {
    type Error = SocketError;
}

impl Read for Gate {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, SocketError> {
        if self.canonical.is_empty() && self.body_left == 0 && (self.last || !self.next_head().await?) {
            return Ok(0);
        }
        if !self.canonical.is_empty() {
            return Ok(take(&mut self.canonical, buf));
        }
        if self.pending.is_empty() && !self.fill().await? {
            return Ok(0);
        }
        let most = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(buf.len());
        let n = take(&mut self.pending, buf.get_mut(..most).unwrap_or_default());
        self.body_left -= n as u64;
        Ok(n)
    }
}

fn take(from: &mut Vec<u8>, into: &mut [u8]) -> usize {
    let n = from.len().min(into.len());
    for (to, byte) in into.iter_mut().zip(from.drain(..n)) {
        *to = byte;
    }
    n
}

impl ErrorType for Out {
    type Error = SocketError;
}

impl BaseWrite for Out {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, SocketError> {
        self.buffer.extend_from_slice(buf);
        if self.buffer.len() > 16 * 1024 {
            self.flush().await?;
        }
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), SocketError> {
        let bytes = std::mem::take(&mut self.buffer);
        Ok(self.stream.write_all(&bytes).await?)
    }
}

impl Write for Out {
    async fn write_with<F: FnOnce(BorrowedCursor<'_>) -> R, R>(&mut self, f: F) -> Result<R, SocketError> {
        let mut room = [0u8; 1024];
        let mut room = BorrowedBuffer::new(&mut room);
        let result = f(room.unfilled());
        self.buffer.extend_from_slice(room.filled());
        Ok(result)
    }
}

impl Socket<Smol> for Connection {
    type Error = SocketError;
    type ReadHalf<'a> = &'a mut Gate;
    type WriteHalf<'a> = Out;

    fn split(&mut self) -> (&mut Gate, Out) {
        (&mut self.gate, Out { stream: Rc::clone(&self.stream), buffer: Vec::new() })
    }

    async fn abort<T: Timer<Smol>>(
        self,
        timeouts: &picoserve::Timeouts,
        timer: &T,
    ) -> Result<(), picoserve::Error<SocketError>> {
        self.shutdown(timeouts, timer).await
    }

    async fn shutdown<T: Timer<Smol>>(
        self,
        _timeouts: &picoserve::Timeouts,
        _timer: &T,
    ) -> Result<(), picoserve::Error<SocketError>> {
        self.stream.close_gently().await;
        Ok(())
    }
}

/// The one service behind every path.
pub struct Service {
    /// What requests are answered from.
    pub app: Rc<App>,
    /// Where the gate leaves the head.
    pub slot: Slot,
}

struct Payload {
    reply: Reply,
    send_body: bool,
}

impl Content for Payload {
    fn content_type(&self) -> &'static str {
        self.reply.content_type
    }
    fn content_length(&self) -> usize {
        let file = self.reply.file.as_ref().map(|f| usize::try_from(f.len).unwrap_or(usize::MAX));
        file.unwrap_or(self.reply.body.len())
    }
    async fn write_content<W: Write>(self, mut writer: W) -> Result<(), W::Error> {
        match self.reply.file {
            _ if !self.send_body => Ok(()),
            Some(part) => write_file(part, writer).await,
            None => writer.write_all(&self.reply.body).await,
        }
    }
}

/// How long a file waits for a thread that can read it.
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes of a file that are read and sent at a time.
const PIECE: u64 = 64 * 1024;

/// Sends part of a file. What has gone from it meanwhile is sent as zeros: its length was said already.
async fn write_file<W: Write>(part: FilePart, mut writer: W) -> Result<(), W::Error> {
    let (file, mut left) = (Arc::new(part.file), part.len);
    while left > 0 {
        let n = left.min(PIECE);
        let source = Arc::clone(&file);
        let read = FILES.run(move || {
            let mut piece = vec![0; n as usize];
            let mut filled = 0;
            while let Some(room) = piece.get_mut(filled..).filter(|r| !r.is_empty()) {
                match (&*source).read(room) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => filled += n,
                }
            }
            piece
        });
        let Ok(piece) = read.await else {
            // Its length was said already: it goes on when there is a thread for it.
            timer::sleep(AGAIN).await;
            continue;
        };
        writer.write_all(&piece).await?;
        left -= n;
    }
    Ok(())
}

struct Extra(Vec<(&'static str, String)>);

impl HeadersIter for Extra {
    async fn for_each_header<F: ForEachHeader>(self, mut f: F) -> Result<F::Output, F::Error> {
        for (name, value) in &self.0 {
            f.call(name, value).await?;
        }
        f.finalize().await
    }
}

impl PathRouterService for Service {
    async fn call_path_router_service<R: Read, W: ResponseWriter<Error = R::Error>>(
        &self,
        (): &(),
        (): (),
        _path: Path<'_>,
        mut request: Request<'_, R>,
        writer: W,
    ) -> Result<ResponseSent, W::Error> {
        let head = self.slot.borrow_mut().take();
        let (reply, send_body) = match head {
            Some(head) => {
                let mut reply = self.answer(&head, &mut request).await;
                origin::add_cors_headers(&head, &self.app.config().http, &mut reply);
                (reply, head.method != "HEAD")
            }
            None => (self.error(&ApiError::Internal("a request without a head".to_owned())), true),
        };
        let reply = reply.dated(clock::now().utc);
        let status = StatusCode::new(reply.status);
        let extra = Extra(reply.headers.clone());
        let connection = request.body_connection.finalize().await?;
        if matches!(reply.status, 204 | 304) {
            return writer.write_response(connection, Response::empty(status).with_headers(extra)).await;
        }
        let response = Response::new(status, Payload { reply, send_body }).with_headers(extra);
        writer.write_response(connection, response).await
    }
}

impl Service {
    async fn answer<R: Read>(&self, head: &Head, request: &mut Request<'_, R>) -> Reply {
        let admitted = match dispatch::admit(&self.app, head) {
            Ok(admitted) => admitted,
            Err(reply) => return reply,
        };
        let mut body = Vec::new();
        let mut reader = request.body_connection.body().reader();
        let mut chunk = [0u8; 2048];
        loop {
            match reader.read(&mut chunk).await {
                Ok(0) => break,
                Ok(n) => body.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(_) => return self.error(&ApiError::BodyTimeout),
            }
        }
        if (body.len() as u64) < head.body_len {
            return self.error(&ApiError::BadRequest("the body is shorter than Content-Length".to_owned()));
        }
        dispatch::serve(&self.app, &admitted, &body).await
    }

    fn error(&self, e: &ApiError) -> Reply {
        Reply::error(&self.app.instance_id, e)
    }
}
