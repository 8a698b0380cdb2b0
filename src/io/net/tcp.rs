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
    /// Binds `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Async::new_nonblocking(sockets::tcp(addr)?).map(Self)
    }

    /// The address in use.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The next connection. A failure to accept (no descriptors, say) is logged and waited out.
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
    /// What the operating system says.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = Async::<TcpStream>::connect(addr).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Ends the connection when something that was sent is not acknowledged for so long (RFC 5482), be it that the far
    /// end is gone without a word or that it does not read. Else the kernel tries for a quarter of an hour.
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
    /// What the operating system says.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buf).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes).await
    }

    /// Ends our side, then reads for a moment what is still on its way, so that the far end gets to see
    /// the last reply instead of a reset.
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
        // Whether it ended by itself or by the clock makes no difference.
        let _ended = timer::within(Duration::from_secs(1), drain).await;
    }
}
