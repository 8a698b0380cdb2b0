//! The system's files: `resolv.conf` and `hosts`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::wire::dns::same;

/// Most name servers used from `resolv.conf`.
const SYSTEM_SERVERS: usize = 3;
const PORT: u16 = 53;

/// Name servers and time-outs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name servers, best first.
    pub servers: Vec<SocketAddr>,
    /// Time-out of the last message, 1 to 5 s.
    pub patience: Duration,
    /// Attempts per server, 2 to 5: at least two because some servers drop queries with EDNS.
    pub attempts: u8,
}

impl Settings {
    /// These servers with default time-outs.
    #[must_use]
    pub fn of(servers: Vec<SocketAddr>) -> Self {
        Self { servers, patience: Duration::from_millis(2500), attempts: 2 }
    }

    /// Parses `resolv.conf`. Of its options, `timeout` and `attempts` are used; search domains are not, since
    /// names in URIs are fully qualified. Without servers: 127.0.0.1. `interface` maps an interface name to
    /// its index, for link-local servers such as `fe80::1%eth0`.
    #[must_use]
    pub fn of_resolv_conf(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Self {
        let mut out = Self::of(Vec::new());
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if out.servers.len() < SYSTEM_SERVERS => {
                    out.servers.extend(words.next().and_then(|w| server(w, &interface)));
                }
                Some("options") => words.for_each(|w| out.option(w)),
                Some(_) | None => {}
            }
        }
        if out.servers.is_empty() {
            out.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        out
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':').map(|(name, value)| (name, value.parse::<u8>())) {
            Some(("timeout", Ok(n))) => self.patience = Duration::from_secs(n.clamp(1, 5).into()),
            Some(("attempts", Ok(n))) => self.attempts = n.clamp(2, 5),
            _ => {}
        }
    }
}

fn server(word: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((ip, zone)) = word.split_once('%') else {
        return word.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, PORT));
    };
    let scope = zone.parse().ok().or_else(|| interface(zone))?;
    Some(SocketAddrV6::new(ip.parse().ok()?, PORT, 0, scope).into())
}

/// The addresses of a name in a `hosts` file.
#[must_use]
pub fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|w| same(w, name)).then_some(ip)
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, u128, u8) {
        let s = Settings::of_resolv_conf(text, |name| (name == "eth0").then_some(7));
        let servers: Vec<String> = s.servers.iter().map(ToString::to_string).collect();
        (servers.join(" "), s.patience.as_millis(), s.attempts)
    }

    #[test]
    fn resolv_conf_names_servers_and_their_patience() {
        for (text, want) in [
            (
                "# x\nnameserver 192.0.2.1\nsearch a b\nnameserver bad\n nameserver 2001:db8::1 # two\n",
                ("192.0.2.1:53 [2001:db8::1]:53", 2500, 2),
            ),
            (
                "nameserver fe80::1%eth0\nnameserver fe80::2%9\nnameserver fe80::3%none",
                ("[fe80::1%7]:53 [fe80::2%9]:53", 2500, 2),
            ),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
                ("10.0.0.1:53 10.0.0.2:53 10.0.0.3:53", 2500, 2),
            ),
            ("options edns0 timeout:1 attempts:3\nnameserver 10.0.0.1", ("10.0.0.1:53", 1000, 3)),
            ("nameserver 10.0.0.1\noptions timeout:30 attempts:0 ndots:5 rotate", ("10.0.0.1:53", 5000, 2)),
            ("options timeout:x attempts", ("127.0.0.1:53", 2500, 2)),
            ("; nameserver 10.0.0.1\n#nameserver 10.0.0.2\n", ("127.0.0.1:53", 2500, 2)),
        ] {
            let (servers, patience, attempts) = want;
            assert_eq!(read(text), (servers.to_owned(), patience, attempts), "{text}");
        }
    }

    #[test]
    fn hosts_has_addresses_by_name() {
        let text = "127.0.0.1 localhost\n# 192.0.2.1 pbx\n192.0.2.2\tPbx.example  pbx # old\n2001:db8::2 pbx\nx pbx\n";
        let found =
            |name: &str| hosts(text, name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(found("pbx"), "192.0.2.2 2001:db8::2");
        assert_eq!(found("pbx.example."), "192.0.2.2");
        assert_eq!((found("old").as_str(), found("other").as_str()), ("", ""));
    }
}
