//! The driver: passes input from sockets, timers and the API to the gateway core, and carries out its
//! outputs.

mod run;
mod sip;
mod work;

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::gateway::commands::{AccountCommands, AudioCommands, LegCommands, RoomCommands};
use crate::gateway::interface::changed::Changed;
use crate::gateway::interface::replies::{Handle, Reply};
use crate::gateway::{Gateway, GatewayError, View};
use crate::io::events::{pipeline::EventPipeline, upload_queue::UploadQueue};
use crate::io::media::media_thread::{MediaThread, Pulse};
use crate::io::media::rtp_ports::{PortPool, STOCK};
use crate::io::memory_bound::MemoryBound;
use crate::io::net::dns::Dns;
use crate::io::net::kernel_drops;
use crate::io::net::tls::Tls;
use crate::io::outbox::rows::RecordingRow;
use crate::io::outbox::thread::Outbox;
use crate::io::pending_replies::PendingReplies;
use crate::io::recording::recorder::Recorder;
use crate::io::recording::recovery::save_tracks;
use crate::io::recording::retention::Retention;
use crate::io::recording::track_merger::TrackMerger;
use crate::io::recording::track_retry::TrackRetry;
use crate::io::recording::uploads::Uploads;
use crate::io::sip::{sink::SipSink, stream, streams::SipStreams, udp::Udp};
use crate::io::sound::feeder::Feeder;
use crate::io::state::directory::StateDirectory;
use crate::io::state::trunk_store::TrunkStore;
use crate::io::status::Summary;
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::log::{Faults, Remembered};
use crate::io::system::settings::Settings;
use crate::io::system::timer;
use crate::io::tasks::Tasks;
use crate::sip::flow::Transport;
use crate::sip::transactions::Transmit;

/// Maximum time an API call waits for the far end or the disk.
const REPLY: Duration = Duration::from_secs(35);
/// The media thread ticks every 20 ms; without a tick for this long it is considered stalled.
const STANDSTILL: Duration = Duration::from_millis(1000);

/// Runs the gateway core.
#[derive(Debug)]
pub struct Driver {
    pub(in crate::io) executor: Rc<Executor>,
    settings: Settings,
    gateway: RefCell<Gateway>,
    udp: Vec<Rc<Udp>>,
    streams: Rc<SipStreams>,
    state: StateDirectory,
    trunk_store: TrunkStore,
    pub(in crate::io) media: RefCell<MediaThread>,
    ports: RefCell<PortPool>,
    pub(in crate::io) recorder: RefCell<Recorder>,
    tasks: Rc<Tasks>,
    merger: Rc<TrackMerger>,
    tracks: Rc<TrackRetry>,
    events: Rc<EventPipeline>,
    uploads: Rc<Uploads>,
    /// Recent warnings and errors of the log.
    pub(in crate::io) faults: Faults,
    /// API calls waiting for their reply.
    waiting: PendingReplies,
    /// Wakes the timer task when the next deadline may have changed.
    wake: (Sender<()>, Receiver<()>),
    started: Instant,
}

/// Components of a driver.
#[derive(Debug)]
pub struct Parts {
    /// Executor of the control thread.
    pub executor: Rc<Executor>,
    /// Settings.
    pub config: Rc<Config>,
    /// The core.
    pub gateway: Gateway,
    /// SIP sockets.
    pub udp: Vec<Rc<Udp>>,
    /// Certificates.
    pub tls: Tls,
    /// StateDirectory directory.
    pub state: StateDirectory,
    /// Media thread.
    pub media: MediaThread,
    /// Media sockets.
    pub ports: PortPool,
    /// Recorder thread.
    pub recorder: Recorder,
    /// Sound feeder.
    pub feeder: Feeder,
    /// Outbox.
    pub outbox: Outbox,
    /// Row number of the next event.
    pub next_row: u64,
    /// Recent warnings and errors of the log.
    pub faults: Faults,
    /// Random number generator.
    pub rng: Rng,
}

