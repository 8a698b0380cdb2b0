//! All legs, with lookup by UUID, dialog, INVITE, engine slot and deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::leg::Leg;
use crate::base::deadlines::Deadlines;
use crate::base::ids::Table;
use crate::base::time::Now;
use crate::delivery::share::Origin;
use crate::gateway::context::Context;
use crate::gateway::events::Webhook;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::legs::leg_id::{LegId, LegKey};
use crate::gateway::resources::slots::Slots;
use crate::gateway::sip_call::SipCall;
use crate::media::command::Slot;
use crate::sip::TIMEOUT;
use crate::sip::flow::ConnId;
use crate::sip::transactions::ServerId;
use crate::wire::Request;

/// Call-ID and our tag.
pub(super) type DialogKey = (String, String);

/// Ended dialogs remembered.
const MAX_RECENT: usize = 1024;

/// All legs, at most `limits.legs`.
#[derive(Debug)]
pub struct Legs {
    table: Table<Leg, LegKey>,
    most: usize,
    /// Live legs by UUID.
    names: BTreeMap<String, LegId>,
    dialogs: BTreeMap<DialogKey, LegId>,
    /// Dialogs that ended recently: their late requests are answered even from unknown sources.
    recent: VecDeque<(Instant, DialogKey)>,
    slots: BTreeMap<Slot, LegId>,
    /// Slots whose leg had its terminal event before the engine closed the media.
    late: BTreeSet<Slot>,
    free: Slots,
    deadlines: Deadlines<LegId>,
}

