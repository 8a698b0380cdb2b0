//! Rank 4: the gateway core, sans-IO: owns all legs, rooms, transactions and dialogs; uses no sockets, clocks
//! or threads. The shell passes events in and fetches outputs.
//!
//! Only [`Gateway`] knows all parts; it translates events of one part into calls of another.

pub mod accounts;
pub mod admission;
pub mod audio;
pub mod calls;
pub mod commands;
pub mod context;
mod dispatch;
pub mod events;
pub mod interface;
pub mod legs;
pub mod playback;
pub mod recording;
pub mod registrar;
pub mod requests;
pub mod resources;
pub mod rooms;
pub mod self_test;
pub mod sip_call;
pub mod sip_messages;
#[cfg(test)]
mod testing;
pub mod transfers;
pub mod trunks;

use std::rc::Rc;
use std::time::Instant;

use self::accounts::Accounts;
use self::admission::Gate;
use self::audio::Audio;
use self::calls::{Calls, Surroundings};
use self::commands::{AccountCommands, AudioCommands, LegCommands, RoomCommands};
use self::context::Context;
use self::events::Event;
use self::interface::changed::Changed;
pub use self::interface::error::GatewayError;
use self::interface::outputs::Replies;
pub use self::interface::view::View;
use self::interface::work::{Work, WorkId, WorkResult, Written};
use self::legs::leg_id::LegId;
use self::resources::ports::Ports;
use self::sip_call::CallEvent;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::media::command::{AudioTarget, Command, MediaEvent, RecordSlot};
use crate::sip::flow::{ConnId, Flow};
use crate::sip::locals::Locals;
use crate::sip::transactions::Transmit;

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    ctx: Context,
    calls: Calls,
    accounts: Accounts,
    audio: Audio,
    gate: Gate,
}

impl Gateway {
    /// A gateway with these settings that announces the addresses in `locals`.
    #[must_use]
    pub fn new(config: Rc<Config>, locals: Locals, mut rng: Rng) -> Self {
        let accounts = Accounts::new(&config, &mut rng);
        let (calls, audio) = (Calls::new(config.limits.legs), Audio::new(&config.limits));
        Self { ctx: Context::new(config, locals, rng), calls, accounts, audio, gate: Gate::default() }
    }

