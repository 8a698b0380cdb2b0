//! A SIP call: state, commands of the API, and its end.

use std::net::IpAddr;
use std::time::Instant;

use super::dtmf_info::InfoDigits;
use super::event::CallEvent;
use super::hold::Hold;
use super::inviting::Inviting;
use super::outlived::OpenDialog;
use super::parts::CallContext;
use super::peer::Peer;
use super::phase::{Phase, Ringing};
use super::prack::ReliableProvisionals;
use super::refer_out::ReferOut;
use super::reinvite::{Reinvite, ReinvitePurpose};
use super::session::Session;
use super::session_timer::CallTimer;
use crate::base::time::Now;
use crate::codec::Codec;
use crate::config::DtmfMode;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, LegState};
use crate::gateway::legs::leg_id::Kind;
use crate::gateway::resources::ports::Port;
use crate::gateway::sip_messages::refusal;
use crate::gateway::trunks::CallTerms;
use crate::sdp::{Description, Negotiated};
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;
use crate::sip::transactions::ServerId;
use crate::wire::Request;
use crate::wire::replaces::Replaces;

/// A SIP call.
#[derive(Debug)]
pub struct SipCall {
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    pub(super) session: Session,
    pub(super) hold: Hold,
    /// Our hold, resume or refresh in progress.
    pub(super) reinvite: Option<Box<Reinvite>>,
    /// The far end's re-INVITE whose 2xx has not been acknowledged.
    pub(super) unacknowledged: Option<ServerId>,
    /// CSeq of an INVITE whose 2xx contains our offer: the answer is expected in the ACK.
    pub(super) offer_in_ack: Option<u32>,
    /// Reliable provisional responses and their PRACKs.
    pub(super) provisionals: Option<Box<ReliableProvisionals>>,
    pub(super) timer: CallTimer,
    pub(super) refer: ReferOut,
    pub(super) info: InfoDigits,
    /// Longest duration after the answer, seconds; 0: unlimited.
    pub(super) max_duration: u32,
    /// A REFER was received in its dialog.
    was_referred: bool,
    /// Its far end has been transferred.
    pub(super) transferred: bool,
}

impl SipCall {
    fn new(peer: Peer, phase: Phase, codecs: Vec<Codec>, max_duration: u32) -> Self {
        Self {
            peer,
            phase,
            session: Session::new(codecs),
            hold: Hold::default(),
            reinvite: None,
            unacknowledged: None,
            offer_in_ack: None,
            provisionals: None,
            timer: CallTimer::default(),
            refer: ReferOut::default(),
            info: InfoDigits::default(),
            max_duration,
            was_referred: false,
            transferred: false,
        }
    }

    /// An outbound call that offers these codecs, best first; `max_duration` in seconds after the answer, 0:
    /// unlimited.
    #[must_use]
    pub fn outbound(peer: Peer, inviting: Inviting, codecs: Vec<Codec>, max_duration: u32) -> Self {
        Self::new(peer, Phase::Inviting(Box::new(inviting)), codecs, max_duration)
    }

    /// An inbound call with this INVITE and offer; it rings at most `until`.
    #[must_use]
    pub fn inbound(
        peer: Peer,
        tx: ServerId,
        offer: Option<Description>,
        codecs: Vec<Codec>,
        until: Instant,
    ) -> Self {
        let ringing = Ringing { tx, offer, early: false, until };
        Self::new(peer, Phase::Ringing(Box::new(ringing)), codecs, 0)
    }

    /// A call that has ended.
    #[cfg(test)]
    pub fn ended(peer: Peer, now: Instant, latest: Instant) -> Self {
        let ending = super::phase::Ending { reason: String::new(), at: now, answered: None, latest };
        Self::new(peer, Phase::Ending(Box::new(ending)), Vec::new(), 0)
    }

