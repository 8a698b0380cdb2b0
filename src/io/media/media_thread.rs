//! The media thread: one tick every 20 ms, at absolute times; and the control thread's side of its queues.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use async_channel::Receiver;
use async_io::Async;
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{ClockId, CpuSet, clock_nanosleep_absolute, sched_setaffinity};
use rustix::time::{Timespec, clock_gettime};

use super::media_memory::{self, Held, measure, within};
use super::media_plan::MediaPlan;
use super::recv_batch;
use super::rtp_ports::{Pair, PortPool};
use crate::config::Config;
use crate::dsp::resample::Resampler;
use crate::dsp::tone::ToneGenerator;
use crate::media::amd::Amd;
use crate::media::command::{Command, MediaEvent, PlaySlot, RecordSlot, Slot};
use crate::media::converters::Converters;
use crate::media::endpoint::Endpoint;
use crate::media::engine::{Engine, Sizes};
use crate::media::messages::{EngineCommand, EngineOutput};
use crate::media::party::Party;
use crate::media::play::{Play, Source, gain};
use crate::media::record::{Recording, Shared};
use crate::media::room::Room;
use crate::media::rtp_endpoint::coders::Coders;
use crate::media::rtp_endpoint::endpoint::RtpEndpoint;
use crate::media::rtp_endpoint::renegotiation::Renegotiation;
use crate::media::rtp_endpoint::sender::{Digits, IN_BAND};
use crate::rtp::telephone_event::code_of;
use crate::sdp::Negotiated;

/// Length of a tick, ns.
const TICK_NS: i64 = 20_000_000;
/// Maximum ticks caught up after a stall; further ones are skipped.
const MAX_BEHIND: i64 = 50;
const ORDERS: usize = 4096;
const REPORTS: usize = 8192;
/// Stack size of the media thread, bytes: the Opus encoder needs a tenth of it.
pub const STACK: usize = 512 << 10;

/// Heartbeat of the thread, for `/health` and `/metrics`.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Number of ticks.
    pub ticks: AtomicU64,
    /// Ticks that began more than 5 ms late.
    pub late: AtomicU64,
    /// Ticks skipped after a stall.
    pub skipped: AtomicU64,
    /// Monotonic time of the last tick, ns.
    last: AtomicI64,
    stop: AtomicBool,
}

impl Pulse {
    /// Time since the start of the last tick.
    #[must_use]
    pub fn last_tick_age(&self) -> Duration {
        let age = monotonic_ns() - self.last.load(Ordering::Acquire);
        Duration::from_nanos(u64::try_from(age).unwrap_or(0))
    }
}

/// Parameters of a leg's current coders.
#[derive(Debug)]
struct Coded {
    stream: Negotiated,
    /// The leg's rate, Hz.
    rate: u32,
}

/// The control thread's handle.
#[derive(Debug)]
pub struct MediaThread {
    orders: Producer<EngineCommand<Pair>>,
    /// Commands that did not fit into the queue.
    backlog: VecDeque<EngineCommand<Pair>>,
    reports: Consumer<EngineOutput<Pair>>,
    pulse: Arc<Pulse>,
    plan: MediaPlan,
    /// Parameters of the current coders by leg.
    coded: BTreeMap<Slot, Coded>,
    complexity: u8,
    comfort_noise: bool,
    /// Accept other RTP ports than described after probation, for far ends behind NAT.
    other_ports: bool,
    feeds: BTreeMap<PlaySlot, Source>,
    recorders: BTreeMap<RecordSlot, (Producer<i16>, Arc<Shared>)>,
    handle: Option<thread::JoinHandle<Engine<Pair>>>,
}

/// Wakes the control thread when reports are queued.
#[derive(Debug)]
pub struct Bell(Async<OwnedFd>);

impl Bell {
    /// Waits for a wake-up.
    pub async fn rung(&self) {
        let drain = |fd: &OwnedFd| rustix::io::read(fd, &mut [0u8; 8]).map_err(io::Error::from);
        if let Err(e) = self.0.read_with(drain).await {
            log::debug!(error:% = e; "media bell");
        }
    }
}

