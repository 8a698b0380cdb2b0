//! A SIP call: how far it is, what the API asks of it, and its end.

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
use super::reinvite::{Purpose, Reinvite};
use super::session::Session;
use super::session_timer::CallTimer;
use crate::base::time::Now;
use crate::codec::Codec;
use crate::config::DtmfMode;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, LegState};
use crate::gateway::leg_id::Kind;
use crate::gateway::ports::Port;
use crate::gateway::refusal;
use crate::gateway::trunks::CallTerms;
use crate::sdp::{Description, Negotiated};
use crate::sip::dialog::Dialog;
use crate::sip::target::Target;
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
    /// A hold, resume or refresh of ours that is not done.
    pub(super) reinvite: Option<Box<Reinvite>>,
    /// A re-INVITE of theirs whose 2xx waits for its ACK.
    pub(super) unacknowledged: Option<ServerId>,
    /// An offer of ours in a 2xx waits for its answer in the ACK with this CSeq.
    pub(super) offer_in_ack: Option<u32>,
    /// Provisional responses that want a PRACK.
    pub(super) provisionals: Option<Box<ReliableProvisionals>>,
    pub(super) timer: CallTimer,
    pub(super) refer: ReferOut,
    pub(super) info: InfoDigits,
    /// Longest time from the answer on, seconds; 0: no limit.
    pub(super) max_duration: u32,
    /// A REFER has come in its dialog.
    was_referred: bool,
    /// Its far end talks to somebody else now.
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

    /// A call of ours that offers these codecs, best first. It ends `max_duration` seconds after its answer; 0: no limit.
    #[must_use]
    pub fn outbound(peer: Peer, inviting: Inviting, codecs: Vec<Codec>, max_duration: u32) -> Self {
        Self::new(peer, Phase::Inviting(Box::new(inviting)), codecs, max_duration)
    }

    /// A call to us, by this INVITE with this offer; it rings `until` then.
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

    /// Which end placed it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.peer.outbound { Kind::SipOutbound } else { Kind::SipInbound }
    }

    /// The state as the API shows it.
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

    /// Media was on before the answer.
    #[must_use]
    pub fn is_early(&self) -> bool {
        match &self.phase {
            Phase::Inviting(inviting) => inviting.is_early(),
            Phase::Ringing(ringing) => ringing.early,
            Phase::Answered(answered) => answered.early,
            Phase::Up(_) | Phase::Ending(_) => false,
        }
    }

    /// A call of ours that is not answered.
    #[must_use]
    pub fn is_inviting(&self) -> bool {
        matches!(self.phase, Phase::Inviting(_))
    }

    /// A call to us that is not answered.
    #[must_use]
    pub fn is_ringing(&self) -> bool {
        matches!(self.phase, Phase::Ringing(_))
    }

    /// A call to us whose 200 is not acknowledged.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered(_))
    }

    /// Connected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Over; the last event of its leg may still be to come.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending(_))
    }

    /// On hold by either end, as it was published.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_up() && self.hold.is_on()
    }

    /// We have put the far end on hold.
    #[must_use]
    pub fn is_held_by_us(&self) -> bool {
        self.hold.is_ours()
    }

    /// The INVITE of a call to us that is not answered.
    #[must_use]
    pub fn unanswered(&self) -> Option<ServerId> {
        if let Phase::Ringing(ringing) = &self.phase { Some(ringing.tx) } else { None }
    }

    /// True when an INVITE of the far end waits for its ACK.
    #[must_use]
    pub fn waits_for_ack(&self, tx: ServerId) -> bool {
        matches!(&self.phase, Phase::Answered(a) if a.tx == tx) || self.unacknowledged == Some(tx)
    }

    /// True when a call of ours rings in the early dialog with this tag.
    #[must_use]
    pub fn rings(&self, tag: &str) -> bool {
        matches!(&self.phase, Phase::Inviting(i) if i.rings(tag))
    }

    /// True when it goes, or went, to a phone the way it registered.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        match &self.phase {
            Phase::Inviting(inviting) => inviting.is_pinned(),
            Phase::Answered(_) | Phase::Up(_) => self.dialog().is_some_and(|d| d.pinned.is_some()),
            Phase::Ringing(_) | Phase::Ending(_) => false,
        }
    }

    /// Why and when it ended, and when it was answered.
    #[must_use]
    pub fn end_of(&self) -> Option<(&str, Instant, Option<Instant>)> {
        if let Phase::Ending(e) = &self.phase { Some((&e.reason, e.at, e.answered)) } else { None }
    }

    /// The connection or address its dialog came along.
    #[must_use]
    pub fn flow(&self) -> Option<Target> {
        self.peer.flow
    }

    /// What its trunk, or the settings, say of it.
    #[must_use]
    pub fn terms(&self) -> &CallTerms {
        &self.peer.terms
    }

    /// The user of ours at its far end.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.peer.user.as_deref()
    }

    /// What is agreed, and the address that its signalling comes from.
    #[must_use]
    pub fn agreement(&self) -> Option<(Negotiated, Option<IpAddr>)> {
        Some((self.session.stream()?, self.peer.ip()))
    }

    /// Codecs it may use, best first.
    #[must_use]
    pub fn codecs(&self) -> &[Codec] {
        self.session.codecs()
    }

    /// The sockets for media that is opened now.
    pub fn open_port(&mut self) -> Option<Port> {
        self.session.open()
    }

    /// True when it has sockets that no media was opened on.
    #[must_use]
    pub fn has_port(&self) -> bool {
        self.session.has_port()
    }

    /// The far end takes media, and with it digits: it has not put us on hold.
    #[must_use]
    pub fn takes_digits(&self) -> bool {
        self.session.sends()
    }

    /// How digits go to the far end.
    #[must_use]
    pub fn dtmf_mode(&self) -> DtmfMode {
        let mode = self.peer.terms.dtmf;
        // An INFO needs a dialog that is confirmed; before that there may be media already.
        if mode == DtmfMode::Info && self.dialog().is_none() { DtmfMode::Auto } else { mode }
    }

    /// The dialog, once there is one.
    #[must_use]
    pub fn dialog(&self) -> Option<&Dialog> {
        match &self.phase {
            Phase::Answered(answered) => Some(&answered.dialog),
            Phase::Up(up) => Some(&up.dialog),
            Phase::Inviting(_) | Phase::Ringing(_) | Phase::Ending(_) => None,
        }
    }

    /// The dialog of a connected call, as its far end knows it.
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

    /// To send a request in the dialog of a connected call.
    pub fn open_dialog(&mut self, ctx: &Context) -> Option<OpenDialog<'_>> {
        let Phase::Up(up) = &mut self.phase else { return None };
        let contact = self.peer.contact(ctx, up.dialog.is_secure());
        let (flow, lax) = (self.peer.flow, self.peer.terms.lax);
        Some(OpenDialog { dialog: &mut up.dialog, flow, lax, contact })
    }

    /// A REFER has come in its dialog: true when another had come before.
    pub fn note_refer(&mut self) -> bool {
        std::mem::replace(&mut self.was_referred, true)
    }

    /// Its far end talks to somebody else now.
    pub fn set_transferred(&mut self) {
        self.transferred = true;
    }

    /// True when its far end talks to somebody else now.
    #[must_use]
    pub fn is_transferred(&self) -> bool {
        self.transferred
    }

    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        self.phase.dialog_mut()
    }

    /// It uses Opus, or the far end may still choose it: any of its phones, while none has answered.
    pub(super) fn holds_opus(&self) -> bool {
        match (&self.phase, self.session.uses_opus()) {
            (Phase::Inviting(_), _) | (Phase::Answered(_) | Phase::Up(_), None) => {
                self.session.codecs().contains(&Codec::Opus)
            }
            (_, Some(uses)) => uses,
            (Phase::Ringing(_) | Phase::Ending(_), None) => false,
        }
    }

    /// Takes or gives back its place among those that use Opus, after whatever has happened to it.
    pub fn settle_opus(&mut self, ctx: &mut Context) {
        let holds = self.holds_opus();
        self.session.settle_opus(ctx, holds);
    }

    /// Its leg is no more.
    pub fn release_opus(&mut self, ctx: &mut Context) {
        self.session.settle_opus(ctx, false);
    }

    /// The next moment something is due.
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

    /// Does what is due.
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
            self.begin_reinvite(ctx, now, Reinvite::new(Purpose::Refresh, now.mono, None));
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

    /// Its far end is reached along another way now.
    pub fn flow_leads(&mut self, ctx: &mut Context, to: Target) {
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

    /// A connection that is gone, and does not lead there again, must not stand for another server's, whose name its
    /// certificate has to carry.
    pub fn forget_connection(&mut self, gone: u64) {
        self.peer.flow.iter_mut().filter(|f| f.conn == Some(gone)).for_each(|f| f.conn = None);
    }

    /// The far end of the request has moved to where this one came from, and where its Contact says (RFC 3261 §12.2.2).
    pub(super) fn follow(&mut self, request: &Request, source: Target) {
        self.peer.flow = Some(source);
        if let Some(dialog) = self.phase.dialog_mut() {
            dialog.refresh_target(&request.common.contacts);
            dialog.move_pin(source.uri());
        }
    }

    /// It is connected: the ACK is in (inbound) or out (outbound).
    pub(super) fn connected(&mut self, ctx: &mut Context, now: Now) {
        let leg_type = self.kind();
        ctx.counters.calls.note_state(leg_type.as_str(), "connected");
        let mut c = CallContext::new(ctx, now, &mut self.peer, &mut self.session);
        c.publish(EventBody::LegConnected(LegState { leg_type }));
        c.report(CallEvent::Connected);
        self.note_hold(ctx, now);
    }

    /// Tells of a hold that began or ended.
    pub(super) fn note_hold(&mut self, ctx: &mut Context, now: Now) {
        if self.session.stream().is_some() {
            let theirs = !self.session.sends();
            self.hold.publish(ctx, now, self.peer.id, self.kind(), theirs);
        }
    }
}