    /// Read access.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { ctx: &self.ctx, calls: &self.calls, accounts: &self.accounts, audio: &self.audio }
    }

    /// Executes commands on legs and processes the consequences.
    pub fn legs<T>(&mut self, now: Now, work: impl FnOnce(&mut LegCommands<'_>) -> T) -> T {
        let Self { ctx, calls, accounts, audio, .. } = self;
        let done = work(&mut LegCommands::new(now, ctx, calls, accounts, audio));
        self.drain(now);
        done
    }

    /// The same for rooms.
    pub fn rooms<T>(&mut self, now: Now, work: impl FnOnce(&mut RoomCommands<'_>) -> T) -> T {
        let Self { ctx, calls, accounts, audio, .. } = self;
        let done = work(&mut RoomCommands::new(now, ctx, calls, accounts, audio));
        self.drain(now);
        done
    }

    /// The same for playbacks and recordings.
    pub fn audio<T>(&mut self, now: Now, work: impl FnOnce(&mut AudioCommands<'_>) -> T) -> T {
        let Self { ctx, calls, audio, .. } = self;
        let done = work(&mut AudioCommands::new(now, ctx, calls.legs(), audio));
        self.drain(now);
        done
    }

    /// The same for trunks and registrations.
    pub fn accounts<T>(&mut self, now: Now, work: impl FnOnce(&mut AccountCommands<'_>) -> T) -> T {
        let Self { ctx, accounts, .. } = self;
        let done = work(&mut AccountCommands::new(now, ctx, accounts));
        self.drain(now);
        done
    }

    /// Applies a new configuration after a reload. Trunks created by the API remain; trunks removed from the
    /// file are unregistered, and their calls continue.
    pub fn reload(&mut self, now: Now, config: Rc<Config>) -> Changed {
        let old = std::mem::replace(&mut self.ctx.config, config);
        let changed = self.accounts.reload(&mut self.ctx, now, &old);
        self.drain(now);
        changed
    }

    /// New calls, in both directions, are refused with 503 from now on; active calls continue.
    pub fn refuse_new_calls(&mut self) {
        self.ctx.stopping = true;
    }

    /// Ends all legs because the gateway is stopping; new calls are refused with 503.
    pub fn shut_down(&mut self, now: Now) {
        self.refuse_new_calls();
        let all: Vec<LegId> = self.calls.legs().live().map(|(_, id)| id).collect();
        for id in all {
            self.calls.hang_up(&mut self.ctx, now, id, "shutdown", Some(503));
            // Send the BYEs before unregistering: some servers reject them from unregistered addresses.
            self.drain(now);
        }
        self.accounts.trunks_mut().unregister_all(&mut self.ctx, now);
        self.drain(now);
    }

    /// Handles one SIP message: a datagram, or a frame of a stream.
    pub fn handle_message(&mut self, now: Now, source: Flow, bytes: &[u8]) {
        let parts = (&mut self.ctx, &mut self.accounts, &self.calls);
        self.gate.handle_message(parts, now, source, bytes);
        self.drain(now);
        self.accounts.registrar_mut().forget_authenticated();
    }

    /// Handles the head of a stream message without usable framing: answered with an error at most.
    pub fn handle_broken(&mut self, now: Now, source: Flow, head: &[u8]) {
        self.gate.handle_broken((&mut self.ctx, &self.accounts, &self.calls), source, head);
        self.drain(now);
    }

    /// True if a connection from there may be accepted now.
    pub fn may_connect(&mut self, now: Now, source: Flow) -> bool {
        self.gate.may_connect((&mut self.ctx, &self.accounts, &self.calls), now, source)
    }

    /// True if this many more bytes may be received on a connection.
    pub fn may_send(&mut self, now: Now, source: Flow, size: usize) -> bool {
        self.gate.may_send((&mut self.ctx, &self.accounts, &self.calls), now, source, size)
    }

    /// A connection to `target` could not be opened, or an `open` one was lost.
    pub fn handle_unreachable(&mut self, now: Now, target: Flow, open: bool) {
        self.ctx.sip.handle_unreachable(now.mono, target, open);
        self.accounts.trunks_mut().handle_connection_lost(&mut self.ctx, now, target);
        self.drain(now);
    }

    /// A connection was closed; its id is no longer valid.
    pub fn forget_connection(&mut self, gone: ConnId) {
        self.calls.forget_connection(&mut self.ctx, gone);
    }

    /// The operating system rejected a datagram to `target` (RFC 3261 §18.4).
    pub fn handle_unsent(&mut self, target: Flow) {
        self.ctx.sip.handle_unsent(target);
    }

    /// Free socket pairs, replenished by the shell.
    pub fn ports(&mut self) -> &mut Ports {
        &mut self.ctx.ports
    }

    /// Handles an event of the media engine.
    pub fn handle_media(&mut self, now: Now, event: MediaEvent) {
        if let MediaEvent::Closed { slot, quality } = event {
            let ended = self.calls.media_closed(&mut self.ctx, slot, quality);
            if let Some(id) = ended.filter(|_| !self.audio.has_unfinished(AudioTarget::Leg(slot))) {
                self.finish(now, id);
            }
        } else if let MediaEvent::Played { play, played_ms, over } = event {
            let ended = self.audio.handle_played(&mut self.ctx, now, play, (played_ms, over));
            self.audio_over(now, ended);
        } else {
            self.on_calls(now, |calls, env| calls.handle_media(env, event));
        }
        self.drain(now);
    }

    /// Handles the result of a work item.
    pub fn handle_work(&mut self, now: Now, id: WorkId, result: WorkResult) {
        if let WorkResult::Located(targets) = result {
            self.ctx.requests.handle_located(&self.ctx.sip.locals(), id, targets);
        } else {
            self.audio.handle_work(&mut self.ctx, now, id, result);
        }
        self.drain(now);
    }

    /// The recorder has closed the file of a recording.
    pub fn handle_recording_closed(
        &mut self,
        now: Now,
        record: RecordSlot,
        error: Option<String>,
        written: Written,
    ) {
        self.audio.handle_closed(&mut self.ctx, now, record, (error, written));
        self.drain(now);
    }

    /// Handles all timeouts due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        self.ctx.sip.handle_timeout(now.mono);
        self.drain(now);
        while let Some(id) = self.calls.pop_due(now.mono) {
            if let Some(over) = self.calls.handle_due(&mut self.ctx, now, id) {
                self.finish(now, over);
            }
            // Its events may affect the next part.
            self.drain(now);
        }
        self.calls.handle_timeout(&mut self.ctx, now);
        self.accounts.handle_timeout(&mut self.ctx, now);
        self.gate.tidy(now.mono);
        self.drain(now);
    }

    /// Processes events of the transactions and of all parts, and sends requests whose targets are located,
    /// until nothing is pending.
    fn drain(&mut self, now: Now) {
        loop {
            if let Some((id, event)) = self.ctx.call_events.pop_front() {
                self.call_event(now, id, event);
            } else if let Some(event) = self.ctx.sip.poll_event() {
                self.on_calls(now, |calls, env| dispatch::handle_event(calls, env, event));
            } else if let Some((from, to)) = self.accounts.registrar_mut().poll_moved() {
                self.calls.flow_moved(&mut self.ctx, from, to);
            } else if let Some(event) = self.audio.poll_event() {
                let over = self.audio.handle_event(&mut self.ctx, now, event, |id| self.calls.member(id));
                self.audio_over(now, over);
            } else if let Some((request, targets)) = self.ctx.requests.poll_located() {
                self.on_calls(now, |calls, env| dispatch::transmit(calls, env, request, targets));
            } else {
                return;
            }
        }
    }

    fn call_event(&mut self, now: Now, id: LegId, event: CallEvent) {
        if matches!(event, CallEvent::EarlyMedia | CallEvent::Connected) {
            self.audio.join_waiting(&mut self.ctx, now, self.calls.member(id).as_ref());
        }
        if let CallEvent::RoomWanted(room) = event {
            self.audio.join_or_create(&mut self.ctx, now, self.calls.member(id).as_ref(), &room);
        } else if let CallEvent::Ended(ended) = event {
            let slot = self.on_calls(now, |calls, env| calls.ended(env, id, *ended));
            self.audio.leg_ended(&mut self.ctx, now, id, slot);
            if slot.is_none() {
                self.finish(now, id);
            }
        } else {
            self.on_calls(now, |calls, env| calls.handle_event(env, id, event));
        }
    }

    /// Executes an operation on the calls that needs other parts, too.
    fn on_calls<T>(&mut self, now: Now, work: impl FnOnce(&mut Calls, &mut Surroundings<'_>) -> T) -> T {
        let Self { ctx, calls, accounts, audio, .. } = self;
        work(calls, &mut Surroundings { now, ctx, accounts, rooms: audio.rooms() })
    }

    /// Nothing is played or recorded there any more: an ended leg that was waiting only for that is finished.
    fn audio_over(&mut self, now: Now, target: Option<AudioTarget>) {
        let slot = target.and_then(|target| self.audio.release(target));
        if let Some(id) = slot.and_then(|slot| self.calls.ended_at(slot)) {
            self.finish(now, id);
        }
    }

    /// An ended leg that is not waiting for anything any more.
    fn finish(&mut self, now: Now, id: LegId) {
        let slot = self.calls.legs().get(id).and_then(|l| l.media().slot());
        if let (Some(slot), Some(leg)) = (slot, self.ctx.events.leg(id)) {
            self.audio.leg_gone(slot, &leg);
        }
        self.calls.finish(&mut self.ctx, now, id);
    }

    /// The next message to send; call until `None`.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.ctx.sip.poll_transmit()
    }

    /// The next event for API clients; call until `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let event = self.ctx.events.poll()?;
            if !self.calls.self_tests().is_told_of_by(&event) {
                return Some(event);
            }
        }
    }

    /// The next command for the media engine; call until `None`.
    #[must_use]
    pub fn poll_media(&mut self) -> Option<Command> {
        self.ctx.media.pop_front()
    }

    /// The next work item for the shell; call until `None`.
    #[must_use]
    pub fn poll_work(&mut self) -> Option<Work> {
        self.ctx.io.poll()
    }

    /// Replies to API requests that had to wait.
    pub fn replies(&mut self) -> &mut Replies {
        &mut self.ctx.replies
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let all = [self.ctx.sip.poll_timeout(), self.calls.poll_timeout(), self.accounts.poll_timeout()];
        all.into_iter().flatten().min()
    }

    /// True once every leg has had its terminal event; transactions may still be running.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.calls.legs().are_gone()
            && self.audio.recordings().is_empty()
            && !self.ctx.requests.owes_byes()
            && !self.accounts.trunks().is_unregistering()
    }

    /// True if nothing of any call is left: no leg, transaction, timer or work item.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ctx.is_idle() && self.calls.is_idle() && self.audio.is_idle()
    }
}
