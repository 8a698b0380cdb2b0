//! One tick of all legs: receive, mix, send, record. Runs on the media thread: no allocation, locking,
//! logging or blocking, and all loops are bounded.

use rtrb::{Consumer, Producer};

use super::analysis::Speaking;
use super::command::{AudioTarget, MediaEvent, Over, Slot};
use super::endpoint::Endpoint;
use super::messages::{EngineCommand, EngineOutput};
use super::mix;
use super::party::Party;
use super::play::Play;
use super::record::Recording;
use super::room::Room;
use super::rtp_endpoint::endpoint::RtpEndpoint;
use super::rtp_endpoint::transport::{Batch, MediaTransport};
use super::schedule::{Schedule, Turn, at};
use super::shared_encoding::{Shares, follow, leader_of, part_ways};
use crate::dsp::{MAX_FRAME, copy};

/// Maximum commands processed per tick; the rest waits for the next.
const MAX_ORDERS: usize = 256;
/// Ticks between reads of a leg's RTCP socket.
const RTCP_TICKS: u64 = 25;

/// Capacity of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Legs.
    pub legs: usize,
    /// Rooms.
    pub rooms: usize,
    /// Playbacks.
    pub plays: usize,
    /// Recordings.
    pub recordings: usize,
}

/// The media engine.
#[derive(Debug)]
pub struct Engine<W> {
    parties: Box<[Option<Box<Party<W>>>]>,
    rooms: Box<[Option<Box<Room>>]>,
    plays: Box<[Option<Box<Play>>]>,
    recordings: Box<[Option<Box<Recording>>]>,
    orders: Consumer<EngineCommand<W>>,
    reports: Producer<EngineOutput<W>>,
    batch: Batch,
    frame: [i16; MAX_FRAME],
    shares: Shares,
    tick: u64,
    schedule: Schedule,
    /// Legs were added, removed or moved between rooms since the schedule was computed.
    rearranged: bool,
    /// Ticks that started late.
    late_ticks: u64,
    timeout_ticks: u32,
}

fn places<T>(n: usize) -> Box<[Option<Box<T>>]> {
    (0..n).map(|_| None).collect()
}

impl<W: MediaTransport> Engine<W> {
    /// An empty engine; reports legs without packets for `timeout_s` seconds.
    #[must_use]
    pub fn new(
        sizes: Sizes,
        orders: Consumer<EngineCommand<W>>,
        reports: Producer<EngineOutput<W>>,
        timeout_s: u32,
    ) -> Self {
        Self {
            parties: places(sizes.legs),
            rooms: places(sizes.rooms),
            plays: places(sizes.plays),
            recordings: places(sizes.recordings),
            orders,
            reports,
            batch: Batch::default(),
            frame: [0; MAX_FRAME],
            shares: Shares::default(),
            tick: 0,
            schedule: Schedule::new(sizes.legs),
            rearranged: false,
            late_ticks: 0,
            timeout_ticks: timeout_s.saturating_mul(50),
        }
    }

    /// Disables shared encoding, to measure its benefit.
    pub fn encode_apart(&mut self) {
        self.shares.apart = true;
    }

    /// Processes 20 ms; true if reports are queued. `unix_ns` is the wall clock, for RTCP reports.
    pub fn tick(&mut self, unix_ns: u64) -> bool {
        self.tick += 1;
        self.take_orders();
        if std::mem::take(&mut self.rearranged) {
            self.schedule.arrange(&self.parties);
        }
        self.begin_rooms();
        self.play();
        let schedule = std::mem::take(&mut self.schedule);
        let mut news = false;
        for together in schedule.by_room() {
            news |= self.turn(together, unix_ns);
        }
        self.schedule = schedule;
        // Rooms without members were not settled above.
        self.rooms.iter_mut().flatten().for_each(|r| r.settle());
        self.record();
        self.tell(news);
        self.reports.slots() < self.reports.buffer().capacity()
    }

