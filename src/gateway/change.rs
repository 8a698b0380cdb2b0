//! Changes of a session that we ask for: hold, resume and refresh by re-INVITE or UPDATE (RFC 3261 §14.1,
//! RFC 3264 §8.4, RFC 4028 §7.4).

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::bodies::answer_of;
use super::core::Gateway;
use super::crossing::LONGEST_WAIT;
use super::error::GatewayError;
use super::events::{CommandFailed, EventBody};
use super::leg::{Kind, Leg, LegId, Phase};
use super::refusal;
use super::replies::{Handle, Reply};
use super::requests::{OutboundRequest, RequestContext};
use crate::base::time::Now;
use crate::codec::Codec;
use crate::sdp::{self, Description, Direction, Format, Local, SdpError};
use crate::sip::dialog::Dialog;
use crate::sip::transactions::{ClientId, Failure};
use crate::wire::{Method, Response};

/// Longest hold: the call ends then.
const HOLD_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// So much longer may the far end hold us, as it may have a limit of its own. That it is gone nothing else would
/// notice where no session timer runs: RTP is not expected of it.
const THEIRS_LONGER: Duration = Duration::from_secs(60);
/// A change that has no final answer by then has failed, and the call with it (RFC 3261 §14.1): timer B.
const GIVE_UP: Duration = Duration::from_secs(32);
/// Why a change has failed that could not be delivered.
const UNREACHABLE: &str = "the far end cannot be reached";
/// Time until a change that has to wait for another one is tried again.
const TURN: Duration = Duration::from_millis(200);

/// A re-INVITE of ours, from the wish to its final response.
#[derive(Debug)]
pub struct Change {
    wish: Wish,
    /// Whom to tell; nobody once the wait is over.
    asker: Option<Handle>,
    /// The asker is told then that it takes longer.
    reply_by: Instant,
    /// When it was wished for: [`GIVE_UP`] later it is not tried again.
    wished: Instant,
    /// When the far end was asked last: it has [`GIVE_UP`] to answer.
    asked: Instant,
    /// Times that a longer session was asked for.
    pub(super) lengthened: u8,
    /// INVITE or UPDATE, as it was asked last.
    method: Method,
    step: Step,
}

/// What a re-INVITE is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Hold,
    Resume,
    /// The same session again, so that it goes on; by UPDATE where the far end knows it.
    Refresh,
}

#[derive(Debug)]
enum Step {
    /// Another INVITE of this dialog is not done: tried again then.
    Waiting(Instant),
    /// The address of the far end is being looked up.
    Addressing,
    /// The far end has been asked, with this description of our end.
    Asked(ClientId, Local),
}

impl Change {
    /// The next moment something is due.
    pub(super) fn deadline(&self) -> Instant {
        let own = match self.step {
            Step::Waiting(until) => until.min(self.give_up()),
            Step::Addressing | Step::Asked(..) => self.give_up(),
        };
        if self.asker.is_some() { own.min(self.reply_by) } else { own }
    }

    fn give_up(&self) -> Instant {
        if matches!(self.step, Step::Asked(..)) { self.asked + GIVE_UP } else { self.wished + GIVE_UP }
    }

    /// A request of this method waits for the far end's answer.
    pub(super) fn asks_by(&self, method: &Method) -> bool {
        matches!(self.step, Step::Asked(..)) && self.method == *method
    }

    /// An INVITE of ours is on its way.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.step, Step::Waiting(_))
    }
}

impl Leg {
    /// When a hold that begins at `now` ends the call.
    pub(super) fn hold_limit(&self, now: Instant) -> Instant {
        now + HOLD_LIMIT + if self.on_hold { Duration::ZERO } else { THEIRS_LONGER }
    }

    /// The direction that we want for its stream.
    pub(super) fn wanted_direction(&self) -> Direction {
        if self.on_hold { Direction::SendOnly } else { Direction::SendRecv }
    }
}

impl Gateway {
    /// `POST` and `DELETE /legs/{id}/hold`. The reply comes when the far end has answered.
    ///
    /// # Errors
    /// No such leg (404); not connected, held already or not held, or another change in progress (409).
    pub fn hold(&mut self, now: Now, name: &str, on: bool) -> Result<Handle, GatewayError> {
        let (id, leg) = self.legs.by_name(name)?;
        let conflict = |why: &str| Err(GatewayError::Conflict(why.to_owned()));
        if !matches!(leg.phase, Phase::Up { .. }) {
            return conflict("leg is not connected");
        }
        if on && leg.held {
            return conflict("leg is already held");
        }
        if !on && !leg.on_hold {
            return conflict(if leg.held {
                "the far end holds the call: only it can resume"
            } else {
                "leg is not held"
            });
        }
        match &leg.change {
            // A refresh that has not begun: this asks for the same and more.
            Some(c) if c.wish == Wish::Refresh && !c.is_under_way() => {}
            Some(c) if c.wish == Wish::Refresh => {
                return conflict("the session is being refreshed: try again in a moment");
            }
            Some(_) => return conflict("a hold or resume of this leg is in progress"),
            None => {}
        }
        let handle = self.ctx.replies.expect();
        let wait = Duration::from_secs(self.ctx.config.sip.api_wait_s.into());
        let wish = if on { Wish::Hold } else { Wish::Resume };
        self.begin_change(now, id, wish, Some(handle), now.mono + wait);
        self.drain(now);
        Ok(handle)
    }

