//! Numbering and routing of events: to the webhook of the leg, otherwise to that of its room at the time,
//! otherwise to the global one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::event::{Event, Webhook};
use super::event_type::EventBody;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Place;
use crate::delivery::share::Origin;
use crate::gateway::legs::leg_id::LegId;

/// A leg as a source of events.
#[derive(Debug)]
struct LegSource {
    /// UUID.
    name: String,
    /// Number of events so far.
    seq: u64,
    webhook: Option<Webhook>,
    room: Option<String>,
    origin: Origin,
}

impl LegSource {
    /// Webhook for its events while it is in this room: its own, otherwise the room's.
    fn target(&self, rooms: &BTreeMap<String, Option<Webhook>>, room: Option<&str>) -> Option<Webhook> {
        self.webhook.clone().or_else(|| rooms.get(room?).cloned().flatten())
    }
}

/// Subject of events that may outlive its leg or room: for playbacks and recordings that end later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    leg: Option<String>,
    room: Option<String>,
    webhook: Option<Webhook>,
    origin: Origin,
}

/// Subject of the events of a playback or recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A live leg: its events are numbered.
    Leg(LegId),
    /// A room, or a leg that has ended.
    Subject(Subject),
}

/// Numbers events, selects their webhooks, and queues them.
#[derive(Debug)]
pub struct Publisher {
    rng: Rng,
    legs: BTreeMap<LegId, LegSource>,
    rooms: BTreeMap<String, Option<Webhook>>,
    events: VecDeque<Event>,
}