    /// Call direction.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.peer.outbound { Kind::SipOutbound } else { Kind::SipInbound }
    }

    /// The state shown by the API.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Ending(_) => "hung_up",
            Phase::Up(_) if self.hold.is_on() => "held",
            Phase::Up(_) => "connected",
            Phase::Inviting(_) | Phase::Ringing(_) | Phase::Answered(_) if self.is_early() => "early_media",
            Phase::Inviting(_) | Phase::Ringing(_) | Phase::Answered(_) => "ringing",
        }
    }

    /// True if media was opened before the answer.
    #[must_use]
    pub fn is_early(&self) -> bool {
        match &self.phase {
            Phase::Inviting(inviting) => inviting.is_early(),
            Phase::Ringing(ringing) => ringing.early,
            Phase::Answered(answered) => answered.early,
            Phase::Up(_) | Phase::Ending(_) => false,
        }
    }

    /// An unanswered outbound call.
    #[must_use]
    pub fn is_inviting(&self) -> bool {
        matches!(self.phase, Phase::Inviting(_))
    }

    /// An unanswered inbound call.
    #[must_use]
    pub fn is_ringing(&self) -> bool {
        matches!(self.phase, Phase::Ringing(_))
    }

    /// An inbound call whose 200 has not been acknowledged.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered(_))
    }

    /// Connected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// The call has ended; the terminal event of its leg may be pending.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_))
    }

    /// On hold by either end, as published.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_up() && self.hold.is_on()
    }

    /// On hold by us.
    #[must_use]
    pub fn is_held_by_us(&self) -> bool {
        self.hold.is_ours()
    }

    /// The INVITE of an unanswered inbound call.
    #[must_use]
    pub fn unanswered(&self) -> Option<ServerId> {
        if let Phase::Ringing(ringing) = &self.phase { Some(ringing.tx) } else { None }
    }

    /// True if an INVITE of the far end waits for its ACK.
    #[must_use]
    pub fn waits_for_ack(&self, tx: ServerId) -> bool {
        matches!(&self.phase, Phase::Answered(a) if a.tx == tx) || self.unacknowledged == Some(tx)
    }

    /// True if an outbound call rings in the early dialog with this tag.
    #[must_use]
    pub fn rings(&self, tag: &str) -> bool {
        matches!(&self.phase, Phase::Inviting(i) if i.rings(tag))
    }

    /// True if it was sent over the registered flow of a phone.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        match &self.phase {
            Phase::Inviting(inviting) => inviting.is_pinned(),
            Phase::Answered(_) | Phase::Up(_) => self.dialog().is_some_and(|d| d.pinned.is_some()),
            Phase::Ringing(_) | Phase::Ending(_) => false,
        }
    }

    /// Reason and time of its end, and time of the answer.
    #[must_use]
    pub fn end_of(&self) -> Option<(&str, Instant, Option<Instant>)> {
        if let Phase::Ending(e) = &self.phase { Some((&e.reason, e.at, e.answered)) } else { None }
    }

    /// The flow of its dialog.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        self.peer.flow
    }

    /// Its settings, from its trunk or the global ones.
    #[must_use]
    pub fn terms(&self) -> &CallTerms {
        &self.peer.terms
    }

    /// Our user at its far end.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.peer.user.as_deref()
    }

    /// The negotiated session, and the source address of its signalling.
    #[must_use]
    pub fn agreement(&self) -> Option<(Negotiated, Option<IpAddr>)> {
        Some((self.session.stream()?, self.peer.ip()))
    }

    /// Codecs it may use, best first.
    #[must_use]
    pub fn codecs(&self) -> &[Codec] {
        self.session.codecs()
    }

    /// Takes its sockets for opening the media.
    pub fn open_port(&mut self) -> Option<Port> {
        self.session.open()
    }

    /// True if it has sockets on which no media was opened yet.
    #[must_use]
    pub fn has_port(&self) -> bool {
        self.session.has_port()
    }

    /// True if the far end receives media, and with it digits: it does not hold us.
    #[must_use]
    pub fn takes_digits(&self) -> bool {
        self.session.sends()
    }

    /// How digits are sent to the far end.
    #[must_use]
    pub fn dtmf_mode(&self) -> DtmfMode {
        let mode = self.peer.terms.dtmf;
        // INFO requires a confirmed dialog; media may be open before that.
        if mode == DtmfMode::Info && self.dialog().is_none() { DtmfMode::Auto } else { mode }
    }

    /// The dialog, if there is one.
    #[must_use]
    pub fn dialog(&self) -> Option<&Dialog> {
        match &self.phase {
            Phase::Answered(answered) => Some(&answered.dialog),
            Phase::Up(up) => Some(&up.dialog),
            Phase::Inviting(_) | Phase::Ringing(_) | Phase::Ending(_) => None,
        }
    }

    /// Replaces value of a connected call from the far end's point of view.
    #[must_use]
    pub fn replaceable(&self) -> Option<Replaces> {
        let Phase::Up(up) = &self.phase else { return None };
        Some(Replaces {
            call_id: up.dialog.call_id.clone(),
            to_tag: up.dialog.remote.tag().unwrap_or("0").to_owned(),
            from_tag: up.dialog.local_tag().to_owned(),
            early_only: false,
        })
    }

    /// Access to the dialog of a connected call for sending a request.
    pub fn open_dialog(&mut self, ctx: &Context) -> Option<OpenDialog<'_>> {
        let Phase::Up(up) = &mut self.phase else { return None };
        let contact = self.peer.contact(ctx, up.dialog.is_secure());
        let (flow, lax) = (self.peer.flow, self.peer.terms.lax);
        Some(OpenDialog { dialog: &mut up.dialog, flow, lax, contact })
    }

    /// Records a REFER in its dialog; true if it is not the first.
    pub fn note_refer(&mut self) -> bool {
        std::mem::replace(&mut self.was_referred, true)
    }

    /// Marks its far end as transferred.
    pub fn set_transferred(&mut self) {
        self.transferred = true;
    }

    /// True if its far end has been transferred.
    #[must_use]
    pub fn is_transferred(&self) -> bool {
        self.transferred
    }

    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        self.phase.dialog_mut()
    }

    /// True if it uses Opus, or the far end may still choose it: any of its phones while none has answered.
    pub(super) fn holds_opus(&self) -> bool {
        match (&self.phase, self.session.uses_opus()) {
            (Phase::Inviting(_), _) | (Phase::Answered(_) | Phase::Up(_), None) => {
                self.session.codecs().contains(&Codec::Opus)
            }
            (_, Some(uses)) => uses,
            (Phase::Ringing(_) | Phase::Ending(_), None) => false,
        }
    }

    /// Updates its use of Opus capacity after any change.
    pub fn settle_opus(&mut self, ctx: &mut Context) {
        let holds = self.holds_opus();
        self.session.settle_opus(ctx, holds);
    }

    /// Its leg was removed.
    pub fn release_opus(&mut self, ctx: &mut Context) {
        self.session.settle_opus(ctx, false);
    }

    /// The next time something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Ending(ending) => return Some(ending.latest),
            Phase::Inviting(inviting) => inviting.deadline(),
            Phase::Ringing(ringing) => {
                let provisional = self.provisionals.as_ref().and_then(|p| p.deadline());
                [Some(ringing.until), provisional].into_iter().flatten().min()
            }
            Phase::Answered(_) => None,
            Phase::Up(up) => up.max_until,
        };
        let reinvite = self.reinvite.as_ref().map(|r| r.deadline());
        let own = [self.hold.deadline(), self.timer.deadline(), self.refer.deadline(), self.info.deadline()];
        own.into_iter().chain([phase, reinvite]).flatten().min()
    }

    /// Handles timeouts.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        let (rings_until, max_until) = match &self.phase {
            Phase::Inviting(inviting) => (inviting.ends_at(), None),
            Phase::Ringing(ringing) => (Some(ringing.until), None),
            Phase::Up(up) => (None, up.max_until),
            Phase::Answered(_) | Phase::Ending(_) => (None, None),
        };
        if due(rings_until) {
            return self.ring_out(ctx, now);
        } else if due(max_until) {
            return self.hang_up(ctx, now, "max_duration", None);
        } else if due(self.hold.deadline()) {
            return self.hang_up(ctx, now, "hold_timeout", None);
        }
        if let Some(reinvite) = &mut self.reinvite {
            let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
            let verdict = reinvite.handle_timeout(&mut c);
            self.apply(ctx, now, verdict);
        }
        if let Some(dialog) = self.phase.dialog_mut() {
            let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
            self.refer.handle_timeout(&mut c, dialog);
        }
        if self.timer.has_expired(now.mono) {
            return self.hang_up(ctx, now, "session_expired", None);
        }
        if self.timer.refresh_is_due(now.mono) && self.is_up() && self.reinvite.is_none() {
            self.begin_reinvite(ctx, now, Reinvite::new(ReinvitePurpose::Refresh, now.mono, None));
        }
        self.phase_due(ctx, now);
        self.send_info(ctx, now);
    }

    fn phase_due(&mut self, ctx: &mut Context, now: Now) {
        match &mut self.phase {
            Phase::Ringing(ringing) => {
                let tx = ringing.tx;
                if let Some(provisionals) = &mut self.provisionals
                    && !provisionals.handle_timeout(ctx, now, tx)
                {
                    refusal::respond(ctx, now, tx, 504, "Server Time-out: no PRACK");
                    self.end(ctx, now, "ack_timeout");
                }
            }
            Phase::Inviting(inviting) => {
                let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
                let outcome = inviting.handle_timeout(&mut c);
                self.outgoing(ctx, now, outcome);
            }
            Phase::Answered(_) | Phase::Up(_) | Phase::Ending(_) => {}
        }
    }

    /// Its far end is now reached over another flow.
    pub fn flow_leads(&mut self, ctx: &mut Context, to: Flow) {
        self.peer.flow = Some(to);
        if let Some(dialog) = self.phase.dialog_mut() {
            dialog.move_pin(to.uri());
        }
        let initial = match &self.phase {
            Phase::Ringing(ringing) => Some(ringing.tx),
            Phase::Answered(answered) => Some(answered.tx),
            Phase::Inviting(_) | Phase::Up(_) | Phase::Ending(_) => None,
        };
        for tx in initial.into_iter().chain(self.unacknowledged) {
            ctx.sip.answer_along(tx, to);
        }
    }

    /// A connection was closed: its id must not be matched with a connection to another server, whose
    /// certificate carries another name.
    pub fn forget_connection(&mut self, gone: u64) {
        self.peer.flow.iter_mut().filter(|f| f.conn == Some(gone)).for_each(|f| f.conn = None);
    }

    /// The far end's target is updated to the source and Contact of this request (RFC 3261 §12.2.2).
    pub(super) fn follow(&mut self, request: &Request, source: Flow) {
        self.peer.flow = Some(source);
        if let Some(dialog) = self.phase.dialog_mut() {
            dialog.refresh_target(&request.common.contacts);
            dialog.move_pin(source.uri());
        }
    }

    /// The call is connected: the ACK was received (inbound) or sent (outbound).
    pub(super) fn connected(&mut self, ctx: &mut Context, now: Now) {
        let leg_type = self.kind();
        ctx.counters.calls.note_state(leg_type.as_str(), "connected");
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        c.publish(EventBody::LegConnected(LegState { leg_type }));
        c.report(CallEvent::Connected);
        self.note_hold(ctx, now);
    }

    /// Publishes the start or end of a hold.
    pub(super) fn note_hold(&mut self, ctx: &mut Context, now: Now) {
        if self.session.stream().is_some() {
            let theirs = !self.session.sends();
            self.hold.publish(ctx, now, self.peer.id, self.kind(), theirs);
        }
    }
}
