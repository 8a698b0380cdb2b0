//! SIP over UDP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use async_io::Async;
use socket2::SockRef;

use super::sink::SipSink;
use crate::io::net::kernel_drops;
use crate::io::net::sockets;
use crate::sip::flow::{Flow, Transport};
use crate::wire::MAX_MESSAGE;

/// Receive buffer requested from the kernel, bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A bound SIP socket.
#[derive(Debug)]
pub struct Udp {
    socket: Async<UdpSocket>,
    local: SocketAddr,
}

impl Udp {
    /// Binds `addr`.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = sockets::udp(addr)?;
        // Limited by net.core.rmem_max.
        if let Err(e) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER) {
            log::debug!(error:% = e; "receive buffer size not changed");
        }
        let local = socket.local_addr()?;
        Ok(Self { socket: Async::new_nonblocking(socket)?, local })
    }

    /// The address in use.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Inode of the socket, which identifies it in the kernel's tables.
    #[must_use]
    pub fn inode(&self) -> Option<u64> {
        kernel_drops::inode(self.socket.get_ref())
    }

    /// Sends one datagram; dropped if the kernel's buffer is full.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_ref().send_to(bytes, to).map(|_| ())
    }

    /// Receives datagrams for the gateway until the program ends.
    pub async fn run(self: Rc<Self>, sink: Rc<dyn SipSink>) {
        let mut buffer = vec![0u8; MAX_MESSAGE];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((n, from)) => {
                    let source = Flow { transport: Transport::Udp, addr: from, conn: None };
                    let bytes = buffer.get(..n).unwrap_or_default();
                    Rc::clone(&sink).message(source, bytes);
                }
                // An ICMP error of an earlier send; the socket is fine.
                Err(e) => log::debug!(error:% = e; "udp receive"),
            }
            // Let other tasks run even under a flood.
            smol::future::yield_now().await;
        }
    }
}
