//! Who proves to be a user of ours: answers to challenges, and what a call says of its caller.

use super::guesses::{Chance, WAIT_SECONDS};
use super::registrar::Registrar;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::refusal::{self, TOO_MANY};
use crate::sip::digest_server::Verdict;
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::authorization::Authorization;
use crate::wire::{Method, Request};

/// What credentials are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// They are those of this user.
    Good(String),
    /// Asked anew, they may do.
    Stale,
    /// Name or password are wrong; nobody learns which.
    Wrong,
    /// Too many were wrong: these were not looked at.
    Refused,
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// A user of ours: by its password, or since the call came the way that its phone has registered.
    pub user: Option<String>,
    /// That is beyond doubt before anything was answered: the source of a datagram is not.
    pub proved: bool,
}

impl Registrar {
    /// What the credentials of a request for our realm are worth; `None` when there are none.
    pub fn judge(&mut self, ctx: &mut Context, now: Now, request: &Request, source: Target) -> Option<Proof> {
        let realm = ctx.config.realm();
        let answers = request.common.headers.all("Authorization").filter_map(Authorization::parse);
        let answer = answers.into_iter().find(|a| a.realm == realm)?;
        let name = answer.username.as_str();
        let (method, ip) = (request.method.to_string(), source.addr.ip());
        let verifier = self.accounts.verifier(name, answer.algorithm);
        let verdict = self.digest.judge(now.mono, ip, &method, &answer, verifier);
        // Nothing is said of the password yet.
        if verdict == Verdict::Foreign {
            return Some(Proof::Stale);
        }
        // A phone that has registered is known along its own way, for its own name.
        let own = self.bindings.iter().any(|b| b.user == name && b.flow == source);
        let chance = if own { Chance::Open } else { self.guesses.chance(now.mono, ip, name) };
        match (verdict, chance) {
            (Verdict::Good, Chance::Open | Chance::Quiet) => return Some(Proof::Good(answer.username)),
            (Verdict::Late | Verdict::Foreign, Chance::Open | Chance::Quiet) => return Some(Proof::Stale),
            (Verdict::Wrong, Chance::Open | Chance::Quiet) => {
                ctx.counters.wrong_passwords += 1;
                self.guesses.charge(now.mono, ip, name);
            }
            (_, Chance::Closed) => {
                ctx.counters.guesses_refused += 1;
                self.guesses.count(ip);
            }
        }
        self.report_guesses(now);
        Some(if chance == Chance::Open { Proof::Wrong } else { Proof::Refused })
    }

    /// A stranger's request with credentials of a user of ours. One without is challenged where there are
    /// users, from memory of nothing; else it gets no answer at all.
    pub fn admits_stranger(
        &mut self,
        ctx: &mut Context,
        now: Now,
        request: &Request,
        source: Target,
    ) -> bool {
        ctx.counters.strangers += 1;
        let asks = matches!(request.method, Method::Invite | Method::Register);
        if !self.is_registrar(ctx) || !asks || request.common.to.tag().is_some() {
            return false;
        }
        match self.judge(ctx, now, request, source) {
            Some(Proof::Good(user)) => {
                self.authenticated = Some(user);
                return true;
            }
            Some(Proof::Wrong) => {
                refusal::refuse_stateless(ctx, request, source, 403, "Forbidden", &[]);
            }
            Some(Proof::Refused) => {
                let wait = [("Retry-After", WAIT_SECONDS.to_string())];
                refusal::refuse_stateless(ctx, request, source, 500, TOO_MANY, &wait);
            }
            proof @ (Some(Proof::Stale) | None) => {
                let challenges = self.challenges(ctx, now, source, proof.is_some());
                refusal::refuse_stateless(ctx, request, source, 401, "Unauthorized", &challenges);
            }
        }
        false
    }

    /// Says in the log where wrong passwords come from, once a minute.
    pub fn report_guesses(&mut self, now: Now) {
        if let Some(r) = self.guesses.report(now.mono) {
            log::warn!(source:% = r.source, number = r.number, further_sources = r.sources, of_those = r.others; "wrong passwords");
        }
    }

    /// Asks for a password.
    pub fn challenge(&mut self, ctx: &mut Context, now: Now, tx: ServerId, source: Target, stale: bool) {
        let challenges = self.challenges(ctx, now, source, stale);
        refusal::respond_with(ctx, now, tx, 401, "Unauthorized", &challenges);
    }

    /// Challenges by all algorithms that every user can answer.
    fn challenges(
        &mut self,
        ctx: &Context,
        now: Now,
        source: Target,
        stale: bool,
    ) -> Vec<(&'static str, String)> {
        let (realm, offered) = (ctx.config.realm(), self.accounts.offered());
        let texts = self.digest.challenges(now.mono, source.addr.ip(), realm, stale, offered);
        texts.into_iter().map(|text| ("WWW-Authenticate", text)).collect()
    }

    /// Whose call this is; `None` when it proves to be one user's and says that it is another's.
    pub fn caller_of(
        &mut self,
        ctx: &mut Context,
        now: Now,
        request: &Request,
        source: Target,
    ) -> Option<Caller> {
        let named = request.common.from.uri.user();
        let by_password =
            self.authenticated.take().or_else(|| match self.judge(ctx, now, request, source)? {
                Proof::Good(user) => Some(user),
                // Whose networks are accepted may call without a password.
                Proof::Stale | Proof::Wrong | Proof::Refused => None,
            });
        let proved = by_password.is_some() || source.transport.is_reliable();
        let user = by_password.or_else(|| self.registered_along(source, &named));
        let another = user.as_ref().is_some_and(|user| *user != named && self.accounts.has(&named));
        let proved = proved && user.is_some();
        (!another).then_some(Caller { user, proved })
    }

    /// The user whose phone has registered along this way. Behind a proxy there may be several.
    fn registered_along(&self, source: Target, named: &str) -> Option<String> {
        let mut here = self.bindings.iter().filter(|b| b.flow == source).map(|b| b.user.as_str());
        let first = here.next()?;
        let (mut alone, mut is_named) = (true, first == named);
        for user in here {
            alone &= user == first;
            is_named |= user == named;
        }
        match (is_named, alone) {
            (true, _) => Some(named.to_owned()),
            (false, true) => Some(first.to_owned()),
            (false, false) => None,
        }
    }
}
