//! Bound sockets: non-blocking, and IPv6 sockets for IPv6 only, so that both families can share a port.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

fn bound(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if protocol == Protocol::TCP {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// A bound UDP socket.
///
/// # Errors
/// Errors of the operating system.
pub fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    bound(addr, Type::DGRAM, Protocol::UDP).map(UdpSocket::from)
}

/// A listening TCP socket.
///
/// # Errors
/// Errors of the operating system.
pub fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(addr, Type::STREAM, Protocol::TCP)?;
    socket.listen(256)?;
    Ok(TcpListener::from(socket))
}
