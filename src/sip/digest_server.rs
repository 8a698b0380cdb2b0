//! Digest authentication as a server (RFC 7616 §3.3, §3.4, RFC 8760). Nonces carry a signed time stamp, so
//! challenges need no state.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use super::digest::{expected, hash};
use super::keyed_hash::KeyedHash;
use crate::base::bucket::forget_oldest;
use crate::base::rng::Rng;
use crate::wire::authorization::Authorization;
use crate::wire::challenge::Algorithm;

/// Lifetime of a nonce.
const LIFETIME: Duration = Duration::from_secs(120);
/// Nonces whose counts are remembered; beyond it the oldest becomes stale.
const MAX_COUNTS: usize = 1024;

/// Hex digits of a nonce before its signature: salt and encrypted time.
const MADE: usize = 32;

/// Stored HA1 of a user (RFC 7616 §3.4.2) per algorithm. Debug output hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Verifier {
    /// Empty: none.
    md5: String,
    /// Empty: none.
    sha256: String,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// From a password, or from its hashes in hex; empty values are unknown.
    #[must_use]
    pub fn new(user: &str, realm: &str, password: &str, ha1: &str, ha1_sha256: &str) -> Self {
        let made = |kept: &str, algorithm| match (kept, password) {
            ("", "") => String::new(),
            ("", _) => hash(algorithm, &format!("{user}:{realm}:{password}")),
            (kept, _) => kept.to_ascii_lowercase(),
        };
        Self { md5: made(ha1, Algorithm::Md5), sha256: made(ha1_sha256, Algorithm::Sha256) }
    }

    fn ha1(&self, algorithm: Algorithm) -> Option<&str> {
        let kept = match algorithm {
            Algorithm::Md5 => &self.md5,
            Algorithm::Sha256 => &self.sha256,
        };
        Some(kept.as_str()).filter(|ha1| !ha1.is_empty())
    }
}

/// Result of checking an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Correct.
    Good,
    /// Correct, but the nonce is too old or was used before: challenge again with `stale=true`.
    Late,
    /// The nonce was not issued by us for this address: challenge again.
    Foreign,
    /// Wrong user name or password.
    Wrong,
}

/// Issues challenges and verifies answers.
#[derive(Debug)]
pub struct DigestServer {
    hash: KeyedHash,
    rng: Rng,
    /// Used instead of the verifier of unknown users.
    nobody: Verifier,
    /// Origin of nonce times.
    epoch: Option<Instant>,
    /// Last count of each nonce in use, and its time of issue.
    counts: BTreeMap<String, (u64, u32)>,
    /// Time of the latest nonce whose count was evicted.
    forgotten: Option<u64>,
}

