//! Binds the SIP sockets: UDP and TCP on the same port, for one or both address families.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::udp::Udp;
use crate::config::Sip;
use crate::io::net::tcp::Listener;
use crate::sip::locals::Locals;

/// The SIP sockets of the gateway.
#[derive(Debug)]
pub struct Sockets {
    /// One per address family.
    pub udp: Vec<Rc<Udp>>,
    /// One per address family.
    pub tcp: Vec<Listener>,
    /// One per address family, if a certificate is configured.
    pub tls: Vec<Listener>,
    /// Our own addresses.
    pub locals: Locals,
    /// The bound IPv4 (or only) address.
    pub bound: SocketAddr,
}

/// Attempts to find a port that is free for both UDP and TCP.
const TRIES: usize = 20;

/// Binds the configured sockets.
///
/// # Errors
/// The address and the operating system's error.
pub fn bind(sip: &Sip) -> Result<Sockets, String> {
    let listen = sip.listen_ip.unwrap_or(sip.bind_ip);
    let (udp, tcp, bound) = pair(SocketAddr::new(listen, sip.port))?;
    let mut out = Sockets {
        udp: vec![Rc::new(udp)],
        tcp: vec![tcp],
        tls: Vec::new(),
        locals: Locals::default(),
        bound,
    };
    out.locals.external = sip.external_ip;
    note(&mut out.locals, SocketAddr::new(own_address(sip.bind_ip), bound.port()));
    if let Some(ip) = sip.bind_ip6 {
        let (udp, tcp, at) = pair(SocketAddr::new(ip, bound.port()))?;
        out.udp.push(Rc::new(udp));
        out.tcp.push(tcp);
        note(&mut out.locals, SocketAddr::new(own_address(ip), at.port()));
    }
    if !sip.tls.cert.is_empty() {
        let mut port = sip.tls.port;
        for ip in [Some(listen), sip.bind_ip6].into_iter().flatten() {
            let at = SocketAddr::new(ip, port);
            let listener = Listener::bind(at).map_err(|e| format!("sip.tls {at}: {e}"))?;
            port = listener.local_addr().map_err(|e| format!("sip.tls {at}: {e}"))?.port();
            out.tls.push(listener);
        }
        out.locals.tls_port = Some(port);
    }
    Ok(out)
}

fn note(locals: &mut Locals, ours: SocketAddr) {
    match ours.ip() {
        IpAddr::V4(_) => locals.v4 = Some(ours),
        IpAddr::V6(_) => locals.v6 = Some(ours),
    }
}

fn pair(wanted: SocketAddr) -> Result<(Udp, Listener, SocketAddr), String> {
    let mut last = io::Error::other("no free port");
    for _ in 0..if wanted.port() == 0 { TRIES } else { 1 } {
        match try_pair(wanted) {
            Ok(done) => return Ok(done),
            Err(e) => last = e,
        }
    }
    Err(format!("sip {wanted}: {last}"))
}

fn try_pair(wanted: SocketAddr) -> io::Result<(Udp, Listener, SocketAddr)> {
    let udp = Udp::bind(wanted)?;
    let bound = udp.local_addr();
    let tcp = Listener::bind(bound)?;
    Ok((udp, tcp, bound))
}

/// The address to advertise if bound to all: that of the route to the outside.
#[must_use]
pub fn own_address(bound: IpAddr) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    let (any, out): (SocketAddr, SocketAddr) = if bound.is_ipv4() {
        (([0, 0, 0, 0], 0).into(), ([192, 0, 2, 1], 9).into())
    } else {
        (([0u16; 8], 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into())
    };
    // Connecting a UDP socket sends nothing; it only selects the route.
    let probe = std::net::UdpSocket::bind(any).and_then(|s| s.connect(out).and_then(|()| s.local_addr()));
    probe.map_or(bound, |a| a.ip())
}
