//! A call of the gateway to itself: through its own socket, encrypted, answered at once, and told of by no event.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::command::Originate;
use super::core::Gateway;
use super::error::GatewayError;
use super::events::Event;
use super::leg::LegId;
use crate::base::time::Now;
use crate::codec::Codec;
use crate::wire::crypto::Srtp;
use crate::wire::{Method, Request, Uri};

/// Legs and rooms of tests that are remembered: their last events come after them.
const MAX_NAMES: usize = 64;
/// It may ring for so long, s.
const RINGS: u32 = 3;
/// It ends by itself after so long, s.
const LASTS: u32 = 10;

/// The test that runs, and what belonged to the last ones.
#[derive(Debug, Default)]
pub(super) struct SelfTests {
    /// Whom its call is for: nobody else knows that name.
    user: Option<String>,
    names: VecDeque<String>,
}

impl SelfTests {
    fn add(&mut self, name: String) {
        if self.names.len() >= MAX_NAMES {
            self.names.pop_front();
        }
        self.names.push_back(name);
    }

    /// True for legs and rooms of tests.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// True for events that tell of nothing but a test.
    pub(super) fn is_told_of_by(&self, event: &Event) -> bool {
        [&event.leg_id, &event.room_id].into_iter().flatten().any(|name| self.covers(name))
    }
}

/// The legs and the room of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The leg that calls.
    pub caller: String,
    /// A name for a room.
    pub room: String,
}

impl Gateway {
    /// Begins a test: the leg that calls is placed, the one that answers comes by itself.
    ///
    /// # Errors
    /// One runs already (409); there is no room for two legs more (503).
    pub fn begin_self_test(&mut self, now: Now) -> Result<Begun, GatewayError> {
        if self.self_tests.user.is_some() {
            return Err(GatewayError::Conflict("a self-test runs already".to_owned()));
        }
        if self.legs.are_full_for(2) {
            let max = self.ctx.config.limits.legs;
            return Err(GatewayError::Unavailable(format!(
                "a self-test takes two legs, and {max} are allowed (limits.legs)"
            )));
        }
        let locals = self.ctx.sip.locals();
        let home = locals.v4.or(locals.v6);
        let mut home = home.ok_or_else(|| GatewayError::Unavailable("SIP has no address".to_owned()))?;
        if let Some(bound) = self.bound_address() {
            home.set_ip(bound);
        }
        let user = format!("self-test-{}", self.ctx.rng.token());
        let uri = Uri::parse(&format!("sip:{user}@{home}"));
        let uri = uri.map_err(|e| GatewayError::Failed(format!("sip:{user}@{home}: {e}")))?;
        self.self_tests.user = Some(user.clone());
        let placed = self.originate(
            now,
            Originate {
                uri,
                from: user,
                privacy: String::new(),
                ring_timeout: RINGS,
                max_duration: LASTS,
                codecs: self.plain_codec(),
                headers: Vec::new(),
                room_id: String::new(),
                accept_dtmf: false,
                auth: None,
                amd: None,
                webhook: None,
            },
        );
        match placed {
            Ok(leg) => {
                let room = format!("self-test-{}", self.ctx.rng.token());
                self.self_tests.add(room.clone());
                Ok(Begun { caller: leg.id, room })
            }
            Err(e) => {
                self.self_tests.user = None;
                Err(e)
            }
        }
    }

    /// The leg that has answered the test's call, once both are connected.
    #[must_use]
    pub fn self_test_answerer(&self, begun: &Begun) -> Option<String> {
        let connected = |id: LegId| self.legs.get(id).is_some_and(|l| l.connected && l.slot.is_some());
        let mut legs = self.legs.live().filter(|(name, id)| self.self_tests.covers(name) && connected(*id));
        let calls = |name: &str| name == begun.caller;
        let answerer = legs.clone().find(|(name, _)| !calls(name))?;
        legs.any(|(name, _)| calls(name)).then(|| answerer.0.to_owned())
    }

    /// Hangs up what is left of the test, and lets the next one begin.
    pub fn end_self_test(&mut self, now: Now, begun: &Begun) {
        self.self_tests.user = None;
        // Either may be gone.
        let _deleted = self.delete_room(now, &begun.room);
        let _hung_up = self.hang_up_leg(now, &begun.caller, None);
    }

    /// True for the call of the test that runs.
    pub(super) fn is_self_test(&self, request: &Request) -> bool {
        request.method == Method::Invite && self.is_own_test(&request.uri)
    }

    /// True for the address that the test calls.
    pub(super) fn is_own_test(&self, uri: &Uri) -> bool {
        self.self_tests.user.as_deref().is_some_and(|user| uri.user() == user)
    }

    /// Notes the leg that has just been made for the test that runs.
    pub(super) fn note_self_test(&mut self, name: &str) {
        self.self_tests.add(name.to_owned());
    }

    /// How the media of a leg are encrypted.
    pub(super) fn srtp_of_leg(&self, id: LegId) -> Srtp {
        let leg = self.legs.get(id);
        if leg.is_some_and(|l| self.self_tests.covers(&l.id)) {
            return Srtp::Required;
        }
        self.trunks.srtp_of(&self.ctx, leg.and_then(|l| l.trunk))
    }

    /// The address that is bound, where it is another than the one we give as ours, which may lead to the router and not back.
    fn bound_address(&self) -> Option<IpAddr> {
        let bound = self.ctx.config.sip.listen_ip?;
        Some(match bound {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V4(_) | IpAddr::V6(_) => bound,
        })
    }

    /// Where a leg of a test has its media, if it is not where others have it.
    pub(super) fn home_of_leg(&self, id: LegId) -> Option<IpAddr> {
        let leg = self.legs.get(id).filter(|l| self.self_tests.covers(&l.id));
        leg.and_then(|_| self.bound_address())
    }

    /// A codec that costs little, of those that are configured.
    fn plain_codec(&self) -> Vec<Codec> {
        let configured = &self.ctx.config.sip.codecs;
        let plain = configured.iter().rev().find(|c| **c != Codec::Opus).or(configured.first());
        plain.copied().into_iter().collect()
    }
}
