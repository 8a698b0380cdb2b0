//! URI comparison: RFC 3261 §19.1.4 for `sip:` and `sips:`, RFC 3966 §4 for `tel:`. It is not an equivalence
//! relation: a parameter present in only one of two URIs is ignored, so that A may equal B and C, while B and
//! C differ. Hence it is not [`PartialEq`], which compares URIs as written.

use super::params::Params;
use super::uri::{Host, SipUri, Uri};

/// Parameters that must be present in both URIs or in none. `transport` is included because of the examples
/// in RFC 3261 §19.1.4.
const DECISIVE: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

impl Uri {
    /// True if both identify the same resource by the rules of their scheme.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sip(a), Self::Sip(b)) => a.is_same(b),
            (Self::Tel(a), Self::Tel(b)) => is_same_number(a, b),
            (Self::Other(a), Self::Other(b)) => match (a.split_once(':'), b.split_once(':')) {
                (Some((x, a)), Some((y, b))) => x.eq_ignore_ascii_case(y) && plain(a) == plain(b),
                _ => a == b,
            },
            (Self::Sip(_) | Self::Tel(_) | Self::Other(_), _) => false,
        }
    }
}

impl SipUri {
    /// True if both identify the same resource (RFC 3261 §19.1.4).
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.secure == other.secure
            && self.is_same_address(other)
            && same_params(&self.params, &other.params)
            && same_headers(self.headers.as_deref(), other.headers.as_deref())
    }

    /// True if user, password, host and port are equal, regardless of parameters.
    #[must_use]
    pub fn is_same_address(&self, other: &Self) -> bool {
        self.user.as_deref().map(plain) == other.user.as_deref().map(plain)
            && self.host.is_same(&other.host)
            && self.port == other.port
    }
}

impl Host {
    /// True if both are the same address, or the same name with or without trailing dot. IPv4-mapped IPv6
    /// addresses (RFC 4291 §2.5.5.2) equal the IPv4 address.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a.to_canonical() == b.to_canonical(),
            (Self::Name(a), Self::Name(b)) => {
                let rooted = |n: &'_ str| n.strip_suffix('.').unwrap_or(n).to_ascii_lowercase();
                rooted(a) == rooted(b)
            }
            (Self::Ip(_), Self::Name(_)) | (Self::Name(_), Self::Ip(_)) => false,
        }
    }
}

/// Normalizes escapes: only reserved characters remain escaped (RFC 3261 §19.1.4): `%61` becomes `a`, `%3b`
/// becomes `%3B`, which is not `;`.
fn plain(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(*high).zip(digit(*low)).map(|(h, l)| (h * 16 + l, after))
            }
            _ => None,
        };
        match escaped {
            // A percent sign must be escaped; reserved characters have another meaning unescaped (RFC 2396
            // §2.2).
            Some((byte, after)) if b";/?:@&=+$,%".contains(&byte) => {
                out.extend(format!("%{byte:02X}").as_bytes());
                rest = after;
            }
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => out.push(*first),
        }
    }
    out
}

/// Normalizes escapes and case.
fn folded(text: &str) -> Vec<u8> {
    plain(text).to_ascii_lowercase()
}

/// Normalized name and value of a parameter; a missing value is empty.
fn param((name, value): (&str, Option<&str>)) -> (Vec<u8>, Vec<u8>) {
    let name = folded(name);
    let value = value.unwrap_or_default();
    let host = || super::uri::host_port_of(value).ok().filter(|(_, port)| port.is_none());
    let value = match (name.as_slice(), host()) {
        // A flag; `lr=on` and `lr=true` occur in practice.
        (b"lr", _) => Vec::new(),
        (b"maddr", Some((Host::Ip(ip), _))) => ip.to_canonical().to_string().into_bytes(),
        _ => folded(value),
    };
    (name, value)
}

fn same_params(a: &Params, b: &Params) -> bool {
    let read = |p: &Params| -> Vec<_> { p.iter().map(param).collect() };
    let (a, b) = (read(a), read(b));
    let agrees = |(name, value): &(Vec<u8>, Vec<u8>), others: &[(Vec<u8>, Vec<u8>)]| {
        // Names are unique; otherwise the first one counts.
        match others.iter().find(|(n, _)| n == name) {
            Some((_, v)) => v == value,
            None => !DECISIVE.iter().any(|d| d.as_bytes() == name.as_slice()),
        }
    };
    let first = |all: &[(Vec<u8>, Vec<u8>)], i: usize, name: &[u8]| {
        all.iter().position(|(n, _)| n == name).is_some_and(|at| at == i)
    };
    let all_agree = |these: &[(Vec<u8>, Vec<u8>)], others: &[(Vec<u8>, Vec<u8>)]| {
        these.iter().enumerate().filter(|(i, p)| first(these, *i, &p.0)).all(|(_, p)| agrees(p, others))
    };
    all_agree(&a, &b) && all_agree(&b, &a)
}

