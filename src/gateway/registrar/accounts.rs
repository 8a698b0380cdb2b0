//! What is kept of the passwords of the branch's phones, and how they are asked for them.

use std::collections::BTreeMap;

use crate::config::{Config, DigestOrder, User};
use crate::sip::digest_server::Verifier;
use crate::wire::challenge::Algorithm;

/// The users of the configuration.
#[derive(Debug)]
pub struct Accounts {
    users: BTreeMap<String, Verifier>,
    offered: Vec<Algorithm>,
}

impl Accounts {
    /// Reads the configuration.
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

    /// What challenges ask for: what all users can answer. Whoever is asked gets the same, so that nobody learns from it
    /// who is a user, and what is kept of the password.
    #[must_use]
    pub fn offered(&self) -> &[Algorithm] {
        &self.offered
    }

    /// True for names of users.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Names of users.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.users.keys().cloned()
    }

    /// What an answer of this user is judged by; nothing for algorithms that were not asked for.
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
