//! The API's verbs on a leg that need no file of their own, and what all verbs share.

use std::net::{IpAddr, SocketAddr};

use super::core::Gateway;
use super::described::Described;
use super::digits::Keys;
use super::digits_out::InfoDigits;
use super::error::GatewayError;
use super::events::{EventBody, LegState, Webhook};
use super::leg::{Kind, Leg, LegId, Phase};
use super::leg_view::LegView;
use super::snapshot::view;
use super::subscription::Subscribed;
use crate::base::pool::Standing;
use crate::base::time::Now;
use crate::deliver::share::Origin;
use crate::sip::target::Transport;

/// Reasons of `DELETE /legs/{id}` for an unanswered inbound leg, and their responses.
pub const REJECT_REASONS: &[(&str, u16)] = &[
    ("busy", 486),
    ("declined", 603),
    ("rejected", 603),
    ("unavailable", 480),
    ("not_found", 404),
    ("forbidden", 403),
    ("server_error", 500),
];

impl Leg {
    /// A leg with nothing but its name.
    #[must_use]
    pub fn new(id: String, kind: Kind, phase: Phase, now: Now) -> Self {
        Self {
            id,
            kind,
            phase,
            standing: Standing::Own,
            early: false,
            connected: false,
            held: false,
            on_hold: false,
            hold_until: None,
            min_session: 0,
            change: None,
            muted: false,
            deaf: false,
            accept_dtmf: true,
            reliable: None,
            timer: None,
            knows_update: false,
            auth: None,
            trunk: None,
            user: None,
            transfer: None,
            subscribed: Subscribed::default(),
            was_referred: false,
            referral: None,
            transferred: false,
            refusal: None,
            replaces: None,
            sip_headers: Vec::new(),
            sip_headers_truncated: false,
            created: now,
            answered: None,
            digits: 0,
            keys: Keys::default(),
            info_digits: InfoDigits::default(),
            codecs: Vec::new(),
            port: None,
            slot: None,
            local: None,
            described: Described::default(),
            stream: None,
            rate: 0,
            offer_in_ack: None,
            reinvite: None,
            flow: None,
            ring_until: None,
            max_duration: 0,
            max_until: None,
            closed: false,
            quality: None,
            askers: Vec::new(),
            amd: None,
        }
    }
}

impl Gateway {
    /// `GET /legs/{id}`.
    ///
    /// # Errors
    /// No such leg.
    pub fn leg(&self, name: &str) -> Result<LegView, GatewayError> {
        let id = self.legs.find(name)?;
        self.legs
            .get(id)
            .map(|l| view(l, self.rooms.of_leg(id)))
            .ok_or(GatewayError::NotFound("leg not found"))
    }

    /// `DELETE /legs/{id}` with an optional reason.
    ///
    /// # Errors
    /// No such leg; a reason that is not known, on a leg it would be for.
    pub fn hang_up_leg(&mut self, now: Now, name: &str, reason: Option<&str>) -> Result<(), GatewayError> {
        let id = self.legs.find(name)?;
        let ringing = self.legs.get(id).is_some_and(|l| matches!(l.phase, Phase::Ringing { .. }));
        match reason.filter(|r| ringing && !r.is_empty()) {
            None => self.hang_up(now, id, "api_hangup", None),
            Some(word) => {
                let Some((word, code)) = REJECT_REASONS.iter().find(|(w, _)| *w == word) else {
                    let known: Vec<&str> = REJECT_REASONS.iter().map(|(w, _)| *w).collect();
                    return Err(GatewayError::Invalid(format!("reason: allowed are {}", known.join(", "))));
                };
                self.hang_up(now, id, word, Some(*code));
            }
        }
        self.drain(now);
        Ok(())
    }

    /// True when no new leg can be taken: all places are in use (legs that are just ending included), or
    /// the gateway stops.
    pub(super) fn is_full(&self) -> bool {
        self.ctx.stopping || self.legs.are_full_for(1)
    }

    /// True once the gateway has been told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.ctx.stopping
    }

    /// New calls, of whatever side, get 503 from now on; those that run go on.
    pub fn refuse_new_calls(&mut self) {
        self.ctx.stopping = true;
    }

    /// True when no call is left.
    #[must_use]
    pub fn is_without_calls(&self) -> bool {
        self.legs.live_count() == 0
    }

    /// Ends every leg because the gateway stops; new calls get 503 from now on.
    pub fn shut_down(&mut self, now: Now) {
        self.refuse_new_calls();
        let all: Vec<LegId> = self.legs.live().map(|(_, id)| id).collect();
        for id in all {
            self.hang_up(now, id, "shutdown", Some(503));
        }
        // The BYEs go out while we are still registered: some servers take none from strangers.
        self.drain(now);
        self.trunks.unregister_all(&mut self.ctx, now);
        self.drain(now);
    }

    /// Takes a new leg in, whose events go to `webhook` if there is one; `None` when there is no room.
    pub(super) fn adopt(&mut self, leg: Leg, webhook: Option<Webhook>, origin: Origin) -> Option<LegId> {
        let (name, kind) = (leg.id.clone(), leg.kind.as_str());
        let id = self.legs.insert(leg)?;
        self.ctx.events.add_leg(id, name, webhook, origin);
        *self.ctx.counters.legs_total.entry((kind, "ringing")).or_default() += 1;
        Some(id)
    }

    /// `leg.connected`: the ACK is in (inbound) or out (outbound).
    pub(super) fn connected(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.connected = true;
        if leg.max_duration > 0 {
            let from = leg.answered.unwrap_or(now.mono);
            leg.max_until = Some(from + std::time::Duration::from_secs(leg.max_duration.into()));
        }
        let leg_type = leg.kind;
        *self.ctx.counters.legs_total.entry((leg_type.as_str(), "connected")).or_default() += 1;
        self.legs.reschedule(id);
        self.ctx.events.publish(now, id, EventBody::LegConnected(LegState { leg_type }));
        self.listen(id);
        self.join_waiting(now, id);
        self.take_over(now, id);
        self.referral_answered(now, id);
    }

    /// An address and port as they stand in a `sip:` URI, which means 5060 where it names none.
    pub(super) fn host_and_port(addr: SocketAddr) -> String {
        if addr.port() == Transport::Udp.default_port() {
            Self::host_text(addr.ip())
        } else {
            addr.to_string()
        }
    }

    /// An address as it stands in a URI.
    pub(super) fn host_text(ip: IpAddr) -> String {
        crate::wire::Host::Ip(ip).to_string()
    }
}
