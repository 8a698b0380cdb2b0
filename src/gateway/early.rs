//! Early dialogs of an outbound leg (RFC 3261 §12.1): whose phones ring, what each has answered to our offer, and whose
//! early media is heard. What a provisional response is good for is told by what is in it, not by its code.

use super::core::Gateway;
use super::events::{EventBody, LegState};
use super::leg::{Inviting, Kind, Leg, LegId, Phase};
use crate::base::time::Now;
use crate::sdp::{Direction, Negotiated};
use crate::sip::transactions::ClientId;
use crate::wire::{Method, Request, Response};

/// Early dialogs of one call that are kept.
pub(super) const MAX_EARLY: usize = 8;

/// An INVITE and the To tag of a response to it; peers of RFC 2543 leave the tag out.
type Key = (ClientId, Option<String>);

/// The early dialogs of a leg.
#[derive(Debug, Default)]
pub struct EarlyDialogs {
    /// Those that ring.
    rung: Vec<Key>,
    /// The first description that came in each, which is the answer to our offer (RFC 3261 §13.2.1).
    answers: Vec<(Key, Negotiated)>,
    /// The one whose media is heard.
    heard: Option<Key>,
}

impl EarlyDialogs {
    /// The INVITEs that ring in an early dialog with this tag.
    pub(super) fn with_tag(&self, tag: &str) -> impl Iterator<Item = ClientId> {
        self.rung.iter().filter(move |(_, t)| t.as_deref() == Some(tag)).map(|(tx, _)| *tx)
    }

    /// Forgets all that are not `alive`; true when the one that is heard was among them.
    fn retain(&mut self, alive: impl Fn(&Key) -> bool) -> bool {
        self.rung.retain(&alive);
        self.answers.retain(|(key, _)| alive(key));
        self.heard.take_if(|key| !alive(key)).is_some()
    }

    fn note_rung(&mut self, key: Key) {
        if self.rung.len() < MAX_EARLY && !self.rung.contains(&key) {
            self.rung.push(key);
        }
    }

    /// Notes an answer; true when it is the first of its dialog, and its media is to be heard.
    fn note_answer(&mut self, key: Key, stream: Negotiated) -> bool {
        if self.answers.len() >= MAX_EARLY || self.answers.iter().any(|(k, _)| *k == key) {
            return false;
        }
        let first = self.heard.is_none();
        if first {
            self.heard = Some(key.clone());
        }
        self.answers.push((key, stream));
        first
    }

    /// True when an early dialog with this tag has answered.
    pub(super) fn has_answer(&self, tag: Option<&str>) -> bool {
        self.answers.iter().any(|((_, t), _)| t.as_deref() == tag)
    }

    /// An early dialog has agreed to something else since.
    fn change_answer(&mut self, tag: Option<&str>, stream: Negotiated) {
        let own = self.answers.iter_mut().find(|((_, t), _)| t.as_deref() == tag);
        own.into_iter().for_each(|(_, s)| *s = stream);
    }

    /// What was answered in the early dialog that a 2xx confirms; in another one where that one has answered nothing.
    fn answer_of(&self, tx: ClientId, tag: Option<&str>) -> Option<Negotiated> {
        let of =
            |wanted: &dyn Fn(&Key) -> bool| self.answers.iter().find(|(k, _)| wanted(k)).map(|(_, s)| *s);
        of(&|k| k.0 == tx && k.1.as_deref() == tag).or_else(|| of(&|k| self.heard.as_ref() == Some(k)))
    }

    /// Another early dialog is heard, if one has answered.
    fn hear_next(&mut self) -> Option<(ClientId, Negotiated)> {
        let (key, stream) = self.answers.first()?;
        self.heard = Some(key.clone());
        Some((key.0, *stream))
    }
}

impl Inviting {
    /// Forgets the early dialogs of INVITEs that have been answered for good; true when one was heard.
    fn forget_answered(&mut self) -> bool {
        let (only, branches) = (self.tx, &self.branches);
        self.dialogs.retain(|(tx, _)| only == Some(*tx) || branches.contains(tx))
    }