impl Driver {
    /// Creates a driver from its components.
    #[must_use]
    pub fn new(mut parts: Parts) -> Self {
        let settings = Settings::new(parts.config);
        let tasks = Rc::new(Tasks::new(settings.clone(), parts.feeder, parts.rng.fork()));
        let queue = Rc::new(UploadQueue::new(parts.rng.fork()));
        let events = Rc::new(EventPipeline::new(
            Rc::clone(&parts.executor),
            settings.clone(),
            parts.outbox,
            parts.next_row,
            Rc::clone(&queue),
            parts.rng,
        ));
        let executor = || Rc::clone(&parts.executor);
        let uploads = Uploads::new(queue, Rc::clone(&events), settings.clone(), executor());
        let merger = Rc::new(TrackMerger::new(settings.clone()));
        let tracks = TrackRetry::new(settings.clone(), Rc::clone(&events), Rc::clone(&merger), executor());
        Self {
            trunk_store: TrunkStore::new(parts.state.clone()),
            state: parts.state,
            streams: Rc::new(SipStreams::new(executor(), parts.tls)),
            executor: executor(),
            settings,
            gateway: RefCell::new(parts.gateway),
            udp: parts.udp,
            media: RefCell::new(parts.media),
            ports: RefCell::new(parts.ports),
            recorder: RefCell::new(parts.recorder),
            tasks,
            merger,
            tracks: Rc::new(tracks),
            events,
            uploads: Rc::new(uploads),
            faults: parts.faults,
            waiting: PendingReplies::default(),
            wake: async_channel::bounded(1),
            started: clock::now().mono,
        }
    }