/// Media memory needed for the limits.
#[must_use]
pub fn plan(config: &Config) -> MediaPlan {
    MediaPlan::of(config, measure(|| queues(config)))
}

impl MediaThread {
    /// Starts the thread, and reserves the planned media memory.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start(config: &Config, plan: MediaPlan) -> io::Result<(Self, Bell)> {
        media_memory::reserve(plan.total())?;
        let (orders, reports, engine) = within(|| queues(config));
        let pulse = Arc::new(Pulse { last: AtomicI64::new(monotonic_ns()), ..Pulse::default() });
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let hammer = bell.try_clone()?;
        let (beat, priority, core) =
            (Arc::clone(&pulse), config.rtp.realtime_priority, config.rtp.media_core);
        let body = move || {
            if media_memory::hold_stack() == Held::No {
                log::warn!("the stack of the media thread cannot be made resident");
            }
            core.into_iter().for_each(keep_to);
            run(engine, &beat, &hammer, priority)
        };
        let handle = thread::Builder::new().name("media".to_owned()).stack_size(STACK).spawn(body)?;
        let link = Self {
            orders,
            backlog: VecDeque::new(),
            reports,
            pulse,
            plan,
            coded: BTreeMap::new(),
            complexity: u8::try_from(config.rtp.opus_complexity).unwrap_or(10),
            comfort_noise: config.rooms.comfort_noise,
            other_ports: config.sip.source_socket || config.sip.external_ip.is_some(),
            feeds: BTreeMap::new(),
            recorders: BTreeMap::new(),
            handle: Some(handle),
        };
        Ok((link, Bell(Async::new(bell)?)))
    }

    /// Heartbeat of the thread.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Media memory by kind.
    #[must_use]
    pub fn plan(&self) -> &MediaPlan {
        &self.plan
    }

    /// Stores the source of a playback until the gateway starts it.
    pub fn offer_feed(&mut self, play: PlaySlot, source: Source) {
        self.feeds.insert(play, source);
    }

    /// Drops the source of a playback that was not started.
    pub fn withdraw_feed(&mut self, play: PlaySlot) {
        self.feeds.remove(&play);
    }

    /// Stores the ring of a recording until the gateway starts it.
    pub fn offer_recorder(&mut self, record: RecordSlot, ring: Producer<i16>, shared: Arc<Shared>) {
        self.recorders.insert(record, (ring, shared));
    }

    /// Passes a command to the thread, with everything it needs preallocated.
    pub fn command(&mut self, command: Command, ports: &mut PortPool) {
        if let Some(order) = self.order(command, ports) {
            self.backlog.push_back(order);
        }
        self.flush();
    }

    /// Moves waiting commands into the queue.
    pub fn flush(&mut self) {
        while self.orders.slots() > 0 {
            let Some(order) = self.backlog.pop_front() else { return };
            // Cannot fail: this is the only producer, and space was checked.
            let _sent = self.orders.push(order);
        }
    }

    fn coders(&mut self, slot: Slot, stream: &Negotiated, rate: u32) -> Box<Coders> {
        self.coded.insert(slot, Coded { stream: *stream, rate });
        within(|| Box::new(Coders::new(stream, rate, self.complexity)))
    }

    fn order(&mut self, command: Command, ports: &mut PortPool) -> Option<EngineCommand<Pair>> {
        Some(match command {
            Command::Open { slot, port, stream, signalling, beside, ssrc, muted, deaf } => {
                let pair = ports.take(port)?;
                let rate = stream.codec.sample_rate();
                let coders = self.coders(slot, &stream, rate);
                let party = within(|| {
                    let mut rtp = RtpEndpoint::new(pair, stream, coders, signalling, ssrc);
                    if self.other_ports {
                        rtp.believe_other_ports();
                    }
                    rtp.allow_sources(beside);
                    Box::new(Party::new(Endpoint::Rtp(rtp), muted, deaf))
                });
                EngineCommand::Open(slot, party)
            }
            Command::Update { slot, stream, signalling } => {
                let coded = self.coded.get(&slot)?;
                let (same, rate) = (Coders::can_go_on(&coded.stream, &stream), coded.rate);
                let coders = (!same).then(|| self.coders(slot, &stream, rate));
                EngineCommand::Update(slot, within(|| Box::new(Renegotiation { stream, signalling, coders })))
            }
            Command::Close { slot } => {
                self.coded.remove(&slot);
                EngineCommand::Close(slot)
            }
            Command::Mute { slot, on } => EngineCommand::Mute(slot, on),
            Command::Hold { slot, on } => EngineCommand::Hold(slot, on),
            Command::Unproven { slot, on } => EngineCommand::Unproven(slot, on),
            Command::Deaf { slot, on } => EngineCommand::Deaf(slot, on),
            Command::Join { slot, room, room_rate, leg_rate } => {
                let converters = within(|| {
                    let up = Resampler::new(leg_rate, room_rate);
                    let down = Resampler::new(room_rate, leg_rate);
                    Box::new(Converters { up, down })
                });
                EngineCommand::Join(slot, room, converters)
            }
            Command::Leave { slot } => EngineCommand::Leave(slot),
            Command::Digits { slot, in_band, digits } => {
                let way = if in_band { IN_BAND } else { 0 };
                let codes = digits.chars().filter_map(code_of).map(|code| code | way);
                let codes: Digits = codes.take(Digits::new().capacity()).collect();
                EngineCommand::Digits(slot, within(|| Box::new(codes)))
            }
            Command::Speaking { slot } => EngineCommand::Speaking(slot),
            Command::Amd { slot, parameters } => {
                EngineCommand::Amd(slot, within(|| Box::new(Amd::new(parameters))))
            }
            Command::Quality { slot } => EngineCommand::Quality(slot),
            Command::OpenRoom { room, rate } => {
                let seed = u32::from(room).wrapping_mul(0x9e37_79b9);
                let noise = self.comfort_noise;
                let new = || if noise { Room::with_comfort_noise(rate, seed) } else { Room::new(rate) };
                EngineCommand::OpenRoom(room, within(|| Box::new(new())))
            }
            Command::CloseRoom { room } => EngineCommand::CloseRoom(room),
            Command::PlayTone { play, target, rate, tone, volume } => {
                let source = Source::Tone(ToneGenerator::new(tone, rate));
                EngineCommand::Play(play, within(|| Box::new(Play::new(target, rate, source, volume))))
            }
            Command::PlayFed { play, target, rate, volume } => {
                let source = self.feeds.remove(&play)?;
                EngineCommand::Play(play, within(|| Box::new(Play::new(target, rate, source, volume))))
            }
            Command::Volume { play, volume } => EngineCommand::Volume(play, gain(volume)),
            Command::StopPlay { play } => EngineCommand::StopPlay(play),
            Command::Record { record, target } => {
                let (ring, shared) = self.recorders.remove(&record)?;
                EngineCommand::Record(record, within(|| Box::new(Recording::new(target, ring, shared))))
            }
            Command::PauseRecord { record, on } => EngineCommand::PauseRecord(record, on),
            Command::StopRecord { record } => {
                // If it was stopped before it was started, dropping the ring ends it.
                self.recorders.remove(&record);
                EngineCommand::StopRecord(record)
            }
        })
    }

    /// The next event; objects returned by the thread are freed here.
    pub fn poll(&mut self) -> Option<MediaEvent> {
        while let Ok(report) = self.reports.pop() {
            if let EngineOutput::Event(event) = report {
                return Some(event);
            }
        }
        None
    }

    /// Stops the thread and waits for it.
    pub fn stop(&mut self) {
        self.pulse.stop.store(true, Ordering::Release);
        // Its engine is dropped here: the thread itself never frees memory.
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("the media thread panicked");
        }
    }
}

