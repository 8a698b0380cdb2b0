//! Digest authentication as a client (RFC 3261 §22.4, RFC 7616 §3.4, RFC 8760).

use std::fmt;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::base::hex::hex;
use crate::wire::authorization::Authorization;
use crate::wire::challenge::{Algorithm, Challenge};

/// Most realms answered per request: far end and proxies.
const MAX_REALMS: usize = 4;
/// Most consecutive challenges answered: each realm once, plus a stale nonce or two.
const MAX_ROUNDS: u8 = 6;

/// User name and password. Debug output hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A challenge and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    challenge: Challenge,
    /// Nonce count: requests sent with its nonce.
    count: u32,
    /// The password was accepted for an earlier request.
    proven: bool,
}

/// Credentials and the answered challenges, one per realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    credentials: Credentials,
    realms: Vec<Answered>,
    /// Challenges since a request was accepted.
    rounds: u8,
}

impl Authentication {
    /// Without challenges.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, realms: Vec::new(), rounds: 0 }
    }

    /// Handles the challenges of a 401 or 407; true if retrying makes sense: for a new realm, or a nonce of
    /// an earlier request that the server no longer accepts, whether it says stale or not. The first of
    /// several challenges per realm is used (RFC 8760 §2.4).
    pub fn challenged(&mut self, challenges: Vec<Challenge>) -> bool {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MAX_ROUNDS {
            return false;
        }
        let mut news = false;
        let mut seen: Vec<(bool, String)> = Vec::new();
        for c in challenges {
            let place = (c.proxy, c.realm.clone());
            if seen.contains(&place) {
                continue;
            }
            seen.push(place);
            let full = self.realms.len() >= MAX_REALMS;
            let same = |o: &&mut Answered| (o.challenge.proxy, &o.challenge.realm) == (c.proxy, &c.realm);
            match self.realms.iter_mut().find(same) {
                Some(old) if (c.stale || old.proven || old.count > 1) && old.challenge.nonce != c.nonce => {
                    *old = Answered { challenge: c, count: 0, proven: false };
                }
                // The same password would be rejected again; and the number of realms is limited.
                Some(_) => return false,
                None if full => return false,
                None => self.realms.push(Answered { challenge: c, count: 0, proven: false }),
            }
            news = true;
        }
        news
    }

    /// A request was accepted: resets the limits on challenges.
    pub fn passed(&mut self) {
        self.rounds = 0;
        for answered in &mut self.realms {
            answered.proven |= answered.count > 0;
        }
    }

    /// Stores the next nonce announced by a server (RFC 7616 §3.5, RFC 7615 §3). With several realms it is
    /// unclear which one it belongs to: then it is ignored.
    pub fn next_nonce(&mut self, proxy: bool, nonce: &str) {
        let mut of_kind = self.realms.iter_mut().filter(|a| a.challenge.proxy == proxy && a.count > 0);
        // A retransmitted response must not reset the nonce count.
        if let (Some(answered), None) = (of_kind.next(), of_kind.next())
            && answered.challenge.nonce != nonce
        {
            nonce.clone_into(&mut answered.challenge.nonce);
            answered.count = 0;
            answered.proven = true;
        }
    }

    /// Forgets all challenges.
    pub fn restart(&mut self) {
        self.realms.clear();
        self.rounds = 0;
    }

    /// Authentication headers of a request: name and value.
    pub fn headers(&mut self, method: &str, uri: &str, cnonce: &str) -> Vec<(&'static str, String)> {
        let credentials = &self.credentials;
        let answer = |a: &mut Answered| {
            a.count += 1;
            let name = if a.challenge.proxy { "Proxy-Authorization" } else { "Authorization" };
            (name, answer(&a.challenge, credentials, method, uri, cnonce, a.count))
        };
        self.realms.iter_mut().map(answer).collect()
    }
}

