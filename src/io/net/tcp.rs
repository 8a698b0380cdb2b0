//! TCP listeners and streams of the control thread.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_io::Async;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use socket2::SockRef;

use super::sockets;
use crate::io::system::timer;

/// A listening socket.
#[derive(Debug)]
pub struct Listener(Async<TcpListener>);

/// A connected socket; reading and writing take `&self`, so both halves can be shared.
#[derive(Debug)]
pub struct Stream(Async<TcpStream>);

impl Listener {
    /// Binds `addr`; port 0: any free port.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Async::new_nonblocking(sockets::tcp(addr)?).map(Self)
    }

    /// The address in use.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The next connection. Errors (e.g. no file descriptors) are logged, and accepting is retried.
    pub async fn accept(&self) -> (Stream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    if let Err(e) = stream.get_ref().set_nodelay(true) {
                        log::debug!(error:% = e; "TCP_NODELAY refused");
                    }
                    return (Stream(stream), peer);
                }
                Err(e) => {
                    log::warn!(error:% = e; "accept failed");
                    timer::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Stream {
    /// Opens a connection.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = Async::<TcpStream>::connect(addr).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Closes the connection if sent data is not acknowledged for this time (RFC 5482), because the far end
    /// has disappeared or does not read. The kernel's default is about 15 minutes.
    pub fn set_user_timeout(&self, limit: Duration) {
        if let Err(e) = SockRef::from(self.0.get_ref()).set_tcp_user_timeout(Some(limit)) {
            log::debug!(error:% = e; "TCP_USER_TIMEOUT refused");
        }
    }

    /// The socket itself.
    #[must_use]
    pub fn into_inner(self) -> Async<TcpStream> {
        self.0
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buf).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes).await
    }

    /// Closes our side, then reads what is in flight for a short time, so that the far end receives the last
    /// reply instead of a reset.
    pub async fn close_gently(&self) {
        if self.0.get_ref().shutdown(Shutdown::Write).is_err() {
            return;
        }
        let drain = async {
            let mut sink = [0u8; 4096];
            for _ in 0..256 {
                if !matches!(self.read(&mut sink).await, Ok(n) if n > 0) {
                    return;
                }
            }
        };
        // Closed by the far end or timed out: no difference.
        let _ended = timer::within(Duration::from_secs(1), drain).await;
    }
}