impl Legs {
    /// Capacity for `most` legs.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let places = usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            table: Table::new(places),
            most: places,
            names: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            recent: VecDeque::new(),
            slots: BTreeMap::new(),
            late: BTreeSet::new(),
            free: Slots::new(most),
            deadlines: Deadlines::default(),
        }
    }

    /// Adds the leg that `make` builds from its id, with its webhook; `None` if full.
    pub fn adopt(
        &mut self,
        ctx: &mut Context,
        webhook: Option<Webhook>,
        origin: Origin,
        make: impl FnOnce(LegId) -> Leg,
    ) -> Option<LegId> {
        let id = self.insert(make)?;
        let leg = self.table.get_mut(id)?;
        leg.call_mut().settle_opus(ctx);
        ctx.events.add_leg(id, leg.name().to_owned(), webhook, origin);
        ctx.counters.calls.note_state(leg.kind().as_str(), "ringing");
        self.reschedule(id);
        Some(id)
    }

    /// Adds a leg; `None` if full.
    pub(super) fn insert(&mut self, make: impl FnOnce(LegId) -> Leg) -> Option<LegId> {
        let id = self.table.insert_with(make)?;
        let name = self.name_of(id);
        self.names.insert(name, id);
        Some(id)
    }

    /// Executes `work` on the call of a leg, then updates its deadline and its use of Opus. `None`: the leg
    /// does not exist any more.
    pub fn with_call<T>(
        &mut self,
        ctx: &mut Context,
        id: LegId,
        work: impl FnOnce(&mut SipCall, &mut Context) -> T,
    ) -> Option<T> {
        let call = self.table.get_mut(id)?.call_mut();
        let done = work(call, ctx);
        call.settle_opus(ctx);
        self.reschedule(id);
        Some(done)
    }

    /// The same for the call of the leg with this UUID.
    ///
    /// # Errors
    /// No such leg, or it has ended; or the error of `work`.
    pub fn command<T>(
        &mut self,
        ctx: &mut Context,
        name: &str,
        work: impl FnOnce(&mut SipCall, &mut Context) -> Result<T, GatewayError>,
    ) -> Result<T, GatewayError> {
        let id = self.find(name)?;
        self.with_call(ctx, id, work).ok_or(GatewayError::NO_LEG)?
    }

    /// Sends digits to the far end of a leg.
    pub fn send_digits(&mut self, ctx: &mut Context, now: Now, id: LegId, digits: &str) {
        if let Some(leg) = self.table.get_mut(id) {
            leg.send_digits(ctx, now, digits);
            self.reschedule(id);
        }
    }

    /// Opens the media of a leg for the negotiated session, or applies changes to it.
    pub fn follow_session(&mut self, ctx: &mut Context, id: LegId) {
        let opens = self.table.get_mut(id).is_some_and(|leg| leg.follow_session(ctx));
        // There are as many slots as legs.
        if let Some(slot) = opens.then(|| self.take_slot(id)).flatten()
            && let Some(leg) = self.table.get_mut(id)
        {
            leg.open_media(ctx, slot);
        }
    }

    /// Assigns a slot in the engine to a leg.
    pub(super) fn take_slot(&mut self, id: LegId) -> Option<Slot> {
        let slot = self.free.take()?;
        self.slots.insert(slot, id);
        Some(slot)
    }

    /// A connection was closed; its id is no longer valid.
    pub fn forget_connection(&mut self, ctx: &mut Context, gone: ConnId) {
        let all: Vec<LegId> = self.names.values().copied().collect();
        for id in all {
            self.with_call(ctx, id, |call, _| call.forget_connection(gone));
        }
    }

    /// The leg, unless it was removed.
    #[must_use]
    pub fn get(&self, id: LegId) -> Option<&Leg> {
        self.table.get(id)
    }

    /// The leg, mutable.
    pub fn get_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.table.get_mut(id)
    }

    /// All legs, including ended ones whose terminal event is pending.
    pub fn iter(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        self.table.iter()
    }

    /// UUIDs and ids of live legs.
    pub fn live(&self) -> impl Iterator<Item = (&str, LegId)> + Clone {
        self.names.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// Number of live legs.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.names.len()
    }

    /// True if `more` legs do not fit; legs that are ending still count.
    #[must_use]
    pub fn are_full_for(&self, more: usize) -> bool {
        self.table.len() + self.late.len() + more > self.most
    }

    /// The leg with this UUID.
    ///
    /// # Errors
    /// No such leg, or it has ended.
    pub fn find(&self, name: &str) -> Result<LegId, GatewayError> {
        self.names.get(name).copied().ok_or(GatewayError::NO_LEG)
    }

    /// The leg with this UUID, and its id.
    ///
    /// # Errors
    /// No such leg, or it has ended.
    pub fn by_name(&self, name: &str) -> Result<(LegId, &Leg), GatewayError> {
        let id = self.find(name)?;
        self.get(id).map(|leg| (id, leg)).ok_or(GatewayError::NO_LEG)
    }

    /// The leg with this UUID, mutable.
    ///
    /// # Errors
    /// No such leg, or it has ended.
    pub fn by_name_mut(&mut self, name: &str) -> Result<(LegId, &mut Leg), GatewayError> {
        let id = self.find(name)?;
        self.get_mut(id).map(|leg| (id, leg)).ok_or(GatewayError::NO_LEG)
    }

    /// The UUID of a leg.
    #[must_use]
    pub fn name_of(&self, id: LegId) -> String {
        self.get(id).map(|l| l.name().to_owned()).unwrap_or_default()
    }

    /// Assigns requests with this Call-ID and tag to the leg.
    pub fn add_dialog(&mut self, key: DialogKey, id: LegId) {
        self.dialogs.insert(key, id);
    }

    /// The leg with this Call-ID and our tag.
    #[must_use]
    pub fn of_dialog(&self, key: &DialogKey) -> Option<LegId> {
        self.dialogs.get(key).copied()
    }

    /// The leg whose dialog a request belongs to.
    #[must_use]
    pub fn of_request(&self, request: &Request) -> Option<LegId> {
        let c = &request.common;
        let id = self.of_dialog(&(c.call_id.clone(), c.to.tag()?.to_owned()))?;
        let dialog = self.get(id)?.call().dialog();
        dialog.is_none_or(|d| d.is_from_peer(request)).then_some(id)
    }

    /// The leg of an INVITE without final response.
    #[must_use]
    pub fn of_incoming(&self, invite: ServerId) -> Option<LegId> {
        self.iter().find(|(_, leg)| leg.call().unanswered() == Some(invite)).map(|(id, _)| id)
    }

    /// The leg of an INVITE whose 2xx has not been acknowledged.
    #[must_use]
    pub fn of_unacknowledged(&self, invite: ServerId) -> Option<LegId> {
        self.iter().find(|(_, leg)| leg.call().waits_for_ack(invite)).map(|(id, _)| id)
    }

    /// The leg in this slot of the engine.
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<LegId> {
        self.slots.get(&slot).copied()
    }

    /// The engine has closed the media in a slot; false if its leg still needs the slot.
    pub fn release_late(&mut self, slot: Slot) -> bool {
        let late = self.late.remove(&slot);
        if late {
            self.free.free(slot);
        }
        late
    }

    /// Slots of the engine in use.
    #[must_use]
    pub fn slots_used(&self) -> u32 {
        self.free.used()
    }

    /// Updates the deadline of a leg.
    pub fn reschedule(&mut self, id: LegId) {
        let at = self.get(id).and_then(Leg::deadline);
        self.deadlines.set(id, at);
    }

    /// The next leg whose deadline has passed; call until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<LegId> {
        self.deadlines.pop_due(now)
    }

    /// The next deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next().map(|(at, _)| at)
    }

    /// Number of deadlines.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.deadlines.len()
    }

    /// The signalling of a leg has ended: only its slot in the engine still finds it.
    pub fn end(&mut self, now: Instant, id: LegId) {
        let name = self.name_of(id);
        self.names.remove(&name);
        self.forget_recent(now);
        for (key, _) in self.dialogs.extract_if(.., |_, l| *l == id) {
            if self.recent.len() >= MAX_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((now, key));
        }
    }

    /// Removes a leg. Its slot stays reserved until the engine has closed the media.
    pub fn remove(&mut self, ctx: &mut Context, id: LegId) -> Option<Leg> {
        self.deadlines.set(id, None);
        let mut leg = self.table.remove(id)?;
        leg.call_mut().release_opus(ctx);
        if let Some(slot) = leg.media().slot() {
            self.slots.remove(&slot);
            if leg.media().is_closed() {
                self.free.free(slot);
            } else {
                self.late.insert(slot);
            }
        }
        Some(leg)
    }

    /// True for a dialog that ended recently.
    #[must_use]
    pub fn had_dialog(&self, key: &DialogKey) -> bool {
        self.recent.iter().any(|(_, k)| k == key)
    }

    /// Forgets dialogs that ended so long ago that no more requests can arrive.
    pub fn forget_recent(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|(at, _)| *at + TIMEOUT <= now) {
            self.recent.pop_front();
        }
    }

    /// True if every leg has had its terminal event.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        self.table.is_empty()
    }

    /// True if nothing of any leg is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.is_empty()
            && self.dialogs.is_empty()
            && self.late.is_empty()
            && self.slots.is_empty()
            && self.deadlines.is_empty()
            && self.free.used() == 0
    }
}