/// `Authorization` value for a challenge.
fn answer(c: &Challenge, who: &Credentials, method: &str, uri: &str, cnonce: &str, count: u32) -> String {
    let ha1 = hash(c.algorithm, &format!("{}:{}:{}", who.username, unquoted(&c.realm), who.password));
    let response = response(c, &ha1, method, uri, cnonce, count);
    let user = who.username.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = format!(
        "Digest username=\"{user}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\", algorithm={}",
        c.realm,
        c.nonce,
        c.algorithm.as_str()
    );
    if c.qop {
        out.push_str(&format!(", qop=auth, cnonce=\"{cnonce}\", nc={count:08x}"));
    }
    if let Some(opaque) = &c.opaque {
        out.push_str(&format!(", opaque=\"{opaque}\""));
    }
    out
}

fn response(c: &Challenge, ha1: &str, method: &str, uri: &str, cnonce: &str, count: u32) -> String {
    let ha2 = hash(c.algorithm, &format!("{method}:{uri}"));
    let nonce = &c.nonce;
    let text = if c.qop {
        format!("{ha1}:{nonce}:{count:08x}:{cnonce}:auth:{ha2}")
    } else {
        format!("{ha1}:{nonce}:{ha2}")
    };
    hash(c.algorithm, &text)
}

/// The expected response to a challenge, from the user's HA1 (RFC 7616 §3.4.1).
#[must_use]
pub fn expected(ha1: &str, method: &str, a: &Authorization) -> String {
    let ha2 = hash(a.algorithm, &format!("{method}:{}", a.uri));
    let text = match &a.qop {
        Some((cnonce, count)) => format!("{ha1}:{}:{count:08x}:{cnonce}:auth:{ha2}", a.nonce),
        None => format!("{ha1}:{}:{ha2}", a.nonce),
    };
    hash(a.algorithm, &text)
}

/// A quoted string without escapes, as it is hashed.
pub(super) fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for ch in text.chars() {
        if ch == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(ch);
            escaped = false;
        }
    }
    out
}

