//! Early dialogs of an outbound leg (RFC 3261 §12.1): whose phones ring, what each has answered to our offer, and whose
//! early media is heard. What a provisional response is good for is told by what is in it, not by its code.

use crate::sdp::Negotiated;
use crate::sip::transactions::ClientId;

/// Early dialogs of one call that are kept.
pub(super) const MAX_EARLY: usize = 8;

/// An INVITE and the To tag of a response to it; peers of RFC 2543 leave the tag out.
pub(super) type Key = (ClientId, Option<String>);

/// The early dialogs of a leg.
#[derive(Debug, Default)]
pub(super) struct EarlyDialogs {
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
    pub(super) fn retain(&mut self, alive: impl Fn(&Key) -> bool) -> bool {
        self.rung.retain(&alive);
        self.answers.retain(|(key, _)| alive(key));
        self.heard.take_if(|key| !alive(key)).is_some()
    }

    /// A phone rings.
    pub(super) fn note_rung(&mut self, key: Key) {
        if self.rung.len() < MAX_EARLY && !self.rung.contains(&key) {
            self.rung.push(key);
        }
    }

    /// Notes an answer; true when it is the first of its dialog, and its media is to be heard.
    pub(super) fn note_answer(&mut self, key: Key, stream: Negotiated) -> bool {
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
    pub(super) fn change_answer(&mut self, tag: Option<&str>, stream: Negotiated) {
        let own = self.answers.iter_mut().find(|((_, t), _)| t.as_deref() == tag);
        own.into_iter().for_each(|(_, s)| *s = stream);
    }

    /// What was answered in the early dialog that a 2xx confirms; in another one where that one has answered nothing.
    pub(super) fn answer_of(&self, tx: ClientId, tag: Option<&str>) -> Option<Negotiated> {
        let of =
            |wanted: &dyn Fn(&Key) -> bool| self.answers.iter().find(|(k, _)| wanted(k)).map(|(_, s)| *s);
        of(&|k| k.0 == tx && k.1.as_deref() == tag).or_else(|| of(&|k| self.heard.as_ref() == Some(k)))
    }

    /// Another early dialog is heard, if one has answered.
    pub(super) fn hear_next(&mut self) -> Option<(ClientId, Negotiated)> {
        let (key, stream) = self.answers.first()?;
        self.heard = Some(key.clone());
        Some((key.0, *stream))
    }
}
