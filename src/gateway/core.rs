//! The gateway's state, and the one way in and out of it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use super::admission::Sources;
use super::amd;
use super::context::Context;
use super::error::GatewayError;
use super::events::{Empty, Event, EventBody};
use super::leg_id::LegId;
use super::legs::{Legs, Path};
use super::playback::Playbacks;
use super::ports::Port;
use super::recording::Recordings;
use super::refusal;
use super::registrar::Registrar;
use super::replies::{Handle, Reply};
use super::rooms::Rooms;
use super::self_test::SelfTests;
use super::transfers::{Referrals, Replacements};
use super::trunks::Trunks;
use super::work::{Work, WorkId, WorkResult, Written};
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::media::command::{Command, MediaEvent, RecordSlot};
use crate::sip::limiter::Limiter;
use crate::sip::locals::Locals;
use crate::sip::target::Target;
use crate::sip::transactions::{self, Transmit};
use crate::wire::{Message, Method, Refusal, parse};

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    pub(super) ctx: Context,
    pub(super) legs: Legs,
    pub(super) rooms: Rooms,
    pub(super) playbacks: Playbacks,
    pub(super) recordings: Recordings,
    pub(super) referrals: Referrals,
    pub(super) replacements: Replacements,
    pub(super) trunks: Trunks,
    pub(super) registrar: Registrar,
    /// Strangers and how much they asked.
    pub(super) limiter: Limiter,
    pub(super) self_tests: SelfTests,
}

impl Gateway {
    /// A gateway with these settings, known to the network under `locals`.
    #[must_use]
    pub fn new(config: Rc<Config>, locals: Locals, mut rng: Rng) -> Self {
        let registrar = Registrar::new(&config, &mut rng);
        Self {
            ctx: Context::new(Rc::clone(&config), locals, rng),
            legs: Legs::new(config.limits.legs),
            rooms: Rooms::new(config.limits.rooms),
            playbacks: Playbacks::new(config.limits.playbacks),
            recordings: Recordings::new(config.limits.recordings),
            referrals: Referrals::default(),
            replacements: Replacements::default(),
            trunks: Trunks::default(),
            registrar,
            limiter: Limiter::default(),
            self_tests: SelfTests::default(),
        }
    }

    /// Takes one SIP message: a datagram, or a frame of a stream.
    pub fn handle_message(&mut self, now: Now, source: Target, bytes: &[u8]) {
        // Keep-alives of phones (RFC 5626 §3.5.1): over UDP they only hold routers' mappings open.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        // What comes on a connection was counted as it was read.
        let size = if source.transport.is_reliable() { 0 } else { bytes.len() };
        if !self.may_ask(now.mono, source, size) {
            self.ctx.counters.rate_limited += 1;
            return;
        }
        match parse(bytes) {
            Ok(Message::Request(mut request)) => {
                request.stamp(source.addr);
                let heard = self.self_tests.is_call(&request) || self.sources().admits(source, &request);
                if heard || self.registrar.admits_stranger(&mut self.ctx, now, &request, source) {
                    let admission = self.sources().admission_of(&request, source);
                    self.ctx.sip.handle_request(now.mono, request, source, admission);
                }
            }
            Ok(Message::Response(response)) => self.ctx.sip.handle_response(now.mono, response),
            Err(refusal) => self.refuse_malformed(source, refusal),
        }
        self.drain(now);
        self.registrar.forget_authenticated();
    }

    /// Takes the head of a stream message whose end cannot be told: at most a refusal comes of it.
    pub fn handle_broken(&mut self, now: Now, source: Target, head: &[u8]) {
        match parse(head) {
            Err(refusal) => self.refuse_malformed(source, refusal),
            Ok(Message::Request(request)) if request.method != Method::Ack => {
                self.ctx.counters.malformed += 1;
                if self.sources().accepts(source) {
                    let why = "Bad Request: Content-Length is needed";
                    refusal::refuse_stateless(&mut self.ctx, &request, source, 400, why, &[]);
                }
            }
            Ok(_) => self.ctx.counters.malformed += 1,
        }
        self.drain(now);
    }

