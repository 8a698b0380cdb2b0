//! Authentication of the branch's users: passwords, challenges, and protection against password guessing.

use std::time::Instant;

use super::accounts::Accounts;
use super::bindings::Bindings;
use super::guesses::{Chance, Guesses};
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::gateway::context::Context;
use crate::gateway::sip_messages::refusal;
use crate::sip::digest_server::{DigestServer, Verdict};
use crate::sip::flow::Flow;
use crate::sip::transactions::ServerId;
use crate::wire::Request;
use crate::wire::authorization::Authorization;

/// Result of checking credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Valid credentials of this user.
    Good(String),
    /// Stale nonce: challenge again.
    Stale,
    /// Wrong user name or password; the response does not reveal which.
    Wrong,
    /// Not checked, after too many wrong ones.
    Refused,
}

/// Verifiers of the configured users, and digest authentication (RFC 8760).
#[derive(Debug)]
pub(super) struct Authentication {
    accounts: Accounts,
    digest: DigestServer,
    /// Wrong passwords so far.
    guesses: Guesses,
}

impl Authentication {
    /// Without state.
    pub(super) fn new(config: &Config, rng: &mut Rng) -> Self {
        let digest = DigestServer::new(rng);
        let accounts = Accounts::new(config);
        let guesses = Guesses::new(rng.u64(), accounts.names());
        Self { accounts, digest, guesses }
    }

    /// Applies the users of a new configuration.
    pub(super) fn reload(&mut self, config: &Config) {
        self.accounts = Accounts::new(config);
        self.guesses.set_users(self.accounts.names());
    }

    /// True for user names.
    pub(super) fn has(&self, name: &str) -> bool {
        self.accounts.has(name)
    }

    /// A user has registered from this source: later attempts from there are trusted more.
    pub(super) fn registered(&mut self, now: Now, source: Flow, user: &str) {
        self.guesses.registered(now.mono, source.addr.ip(), user);
    }

    /// Checks the credentials of a request for our realm; `None` without credentials.
    pub(super) fn judge(
        &mut self,
        ctx: &mut Context,
        now: Now,
        request: &Request,
        source: Flow,
        bindings: &Bindings,
    ) -> Option<Proof> {
        let realm = ctx.config.realm();
        let answers = request.common.headers.all("Authorization").filter_map(Authorization::parse);
        let answer = answers.into_iter().find(|a| a.realm == realm)?;
        let name = answer.username.as_str();
        let (method, ip) = (request.method.to_string(), source.addr.ip());
        let verifier = self.accounts.verifier(name, answer.algorithm);
        let verdict = self.digest.judge(now.mono, ip, &method, &answer, verifier);
        // The nonce is unknown, so the password has not been tried.
        if verdict == Verdict::Foreign {
            return Some(Proof::Stale);
        }
        // A registered phone is not limited on its own flow, for its own name.
        let own = bindings.has_way(name, source);
        let chance = if own { Chance::Open } else { self.guesses.chance(now.mono, ip, name) };
        match (verdict, chance) {
            (Verdict::Good, Chance::Open | Chance::Quiet) => return Some(Proof::Good(answer.username)),
            (Verdict::Late | Verdict::Foreign, Chance::Open | Chance::Quiet) => return Some(Proof::Stale),
            (Verdict::Wrong, Chance::Open | Chance::Quiet) => {
                ctx.counters.signalling.wrong_passwords += 1;
                self.guesses.charge(now.mono, ip, name);
            }
            (_, Chance::Closed) => {
                ctx.counters.signalling.guesses_refused += 1;
                self.guesses.count(ip);
            }
        }
        self.report_guesses(now);
        Some(if chance == Chance::Open { Proof::Wrong } else { Proof::Refused })
    }

    /// Logs sources of wrong passwords, once a minute.
    pub(super) fn report_guesses(&mut self, now: Now) {
        if let Some(r) = self.guesses.report(now.mono) {
            log::warn!(source:% = r.source, number = r.number, further_sources = r.sources, of_those = r.others; "wrong passwords");
        }
    }

    /// Sends a challenge.
    pub(super) fn challenge(&mut self, ctx: &mut Context, now: Now, tx: ServerId, source: Flow, stale: bool) {
        let challenges = self.challenges(ctx, now, source, stale);
        refusal::respond_with(ctx, now, tx, 401, "Unauthorized", &challenges);
    }

    /// Challenges for all offered algorithms.
    pub(super) fn challenges(
        &mut self,
        ctx: &Context,
        now: Now,
        source: Flow,
        stale: bool,
    ) -> Vec<(&'static str, String)> {
        let (realm, offered) = (ctx.config.realm(), self.accounts.offered());
        let texts = self.digest.challenges(now.mono, source.addr.ip(), realm, stale, offered);
        texts.into_iter().map(|text| ("WWW-Authenticate", text)).collect()
    }

    /// Removes expired state, and logs due reports.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.digest.tidy(now.mono);
        self.report_guesses(now);
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.guesses.deadline()
    }
}