impl Publisher {
    /// Without events; `rng` generates event ids.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, legs: BTreeMap::new(), rooms: BTreeMap::new(), events: VecDeque::new() }
    }

    /// Adds a leg with its API id, webhook and origin.
    pub fn add_leg(&mut self, id: LegId, name: String, webhook: Option<Webhook>, origin: Origin) {
        self.legs.insert(id, LegSource { name, seq: 0, webhook, room: None, origin });
    }

    /// The leg has had its terminal event.
    pub fn remove_leg(&mut self, id: LegId) {
        self.legs.remove(&id);
    }

    /// Adds a room with its webhook.
    pub fn add_room(&mut self, name: String, webhook: Option<Webhook>) {
        self.rooms.insert(name, webhook);
    }

    /// The room has had its last event.
    pub fn remove_room(&mut self, name: &str) {
        self.rooms.remove(name);
    }

    /// The leg is now in this room, or in none.
    pub fn move_leg(&mut self, id: LegId, room: Option<&str>) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.room = room.map(str::to_owned);
        }
    }

    /// The leg is ending: its webhook is fixed although it leaves its room.
    pub fn end_leg(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.webhook = leg.target(&self.rooms, leg.room.as_deref());
        }
    }

    /// The UUID of a leg; empty once it has been removed.
    #[must_use]
    pub fn name_of(&self, id: LegId) -> &str {
        self.legs.get(&id).map(|l| l.name.as_str()).unwrap_or_default()
    }

    /// The leg's own webhook.
    #[must_use]
    pub fn webhook_of(&self, id: LegId) -> Option<Webhook> {
        self.legs.get(&id)?.webhook.clone()
    }

    /// Origin of the leg.
    #[must_use]
    pub fn origin_of(&self, id: LegId) -> Option<Origin> {
        self.legs.get(&id).map(|l| l.origin)
    }

    /// Subject for events of a leg that is about to be removed; they are not numbered.
    #[must_use]
    pub fn leg(&self, id: LegId) -> Option<Subject> {
        let leg = self.legs.get(&id)?;
        Some(Subject {
            leg: Some(leg.name.clone()),
            room: None,
            webhook: leg.target(&self.rooms, leg.room.as_deref()),
            origin: leg.origin,
        })
    }

    /// Subject for events of a room, also after its deletion.
    #[must_use]
    pub fn room(&self, name: &str) -> Subject {
        let webhook = self.rooms.get(name).cloned().flatten();
        Subject { leg: None, room: Some(name.to_owned()), webhook, origin: Origin::Own }
    }

    /// Publishes an event of a leg.
    pub fn publish(&mut self, now: Now, id: LegId, body: EventBody) {
        let Some(event) = self.leg_event(now, id, None, body) else { return };
        self.events.push_back(event);
    }

    /// Publishes an event of a playback or recording; `upload`: destination of a recording.
    pub fn publish_of(&mut self, now: Now, about: &About, body: EventBody, upload: Option<Arc<Place>>) {
        match about {
            About::Leg(id) => {
                let Some(event) = self.leg_event(now, *id, None, body) else { return };
                self.events.push_back(Event { upload, ..event });
            }
            About::Subject(subject) => self.publish_about(now, subject, body, upload),
        }
    }

    /// Publishes an event of a leg with the room it is in or has just left.
    pub fn publish_in_room(&mut self, now: Now, id: LegId, room: &str, body: EventBody) {
        let Some(mut event) = self.leg_event(now, id, Some(room), body) else { return };
        event.room_id = Some(room.to_owned());
        self.events.push_back(event);
    }

    /// Publishes an event of a leg with the room it is in, if any.
    pub fn publish_with_room(&mut self, now: Now, id: LegId, body: EventBody) {
        let room_id = self.legs.get(&id).and_then(|l| l.room.clone());
        let Some(event) = self.leg_event(now, id, None, body) else { return };
        self.events.push_back(Event { room_id, ..event });
    }

    /// Publishes an event whose leg or room may have been removed.
    pub fn publish_about(
        &mut self,
        now: Now,
        subject: &Subject,
        body: EventBody,
        upload: Option<Arc<Place>>,
    ) {
        let (leg_id, room_id) = (subject.leg.clone(), subject.room.clone());
        let webhook = subject.webhook.clone();
        let event = self.event(now, body, subject.origin);
        self.events.push_back(Event { leg_id, room_id, webhook, upload, ..event });
    }

    /// Publishes an event that belongs to neither leg nor room.
    pub fn publish_global(&mut self, now: Now, body: EventBody, origin: Origin) {
        let event = self.event(now, body, origin);
        self.events.push_back(event);
    }

    /// The next event; call until `None`.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// An event of a leg for its own webhook, otherwise for that of `room` or the room it is in.
    fn leg_event(&mut self, now: Now, id: LegId, room: Option<&str>, body: EventBody) -> Option<Event> {
        let leg = self.legs.get_mut(&id)?;
        leg.seq += 1;
        let (leg_id, leg_seq) = (Some(leg.name.clone()), Some(leg.seq));
        let (webhook, origin) = (leg.target(&self.rooms, room.or(leg.room.as_deref())), leg.origin);
        Some(Event { leg_id, leg_seq, webhook, ..self.event(now, body, origin) })
    }

    fn event(&mut self, now: Now, body: EventBody, origin: Origin) -> Event {
        Event {
            at: now.utc,
            event_id: self.rng.uuid(),
            leg_id: None,
            leg_seq: None,
            room_id: None,
            body,
            webhook: None,
            origin,
            upload: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::leg::{Digit, Empty};
    use super::*;
    use crate::base::ids::Table;
    use crate::gateway::legs::leg_id::LegKey;
    use crate::gateway::testing::now;

    fn webhook(name: &str) -> Webhook {
        Webhook { url: format!("http://{name}/"), secret: None }
    }

    fn digit() -> EventBody {
        EventBody::LegDtmf(Digit { digit: '5', seq: 1 })
    }

    /// Webhook, number and room of the next event.
    fn told(p: &mut Publisher) -> (String, Option<u64>, Option<String>) {
        let e = p.poll().expect("an event");
        (e.webhook.map_or("global".to_owned(), |w| w.url), e.leg_seq, e.room_id)
    }

    #[test]
    fn an_event_goes_to_the_leg_s_webhook_else_to_the_room_s_else_to_the_global_one() {
        let mut ids: Table<(), LegKey> = Table::new(2);
        let (own, plain) = (ids.insert(()).unwrap(), ids.insert(()).unwrap());
        let mut p = Publisher::new(Rng::from_number(1));
        p.add_leg(own, "own".into(), Some(webhook("leg")), Origin::Own);
        p.add_leg(plain, "plain".into(), None, Origin::Own);
        p.add_room("hall".into(), Some(webhook("room")));
        p.add_room("yard".into(), None);
        for (room, of_plain) in [(None, "global"), (Some("hall"), "http://room/"), (Some("yard"), "global")] {
            for (id, want) in [(own, "http://leg/"), (plain, of_plain)] {
                p.move_leg(id, room);
                p.publish(now(), id, digit());
                assert_eq!(told(&mut p).0, want, "{room:?}");
            }
        }
        // It has left, and the room's webhook receives the event.
        p.move_leg(plain, None);
        p.publish_in_room(now(), plain, "hall", EventBody::LegLeftRoom(Empty {}));
        assert_eq!(told(&mut p), ("http://room/".to_owned(), Some(4), Some("hall".to_owned())));
        p.publish(now(), plain, digit());
        assert_eq!(told(&mut p), ("global".to_owned(), Some(5), None));
    }

    #[test]
    fn the_last_events_of_a_leg_that_ends_in_a_room_go_to_the_room_s_webhook() {
        let mut ids: Table<(), LegKey> = Table::new(1);
        let leg = ids.insert(()).unwrap();
        let mut p = Publisher::new(Rng::from_number(1));
        p.add_leg(leg, "leg".into(), None, Origin::Own);
        p.add_room("hall".into(), Some(webhook("room")));
        p.move_leg(leg, Some("hall"));
        p.end_leg(leg);
        p.move_leg(leg, None);
        p.remove_room("hall");
        p.publish(now(), leg, digit());
        assert_eq!(told(&mut p).0, "http://room/");
        assert_eq!(p.leg(leg).map(|s| s.webhook), Some(Some(webhook("room"))));
    }

    #[test]
    fn what_outlives_its_leg_or_room_is_still_told_where_it_would_have_been() {
        let mut ids: Table<(), LegKey> = Table::new(1);
        let leg = ids.insert(()).unwrap();
        let mut p = Publisher::new(Rng::from_number(1));
        p.add_leg(leg, "leg".into(), Some(webhook("leg")), Origin::Own);
        p.add_room("hall".into(), Some(webhook("room")));
        let (of_leg, of_room) = (p.leg(leg).unwrap(), p.room("hall"));
        p.publish(now(), leg, digit());
        assert_eq!(told(&mut p).1, Some(1));
        p.remove_leg(leg);
        p.remove_room("hall");
        p.publish(now(), leg, digit());
        assert_eq!(p.poll(), None, "it has had its last event");
        p.publish_about(now(), &of_leg, digit(), None);
        let event = p.poll().unwrap();
        assert_eq!((event.leg_id.as_deref(), event.leg_seq), (Some("leg"), None));
        p.publish_about(now(), &of_room, digit(), None);
        assert_eq!(told(&mut p), ("http://room/".to_owned(), None, Some("hall".to_owned())));
    }

    #[test]
    fn every_event_has_an_id_of_its_own() {
        let mut p = Publisher::new(Rng::from_number(1));
        (0..100).for_each(|_| p.publish_global(now(), digit(), Origin::Own));
        let ids: std::collections::BTreeSet<String> =
            std::iter::from_fn(|| p.poll()).map(|e| e.event_id).collect();
        assert_eq!(ids.len(), 100);
    }
}