/// The queues between the threads, and the engine.
fn queues(config: &Config) -> (Producer<EngineCommand<Pair>>, Consumer<EngineOutput<Pair>>, Engine<Pair>) {
    let (orders, take_orders) = RingBuffer::new(ORDERS);
    let (give_reports, reports) = RingBuffer::new(REPORTS);
    let n = |v: u32| usize::try_from(v).unwrap_or(usize::MAX);
    let l = &config.limits;
    let sizes =
        Sizes { legs: n(l.legs), rooms: n(l.rooms), plays: n(l.playbacks), recordings: n(l.recordings) };
    (orders, reports, Engine::new(sizes, take_orders, give_reports, config.rtp.timeout_s))
}

/// Makes the media memory resident, in a separate thread during the start; signals completion. Call after
/// [`MediaThread::start`].
///
/// # Errors
/// The thread cannot be created.
pub fn hold_memory() -> io::Result<Receiver<()>> {
    let (done, told) = async_channel::bounded(1);
    let body = move || {
        match media_memory::hold() {
            Held::Locked => {}
            Held::Touched => {
                log::info!("the media memory is not locked; LimitMEMLOCK (ulimit -l) would allow it")
            }
            Held::No => {
                log::warn!("the media memory cannot be made resident: expect page faults")
            }
        }
        // The receiver is dropped if the start failed.
        let _told = done.try_send(());
    };
    thread::Builder::new().name("memory".to_owned()).spawn(body)?;
    Ok(told)
}