    /// Asks the far end to let the session go on.
    pub(super) fn refresh(&mut self, now: Now, id: LegId) {
        self.begin_change(now, id, Wish::Refresh, None, now.mono);
    }

    fn begin_change(&mut self, now: Now, id: LegId, wish: Wish, asker: Option<Handle>, reply_by: Instant) {
        let (wished, asked, step) = (now.mono, now.mono, Step::Waiting(now.mono));
        if let Some(leg) = self.legs.get_mut(id) {
            let (lengthened, method) = (0, Method::Invite);
            leg.change =
                Some(Box::new(Change { wish, asker, reply_by, wished, asked, lengthened, method, step }));
        }
        self.ask(now, id);
    }

    /// Sends the re-INVITE of a change, unless another INVITE of the dialog is not done (RFC 3261 §14.1).
    fn ask(&mut self, now: Now, id: LegId) {
        let (contact, name) = (self.contact_of(id), self.ctx.config.sip.host.clone());
        let no_opus = self.opus_places().are_closed_to(id);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let wanted = leg.wanted_direction();
        let Some(change) = &mut leg.change else { return };
        let update = change.wish == Wish::Refresh && leg.knows_update;
        // An UPDATE without an offer crosses nothing (RFC 3311 §5.1).
        if leg.reinvite.is_some() && !update {
            change.step = Step::Waiting(now.mono + TURN);
            return self.legs.reschedule(id);
        }
        let direction = match change.wish {
            Wish::Hold => Direction::SendOnly,
            Wish::Resume => Direction::SendRecv,
            Wish::Refresh => wanted,
        };
        let timer = leg.timer;
        let ours = timer.is_some_and(|t| t.refresh_at.is_some());
        let method = if update { Method::Update } else { Method::Invite };
        let (Some(mut local), Some(stream), Phase::Up { dialog }) =
            (leg.local.clone(), leg.stream, &mut leg.phase)
        else {
            return self.change_over(now, id, Err("the call has no media".to_owned()));
        };
        let (mut draft, hop) = dialog.request(&method);
        draft.push("Contact", contact);
        draft.push("Allow", super::capabilities::ALLOW);
        draft.push("Supported", super::capabilities::SUPPORTED);
        draft.push("User-Agent", name.as_str());
        Self::ask_for_session(timer, leg.min_session, ours, &mut draft);
        if !update {
            // A refresh repeats what is in force, so that it says that nothing has changed (RFC 4028 §7.4).
            let refresh = change.wish == Wish::Refresh;
            // What was offered first may have more in it than there is room for now.
            let repeats = refresh && !(no_opus && leg.described.last().contains("opus/"));
            let same = if repeats { leg.described.again(&mut local) } else { None };
            let offer = same.unwrap_or_else(|| {
                let again = |l: &mut Local| (sdp::offer_again(l, &stream, direction), ());
                let Ok((text, ())) = leg.described.next(&mut local, |l| Ok::<_, Infallible>(again(l)));
                text
            });
            leg.local.iter_mut().for_each(|l| l.version = local.version);
            draft.set_body("application/sdp", offer.into_bytes());
        }
        change.step = Step::Addressing;
        change.method = method.clone();
        let (flow, trunk) = (leg.flow, leg.trunk);
        self.legs.reschedule(id);
        self.send(&hop, flow, trunk, OutboundRequest::Change(id, method, draft, local));
    }

    /// The re-INVITE is on its way.
    pub(super) fn change_sent(&mut self, now: Now, id: LegId, tx: ClientId, local: Local) {
        if let Some(change) = self.legs.get_mut(id).and_then(|l| l.change.as_mut()) {
            change.step = Step::Asked(tx, local);
            change.asked = now.mono;
        }
        self.legs.reschedule(id);
    }

    /// An offer of the far end is answered while ours still waits for an address: ours is written anew after that.
    pub(super) fn postpone_change(&mut self, now: Now, id: LegId) {
        let change = self.legs.get_mut(id).and_then(|l| l.change.as_mut());
        let Some(change) = change.filter(|c| matches!(c.step, Step::Addressing)) else { return };
        change.step = Step::Waiting(now.mono + TURN);
        self.ctx.requests.cancel_offer(id);
        self.legs.reschedule(id);
    }

