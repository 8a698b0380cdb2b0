//! Challenges of ours, and whether an answer to one is right (RFC 7616 §3.3, §3.4, RFC 8760). Nonces carry their
//! time and a signature, so that nothing is kept for those who are only asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::digest::{Secret, expected};
use crate::base::hex::hex;
use crate::base::rng::Rng;
use crate::wire::authorization::Authorization;
use crate::wire::challenge::Algorithm;

/// A nonce is good for this long.
const LIFETIME: Duration = Duration::from_secs(120);
/// Nonces in use whose counts are remembered; past it the oldest has to be asked for anew.
const MAX_COUNTS: usize = 1024;

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Good,
    /// Its nonce is not ours, too old or was used before: asked again, it may do.
    Stale,
    /// Name or password are wrong.
    Wrong,
}

/// Makes challenges and judges their answers.
#[derive(Debug)]
pub struct DigestServer {
    key: [u8; 16],
    /// Times are counted from here.
    epoch: Option<Instant>,
    /// Challenges made.
    serial: u64,
    /// The last count of each nonce in use, and when it was made.
    counts: BTreeMap<String, (u64, u32)>,
    /// The youngest nonce whose count was forgotten to make room.
    forgotten: Option<u64>,
}

impl DigestServer {
    /// A server with a key of its own.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        let (high, low) = (rng.u64().to_be_bytes(), rng.u64().to_be_bytes());
        key.iter_mut().zip(high.into_iter().chain(low)).for_each(|(k, b)| *k = b);
        Self { key, epoch: None, serial: 0, counts: BTreeMap::new(), forgotten: None }
    }

    /// The values of `WWW-Authenticate`, the better algorithm first (RFC 8760 §2.4), if all who may answer can
    /// use it.
    #[must_use]
    pub fn challenges(
        &mut self,
        now: Instant,
        from: IpAddr,
        realm: &str,
        stale: bool,
        algorithms: &[Algorithm],
    ) -> Vec<String> {
        let at = self.seconds(now);
        self.serial = self.serial.wrapping_add(1);
        let made = format!("{at:x}.{:x}", self.serial);
        let nonce = format!("{made}.{}", self.sign(&made, from));
        let stale = if stale { ", stale=true" } else { "" };
        algorithms
            .iter()
            .map(|a| {
                let name = a.as_str();
                format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
            })
            .collect()
    }

    /// Judges an answer to a challenge of ours. `secret` is that of the user it names; without one the work is
    /// the same, so that time does not tell who is known.
    pub fn judge(
        &mut self,
        now: Instant,
        from: IpAddr,
        method: &str,
        answer: &Authorization,
        secret: Option<&Secret>,
    ) -> Verdict {
        let nobody = Secret::default();
        let want = expected(secret.unwrap_or(&nobody), method, answer);
        let right = want.is_some_and(|w| bool::from(w.as_bytes().ct_eq(answer.response.as_bytes())));
        // A nonce of an earlier life of ours, or from before the phone's address changed: asked anew, it will do.
        let Some(at) = self.made_at(from, &answer.nonce) else { return Verdict::Stale };
        if secret.is_none() || !right {
            return Verdict::Wrong;
        }
        if at.saturating_add(LIFETIME.as_secs()) < self.seconds(now) {
            return Verdict::Stale;
        }
        self.count(&answer.nonce, at, answer.qop.as_ref().map_or(1, |(_, nc)| *nc))
    }

    /// A count that was there before is a copy of an answer, made by whoever listened.
    fn count(&mut self, nonce: &str, at: u64, nc: u32) -> Verdict {
        // Of a nonce whose count had to be forgotten nobody knows which answers are copies.
        let unknown = !self.counts.contains_key(nonce);
        if self.counts.get(nonce).is_some_and(|(_, last)| nc <= *last)
            || (unknown && self.forgotten.is_some_and(|until| at <= until))
        {
            return Verdict::Stale;
        }
        if self.counts.len() >= MAX_COUNTS && unknown {
            let oldest = self.counts.iter().min_by_key(|(_, (at, _))| *at).map(|(n, _)| n.clone());
            let gone = oldest.and_then(|n| self.counts.remove(&n));
            self.forgotten = self.forgotten.max(gone.map(|(at, _)| at));
        }
        self.counts.insert(nonce.to_owned(), (at, nc));
        Verdict::Good
    }

    /// Forgets the counts of nonces that are too old anyway.
    pub fn tidy(&mut self, now: Instant) {
        let now = self.seconds(now);
        self.counts.retain(|_, (at, _)| at.saturating_add(LIFETIME.as_secs()) >= now);
    }

    fn seconds(&mut self, now: Instant) -> u64 {
        now.saturating_duration_since(*self.epoch.get_or_insert(now)).as_secs()
    }

    /// When a nonce was made, if it is ours and was made for this address.
    fn made_at(&self, from: IpAddr, nonce: &str) -> Option<u64> {
        let (made, signature) = nonce.rsplit_once('.')?;
        let at = u64::from_str_radix(made.split('.').next()?, 16).ok()?;
        bool::from(self.sign(made, from).as_bytes().ct_eq(signature.as_bytes())).then_some(at)
    }

    fn sign(&self, made: &str, from: IpAddr) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(format!("{made}|{}", from.to_canonical()).as_bytes());
        hex(mac.finalize().into_bytes().get(..12).unwrap_or_default())
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
        let secret = Secret { password: "p".into(), ..Secret::default() };
        for n in 0..2 {
            let a = answers(&mut server, now, from, "p").remove(n);
            assert_eq!(server.judge(now, from, "REGISTER", &a, Some(&secret)), Verdict::Good);
        }
        let a = answers(&mut server, now, from, "p").remove(0);
        let other = "192.0.2.2".parse().unwrap();
        assert_eq!(
            server.judge(now, other, "REGISTER", &a, Some(&secret)),
            Verdict::Stale,
            "another address"
        );
        assert_eq!(server.judge(now, from, "INVITE", &a, Some(&secret)), Verdict::Wrong, "another method");
        assert_eq!(server.judge(now, from, "REGISTER", &a, None), Verdict::Wrong, "nobody");
        assert_eq!(server.judge(now, from, "REGISTER", &a, Some(&secret)), Verdict::Good);
        assert_eq!(server.judge(now, from, "REGISTER", &a, Some(&secret)), Verdict::Stale, "a copy");
        let next = Authorization { qop: Some(("cn".into(), 2)), ..a.clone() };
        assert_eq!(server.judge(now, from, "REGISTER", &next, Some(&secret)), Verdict::Wrong, "made up");
        let late = now + Duration::from_secs(121);
        server.counts.clear();
        assert_eq!(server.judge(late, from, "REGISTER", &a, Some(&secret)), Verdict::Stale);
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
        assert_eq!(server.count("3", 3, 1), Verdict::Stale, "a copy of one that was forgotten");
        server.tidy(now + Duration::from_secs(5000));
        assert!(server.counts.is_empty());
    }

    #[test]
    fn hashes_of_the_file_serve_as_well_as_passwords() {
        let now = epoch();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let mut server = DigestServer::new(&mut Rng::from_number(1));
        let secret =
            Secret { ha1: crate::sip::digest::hash(Algorithm::Md5, "anna:branch:p"), ..Secret::default() };
        let both = answers(&mut server, now, from, "p");
        assert_eq!(server.judge(now, from, "REGISTER", &both[1], Some(&secret)), Verdict::Good);
        assert_eq!(
            server.judge(now, from, "REGISTER", &both[0], Some(&secret)),
            Verdict::Wrong,
            "no SHA-256"
        );
    }
}