    /// Why a request of the far end is not heard before it has answered. A callee may not send BYE then (RFC 3261 §15),
    /// and who does not ring is in no dialog with us: whoever knows the INVITE, as a phone that was rung beside the
    /// other, must not end or bend the call. A change of the session may have overtaken its ringing, and can wait.
    pub(super) fn refusal_of(&self, request: &Request) -> Option<(u16, &'static str)> {
        let rings = || request.common.from.tag().is_some_and(|tag| self.rings(tag));
        let changes = matches!(request.method, Method::Invite | Method::Update);
        match () {
            () if request.method != Method::Bye && rings() => None,
            () if changes => Some((491, "Request Pending")),
            () => Some((481, "Call/Transaction Does Not Exist")),
        }
    }
}

impl Gateway {
    /// Remembers whose phone rings.
    pub(super) fn note_early(&mut self, id: LegId, tx: ClientId, response: &Response) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        inviting.forget_answered();
        if (101..=198).contains(&response.code)
            && let Some(tag) = response.common.to.tag()
        {
            inviting.dialogs.note_rung((tx, Some(tag.to_owned())));
        }
    }

    /// 101 to 198: with a session description it is the answer of its early dialog, and early media begins.
    pub(super) fn progress(&mut self, now: Now, id: LegId, tx: ClientId, response: &Response) {
        // 100 makes no dialog.
        if response.code == 100 {
            return;
        }
        let Ok(Some(stream)) = self.answer_in(id, response) else { return };
        let key = (tx, response.common.to.tag().map(str::to_owned));
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Phase::Inviting(inviting) = &mut leg.phase else { return };
        if !inviting.dialogs.note_answer(key, stream) {
            return;
        }
        leg.stream = Some(stream);
        let begins = !std::mem::replace(&mut leg.early, true);
        self.open_media(id);
        if begins {
            self.ctx.events.publish(
                now,
                id,
                EventBody::LegEarlyMedia(LegState { leg_type: Kind::SipOutbound }),
            );
            self.join_waiting(now, id);
        }
    }

    /// The far end has changed the session of its early dialog.
    pub(super) fn note_early_change(&mut self, id: LegId, request: &Request) {
        if let Some(Leg { phase: Phase::Inviting(inviting), stream: Some(stream), .. }) =
            self.legs.get_mut(id)
        {
            inviting.dialogs.change_answer(request.common.from.tag(), *stream);
        }
    }

    /// 199 (RFC 6228): this early dialog is over, though its INVITE is not. What is described in it is no answer.
    pub(super) fn early_dialog_over(&mut self, id: LegId, tx: ClientId, response: &Response) {
        let tag = response.common.to.tag();
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        inviting.early_over(tag);
        if inviting.dialogs.retain(|(t, own)| *t != tx || own.as_deref() != tag) {
            self.hear_another(id);
        }
    }

    /// An INVITE of several has been refused: what its phone sounded is over.
    pub(super) fn branch_over(&mut self, id: LegId) {
        let Some(Leg { phase: Phase::Inviting(inviting), .. }) = self.legs.get_mut(id) else { return };
        if inviting.forget_answered() {
            self.hear_another(id);
        }
    }

    /// The early media that was heard is over: that of another dialog is heard, or nothing.
    fn hear_another(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Phase::Inviting(inviting) = &mut leg.phase else { return };
        if let Some((tx, stream)) = inviting.dialogs.hear_next() {
            leg.stream = Some(stream);
            self.heard_from(id, tx);
            return self.open_media(id);
        }
        let signalling = leg.flow.map(|f| f.addr.ip());
        if let Some(stream) = leg.stream.take() {
            let stream = Negotiated { direction: Direction::Inactive, ..stream };
            let _open = leg.media.update(&mut self.ctx, stream, signalling);
        }
    }

    /// What an early answer agreed to, for a 2xx without one.
    pub(super) fn early_answer(&self, id: LegId, tx: ClientId, response: &Response) -> Option<Negotiated> {
        let Phase::Inviting(inviting) = &self.legs.get(id)?.phase else { return None };
        inviting.dialogs.answer_of(tx, response.common.to.tag())
    }
}