    /// Processes all legs of one room, or all legs without a room; true if one has something to report.
    fn turn(&mut self, together: &[Turn], unix_ns: u64) -> bool {
        let parties = together.iter().filter_map(|t| self.parties.get(usize::from(t.slot))?.as_ref());
        std::hint::black_box(parties.fold(0, |sum, party| sum ^ party.touch()));
        for turn in together {
            let Some(party) = at(&mut self.parties, turn.slot) else { continue };
            party.receive(&mut self.batch, self.timeout_ticks, unix_ns);
            let Endpoint::Rtp(rtp) = &mut party.endpoint;
            if (self.tick + u64::from(turn.slot)).is_multiple_of(RTCP_TICKS) {
                rtp.receive_rtcp(&mut self.batch);
            }
            rtp.report(self.tick, unix_ns);
            mix::speak(party, &self.rooms);
        }
        mix::sum_up(&self.parties, &mut self.rooms, together);
        self.shares.assign(&mut self.parties, together);
        for turn in together {
            let Some(party) = at(&mut self.parties, turn.slot) else { continue };
            if leader_of(party).is_none() {
                mix::hear(party, &self.rooms, &mut self.frame);
                party.transmit();
            }
        }
        follow(&mut self.parties, together);
        let mut news = false;
        for turn in together {
            let Some(party) = at(&mut self.parties, turn.slot) else { continue };
            party.private.clear();
            news |= party.has_news();
        }
        news
    }

    /// Counts a tick that starts late.
    pub fn note_late(&mut self) {
        self.late_ticks += 1;
    }

    /// Skips `ticks` lost to a system stall: timestamps advance, and recordings contain silence for that
    /// time.
    pub fn skip(&mut self, ticks: u32) {
        self.tick += u64::from(ticks);
        for party in self.parties.iter_mut().flatten() {
            party.endpoint.skip(ticks);
        }
        for recording in self.recordings.iter().flatten() {
            recording.skip(ticks);
        }
    }

    fn take_orders(&mut self) {
        for _ in 0..MAX_ORDERS {
            // A command may return up to two objects: it waits until the report queue has space for them.
            if self.reports.slots() < 4 {
                return;
            }
            let Ok(order) = self.orders.pop() else { return };
            self.rearranged = true;
            self.take(order);
        }
    }