    /// Something of a change is due.
    pub(super) fn change_due(&mut self, now: Now, id: LegId) {
        let Some(change) = self.legs.get_mut(id).and_then(|l| l.change.as_mut()) else { return };
        if change.give_up() <= now.mono {
            // But for silence the call is as good as before (RFC 3261 §14.1).
            let why = match change.step {
                Step::Asked(tx, _) if !self.ctx.sip.is_undelivered(tx) => {
                    return self.change_unanswered(now, id);
                }
                Step::Asked(tx, _) => {
                    // A late 2xx is still acknowledged.
                    self.ctx.requests.sent(tx, RequestContext::AbandonedChange);
                    self.abandon_change(now, id);
                    UNREACHABLE
                }
                Step::Addressing => {
                    self.ctx.requests.cancel_offer(id);
                    UNREACHABLE
                }
                Step::Waiting(_) => "the far end was busy with changes of its own",
            };
            return self.change_over(now, id, Err(why.to_owned()));
        }
        if change.reply_by <= now.mono
            && let Some(asker) = change.asker.take()
        {
            let wait = self.ctx.config.sip.api_wait_s;
            let why = format!("the far end has not answered within {wait} s; an event will tell the outcome");
            self.ctx.replies.send(asker, Err(GatewayError::Conflict(why)));
        }
        let change = self.legs.get(id).and_then(|l| l.change.as_ref());
        if change.is_some_and(|c| matches!(c.step, Step::Waiting(until) if until <= now.mono)) {
            self.ask(now, id);
        }
    }

    /// A response to the re-INVITE of a change.
    pub(super) fn change_response(&mut self, now: Now, tx: ClientId, id: LegId, response: &Response) {
        if response.code < 200 {
            return;
        }
        let Some(leg) = self.legs.get_mut(id) else { return };
        let local = match leg.change.as_ref().map(|c| &c.step) {
            Some(Step::Asked(asked, local)) if *asked == tx => local.clone(),
            // A copy of what is in force; its ACK is repeated without us.
            Some(Step::Asked(..) | Step::Waiting(_) | Step::Addressing) | None => return,
        };
        match response.code {
            200..=299 => self.change_accepted(now, tx, id, response, local),
            401 | 407 if self.challenged(id, tx, response) => {
                self.ctx.requests.forget(tx);
                self.ask(now, id);
            }
            491 => self.change_collided(now, id),
            // Something else of its dialog is not done there (RFC 3261 §14.2, RFC 3311 §5.2).
            500 if retry_after(response).is_some() => {
                self.change_later(now, id, retry_after(response).unwrap_or_default());
            }
            422 if self.change_too_short(id, response) => {
                self.ctx.requests.forget(tx);
                self.ask(now, id);
            }
            // The dialog is no more (RFC 3261 §12.2.1.2).
            408 | 481 => self.change_unanswered(now, id),
            // It allows UPDATE in one breath and refuses it in the next.
            405 | 501 if response.common.cseq_method == Method::Update => {
                if let Some(leg) = self.legs.get_mut(id) {
                    leg.knows_update = false;
                }
                self.ask(now, id);
            }
            code => {
                self.change_over(now, id, Err(format!("the far end refused: {code} {}", response.reason)))
            }
        }
    }

