//! Binds the SIP sockets: UDP and TCP on one port, for one or both address families.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::shell::own_address;
use super::tcp::Listener;
use super::udp::Udp;
use crate::config::Sip;
use crate::sip::transactions::Locals;

/// The SIP sockets of a gateway.
#[derive(Debug)]
pub struct Sockets {
    /// One a family.
    pub udp: Vec<Rc<Udp>>,
    /// One a family.
    pub tcp: Vec<Listener>,
    /// How the network knows us.
    pub locals: Locals,
    /// The IPv4 (or only) address that is bound.
    pub bound: SocketAddr,
}

/// How often a free port is looked for that both UDP and TCP can have.
const TRIES: usize = 20;

/// Binds what the configuration asks for.
///
/// # Errors
/// The address and what the operating system says of it.
pub fn bind(sip: &Sip) -> Result<Sockets, String> {
    let listen = sip.listen_ip.unwrap_or(sip.bind_ip);
    let (udp, tcp, bound) = pair(SocketAddr::new(listen, sip.port))?;
    let mut out =
        Sockets { udp: vec![Rc::new(udp)], tcp: vec![tcp], locals: Locals { v4: None, v6: None }, bound };
    note(&mut out.locals, SocketAddr::new(own_address(sip.bind_ip), bound.port()));
    if let Some(ip) = sip.bind_ip6 {
        let (udp, tcp, at) = pair(SocketAddr::new(ip, bound.port()))?;
        out.udp.push(Rc::new(udp));
        out.tcp.push(tcp);
        note(&mut out.locals, SocketAddr::new(own_address(ip), at.port()));
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
    let bound = udp.local_addr()?;
    let tcp = Listener::bind(bound)?;
    Ok((udp, tcp, bound))
}