    fn take(&mut self, order: EngineCommand<W>) {
        if let EngineCommand::Update(slot, _)
        | EngineCommand::Join(slot, ..)
        | EngineCommand::Leave(slot)
        | EngineCommand::Close(slot) = &order
        {
            part_ways(&mut self.parties, *slot);
        }
        let back = match order {
            EngineCommand::Open(slot, mut party) => {
                party.begin(self.late_ticks);
                put(&mut self.parties, slot, party).map(EngineOutput::Party)
            }
            EngineCommand::Update(slot, mut new) => {
                let _none: Option<EngineOutput<W>> =
                    with_rtp(&mut self.parties, slot, |rtp| rtp.update(&mut new));
                Some(EngineOutput::Renegotiation(new))
            }
            EngineCommand::Close(slot) => with(&mut self.parties, slot, Party::close),
            EngineCommand::Speaking(slot) => {
                with(&mut self.parties, slot, |p| p.analysis.speaking = Some(Speaking::default()))
            }
            EngineCommand::Amd(slot, amd) => {
                let mut back = Some(amd);
                let _none: Option<EngineOutput<W>> =
                    with(&mut self.parties, slot, |p| std::mem::swap(&mut p.analysis.amd, &mut back));
                back.map(EngineOutput::Amd)
            }
            EngineCommand::Quality(slot) => with(&mut self.parties, slot, |p| p.quality_asked = true),
            EngineCommand::Mute(slot, on) => with(&mut self.parties, slot, |p| p.mute.muted = on),
            EngineCommand::Hold(slot, on) => with(&mut self.parties, slot, |p| p.mute.held = on),
            EngineCommand::Unproven(slot, on) => with_rtp(&mut self.parties, slot, |rtp| rtp.await_proof(on)),
            EngineCommand::Deaf(slot, on) => with(&mut self.parties, slot, |p| p.mute.deaf = on),
            EngineCommand::Join(slot, room, mut converters) => {
                let _none: Option<EngineOutput<W>> =
                    with(&mut self.parties, slot, |p| p.join(room, &mut converters));
                Some(EngineOutput::Converters(converters))
            }
            EngineCommand::Leave(slot) => with(&mut self.parties, slot, |p| p.membership.room = None),
            EngineCommand::Digits(slot, digits) => {
                let _none: Option<EngineOutput<W>> =
                    with_rtp(&mut self.parties, slot, |rtp| rtp.add_digits(&digits));
                Some(EngineOutput::Digits(digits))
            }
            EngineCommand::OpenRoom(slot, room) => put(&mut self.rooms, slot, room).map(EngineOutput::Room),
            EngineCommand::CloseRoom(slot) => {
                for party in self.parties.iter_mut().flatten() {
                    party.membership.room = party.membership.room.filter(|room| *room != slot);
                }
                take(&mut self.rooms, slot).map(EngineOutput::Room)
            }
            EngineCommand::Play(slot, play) => put(&mut self.plays, slot, play).map(EngineOutput::Play),
            EngineCommand::Volume(slot, gain) => with(&mut self.plays, slot, |p| p.set_gain(gain)),
            EngineCommand::StopPlay(slot) => {
                with(&mut self.plays, slot, |p| p.over = p.over.or(Some(Over::Stopped)))
            }
            EngineCommand::Record(slot, recording) => {
                put(&mut self.recordings, slot, recording).map(EngineOutput::Recording)
            }
            EngineCommand::PauseRecord(slot, on) => with(&mut self.recordings, slot, |r| r.pause(on)),
            EngineCommand::StopRecord(slot) => take(&mut self.recordings, slot).map(EngineOutput::Recording),
        };
        if let Some(report) = back {
            // Space was checked before the command was taken.
            let _sent = self.reports.push(report);
        }
    }

    /// Passes the members to their rooms, and starts the tick of the rooms.
    fn begin_rooms(&mut self) {
        for turn in self.schedule.all() {
            if let Some(Some(room)) = turn.room().and_then(|r| self.rooms.get_mut(usize::from(r))) {
                room.note_member(turn.rate);
            }
        }
        let plays = self.plays.iter().flatten().map(|p| p.target);
        for target in plays.chain(self.recordings.iter().flatten().map(|r| r.target)) {
            if let AudioTarget::Room(slot) = target
                && let Some(Some(room)) = self.rooms.get_mut(usize::from(slot))
            {
                room.need_own_rate();
            }
        }
        self.rooms.iter_mut().flatten().for_each(|r| r.begin());
    }

    /// Mixes every playback's frame into its leg or room.
    fn play(&mut self) {
        for play in self.plays.iter_mut().flatten().filter(|p| p.over.is_none()) {
            let Some(frame) = self.frame.get_mut(..play.frame_len()) else { continue };
            if !play.fill(frame) {
                continue;
            }
            match play.target {
                AudioTarget::Leg(slot) => {
                    if let Some(Some(party)) = self.parties.get_mut(usize::from(slot)) {
                        party.private.add(frame);
                    }
                }
                AudioTarget::Room(slot) => {
                    if let Some(Some(room)) = self.rooms.get_mut(usize::from(slot)) {
                        room.add(frame);
                    }
                }
                AudioTarget::LegInput(_) => {}
            }
        }
    }

