//! Locates the servers for a SIP URI's host (RFC 3263), best first: drives `sip::locator` with the resolver's
//! answers.

use super::dns::Dns;
use super::race::Race;
use crate::config::Sip;
use crate::io::system::clock;
use crate::io::system::timer;
use crate::sip::flow::{Flow, NextHop};
use crate::sip::locator::{Families, Locator, Verdict};
use crate::sip::resolver::Question;
use crate::wire::Host;
use crate::wire::dns::Record;

/// A server, and the name that its certificate must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub target: Flow,
    /// Host of the URI (RFC 5922 §7.1), not a name obtained from DNS.
    pub name: String,
}

/// The address families used for SIP.
#[must_use]
pub fn families(sip: &Sip) -> Families {
    Families { v4: sip.bind_ip.is_ipv4(), v6: sip.bind_ip.is_ipv6() || sip.bind_ip6.is_some() }
}

/// Result of a look-up.
#[derive(Debug, Default)]
pub struct Located<'a> {
    /// The servers, best first; empty if the name could not be resolved.
    pub places: Vec<Place>,
    /// The queries still running.
    pub rest: Rest<'a>,
}

/// Queries still running. Their results, positive or negative, are cached, so that the next look-up does not
/// wait for them.
pub type Rest<'a> = Race<'a, (Question, Vec<Record>)>;

/// The servers of a hop. `whole`: wait for all servers; otherwise return as soon as one is usable.
pub async fn locate<'a>(dns: &'a Dns, families: Families, hop: &NextHop, whole: bool) -> Located<'a> {
    let (targets, name, rest) = match &hop.host {
        Host::Ip(ip) => (vec![hop.at(*ip)], ip.to_string(), Race::default()),
        Host::Name(name) => {
            let (targets, rest) = locate_name(dns, families, (hop, name), whole).await;
            (targets, name.clone(), rest)
        }
    };
    let places = targets.into_iter().map(|target| Place { target, name: name.clone() }).collect();
    Located { places, rest }
}

async fn locate_name<'a>(
    dns: &'a Dns,
    families: Families,
    (hop, name): (&NextHop, &str),
    whole: bool,
) -> (Vec<Flow>, Rest<'a>) {
    let mut locator = Locator::new(clock::now().mono, hop.clone(), name, families, dns.fork());
    locator.want_all(whole);
    let mut asked = Race::default();
    loop {
        let verdict = locator.verdict(clock::now().mono);
        for question in locator.questions() {
            asked.add(async move {
                let records = dns.look_up(question.clone()).await;
                (question, records)
            });
        }
        let until = match verdict {
            Verdict::Done(targets) => return (targets, asked),
            Verdict::Wait(until) => until,
        };
        let came = smol::future::or(async { Some(asked.next().await) }, async {
            timer::sleep_until(until).await;
            None
        });
        if let Some((question, records)) = came.await {
            locator.answered(clock::now().mono, question, records);
        }
    }
}
