//! Adapter between picoserve and the gateway's sockets, with strict checks of request heads in front.
//!
//! picoserve never sees a client's head: the gate checks it, stores it in a [`Slot`] for the service, and
//! passes on a canonical one in which only method, body length and `Connection` vary.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use embedded_io_async::ErrorType;
use picoserve::Timer;
use picoserve::io::{BaseWrite, Read, Socket, Write};
use picoserve::mem::{BorrowedBuffer, BorrowedCursor};

use super::clients::{ClientId, Clients, Entry, MAX_CONNECTIONS};
use super::error::{ApiError, MAX_BODY};
use super::head::{Head, Verdict, judge};
use super::reply::Reply;
use crate::io::net::tcp::Stream;
use crate::io::system::clock;
use crate::io::system::timer;

/// Marker type of the executor that picoserve runs on.
pub struct Smol;

/// Timers of the control thread.
pub struct SmolTimer;

impl Timer<Smol> for SmolTimer {
    async fn delay(&self, d: picoserve::time::Duration) {
        timer::sleep(Duration::from_millis(d.as_millis())).await;
    }
}

/// Time limit from the first to the last byte of a head.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Time-outs of a connection: head 5 s, body 10 s, idle 30 s, write 10 s.
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

/// Buffer size for the canonical head, bytes.
pub const ENGINE_BUFFER: usize = 512;

/// A failed socket operation; details do not matter to the far end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SocketError(#[from] std::io::Error);

impl embedded_io_async::Error for SocketError {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        embedded_io_async::ErrorKind::Other
    }
}

/// The head of the current request, passed around picoserve.
pub type Slot = Rc<RefCell<Option<Head>>>;

/// State shared by all connections of a server.
pub struct Shared {
    /// Name of this gateway.
    pub instance_id: Rc<str>,
    /// Open connections.
    pub clients: Rc<Clients>,
    /// True for requests that are served when all places are taken.
    pub is_health: fn(&Head) -> bool,
}

/// One connection.
pub struct Connection {
    stream: Rc<Stream>,
    gate: Gate,
}

/// The read half: checks heads and frames bodies.
pub struct Gate {
    stream: Rc<Stream>,
    slot: Slot,
    shared: Rc<Shared>,
    client: ClientId,
    only_health: bool,
    /// Bytes received but not yet checked.
    pending: Vec<u8>,
    /// Canonical head that picoserve has not read yet.
    canonical: Vec<u8>,
    body_left: u64,
    last: bool,
}

/// The write half: collects the data of one flush.
pub struct Out {
    stream: Rc<Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// A connection that stores its heads in `slot`.
    pub fn new(stream: Stream, slot: Slot, shared: Rc<Shared>, entry: &Entry) -> Self {
        let stream = Rc::new(stream);
        let gate = Gate {
            stream: Rc::clone(&stream),
            slot,
            shared,
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
    /// Reads until a head is complete; false at the end of the connection or after the time limit of a head,
    /// which starts with its first byte. Before that, picoserve's time-outs apply.
    async fn next_head(&mut self) -> Result<bool, SocketError> {
        self.shared.clients.waits(self.client, clock::now().mono);
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
                    let may = !self.only_health && self.shared.clients.begins(self.client);
                    if !may && !(self.shared.is_health)(&head) {
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
        // A body that is too large is never read: the reply says so and the connection ends.
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
        // Methods are case-sensitive, and precede any malformed part of the head.
        let to_head = self.pending.starts_with(b"HEAD ");
        self.turn_down(&ApiError::BadRequest(why.to_owned()), Some(status), to_head).await
    }

    /// Sends an error and closes the connection.
    async fn turn_down(
        &mut self,
        e: &ApiError,
        status: Option<u16>,
        to_head: bool,
    ) -> Result<(), SocketError> {
        self.last = true;
        let mut reply = Reply::error(&self.shared.instance_id, e);
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