impl DigestServer {
    /// A server with a random key.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        let hash = KeyedHash::new(rng);
        let nobody = Verifier::new("", "", &rng.token(), "", "");
        Self { hash, rng: rng.fork(), nobody, epoch: None, counts: BTreeMap::new(), forgotten: None }
    }

    /// `WWW-Authenticate` values, one per algorithm, in the given order (RFC 8760 §2.4).
    #[must_use]
    pub fn challenges(
        &mut self,
        now: Instant,
        from: IpAddr,
        realm: &str,
        stale: bool,
        algorithms: &[Algorithm],
    ) -> Vec<String> {
        let nonce = self.nonce(now, from);
        let stale = if stale { ", stale=true" } else { "" };
        algorithms
            .iter()
            .map(|a| {
                let name = a.as_str();
                format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
            })
            .collect()
    }

    /// The time is encrypted and there is no counter: a nonce does not reveal uptime or the number of
    /// challenges.
    fn nonce(&mut self, now: Instant, from: IpAddr) -> String {
        let at = self.seconds(now);
        let salt = self.rng.token();
        let sealed = at ^ self.seal(&salt);
        let made = format!("{salt}{sealed:016x}");
        format!("{made}{}", self.sign(&made, from))
    }

    /// Verifies an answer to one of our challenges against the user's verifier. Unknown users and algorithms
    /// take the same time, so that timing does not reveal which users exist.
    pub fn judge(
        &mut self,
        now: Instant,
        from: IpAddr,
        method: &str,
        answer: &Authorization,
        verifier: Option<&Verifier>,
    ) -> Verdict {
        let known = verifier.and_then(|v| v.ha1(answer.algorithm));
        let ha1 = known.or(self.nobody.ha1(answer.algorithm)).unwrap_or_default();
        let want = expected(ha1, method, answer);
        let right = bool::from(want.as_bytes().ct_eq(answer.response.as_bytes()));
        // From before a restart or a change of the phone's address: challenge again.
        let Some(at) = self.made_at(from, &answer.nonce) else { return Verdict::Foreign };
        if known.is_none() || !right {
            return Verdict::Wrong;
        }
        if at.saturating_add(LIFETIME.as_secs()) < self.seconds(now) {
            return Verdict::Late;
        }
        self.count(&answer.nonce, at, answer.qop.as_ref().map_or(1, |(_, nc)| *nc))
    }

    /// A count that is not higher than the last one is a replay.
    fn count(&mut self, nonce: &str, at: u64, nc: u32) -> Verdict {
        // If the count of this nonce was evicted, replays cannot be detected.
        let unknown = !self.counts.contains_key(nonce);
        if self.counts.get(nonce).is_some_and(|(_, last)| nc <= *last)
            || (unknown && self.forgotten.is_some_and(|until| at <= until))
        {
            return Verdict::Late;
        }
        if unknown {
            let gone = forget_oldest(&mut self.counts, MAX_COUNTS, |(at, _)| *at);
            self.forgotten = self.forgotten.max(gone.map(|(at, _)| at));
        }
        self.counts.insert(nonce.to_owned(), (at, nc));
        Verdict::Good
    }

    /// Removes the counts of expired nonces.
    pub fn tidy(&mut self, now: Instant) {
        let now = self.seconds(now);
        self.counts.retain(|_, (at, _)| at.saturating_add(LIFETIME.as_secs()) >= now);
    }

    fn seconds(&mut self, now: Instant) -> u64 {
        now.saturating_duration_since(*self.epoch.get_or_insert(now)).as_secs()
    }

    /// Time of issue of a nonce, if we issued it for this address.
    fn made_at(&self, from: IpAddr, nonce: &str) -> Option<u64> {
        let (made, signature) = nonce.split_at_checked(MADE)?;
        let (salt, sealed) = made.split_at_checked(MADE / 2)?;
        let sealed = u64::from_str_radix(sealed, 16).ok()?;
        let ours = bool::from(self.sign(made, from).as_bytes().ct_eq(signature.as_bytes()));
        ours.then(|| sealed ^ self.seal(salt))
    }

    fn sign(&self, made: &str, from: IpAddr) -> String {
        self.hash.hex_of(&["nonce", made, &from.to_canonical().to_string()], 12)
    }

    fn seal(&self, salt: &str) -> u64 {
        self.hash.of(&["time", salt]).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::{Authentication, Credentials};
    use crate::sip::virtual_time::epoch;
    use crate::wire::challenge::Challenge;
    use crate::wire::headers::Headers;

    const REALM: &str = "branch";

    fn answers(server: &mut DigestServer, now: Instant, from: IpAddr, password: &str) -> Vec<Authorization> {
        let credentials = Credentials { username: "anna".into(), password: password.into() };
        server
            .challenges(now, from, REALM, false, &[Algorithm::Sha256, Algorithm::Md5])
            .into_iter()
            .map(|text| {
                let mut h = Headers::default();
                h.push("WWW-Authenticate", text.as_str());
                let mut a = Authentication::new(credentials.clone());
                assert!(a.challenged(Challenge::all(&h)));
                Authorization::parse(&a.headers("REGISTER", "sip:x", "cn")[0].1).unwrap()
            })
            .collect()
    }

    #[test]
    fn right_answers_count_once_and_in_time() {
        let now = epoch();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let mut server = DigestServer::new(&mut Rng::from_number(1));
        let secret = Verifier::new("anna", REALM, "p", "", "");
        for n in 0..2 {
            let a = answers(&mut server, now, from, "p").remove(n);
            assert_eq!(server.judge(now, from, "REGISTER", &a, Some(&secret)), Verdict::Good);
        }
        let a = answers(&mut server, now, from, "p").remove(0);
        let other = "192.0.2.2".parse().unwrap();
        assert_eq!(
            server.judge(now, other, "REGISTER", &a, Some(&secret)),
            Verdict::Foreign,
            "another address"
        );
        assert_eq!(server.judge(now, from, "INVITE", &a, Some(&secret)), Verdict::Wrong, "another method");
        assert_eq!(server.judge(now, from, "REGISTER", &a, None), Verdict::Wrong, "nobody");
        assert_eq!(server.judge(now, from, "REGISTER", &a, Some(&secret)), Verdict::Good);
        assert_eq!(server.judge(now, from, "REGISTER", &a, Some(&secret)), Verdict::Late, "a copy");
        let next = Authorization { qop: Some(("cn".into(), 2)), ..a.clone() };
        assert_eq!(server.judge(now, from, "REGISTER", &next, Some(&secret)), Verdict::Wrong, "made up");
        let late = now + Duration::from_secs(121);
        server.counts.clear();
        assert_eq!(server.judge(late, from, "REGISTER", &a, Some(&secret)), Verdict::Late);
        let wrong = answers(&mut server, now, from, "q").remove(0);
        assert_eq!(server.judge(now, from, "REGISTER", &wrong, Some(&secret)), Verdict::Wrong);
    }

    #[test]
    fn counts_are_bounded_and_forgotten() {
        let now = epoch();
        let mut server = DigestServer::new(&mut Rng::from_number(1));
        assert_eq!(server.seconds(now), 0);
        for n in 0..2000 {
            assert_eq!(server.count(&format!("{n}"), n, 1), Verdict::Good);
        }
        assert_eq!(server.counts.len(), MAX_COUNTS);
        assert_eq!(server.count("3", 3, 1), Verdict::Late, "a copy of one that was forgotten");
        server.tidy(now + Duration::from_secs(5000));
        assert!(server.counts.is_empty());
    }

    #[test]
    fn hashes_of_the_file_serve_as_well_as_passwords() {
        let now = epoch();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let mut server = DigestServer::new(&mut Rng::from_number(1));
        let ha1 = hash(Algorithm::Md5, "anna:branch:p").to_ascii_uppercase();
        let secret = Verifier::new("anna", REALM, "", &ha1, "");
        let both = answers(&mut server, now, from, "p");
        assert_eq!(server.judge(now, from, "REGISTER", &both[1], Some(&secret)), Verdict::Good);
        assert_eq!(
            server.judge(now, from, "REGISTER", &both[0], Some(&secret)),
            Verdict::Wrong,
            "no SHA-256"
        );
    }

    #[test]
    fn nonces_show_neither_time_nor_number() {
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let mut server = DigestServer::new(&mut Rng::from_number(1));
        let nonces: Vec<String> =
            (0..200).map(|n| server.nonce(epoch() + Duration::from_secs(n / 2), from)).collect();
        let mut seen = std::collections::BTreeSet::new();
        for (n, nonce) in nonces.iter().enumerate() {
            assert_eq!(server.made_at(from, nonce), Some(n as u64 / 2), "{nonce}");
            assert_eq!(nonce.len(), 56);
            assert!(nonce.bytes().all(|b| b.is_ascii_hexdigit()));
            // No piece of eight bytes occurs twice, and nothing counts up.
            for piece in nonce.as_bytes().chunks(8) {
                assert!(seen.insert(piece.to_vec()), "{nonce}");
            }
        }
        for at in [0, 20, 40] {
            let rising = nonces.windows(2).filter(|w| w[0][at..at + 8] < w[1][at..at + 8]).count();
            assert!((60..140).contains(&rising), "{rising} of 199 rise at {at}");
        }
        let mut other = nonces[0].clone();
        other.replace_range(16..17, if &other[16..17] == "0" { "1" } else { "0" });
        for wrong in [other.as_str(), "", "+", &nonces[0][..55], &"é".repeat(28)] {
            assert_eq!(server.made_at(from, wrong), None, "{wrong}");
        }
    }
}