    fn change_accepted(&mut self, now: Now, tx: ClientId, id: LegId, response: &Response, local: Local) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(change) = &leg.change else { return };
        let (flow, wish, asked) = (leg.flow, change.wish, change.asked);
        let Some(dialog) = leg.dialog_mut() else { return };
        dialog.refresh_target(&response.common.contacts);
        if response.common.cseq_method == Method::Update {
            self.note_session(asked, id, response);
            return self.change_over(now, id, Ok(()));
        }
        let dialog = dialog.clone();
        self.send_ack(tx, &dialog, response.common.cseq, flow);
        if let Err(e) = self.answer_to_change(id, response, local) {
            log::info!(leg = self.legs.name_of(id), error:% = e; "no usable answer to our offer");
            return self.bye_now(now, id, "not_acceptable");
        }
        self.note_session(asked, id, response);
        if let (Some(leg), Wish::Hold | Wish::Resume) = (self.legs.get_mut(id), wish) {
            let on = wish == Wish::Hold;
            leg.on_hold = on;
            // Where the far end holds as well, its hold goes on.
            leg.hold_until = leg.held.then(|| leg.hold_limit(now.mono));
            leg.media.set_held(&mut self.ctx, on);
        }
        self.change_over(now, id, Ok(()));
        self.stream_changed(now, id);
    }

    fn answer_to_change(&mut self, id: LegId, response: &Response, local: Local) -> Result<(), SdpError> {
        let answer = answer_of(&response.common)?.ok_or(SdpError::Malformed)?;
        let leg = self.legs.get_mut(id).ok_or(SdpError::Malformed)?;
        let fallback = leg.flow.map_or(local.address, |f| f.addr.ip());
        // A refresh offers again what was offered first, which may be more than was agreed.
        let offer = Description::parse(leg.described.last().as_bytes())?;
        let offered: Vec<Codec> = offer.formats.iter().filter_map(Format::codec).collect();
        leg.stream = Some(sdp::accept(&answer, &local, &offered, offer.rtcp_mux, fallback)?);
        leg.local = Some(local);
        leg.described.agree();
        Ok(())
    }

    /// Both ends asked at once: whoever made the Call-ID waits longer (RFC 3261 §14.1).
    fn change_collided(&mut self, now: Now, id: LegId) {
        let tens = self.ctx.rng.below(191);
        let others = self.ctx.rng.below(201);
        let Some(leg) = self.legs.get_mut(id) else { return };
        let wait = if leg.kind == Kind::SipOutbound { 2100 + 10 * tens } else { 10 * others };
        self.change_later(now, id, Duration::from_millis(wait.into()));
    }

    fn change_later(&mut self, now: Now, id: LegId, wait: Duration) {
        if let Some(change) = self.legs.get_mut(id).and_then(|l| l.change.as_mut()) {
            change.step = Step::Waiting(now.mono + wait);
        }
        self.legs.reschedule(id);
    }

    /// No final response will come. That it could not be delivered counts as a 503, which ends no dialog (RFC 3261
    /// §8.1.3.1, §14.1); a refresh is due again before the session is over (RFC 4028 §10).
    pub(super) fn change_failed(&mut self, now: Now, tx: ClientId, id: LegId, failure: Failure) {
        let change = self.legs.get(id).and_then(|l| l.change.as_ref());
        if !change.is_some_and(|c| matches!(c.step, Step::Asked(asked, _) if asked == tx)) {
            return;
        }
        match failure {
            Failure::Timeout => self.change_unanswered(now, id),
            Failure::Transport => self.change_over(now, id, Err(UNREACHABLE.to_owned())),
        }
    }

    /// The far end answers no more: so the call is over.
    pub(super) fn change_unanswered(&mut self, now: Now, id: LegId) {
        self.abandon_change(now, id);
        self.change_over(now, id, Err("the far end does not answer: the call is over".to_owned()));
        self.bye_now(now, id, "timeout");
    }

    /// The re-INVITE that waits for its answer, if the call ends now: it is cancelled, lest it waits for ever.
    pub(super) fn abandon_change(&mut self, now: Now, id: LegId) {
        let asked = self.legs.get(id).and_then(|l| l.change.as_ref()).map(|c| &c.step);
        if let Some(Step::Asked(tx, _)) = asked {
            let tx = *tx;
            self.ctx.sip.cancel(now.mono, tx);
        }
    }

    /// The change is done, or failed; whoever waits for it is told, by an event if the wait was too long.
    pub(super) fn change_over(&mut self, now: Now, id: LegId, outcome: Result<(), String>) {
        let Some(change) = self.legs.get_mut(id).and_then(|l| l.change.take()) else { return };
        let command = match change.wish {
            Wish::Hold => Some("hold"),
            Wish::Resume => Some("unhold"),
            Wish::Refresh => None,
        };
        match (change.asker, command, outcome) {
            (Some(asker), _, outcome) => {
                self.ctx
                    .replies
                    .send(asker, outcome.map(|()| Reply::Changed).map_err(GatewayError::Conflict));
            }
            // That it was done is told anyway.
            (None, Some(command), Err(e)) => {
                self.ctx.events.publish(
                    now,
                    id,
                    EventBody::LegCommandFailed(CommandFailed { command, error: e.into() }),
                );
            }
            (None, _, _) => {}
        }
        self.legs.reschedule(id);
    }

    /// Our Contact as the far end of a leg should use it.
    pub(super) fn contact_of(&self, id: LegId) -> String {
        let Some(leg) = self.legs.get(id) else { return String::new() };
        let secure = leg.dialog().is_some_and(Dialog::is_secure);
        leg.flow.map(|flow| refusal::contact(&self.ctx, flow, secure)).unwrap_or_default()
    }
}

/// The time after which a request that came too early may be tried again, where it is short (RFC 3261 §20.33).
fn retry_after(response: &Response) -> Option<Duration> {
    let field = response.common.headers.get("Retry-After")?;
    let seconds: u32 = field.split([';', '(', ' ']).next()?.trim().parse().ok()?;
    (seconds <= LONGEST_WAIT).then(|| Duration::from_secs(seconds.into()))
}