/// Headers are never ignored; their order does not matter.
fn same_headers(a: Option<&str>, b: Option<&str>) -> bool {
    let read = |text: Option<&str>| {
        let fields = text.unwrap_or_default().split('&').filter(|f| !f.is_empty());
        let field = |f: &str| {
            let (name, value) = f.split_once('=').unwrap_or((f, ""));
            (folded(name), plain(value))
        };
        let mut all: Vec<_> = fields.map(field).collect();
        all.sort_unstable();
        all
    };
    read(a) == read(b)
}

/// Digits without visual separators (RFC 3966 §5.1.1).
fn digits(text: &str) -> Vec<u8> {
    folded(text).into_iter().filter(|b| !b"-.()".contains(b)).collect()
}

/// Compares `tel:` URIs without scheme: both global or both local, same digits, same parameters (RFC 3966
/// §4).
fn is_same_number(a: &str, b: &str) -> bool {
    let read = |text: &str| {
        let mut parts = text.split(';');
        let number = digits(parts.next().unwrap_or_default());
        let field = |p: &str| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            let name = folded(name);
            let is_number = name == b"ext" || (name == b"phone-context" && value.starts_with('+'));
            let value = if is_number { digits(value) } else { folded(value) };
            (name, value)
        };
        let mut params: Vec<_> = parts.filter(|p| !p.is_empty()).map(field).collect();
        params.sort_unstable();
        (number, params)
    };
    read(a) == read(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
        assert_eq!(a.is_same(&b), b.is_same(&a), "{a} {b}");
        assert!(a.is_same(&a) && b.is_same(&b), "{a} {b}");
        a.is_same(&b)
    }

    #[test]
    fn the_equivalent_uris_of_rfc_3261_are_the_same() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn the_different_uris_of_rfc_3261_differ() {
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn forms_that_are_the_same() {
        for (a, b) in [
            ("SIP:a@h", "sip:a@H"),
            ("sip:a@h.", "sip:a@h"),
            ("sip:a@h:05060", "sip:a@h:5060"),
            ("sip:a%3b1@h", "sip:a%3B1@h"),
            ("sip:a:p%77@h", "sip:a:pw@h"),
            ("sip:a@h;%6cine=1", "sip:a@h;line=%31"),
            ("sip:a@h;lr", "sip:a@h;LR=on"),
            ("sip:a@h?X-A=1&b=%32", "sip:a@h?B=2&x-a=1"),
            ("sip:a@[2001:DB8:0:0::1]:5070", "sip:a@[2001:db8::1]:5070"),
            ("sip:a@[::ffff:192.0.2.1]", "sip:a@192.0.2.1"),
            ("sip:a@h;maddr=[2001:DB8::0:1]", "sip:a@h;maddr=[2001:db8::1]"),
            ("tel:+1-201-555-0123", "tel:+1(201)555.0123"),
            ("TEL:+12015550123;ext=3-4", "tel:+12015550123;EXT=34"),
            ("tel:7042;phone-context=Example.COM;x=1", "tel:7042;x=1;phone-context=example.com"),
            ("tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914555"),
            ("URN:service:sos", "urn:service:sos"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn forms_that_differ() {
        for (a, b) in [
            ("sip:a@h", "sips:a@h"),
            ("sip:a@h", "sip:h"),
            ("sip:a@h", "sip:a:pw@h"),
            ("sip:a:pw@h", "sip:a:PW@h"),
            ("sip:a;1@h", "sip:a%3b1@h"),
            ("sip:a%2561@h", "sip:a%61@h"),
            ("sip:+1-2@h", "sip:+12@h"),
            ("sip:a@h;user=phone", "sip:a@h"),
            ("sip:a@h;ttl=1", "sip:a@h"),
            ("sip:a@h;method=INVITE", "sip:a@h"),
            ("sip:a@h;maddr=192.0.2.1", "sip:a@h"),
            ("sip:a@h;maddr=192.0.2.1", "sip:a@h;maddr=192.0.2.2"),
            ("sip:a@h;line=1", "sip:a@h;line=2"),
            ("sip:a@h?x=1", "sip:a@h?x=1&x=1"),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]"),
            ("sip:+12@h", "tel:+12"),
            ("tel:+12", "tel:12"),
            ("tel:12;phone-context=a.example", "tel:12"),
            ("tel:12;phone-context=a.example", "tel:12;phone-context=b.example"),
            ("urn:service:sos", "urn:service:sos.fire"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