pub(super) fn hash(algorithm: Algorithm, text: &str) -> String {
    match algorithm {
        Algorithm::Md5 => hex(&Md5::digest(text)),
        Algorithm::Sha256 => hex(&Sha256::digest(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(algorithm: Algorithm) -> Challenge {
        Challenge {
            proxy: false,
            realm: "http-auth@example.org".into(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
            opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
            algorithm,
            qop: true,
            stale: false,
        }
    }

    #[test]
    fn responses_are_those_of_rfc_7616_section_3_9_1() {
        let who = Credentials { username: "Mufasa".into(), password: "Circle of Life".into() };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, want) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let got = answer(&challenge(algorithm), &who, "GET", "/dir/index.html", cnonce, 1);
            assert!(got.contains(&format!("response=\"{want}\"")), "{got}");
            assert!(got.contains("qop=auth") && got.contains("nc=00000001") && got.contains("opaque="));
        }
    }

    #[test]
    fn without_qop_it_is_that_of_rfc_2069() {
        let c = Challenge {
            qop: false,
            opaque: None,
            realm: "r".into(),
            nonce: "n".into(),
            ..challenge(Algorithm::Md5)
        };
        let who = Credentials { username: "u".into(), password: "p".into() };
        let ha1 = hash(Algorithm::Md5, "u:r:p");
        let want = hash(Algorithm::Md5, &format!("{ha1}:n:{}", hash(Algorithm::Md5, "INVITE:sip:x@y")));
        let got = answer(&c, &who, "INVITE", "sip:x@y", "ignored", 1);
        assert!(got.contains(&want) && !got.contains("nc=") && !got.contains("cnonce"), "{got}");
    }

    #[test]
    fn a_second_challenge_is_answered_only_when_something_is_new() {
        let mut a = Authentication::new(Credentials { username: "u".into(), password: "p".into() });
        let c = challenge(Algorithm::Md5);
        let proxy = Challenge { proxy: true, realm: "p".into(), ..c.clone() };
        assert!(!a.challenged(vec![]));
        a.passed();
        assert!(a.challenged(vec![Challenge { algorithm: Algorithm::Sha256, ..c.clone() }, c.clone()]));
        let names = |a: &mut Authentication| {
            a.headers("BYE", "sip:x", "c").into_iter().map(|h| h.0).collect::<Vec<_>>()
        };
        assert_eq!(names(&mut a), ["Authorization"]);
        assert!(a.headers("BYE", "sip:x", "c")[0].1.contains("algorithm=SHA-256"), "the first of a realm");
        a.passed();
        assert!(a.challenged(vec![proxy]), "another server on the way");
        assert_eq!(names(&mut a), ["Authorization", "Proxy-Authorization"]);
        assert!(a.headers("BYE", "sip:x", "c")[0].1.contains("nc=00000004"), "the count goes on");
        assert!(a.challenged(vec![Challenge { stale: true, nonce: "new".into(), ..c.clone() }]));
        assert!(a.headers("BYE", "sip:x", "c")[0].1.contains("nc=00000001"), "a new nonce begins anew");
        assert!(!a.challenged(vec![Challenge { nonce: "newer".into(), ..c.clone() }]), "wrong password");
        assert!(
            !a.challenged(vec![Challenge { stale: true, nonce: "new".into(), ..c.clone() }]),
            "the same nonce"
        );
        assert_eq!(names(&mut a).len(), 2);
        assert!(
            a.challenged(vec![Challenge { nonce: "newer".into(), ..c }]),
            "it was good for a request before"
        );
    }

    #[test]
    fn the_next_nonce_begins_a_count_of_its_own() {
        let mut a = Authentication::new(Credentials { username: "u".into(), password: "p".into() });
        let c = challenge(Algorithm::Md5);
        let first = |a: &mut Authentication| a.headers("REGISTER", "sip:x", "c").remove(0).1;
        a.next_nonce(false, "early");
        assert!(a.challenged(vec![c.clone()]));
        assert!(first(&mut a).contains("nc=00000001"));
        a.next_nonce(true, "proxy's");
        assert!(first(&mut a).contains("nc=00000002"), "of another kind");
        a.next_nonce(false, "n2");
        let answer = first(&mut a);
        assert!(answer.contains("nonce=\"n2\"") && answer.contains("nc=00000001"), "{answer}");
        a.next_nonce(false, "n2");
        assert!(first(&mut a).contains("nc=00000002"), "the same response once more");
        // It was rejected as stale: the password is right all the same.
        assert!(a.challenged(vec![Challenge { nonce: "n3".into(), ..c.clone() }]));
        assert!(first(&mut a).contains("nonce=\"n3\""));
        assert!(!a.challenged(vec![Challenge { nonce: "n4".into(), ..c.clone() }]), "now it is wrong");
        // A used-up nonce, after an accepted request.
        let mut a = Authentication::new(Credentials { username: "u".into(), password: "p".into() });
        assert!(a.challenged(vec![c.clone()]));
        first(&mut a);
        a.passed();
        assert!(a.challenged(vec![Challenge { nonce: "n2".into(), ..c.clone() }]));
        // With two realms it is unclear which one it belongs to.
        assert!(a.challenged(vec![Challenge { realm: "other".into(), ..c }]));
        let before = a.headers("INVITE", "sip:x", "c");
        a.next_nonce(false, "n5");
        let after = a.headers("INVITE", "sip:x", "c");
        assert!(before.len() == 2 && after.iter().all(|(_, v)| !v.contains("n5")), "{after:?}");
    }

    #[test]
    fn a_server_that_is_never_content_is_left_alone() {
        let mut a = Authentication::new(Credentials { username: "u".into(), password: "p".into() });
        let stale = |n: u32| Challenge { stale: true, nonce: n.to_string(), ..challenge(Algorithm::Md5) };
        let answered = (0..100).take_while(|n| a.challenged(vec![stale(*n)])).count();
        assert_eq!(answered, usize::from(MAX_ROUNDS));
        a.passed();
        assert!(a.challenged(vec![stale(1000)]));
    }
}
