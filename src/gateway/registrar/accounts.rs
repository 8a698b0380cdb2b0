//! Verifiers of the branch's phone users, and the algorithms of their challenges.

use std::collections::BTreeMap;

use crate::config::{Config, DigestOrder, User};
use crate::sip::digest_server::Verifier;
use crate::wire::challenge::Algorithm;

/// The configured users.
#[derive(Debug)]
pub struct Accounts {
    users: BTreeMap<String, Verifier>,
    offered: Vec<Algorithm>,
}

impl Accounts {
    /// Built from the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let realm = config.realm();
        let verifier = |u: &User| {
            let [password, ha1, ha1_sha256] = [&u.password, &u.ha1, &u.ha1_sha256].map(|s| s.reveal());
            (u.name.clone(), Verifier::new(&u.name, realm, password, ha1, ha1_sha256))
        };
        let users = &config.sip.users;
        let order = match config.sip.digest_order {
            DigestOrder::Sha256First => [Algorithm::Sha256, Algorithm::Md5],
            DigestOrder::Md5First => [Algorithm::Md5, Algorithm::Sha256],
        };
        let offered = order.into_iter().filter(|a| users.iter().all(|u| u.can_answer(*a))).collect();
        Self { users: users.iter().map(verifier).collect(), offered }
    }

    /// Digest algorithms that all users can answer. Every challenge lists the same, so that it reveals
    /// neither which users exist nor how their passwords are stored.
    #[must_use]
    pub fn offered(&self) -> &[Algorithm] {
        &self.offered
    }

    /// True for user names.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// All user names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.users.keys().cloned()
    }

    /// Verifier of a user; `None` for algorithms that are not offered.
    #[must_use]
    pub fn verifier(&self, name: &str, algorithm: Algorithm) -> Option<&Verifier> {
        self.users.get(name).filter(|_| self.offered.contains(&algorithm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_ask_for_what_all_can_in_the_order_that_is_set() {
        let user = |password: &str, ha1: &str, ha1_sha256: &str| User {
            name: format!("{password}{ha1}{ha1_sha256}"),
            password: password.into(),
            ha1: ha1.into(),
            ha1_sha256: ha1_sha256.into(),
            ..User::default()
        };
        let (plain, md5, sha) = (user("p", "", ""), user("", "a", ""), user("", "", "b"));
        let (first, last) = (DigestOrder::Sha256First, DigestOrder::Md5First);
        let (m, s) = (Algorithm::Md5, Algorithm::Sha256);
        for (users, order, want) in [
            (vec![plain.clone()], first, vec![s, m]),
            (vec![plain.clone()], last, vec![m, s]),
            (vec![plain.clone(), md5.clone()], first, vec![m]),
            (vec![plain.clone(), sha.clone()], last, vec![s]),
            (vec![user("", "a", "b"), plain], last, vec![m, s]),
            (vec![md5, sha], last, vec![]),
        ] {
            let mut config = Config::default();
            (config.sip.users, config.sip.digest_order) = (users, order);
            let accounts = Accounts::new(&config);
            assert_eq!(accounts.offered(), want);
            for name in accounts.names() {
                assert_eq!(accounts.verifier(&name, m).is_some(), want.contains(&m));
            }
            assert!(accounts.verifier("nobody", s).is_none());
        }
    }
}
