//! Rank 4: the gateway itself, pure: it owns every leg, room, transaction and dialog, opens no socket,
//! reads no clock and spawns nothing. The shell feeds it and drains it.
//!
//! [`Gateway`] alone knows all parts, and maps what one reports to calls on another.

pub mod accounts;
pub mod admission;
pub mod amd;
pub mod audio;
pub mod bodies;
pub mod calls;
pub mod capabilities;
pub mod changed;
pub mod command;
pub mod commands;
pub mod context;
pub mod counters;
mod dispatch;
pub mod error;
pub mod events;
pub mod expiry;
pub mod leg_id;
pub mod leg_view;
pub mod legs;
pub mod member;
mod offers;
pub mod outputs;
pub mod owner;
pub mod playback;
pub mod ports;
pub mod recording;
pub mod refusal;
pub mod registrar;
pub mod replies;
pub mod requests;
pub mod rooms;
pub mod self_test;
pub mod sip_call;
pub mod slots;
#[cfg(test)]
mod testing;
pub mod transfers;
pub mod trunks;
pub mod view;
pub mod work;

use std::rc::Rc;
use std::time::Instant;

use self::accounts::Accounts;
use self::admission::Gate;
use self::audio::Audio;
use self::calls::{Calls, Surroundings};
use self::changed::Changed;
use self::commands::{AccountCommands, AudioCommands, LegCommands, RoomCommands};
use self::context::Context;
pub use self::error::GatewayError;
use self::events::Event;
use self::leg_id::LegId;
use self::outputs::Replies;
use self::ports::Ports;
use self::sip_call::CallEvent;
pub use self::view::View;
use self::work::{Work, WorkId, WorkResult, Written};
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::media::command::{AudioTarget, Command, MediaEvent, RecordSlot};
use crate::sip::locals::Locals;
use crate::sip::target::{ConnId, Target};
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
    /// A gateway with these settings, known to the network under `locals`.
    #[must_use]
    pub fn new(config: Rc<Config>, locals: Locals, mut rng: Rng) -> Self {
        let accounts = Accounts::new(&config, &mut rng);
        let (calls, audio) = (Calls::new(config.limits.legs), Audio::new(&config.limits));
        Self { ctx: Context::new(config, locals, rng), calls, accounts, audio, gate: Gate::default() }
    }

    /// What can be asked of it.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { ctx: &self.ctx, calls: &self.calls, accounts: &self.accounts, audio: &self.audio }
    }

    /// Has something done to legs, and handles what follows.
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

    /// Goes on with `config`, which differs from the present one in trunks, users and what others read of it. Trunks that
    /// the API made stay; those of the file that are gone are unregistered, and calls through them go on.
    pub fn reload(&mut self, now: Now, config: Rc<Config>) -> Changed {
        let old = std::mem::replace(&mut self.ctx.config, config);
        let changed = self.accounts.reload(&mut self.ctx, now, &old);
        self.drain(now);
        changed
    }

    /// New calls, of whatever side, get 503 from now on; those that run go on.
    pub fn refuse_new_calls(&mut self) {
        self.ctx.stopping = true;
    }

    /// Ends every leg because the gateway stops; new calls get 503 from now on.
    pub fn shut_down(&mut self, now: Now) {
        self.refuse_new_calls();
        let all: Vec<LegId> = self.calls.legs().live().map(|(_, id)| id).collect();
        for id in all {
            self.calls.hang_up(&mut self.ctx, now, id, "shutdown", Some(503));
            // The BYEs go out while we are still registered: some servers take none from strangers.
            self.drain(now);
        }
        self.accounts.trunks_mut().unregister_all(&mut self.ctx, now);
        self.drain(now);
    }

    /// Takes one SIP message: a datagram, or a frame of a stream.
    pub fn handle_message(&mut self, now: Now, source: Target, bytes: &[u8]) {
        let parts = (&mut self.ctx, &mut self.accounts, &self.calls);
        self.gate.handle_message(parts, now, source, bytes);
        self.drain(now);
        self.accounts.registrar_mut().forget_authenticated();
    }

    /// Takes the head of a stream message whose end cannot be told: at most a refusal comes of it.
    pub fn handle_broken(&mut self, now: Now, source: Target, head: &[u8]) {
        self.gate.handle_broken((&mut self.ctx, &self.accounts, &self.calls), source, head);
        self.drain(now);
    }

    /// True when a connection from there may be opened now.
    pub fn may_connect(&mut self, now: Now, source: Target) -> bool {
        self.gate.may_connect((&mut self.ctx, &self.accounts, &self.calls), now, source)
    }

    /// True when this many bytes more may come on a connection.
    pub fn may_send(&mut self, now: Now, source: Target, size: usize) -> bool {
        self.gate.may_send((&mut self.ctx, &self.accounts, &self.calls), now, source, size)
    }

    /// A connection to `target` could not be opened, or one that was `open` is lost.
    pub fn handle_unreachable(&mut self, now: Now, target: Target, open: bool) {
        self.ctx.sip.handle_unreachable(now.mono, target, open);
        self.accounts.trunks_mut().handle_connection_lost(&mut self.ctx, now, target);
        self.drain(now);
    }

    /// A connection that is gone does not lead there again.
    pub fn forget_connection(&mut self, gone: ConnId) {
        self.calls.forget_connection(&mut self.ctx, gone);
    }

    /// The operating system did not take a datagram for `target` (RFC 3261 §18.4).
    pub fn handle_unsent(&mut self, target: Target) {
        self.ctx.sip.handle_unsent(target);
    }

    /// The stock of bound socket pairs, which the shell keeps filled.
    pub fn ports(&mut self) -> &mut Ports {
        &mut self.ctx.ports
    }

    /// Takes news from the media engine.
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

    /// Takes the result of a piece of work.
    pub fn handle_work(&mut self, now: Now, id: WorkId, result: WorkResult) {
        if let WorkResult::Located(targets) = result {
            self.ctx.requests.handle_located(&self.ctx.sip.locals(), id, targets);
        } else {
            self.audio.handle_work(&mut self.ctx, now, id, result);
        }
        self.drain(now);
    }

    /// The recorder has closed a recording's file.
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

    /// Fires everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        self.ctx.sip.handle_timeout(now.mono);
        self.drain(now);
        while let Some(id) = self.calls.pop_due(now.mono) {
            if let Some(over) = self.calls.handle_due(&mut self.ctx, now, id) {
                self.finish(now, over);
            }
            // What it reports may concern the next one.
            self.drain(now);
        }
        self.calls.handle_timeout(&mut self.ctx, now);
        self.accounts.handle_timeout(&mut self.ctx, now);
        self.gate.tidy(now.mono);
        self.drain(now);
    }

    /// Handles what the transactions and the parts have to say, and sends the requests whose addresses are known, until there
    /// is no more of any.
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

    /// Has the calls do something that takes other parts too.
    fn on_calls<T>(&mut self, now: Now, work: impl FnOnce(&mut Calls, &mut Surroundings<'_>) -> T) -> T {
        let Self { ctx, calls, accounts, audio, .. } = self;
        work(calls, &mut Surroundings { now, ctx, accounts, rooms: audio.rooms() })
    }

    /// Nothing plays or records there any more: if that was the last thing that an ended leg waited for, it is over.
    fn audio_over(&mut self, now: Now, target: Option<AudioTarget>) {
        let slot = target.and_then(|target| self.audio.release(target));
        if let Some(id) = slot.and_then(|slot| self.calls.ended_at(slot)) {
            self.finish(now, id);
        }
    }

    /// A leg has ended and waits for nothing any more.
    fn finish(&mut self, now: Now, id: LegId) {
        let slot = self.calls.legs().get(id).and_then(|l| l.media().slot());
        if let (Some(slot), Some(leg)) = (slot, self.ctx.events.leg(id)) {
            self.audio.leg_gone(slot, &leg);
        }
        self.calls.finish(&mut self.ctx, now, id);
    }

    /// The next message for the network, until `None`.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.ctx.sip.poll_transmit()
    }

    /// The next event for the world, until `None`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let event = self.ctx.events.poll()?;
            if !self.calls.self_tests().is_told_of_by(&event) {
                return Some(event);
            }
        }
    }

    /// The next order for the media engine, until `None`.
    #[must_use]
    pub fn poll_media(&mut self) -> Option<Command> {
        self.ctx.media.pop_front()
    }

    /// The next piece of work for the shell, until `None`.
    #[must_use]
    pub fn poll_work(&mut self) -> Option<Work> {
        self.ctx.io.poll()
    }

    /// Replies to calls of the API that had to wait.
    pub fn replies(&mut self) -> &mut Replies {
        &mut self.ctx.replies
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let all = [self.ctx.sip.poll_timeout(), self.calls.poll_timeout(), self.accounts.poll_timeout()];
        all.into_iter().flatten().min()
    }

    /// True when every leg has had its terminal event; transactions may still be dying away.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.calls.legs().are_gone()
            && self.audio.recordings().is_empty()
            && !self.ctx.requests.owes_byes()
            && !self.accounts.trunks().is_unregistering()
    }

    /// True when nothing is left of any call: no leg, transaction, timer or work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ctx.is_idle() && self.calls.is_idle() && self.audio.is_idle()
    }
}