/// Pins the calling thread to a processor, if that exists.
fn keep_to(core: u32) {
    let mut only = CpuSet::new();
    only.set(usize::try_from(core).unwrap_or(0).min(CpuSet::MAX_CPU - 1));
    if let Err(e) = sched_setaffinity(None, &only) {
        log::warn!(core = core, error:% = e; "the media thread cannot be pinned to its processor (rtp.media_core)");
    }
}

fn run(mut engine: Engine<Pair>, pulse: &Pulse, bell: &OwnedFd, priority: u32) -> Engine<Pair> {
    if priority > 0 && !recv_batch::real_time(i32::try_from(priority).unwrap_or(1)) {
        log::info!(priority = priority; "no real-time scheduling for the media thread; LimitRTPRIO would allow it");
    }
    let running = || !pulse.stop.load(Ordering::Acquire);
    pace(running, |unix_ns, behind| {
        pulse.last.store(monotonic_ns(), Ordering::Release);
        if behind > 5_000_000 {
            pulse.late.fetch_add(1, Ordering::Relaxed);
            engine.note_late();
        }
        if behind > MAX_BEHIND * TICK_NS {
            let skipped = (behind / TICK_NS).unsigned_abs();
            pulse.skipped.fetch_add(skipped, Ordering::Relaxed);
            engine.skip(u32::try_from(skipped).unwrap_or(u32::MAX));
        }
        let told = engine.tick(unix_ns);
        pulse.ticks.fetch_add(1, Ordering::Release);
        if told {
            // Fails only if it is signalled already.
            let _rung = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    });
    engine
}

/// Calls `work` every 20 ms, at absolute times, with the wall clock and the lateness of the tick (both ns).
/// Late ticks are caught up, except for stalls of more than a second.
pub fn pace(running: impl Fn() -> bool, mut work: impl FnMut(u64, i64)) {
    let mut due = monotonic_ns();
    while running() {
        due += TICK_NS;
        sleep_until(due);
        let behind = monotonic_ns() - due;
        if behind > MAX_BEHIND * TICK_NS {
            due += behind / TICK_NS * TICK_NS;
        }
        work(unix_ns(), behind);
    }
}

fn monotonic_ns() -> i64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

fn unix_ns() -> u64 {
    let t = clock_gettime(ClockId::Realtime);
    u64::try_from(t.tv_sec * 1_000_000_000 + t.tv_nsec).unwrap_or(0)
}

fn sleep_until(at_ns: i64) {
    let at = Timespec { tv_sec: at_ns / 1_000_000_000, tv_nsec: at_ns % 1_000_000_000 };
    // Interrupted sleeps are resumed; other errors cannot occur with a valid time.
    while clock_nanosleep_absolute(ClockId::Monotonic, &at) == Err(rustix::io::Errno::INTR) {}
}
