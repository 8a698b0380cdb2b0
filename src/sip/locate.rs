//! Server location rules (RFC 3263 §4): services to query in DNS, and the order of the results.

use super::flow::{NextHop, Transport};
use crate::base::rng::Rng;
use crate::wire::dns::{Naptr, Srv};

/// Most targets tried per request.
pub const MAX_TARGETS: usize = 8;

/// A service to query: its transport and the name of its SRV records.
pub type Service = (Transport, String);

/// Services from the NAPTR records of a domain, best first; a secure hop uses TLS only.
#[must_use]
pub fn services(hop: &NextHop, mut rules: Vec<Naptr>) -> Vec<Service> {
    rules.sort_by_key(|r| (r.order, r.preference));
    let usable = |rule: &Naptr| {
        let transport = match rule.service.as_str() {
            "sip+d2u" => Transport::Udp,
            "sip+d2t" => Transport::Tcp,
            "sips+d2t" => Transport::Tls,
            _ => return None,
        };
        let leads = rule.flags == "s" && !rule.replacement.is_empty();
        (leads && takes(hop, transport)).then(|| (transport, rule.replacement.clone()))
    };
    rules.iter().filter_map(usable).take(MAX_TARGETS).collect()
}

/// Services to query without NAPTR records, best first.
#[must_use]
pub fn usual_services(hop: &NextHop, host: &str) -> Vec<Service> {
    let all = [(Transport::Udp, "_sip._udp"), (Transport::Tcp, "_sip._tcp"), (Transport::Tls, "_sips._tcp")];
    let plain = |t: Transport| hop.transport == Some(t) || t != Transport::Tls || hop.secure;
    all.into_iter()
        .filter(|(t, _)| takes(hop, *t) && plain(*t))
        .map(|(t, prefix)| (t, format!("{prefix}.{host}")))
        .collect()
}

/// True if a hop may use this transport.
fn takes(hop: &NextHop, transport: Transport) -> bool {
    match hop.transport {
        Some(wanted) => wanted == transport,
        None => !hop.secure || transport == Transport::Tls,
    }
}

/// Servers in the order to try them: by priority, then randomly by weight (RFC 2782).
#[must_use]
pub fn order(mut servers: Vec<Srv>, rng: &mut Rng) -> Vec<Srv> {
    servers.sort_by_key(|s| (s.priority, s.weight));
    let mut out = Vec::with_capacity(servers.len());
    while let Some(priority) = servers.first().map(|s| s.priority) {
        let group = servers.iter().take_while(|s| s.priority == priority);
        let sum: u32 = group.map(|s| u32::from(s.weight)).sum();
        let mut chance = rng.below(sum + 1);
        let drawn = servers.iter().take_while(|s| s.priority == priority).position(|s| {
            let weight = u32::from(s.weight);
            let hit = chance <= weight;
            chance = chance.saturating_sub(weight);
            hit
        });
        out.push(servers.remove(drawn.unwrap_or(0)));
    }
    out.truncate(MAX_TARGETS);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::next_hop;
    use crate::wire::Uri;

    fn hop(uri: &str) -> NextHop {
        next_hop(Uri::parse(uri).unwrap().sip().unwrap()).unwrap()
    }

    fn rule(order: u16, preference: u16, service: &str) -> Naptr {
        let replacement = format!("_x.{service}");
        Naptr { order, preference, flags: "s".into(), service: service.into(), replacement }
    }

    fn transports(of: &[Service]) -> Vec<Transport> {
        of.iter().map(|s| s.0).collect()
    }

    #[test]
    fn rules_are_taken_in_order_and_only_those_that_fit() {
        let rules = vec![
            rule(2, 1, "sip+d2u"),
            rule(1, 2, "sips+d2t"),
            rule(1, 1, "sip+d2t"),
            rule(0, 0, "e2u+sip"),
            Naptr { flags: "u".into(), ..rule(0, 0, "sip+d2u") },
        ];
        use Transport::{Tcp, Tls, Udp};
        assert_eq!(transports(&services(&hop("sip:example.com"), rules.clone())), [Tcp, Tls, Udp]);
        assert_eq!(transports(&services(&hop("sips:example.com"), rules.clone())), [Tls]);
        assert_eq!(transports(&services(&hop("sip:example.com;transport=udp"), rules)), [Udp]);
    }

    #[test]
    fn without_rules_the_usual_names_are_asked_for() {
        let names =
            |uri: &str| usual_services(&hop(uri), "h").into_iter().map(|s| s.1).collect::<Vec<_>>().join(" ");
        assert_eq!(names("sip:h"), "_sip._udp.h _sip._tcp.h");
        assert_eq!(names("sips:h"), "_sips._tcp.h");
        assert_eq!(names("sip:h;transport=tcp"), "_sip._tcp.h");
        assert_eq!(names("sip:h;transport=tls"), "_sips._tcp.h");
    }

    #[test]
    fn servers_come_by_priority_and_share_by_weight() {
        let srv = |priority, weight, target: &str| Srv { priority, weight, port: 1, target: target.into() };
        let all = vec![srv(2, 0, "last"), srv(1, 10, "small"), srv(1, 90, "big")];
        let mut rng = Rng::from_number(1);
        let mut big = 0;
        for _ in 0..1000 {
            let got = order(all.clone(), &mut rng);
            assert_eq!((got.len(), got[2].target.as_str()), (3, "last"));
            big += u32::from(got[0].target == "big");
        }
        assert!((850..950).contains(&big), "{big} of 1000 calls went to the server of weight 90 of 100");
    }
}