    /// Uptime.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        clock::now().mono - self.started
    }

    /// Datagrams dropped by the kernel because the receive buffers of the SIP sockets were full.
    #[must_use]
    pub fn sip_datagrams_dropped(&self) -> u64 {
        let inodes: Vec<u64> = self.udp.iter().filter_map(|u| u.inode()).collect();
        kernel_drops::of_sockets(&inodes)
    }

    /// True if files of the state directory were or are damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.state.damage().is_noted()
    }

    /// Why the gateway is not operational, if so.
    #[must_use]
    pub fn standing_still(&self) -> Option<String> {
        if self.look(|view| view.is_stopping()) {
            return Some("the gateway is stopping".to_owned());
        }
        let since = self.pulse().last_tick_age();
        (since > STANDSTILL).then(|| format!("the media thread has stood still for {} ms", since.as_millis()))
    }

    /// Upper bound of the process's memory.
    #[must_use]
    pub fn memory_bound(&self) -> MemoryBound {
        MemoryBound::of(&self.settings.current(), self.media.borrow().plan())
    }

    /// Heartbeat of the media thread.
    #[must_use]
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(self.media.borrow().pulse())
    }

    /// Reads the gateway's state.
    pub fn look<T>(&self, f: impl FnOnce(View<'_>) -> T) -> T {
        f(self.gateway.borrow().view())
    }

    /// Maximum legs allowed by the RTP port range.
    #[must_use]
    pub fn rtp_capacity(&self) -> u32 {
        self.ports.borrow().capacity()
    }

    /// The event pipeline.
    #[must_use]
    pub fn events(&self) -> &Rc<EventPipeline> {
        &self.events
    }

    /// Uploads of recordings.
    #[must_use]
    pub fn uploads(&self) -> &Rc<Uploads> {
        &self.uploads
    }

    /// Waits for a promised reply.
    ///
    /// # Errors
    /// The result is an error, or the wait timed out.
    pub async fn reply(&self, handle: Handle) -> Result<Reply, GatewayError> {
        let late = || Err(GatewayError::Failed("timed out".to_owned()));
        self.reply_within(handle, REPLY).await.unwrap_or_else(late)
    }

    /// As [`Self::reply`], with this time limit; `None`: timed out.
    pub async fn reply_within(
        &self,
        handle: Handle,
        patience: Duration,
    ) -> Option<Result<Reply, GatewayError>> {
        let receiver = self.waiting.add(handle);
        // It may have arrived before it was awaited.
        self.waiting.deliver(self.gateway.borrow_mut().replies());
        let outcome = timer::within(patience, receiver.recv()).await;
        self.waiting.remove(handle);
        outcome?.ok()
    }

    /// Spawns a task on the control thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    /// SIP over TCP and TLS.
    #[must_use]
    pub fn streams(&self) -> &Rc<SipStreams> {
        &self.streams
    }

    /// The current settings.
    #[must_use]
    pub fn settings(&self) -> Rc<Config> {
        self.settings.current()
    }

    /// The file of trunks created over the API.
    #[must_use]
    pub fn trunk_store(&self) -> &TrunkStore {
        &self.trunk_store
    }

    /// The task that deletes expired recordings.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let (events, uploads) = (Rc::clone(&self.events), Rc::clone(&self.uploads));
        Retention::new(self.settings.clone(), events, uploads, Rc::clone(&self.tracks))
    }

    /// Merges the tracks of multi-channel recordings interrupted by a crash.
    pub fn save_tracks(&self, cut: Vec<RecordingRow>) -> impl Future<Output = ()> + use<> {
        let (settings, events) = (self.settings.clone(), Rc::clone(&self.events));
        save_tracks(settings, events, Rc::clone(&self.tracks), cut)
    }

    /// Current key figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (events, uploads) = (self.events.counts().waiting, self.uploads.in_memory() as u64);
        self.look(|view| Summary::of(&view, events, uploads))
    }

    /// The DNS resolver.
    #[must_use]
    pub fn dns(&self) -> &Rc<Dns> {
        self.tasks.dns()
    }

    /// Number of running tasks of the control thread.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.executor.alive()
    }

    /// The most recent warnings and errors of the log, latest first.
    #[must_use]
    pub fn faults(&self) -> Vec<Remembered> {
        self.faults.latest()
    }

    /// Applies new settings and certificates; open connections keep their certificate.
    pub fn reload(self: &Rc<Self>, config: Rc<Config>, tls: Tls) -> Changed {
        self.streams.set_tls(tls);
        self.settings.replace(Rc::clone(&config));
        self.call(|gateway, now| gateway.reload(now, config))
    }

    /// Calls the gateway, and carries out its outputs.
    pub fn call<T>(self: &Rc<Self>, f: impl FnOnce(&mut Gateway, Now) -> T) -> T {
        let out = f(&mut self.gateway.borrow_mut(), clock::now());
        self.pump();
        out
    }

    /// Runs a command on legs.
    pub fn legs<T>(self: &Rc<Self>, f: impl FnOnce(&mut LegCommands<'_>) -> T) -> T {
        self.call(|gateway, now| gateway.legs(now, f))
    }

    /// Runs a command on rooms.
    pub fn rooms<T>(self: &Rc<Self>, f: impl FnOnce(&mut RoomCommands<'_>) -> T) -> T {
        self.call(|gateway, now| gateway.rooms(now, f))
    }

    /// Runs a command on playbacks and recordings.
    pub fn audio<T>(self: &Rc<Self>, f: impl FnOnce(&mut AudioCommands<'_>) -> T) -> T {
        self.call(|gateway, now| gateway.audio(now, f))
    }

    /// Runs a command on trunks and registrations.
    pub fn accounts<T>(self: &Rc<Self>, f: impl FnOnce(&mut AccountCommands<'_>) -> T) -> T {
        self.call(|gateway, now| gateway.accounts(now, f))
    }

    /// Fills the pool of bound socket pairs; called once before the first call.
    pub fn stock_ports(&self) {
        let mut ports = self.ports.borrow_mut();
        let mut gateway = self.gateway.borrow_mut();
        for (bound, ours) in ports.families() {
            while gateway.ports().stock(ours) < STOCK {
                let Some(port) = ports.bind(bound, ours) else { break };
                gateway.ports().add(port);
            }
        }
    }

    /// Carries out all outputs of the gateway.
    fn pump(self: &Rc<Self>) {
        loop {
            let transmit = self.gateway.borrow_mut().poll_transmit();
            let Some(t) = transmit else { break };
            self.transmit(t);
        }
        loop {
            let request = self.gateway.borrow_mut().poll_work();
            let Some(request) = request else { break };
            self.start(request);
        }
        loop {
            let command = self.gateway.borrow_mut().poll_media();
            let Some(command) = command else { break };
            self.media.borrow_mut().command(command, &mut self.ports.borrow_mut());
        }
        loop {
            let event = self.gateway.borrow_mut().poll_event();
            let Some(event) = event else { break };
            self.events.publish(&event);
            self.tracks.settle(&event);
        }
        self.events.flush();
        self.waiting.deliver(self.gateway.borrow_mut().replies());
        self.stock_ports();
        // If the channel is full, the timer task is about to run anyway.
        let _woken = self.wake.0.try_send(());
    }

    fn transmit(self: &Rc<Self>, t: Transmit) {
        match t.target.transport {
            Transport::Tcp | Transport::Tls => {
                let sink: Rc<dyn SipSink> = Rc::clone(self) as _;
                stream::send(&self.streams, &sink, t.target, t.bytes);
            }
            Transport::Udp => {
                let family = |u: &&Rc<Udp>| u.local_addr().is_ipv4() == t.target.addr.is_ipv4();
                let Some(udp) = self.udp.iter().find(family) else { return };
                if let Err(e) = udp.send(t.target.addr, &t.bytes) {
                    log::debug!(error:% = e; "udp send");
                    // Broadcast address, or blocked by a packet filter: permanent error.
                    if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) {
                        Rc::clone(self).unreachable(t.target, true, false);
                    } else {
                        self.gateway.borrow_mut().handle_unsent(t.target);
                    }
                }
            }
        }
    }
}
