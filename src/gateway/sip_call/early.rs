//! Early dialogs of an outbound leg (RFC 3261 §12.1): ringing phones, their answers to our offer, and the
//! early media being played. The content of a provisional response counts, not its code.

use crate::sdp::Negotiated;
use crate::sip::transactions::ClientId;

/// Most early dialogs per call.
pub(super) const MAX_EARLY: usize = 8;

/// An INVITE and the To tag of a response to it; RFC 2543 peers omit the tag.
pub(super) type Key = (ClientId, Option<String>);

/// The early dialogs of a leg.
#[derive(Debug, Default)]
pub(super) struct EarlyDialogs {
    /// Those that are ringing.
    rung: Vec<Key>,
    /// The first description in each, which is the answer to our offer (RFC 3261 §13.2.1).
    answers: Vec<(Key, Negotiated)>,
    /// The one whose media is played.
    heard: Option<Key>,
}

impl EarlyDialogs {
    /// The INVITEs that ring in an early dialog with this tag.
    pub(super) fn with_tag(&self, tag: &str) -> impl Iterator<Item = ClientId> {
        self.rung.iter().filter(move |(_, t)| t.as_deref() == Some(tag)).map(|(tx, _)| *tx)
    }

    /// Removes those that are not `alive`; true if the one being played was among them.
    pub(super) fn retain(&mut self, alive: impl Fn(&Key) -> bool) -> bool {
        self.rung.retain(&alive);
        self.answers.retain(|(key, _)| alive(key));
        self.heard.take_if(|key| !alive(key)).is_some()
    }

    /// Records a ringing phone.
    pub(super) fn note_rung(&mut self, key: Key) {
        if self.rung.len() < MAX_EARLY && !self.rung.contains(&key) {
            self.rung.push(key);
        }
    }

    /// Records an answer; true if it is the first of its dialog, and its media should be played.
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

    /// True if an early dialog with this tag has answered.
    pub(super) fn has_answer(&self, tag: Option<&str>) -> bool {
        self.answers.iter().any(|((_, t), _)| t.as_deref() == tag)
    }

    /// An early dialog has negotiated a change.
    pub(super) fn change_answer(&mut self, tag: Option<&str>, stream: Negotiated) {
        let own = self.answers.iter_mut().find(|((_, t), _)| t.as_deref() == tag);
        own.into_iter().for_each(|(_, s)| *s = stream);
    }

    /// The answer in the early dialog that a 2xx confirms; if it has none, that of another one.
    pub(super) fn answer_of(&self, tx: ClientId, tag: Option<&str>) -> Option<Negotiated> {
        let of =
            |wanted: &dyn Fn(&Key) -> bool| self.answers.iter().find(|(k, _)| wanted(k)).map(|(_, s)| *s);
        of(&|k| k.0 == tx && k.1.as_deref() == tag).or_else(|| of(&|k| self.heard.as_ref() == Some(k)))
    }

    /// Selects another early dialog with an answer for playing, if there is one.
    pub(super) fn hear_next(&mut self) -> Option<(ClientId, Negotiated)> {
        let (key, stream) = self.answers.first()?;
        self.heard = Some(key.clone());
        Some((key.0, *stream))
    }
}
