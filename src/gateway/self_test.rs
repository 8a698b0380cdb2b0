//! Self-test call of the gateway to itself over its own sockets, encrypted, answered automatically, without
//! events.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::context::Context;
use super::events::Event;
use crate::codec::Codec;
use crate::config::Config;
use crate::gateway::interface::command::Originate;
use crate::gateway::interface::error::GatewayError;
use crate::wire::{Method, Request, Uri};

/// Legs and rooms of tests that are remembered, since their terminal events arrive later.
const MAX_NAMES: usize = 64;
/// Ringing time limit, s.
const RINGS: u32 = 3;
/// Maximum duration, s.
const LASTS: u32 = 10;

/// The running test, and names of earlier ones.
#[derive(Debug, Default)]
pub struct SelfTests {
    /// Secret user part of the called address.
    user: Option<String>,
    names: VecDeque<String>,
}

impl SelfTests {
    /// Starts a test; returns the call to place. The answering leg arrives over the network.
    ///
    /// # Errors
    /// A test is already running (409); SIP has no address (503).
    pub fn begin(&mut self, ctx: &mut Context) -> Result<Originate, GatewayError> {
        if self.user.is_some() {
            return Err(GatewayError::Conflict("a self-test runs already".to_owned()));
        }
        let locals = ctx.sip.locals();
        let home = locals.v4.or(locals.v6);
        let mut home = home.ok_or_else(|| GatewayError::Unavailable("SIP has no address".to_owned()))?;
        if let Some(bound) = bound_address(&ctx.config) {
            home.set_ip(bound);
        }
        let user = format!("self-test-{}", ctx.rng.token());
        let uri = Uri::parse(&format!("sip:{user}@{home}"));
        let uri = uri.map_err(|e| GatewayError::Failed(format!("sip:{user}@{home}: {e}")))?;
        self.user = Some(user.clone());
        Ok(Originate {
            uri,
            from: user,
            privacy: String::new(),
            ring_timeout: RINGS,
            max_duration: LASTS,
            codecs: plain_codec(&ctx.config.sip.codecs),
            headers: Vec::new(),
            room_id: String::new(),
            accept_dtmf: false,
            auth: None,
            amd: None,
            webhook: None,
        })
    }

    /// The call was placed: returns the data for the rest of the test.
    pub fn begun(&mut self, ctx: &mut Context, caller: String) -> Begun {
        let room = format!("self-test-{}", ctx.rng.token());
        self.add(room.clone());
        Begun { caller, room }
    }

    /// The test has ended; the next one may start.
    pub fn end(&mut self) {
        self.user = None;
    }

    /// True for the INVITE of the running test.
    #[must_use]
    pub fn is_call(&self, request: &Request) -> bool {
        request.method == Method::Invite && self.calls(&request.uri)
    }

    /// True for the address called by the running test.
    #[must_use]
    pub fn calls(&self, uri: &Uri) -> bool {
        self.user.as_deref().is_some_and(|user| uri.user() == user)
    }

    /// Records a leg or room of the running test.
    pub fn add(&mut self, name: String) {
        if self.names.len() >= MAX_NAMES {
            self.names.pop_front();
        }
        self.names.push_back(name);
    }

    /// True for legs and rooms of tests.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// True for events that concern only a test.
    #[must_use]
    pub fn is_told_of_by(&self, event: &Event) -> bool {
        [&event.leg_id, &event.room_id].into_iter().flatten().any(|name| self.covers(name))
    }
}

/// Legs and room of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The calling leg.
    pub caller: String,
    /// Name for the room.
    pub room: String,
}

/// The bound address, if it differs from the announced one, which may belong to a NAT router without
/// hairpinning.
pub(super) fn bound_address(config: &Config) -> Option<IpAddr> {
    let bound = config.sip.listen_ip?;
    Some(match bound {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => bound,
    })
}

/// A cheap codec among the configured ones.
fn plain_codec(configured: &[Codec]) -> Vec<Codec> {
    let plain = configured.iter().rev().find(|c| **c != Codec::Opus).or(configured.first());
    plain.copied().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::context;

    #[test]
    fn one_test_runs_at_a_time_and_nobody_else_knows_whom_it_calls() {
        let (mut ctx, mut tests) = (context(|_| {}), SelfTests::default());
        let first = tests.begin(&mut ctx).unwrap();
        assert!(first.uri.to_string().ends_with("@192.0.2.1:5060"), "{}", first.uri);
        assert!(matches!(tests.begin(&mut ctx), Err(GatewayError::Conflict(_))));
        assert!(tests.calls(&first.uri));
        tests.end();
        assert!(!tests.calls(&first.uri), "it is over");
        let second = tests.begin(&mut ctx).unwrap();
        assert!(second.uri != first.uri && tests.calls(&second.uri) && !tests.calls(&first.uri));
    }

    #[test]
    fn legs_and_rooms_of_the_last_tests_are_remembered() {
        let mut tests = SelfTests::default();
        (0..=MAX_NAMES).for_each(|n| tests.add(n.to_string()));
        assert!(!tests.covers("0") && tests.covers("1") && tests.covers(&MAX_NAMES.to_string()));
    }

    #[test]
    fn a_codec_that_costs_little_is_used_where_there_is_one() {
        assert_eq!(plain_codec(&[Codec::Opus, Codec::Pcma]), [Codec::Pcma]);
        assert_eq!(plain_codec(&[Codec::Opus]), [Codec::Opus]);
    }

    #[test]
    fn what_is_bound_everywhere_is_reached_at_loopback() {
        let bound = |text: Option<&str>| {
            let mut config = Config::default();
            config.sip.listen_ip = text.map(|t| t.parse().unwrap());
            bound_address(&config).map(|ip| ip.to_string())
        };
        let cases = [None, Some("0.0.0.0"), Some("::"), Some("192.0.2.7")].map(bound);
        let want = [None, Some("127.0.0.1"), Some("::1"), Some("192.0.2.7")].map(|t| t.map(str::to_owned));
        assert_eq!(cases, want);
    }
}
