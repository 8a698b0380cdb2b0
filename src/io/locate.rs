//! From a URI's host to the servers behind it (RFC 3263), best first.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use super::dns::Dns;
use super::timer;
use crate::sip::locate::{MAX_TARGETS, Service, order, services, usual_services};
use crate::sip::target::{NextHop, Target};
use crate::wire::Host;
use crate::wire::dns::{Kind, Naptr, Record, Srv};

/// Longest look-up, after which the name counts as unknown.
const PATIENCE: Duration = Duration::from_secs(8);

/// The part of it that services may take: some routers answer no such question at all.
const SERVICES: Duration = Duration::from_secs(4);

/// A server, and the name its certificate has to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is.
    pub target: Target,
    /// Host of the URI that led there (RFC 5922 §7.1), not what DNS made of it.
    pub name: String,
}

/// The servers of a hop, best first; none when the name is not known.
pub async fn locate(dns: &Dns, hop: &NextHop) -> Vec<Place> {
    let targets = match &hop.host {
        Host::Ip(ip) => vec![hop.at(*ip)],
        Host::Name(name) => timer::within(PATIENCE, locate_name(dns, hop, name)).await.unwrap_or_default(),
    };
    let name = match &hop.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    targets.into_iter().map(|target| Place { target, name: name.clone() }).collect()
}

async fn locate_name(dns: &Dns, hop: &NextHop, name: &str) -> Vec<Target> {
    if hop.port.is_none() && has_services(name) {
        // All at once: most names have no rules, and the caller waits.
        // What takes too long of the one does not cost what the other has found.
        let both = smol::future::zip(
            timer::within(SERVICES, rules(dns, hop, name)),
            timer::within(SERVICES, usual(dns, hop, name)),
        );
        let (rules, usual) = both.await;
        let found = rules.filter(|r| !r.is_empty()).or(usual).unwrap_or_default();
        if !found.is_empty() {
            return found;
        }
    }
    addresses(dns, name).await.into_iter().map(|ip| hop.at(ip)).take(MAX_TARGETS).collect()
}

/// Names of the own machine and of multicast DNS have no services.
fn has_services(name: &str) -> bool {
    !(name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local"))
}

async fn rules(dns: &Dns, hop: &NextHop, name: &str) -> Vec<Target> {
    if hop.transport.is_some() {
        return Vec::new();
    }
    let rules = dns.look_up(name, Kind::Naptr).await.into_iter().filter_map(|r| match r {
        Record::Naptr(n) => Some(n),
        Record::Srv(_) | Record::Address(_) => None,
    });
    let rules: Vec<Naptr> = rules.collect();
    servers(dns, services(hop, rules)).await
}

async fn usual(dns: &Dns, hop: &NextHop, name: &str) -> Vec<Target> {
    servers(dns, usual_services(hop, name)).await
}

/// The servers of the first service that has any, then those of the others.
async fn servers(dns: &Dns, services: Vec<Service>) -> Vec<Target> {
    let mut out = Vec::new();
    for (transport, name) in services {
        let found = dns.look_up(&name, Kind::Srv).await.into_iter().filter_map(|r| match r {
            Record::Srv(s) => Some(s),
            Record::Naptr(_) | Record::Address(_) => None,
        });
        let found: Vec<Srv> = found.collect();
        for srv in dns.draw(|rng| order(found, rng)) {
            for ip in addresses(dns, &srv.target).await {
                if out.len() < MAX_TARGETS {
                    out.push(Target { transport, addr: SocketAddr::new(ip, srv.port), conn: None });
                }
            }
        }
    }
    out
}

async fn addresses(dns: &Dns, name: &str) -> Vec<IpAddr> {
    if !dns.is_configured() || !has_services(name) {
        // The system knows its hosts file and multicast DNS as well.
        let host = name.to_owned();
        return smol::unblock(move || {
            (host.as_str(), 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default()
        })
        .await;
    }
    let (v4, v6) = smol::future::zip(dns.look_up(name, Kind::A), dns.look_up(name, Kind::Aaaa)).await;
    let ip = |r: Record| match r {
        Record::Address(ip) => Some(ip),
        Record::Srv(_) | Record::Naptr(_) => None,
    };
    v4.into_iter().chain(v6).filter_map(ip).collect()
}
