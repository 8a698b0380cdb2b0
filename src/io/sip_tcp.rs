//! SIP over TCP: accepted and opened connections, framing, keep-alives, bounded sending.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender, TrySendError};

use super::shell::Shell;
use super::tcp::{Listener, Stream};
use super::timer;
use crate::sip::Bytes;
use crate::sip::target::{ConnId, Target, Transport};
use crate::wire::stream::{Frame, next_frame};

/// Connections open at once, both ways.
const MAX_CONNECTIONS: usize = 256;
/// Messages waiting for a peer that does not read; past it the connection is closed.
const MAX_WAITING: usize = 64;
/// A connection on which nothing comes for this long is closed.
const IDLE: Duration = Duration::from_secs(900);
/// A new connection has to say something within this time.
const FIRST_WORD: Duration = Duration::from_secs(32);
const CONNECT: Duration = Duration::from_secs(5);

/// Open connections.
#[derive(Debug, Default)]
pub struct Connections {
    open: BTreeMap<ConnId, (SocketAddr, Sender<Bytes>, Sender<()>)>,
    next: ConnId,
}

impl Connections {
    fn add(&mut self, peer: SocketAddr) -> Option<(ConnId, Queue)> {
        if self.open.len() >= MAX_CONNECTIONS {
            return None;
        }
        self.next += 1;
        let (sender, outgoing) = async_channel::bounded(MAX_WAITING);
        let (give_up, given_up) = async_channel::bounded(1);
        self.open.insert(self.next, (peer, sender, give_up));
        Some((self.next, Queue { outgoing, given_up }))
    }

    fn find(&self, target: Target) -> Option<ConnId> {
        let by_id = target.conn.filter(|id| self.open.contains_key(id));
        by_id.or_else(|| self.open.iter().find(|(_, (peer, ..))| *peer == target.addr).map(|(id, _)| *id))
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True when none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// A connection's end of its queue.
struct Queue {
    outgoing: Receiver<Bytes>,
    /// The peer reads nothing: the connection is given up.
    given_up: Receiver<()>,
}

/// Accepts connections until the program ends.
pub async fn run(shell: Rc<Shell>, listener: Listener) {
    loop {
        let (stream, peer) = listener.accept().await;
        if !shell.accepts(peer.ip()) {
            continue;
        }
        let Some((id, queue)) = shell.connections().borrow_mut().add(peer) else {
            log::warn!(limit = MAX_CONNECTIONS; "sip tcp connection refused");
            continue;
        };
        shell.spawn(serve(Rc::clone(&shell), stream, peer, id, queue));
    }
}

/// Sends on an open connection to the target, or opens one.
pub fn send(shell: &Rc<Shell>, target: Target, bytes: Bytes) {
    let found = shell.connections().borrow().find(target);
    if let Some(id) = found {
        return enqueue(shell, id, bytes);
    }
    let added = shell.connections().borrow_mut().add(target.addr);
    let Some((id, queue)) = added else { return shell.unreachable(target) };
    enqueue(shell, id, bytes);
    shell.spawn(connect(Rc::clone(shell), target, id, queue));
}

fn enqueue(shell: &Shell, id: ConnId, bytes: Bytes) {
    let connections = shell.connections().borrow();
    let Some((_, sender, give_up)) = connections.open.get(&id) else { return };
    if let Err(TrySendError::Full(_)) = sender.try_send(bytes) {
        // A peer that reads nothing is as good as gone. Told twice is told once.
        let _told = give_up.try_send(());
    }
}

async fn connect(shell: Rc<Shell>, target: Target, id: ConnId, queue: Queue) {
    match timer::within(CONNECT, Stream::connect(target.addr)).await {
        Some(Ok(stream)) => serve(shell, stream, target.addr, id, queue).await,
        Some(Err(_)) | None => close(&shell, target.addr, id),
    }
}

fn close(shell: &Rc<Shell>, peer: SocketAddr, id: ConnId) {
    shell.connections().borrow_mut().open.remove(&id);
    shell.unreachable(Target { transport: Transport::Tcp, addr: peer, conn: Some(id) });
}

async fn serve(shell: Rc<Shell>, stream: Stream, peer: SocketAddr, id: ConnId, queue: Queue) {
    let write = async {
        while let Ok(bytes) = queue.outgoing.recv().await {
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let given_up = async {
        // The sender lives as long as the connection is listed.
        let _word = queue.given_up.recv().await;
    };
    smol::future::or(smol::future::or(read(&shell, &stream, peer, id), write), given_up).await;
    close(&shell, peer, id);
    stream.close_gently().await;
}

async fn read(shell: &Rc<Shell>, stream: &Stream, peer: SocketAddr, id: ConnId) {
    let source = Target { transport: Transport::Tcp, addr: peer, conn: Some(id) };
    let mut pending: Vec<u8> = Vec::new();
    let mut chunk = vec![0u8; 8192];
    let mut patience = FIRST_WORD;
    loop {
        match next_frame(&pending) {
            Frame::More => {
                let Some(Ok(n)) = timer::within(patience, stream.read(&mut chunk)).await else { return };
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
                if stream.write_all(b"\r\n").await.is_err() {
                    return;
                }
            }
            Frame::Skip(n) => {
                pending.drain(..n);
            }
            Frame::Broken(n) => {
                // The head may still be good enough for a 400; then the connection is of no more use.
                shell.call(|g, now| g.handle_broken(now, source, pending.get(..n).unwrap_or_default()));
                let waiting = async {
                    while shell.connections().borrow().waits(id) {
                        timer::sleep(Duration::from_millis(5)).await;
                    }
                };
                let _sent = timer::within(Duration::from_secs(1), waiting).await;
                return;
            }
        }
    }
}

impl Connections {
    /// True while messages wait to be written on a connection.
    fn waits(&self, id: ConnId) -> bool {
        self.open.get(&id).is_some_and(|(_, sender, _)| !sender.is_empty())
    }
}