    fn record(&mut self) {
        for recording in self.recordings.iter_mut().flatten() {
            match recording.target {
                AudioTarget::Leg(slot) => {
                    let party = |slot: Slot| self.parties.get(usize::from(slot))?.as_deref();
                    let Some(own) = party(slot) else { continue };
                    let n = own.frame_len();
                    let heard = leader_of(own).and_then(party).unwrap_or(own);
                    if let (Some(left), Some(right)) = (own.input.get(..n), heard.output.get(..n)) {
                        recording.stereo(self.tick, left, right);
                    }
                }
                AudioTarget::Room(slot) => {
                    let Some(Some(room)) = self.rooms.get(usize::from(slot)) else { continue };
                    let Some(frame) = self.frame.get_mut(..room.frame_len()) else { continue };
                    room.heard(None, frame);
                    recording.mono(self.tick, frame);
                }
                AudioTarget::LegInput(slot) => {
                    let Some(Some(party)) = self.parties.get(usize::from(slot)) else { continue };
                    let n = party.frame_len();
                    let (Some(said), Some(frame)) = (party.input.get(..n), self.frame.get_mut(..n)) else {
                        continue;
                    };
                    if party.mute.is_inaudible() {
                        frame.fill(0);
                    } else {
                        copy(said, frame);
                        party.mute.fade(frame);
                    }
                    recording.mono(self.tick, frame);
                }
            }
        }
    }

    /// Sends reports, of legs only if `news`; reports that do not fit into the queue are sent in a later
    /// tick.
    fn tell(&mut self, news: bool) {
        for (i, place) in self.plays.iter_mut().enumerate() {
            let Some(over) = place.as_ref().and_then(|p| p.over) else { continue };
            if self.reports.slots() < 2 {
                return;
            }
            if let Some(play) = place.take() {
                let played_ms = play.played_ms();
                let _sent = self.reports.push(EngineOutput::Play(play));
                let event = MediaEvent::Played { play: i as u16, played_ms, over };
                let _sent = self.reports.push(EngineOutput::Event(event));
            }
        }
        if !news {
            return;
        }
        for (i, place) in self.parties.iter_mut().enumerate() {
            let Some(party) = place else { continue };
            let slot = i as Slot;
            while let Some(digit) = party.digits.front() {
                if self.reports.push(EngineOutput::Event(MediaEvent::Digit { slot, digit })).is_err() {
                    return;
                }
                party.digits.pop();
            }
            if self.reports.slots() < 3 {
                return;
            }
            for event in party.news(slot, self.late_ticks).into_iter().flatten() {
                // Space was checked above.
                let _sent = self.reports.push(EngineOutput::Event(event));
            }
            if party.endpoint.is_silent() {
                if self.reports.push(EngineOutput::Event(MediaEvent::Silent { slot })).is_err() {
                    return;
                }
                party.endpoint.silence_reported();
            }
            if party.closing && self.reports.slots() >= 2 {
                let quality = party.quality(self.late_ticks);
                if let Some(party) = place.take() {
                    self.rearranged = true;
                    let _sent = self.reports.push(EngineOutput::Party(party));
                    let _sent = self.reports.push(EngineOutput::Event(MediaEvent::Closed { slot, quality }));
                }
            }
        }
    }
}

/// Modifies the object in a slot, if there is one; returns nothing to free.
fn with<T, W>(places: &mut [Option<Box<T>>], slot: u16, f: impl FnOnce(&mut T)) -> Option<EngineOutput<W>> {
    if let Some(Some(found)) = places.get_mut(usize::from(slot)) {
        f(found);
    }
    None
}

/// Modifies the RTP endpoint of a party, if there is one; returns nothing to free.
fn with_rtp<W: MediaTransport>(
    parties: &mut [Option<Box<Party<W>>>],
    slot: u16,
    f: impl FnOnce(&mut RtpEndpoint<W>),
) -> Option<EngineOutput<W>> {
    with(parties, slot, |party| {
        let Endpoint::Rtp(rtp) = &mut party.endpoint;
        f(rtp);
    })
}

fn take<T>(places: &mut [Option<Box<T>>], slot: u16) -> Option<Box<T>> {
    places.get_mut(usize::from(slot)).and_then(Option::take)
}

fn put<T>(places: &mut [Option<Box<T>>], slot: u16, value: Box<T>) -> Option<Box<T>> {
    match places.get_mut(usize::from(slot)) {
        Some(place) => place.replace(value),
        None => Some(value),
    }
}