    fn refuse_malformed(&mut self, source: Target, refusal: Refusal) {
        self.ctx.counters.malformed += 1;
        if let Refusal::Answer(mut answer) = refusal
            && self.sources().accepts(source)
        {
            answer.stamp(source.addr);
            self.ctx.sip.refuse(*answer, source);
        }
    }

    /// Strangers may ask so much and no more.
    fn may_ask(&mut self, now: Instant, source: Target, size: usize) -> bool {
        self.sources().knows(source) || self.limiter.admits(now, source.addr.ip(), size)
    }

    /// True when a connection from there may be opened now; a stranger's counts as a request, since its handshake is
    /// work.
    pub fn may_connect(&mut self, now: Now, source: Target) -> bool {
        let may = self.sources().hears(source) && self.may_ask(now.mono, source, 0);
        self.ctx.counters.rate_limited += u64::from(!may);
        may
    }

    /// True when this many bytes more may come on a connection.
    pub fn may_send(&mut self, now: Now, source: Target, size: usize) -> bool {
        let may = self.sources().knows(source) || self.limiter.admits_bytes(now.mono, source.addr.ip(), size);
        self.ctx.counters.rate_limited += u64::from(!may);
        may
    }

    /// What is known of where messages come from.
    #[must_use]
    pub fn sources(&self) -> Sources<'_> {
        Sources::new(&self.ctx, &self.trunks, &self.registrar, &self.legs)
    }

    /// A connection to `target` could not be opened, or one that was `open` is lost.
    pub fn handle_unreachable(&mut self, now: Now, target: Target, open: bool) {
        self.ctx.sip.handle_unreachable(now.mono, target, open);
        self.trunks.handle_connection_lost(&mut self.ctx, now, target);
        self.drain(now);
    }

    /// The operating system did not take a datagram for `target` (RFC 3261 §18.4).
    pub fn handle_unsent(&mut self, target: Target) {
        self.ctx.sip.handle_unsent(target);
    }

    /// Adds a bound socket pair to the stock.
    pub fn add_port(&mut self, port: Port) {
        self.ctx.ports.add(port);
    }

    /// Pairs in stock with this address of ours; the shell keeps it filled.
    #[must_use]
    pub fn ports_in_stock(&self, address: IpAddr) -> usize {
        self.ctx.ports.stock(address)
    }

    /// Takes news from the media engine.
    pub fn handle_media(&mut self, now: Now, event: MediaEvent) {
        match event {
            MediaEvent::Digit { slot, digit } => {
                if let Some(id) = self.legs.at(slot) {
                    self.digit_received(now, id, Path::Media, digit);
                }
            }
            MediaEvent::Silent { slot } => {
                if let Some(id) = self.legs.at(slot) {
                    self.hang_up(now, id, "rtp_timeout", None);
                }
            }
            MediaEvent::Speaking { slot, on } => {
                if let Some(id) = self.legs.at(slot) {
                    let started = EventBody::SpeakingStarted(Empty {});
                    let body = if on { started } else { EventBody::SpeakingStopped(Empty {}) };
                    self.ctx.events.publish_with_room(now, id, body);
                }
            }
            MediaEvent::Amd { slot, news } => {
                if let Some(id) = self.legs.at(slot) {
                    self.ctx.events.publish(now, id, amd::event_of(news));
                }
            }
            MediaEvent::Quality { slot, quality } => {
                if let Some(leg) = self.legs.at(slot).and_then(|id| self.legs.get_mut(id)) {
                    leg.media_mut().handle_quality(&mut self.ctx, &quality);
                }
            }
            MediaEvent::Closed { slot, quality } => self.media_closed(now, slot, quality),
            MediaEvent::Played { play, played_ms, over } => {
                let ended = self.playbacks.handle_played(&mut self.ctx, now, play, played_ms, over);
                if let Some(target) = ended {
                    self.end_if_done(now, target);
                }
            }
        }
        self.drain(now);
    }

    /// Takes the result of a piece of work.
    pub fn handle_work(&mut self, now: Now, id: WorkId, result: WorkResult) {
        match result {
            WorkResult::Located(targets) => {
                let locals = self.ctx.sip.locals();
                self.ctx.requests.handle_located(&locals, id, targets);
            }
            WorkResult::Fetched(outcome) => self.playbacks.handle_fetched(&mut self.ctx, now, id, outcome),
            WorkResult::RecordingOpened(outcome) => {
                self.recordings.handle_opened(&mut self.ctx, now, id, outcome)
            }
            WorkResult::Merged(outcome) => self.recordings.handle_merged(&mut self.ctx, now, id, outcome),
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
        self.recordings.handle_closed(&mut self.ctx, now, record, error, written);
        self.drain(now);
    }

    /// Fires everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        self.ctx.sip.handle_timeout(now.mono);
        self.drain(now);
        while let Some(id) = self.legs.pop_due(now.mono) {
            self.leg_due(now, id);
            // What it reports may concern the next one.
            self.drain(now);
        }
        self.referrals.handle_timeout(&mut self.ctx, &mut self.legs, now);
        self.trunks.handle_timeout(&mut self.ctx, now);
        self.registrar.handle_timeout(&mut self.ctx, now);
        self.legs.forget_recent(now.mono);
        self.limiter.tidy(now.mono);
        self.drain(now);
    }

    fn leg_due(&mut self, now: Now, id: LegId) {
        if self.legs.get(id).is_some_and(|l| l.is_ending()) {
            return self.finish(now, id);
        }
        self.legs.with_call(&mut self.ctx, id, |call, ctx| call.handle_timeout(ctx, now));
    }

    /// Handles what the transactions and the parts have to say, and sends the requests whose addresses are known, until there
    /// is no more of any.
    pub(super) fn drain(&mut self, now: Now) {
        loop {
            if let Some((id, event)) = self.ctx.call_events.pop_front() {
                self.call_event(now, id, event);
            } else if let Some(event) = self.ctx.sip.poll_event() {
                self.transaction_event(now, event);
            } else if let Some((from, to)) = self.registrar.poll_moved() {
                self.flow_moved(from, to);
            } else if let Some(event) = self.rooms.poll_event() {
                self.room_event(now, event);
            } else if let Some(event) = self.recordings.poll_event() {
                self.recording_event(now, event);
            } else if let Some((request, targets)) = self.ctx.requests.poll_located() {
                self.transmit(now, request, targets);
            } else {
                return;
            }
        }
    }

    fn transaction_event(&mut self, now: Now, event: transactions::Event) {
        match event {
            transactions::Event::Request(tx, request, source) => self.request(now, tx, &request, source),
            transactions::Event::Ack(request) => self.ack_received(now, &request),
            transactions::Event::Cancelled(tx) => self.cancelled(now, tx),
            transactions::Event::Response(tx, response) => self.response(now, tx, &response),
            transactions::Event::Failed(tx, why) => self.request_failed(now, tx, why),
            transactions::Event::AckMissing(tx, why) => self.ack_missing(now, tx, why),
            transactions::Event::Gone(tx) => self.ctx.requests.handle_gone(tx),
        }
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
            if !self.self_tests.is_told_of_by(&event) {
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

    /// Keeps replies nobody waits for yet.
    pub fn keep_replies(&mut self, early: Vec<(Handle, Result<Reply, GatewayError>)>) {
        self.ctx.replies.keep(early);
    }

    /// The next reply, until `None`.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<(Handle, Result<Reply, GatewayError>)> {
        self.ctx.replies.poll()
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.ctx.sip.poll_timeout(),
            self.legs.next_deadline(),
            self.referrals.poll_timeout(),
            self.trunks.poll_timeout(),
            self.registrar.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// True when every leg has had its terminal event; transactions may still be dying away.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.legs.are_gone()
            && self.recordings.is_empty()
            && !self.ctx.requests.owes_byes()
            && !self.trunks.is_unregistering()
    }

    /// True when nothing is left of any call: no leg, transaction, timer or work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.legs.is_idle()
            && self.ctx.sip.is_empty()
            && self.ctx.requests.is_empty()
            && self.ctx.call_events.is_empty()
            && self.referrals.is_idle()
            && self.replacements.is_empty()
            && self.rooms.is_idle()
            && self.playbacks.is_empty()
            && self.recordings.is_empty()
    }
}
