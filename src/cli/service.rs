//! The gateway service: state, threads, sockets, from startup to shutdown.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::banner;
use super::configuration::{Files, Loaded};
use crate::api::app::App;
use crate::api::server;
use crate::base::rng::Rng;
use crate::config::{Config, Reloaded};
use crate::delivery::events::Destination;
use crate::gateway::Gateway;
use crate::gateway::events::Event;
use crate::io::driver::{Driver, Parts};
use crate::io::media::media_plan::MediaPlan;
use crate::io::media::media_thread::{self, MediaThread};
use crate::io::media::rtp_ports::PortPool;
use crate::io::memory_bound::MemoryBound;
use crate::io::net::http_client::Rules;
use crate::io::net::http_pool::HttpPool;
use crate::io::net::tcp::Listener;
use crate::io::net::tls::Tls;
use crate::io::outbox::fault;
use crate::io::outbox::judge::Known;
use crate::io::outbox::rows::RecordingRow;
use crate::io::outbox::store::Store;
use crate::io::outbox::thread::{Limits as OutboxLimits, MAX_IN_MEMORY, Outbox, OutboxEvent};
use crate::io::recording::recorder::Recorder;
use crate::io::recording::recovery::recover;
use crate::io::sip::bind;
use crate::io::sip::sink::SipSink;
use crate::io::sip::stream;
use crate::io::sound::feeder::Feeder;
use crate::io::sound::fetch::Sounds;
use crate::io::state::directory::StateDirectory;
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::free_memory;
use crate::io::system::log as logging;
use crate::io::system::log::Faults;
use crate::io::system::machine;
use crate::io::system::process;
use crate::io::system::sd_notify::ServiceManager;
use crate::io::system::signals;
use crate::io::system::signals::{Asked, Listening};
use crate::io::system::workers;
use crate::sip::flow::Transport;
use crate::sip::locals::Locals;
use crate::upload;
use crate::webhook_client;

/// Environment variable that ties the lifetime of a gateway to its parent process.
pub const WITH_PARENT: &str = "BRANCHLINE_WITH_PARENT";

/// Directory of downloaded sounds in the state directory.
const SOUNDS: &str = "sounds";

/// Starts logging, and logs warnings about the configuration.
fn prepare(loaded: &mut Loaded) -> Result<Faults, String> {
    let faults = logging::start(loaded.config.log.level);
    if std::env::var_os(WITH_PARENT).is_some() {
        process::end_with_parent();
    }
    warn(loaded, process::raise_descriptor_limit())?;
    Ok(faults)
}

fn warn(loaded: &mut Loaded, descriptors: u64) -> Result<(), String> {
    if let Some(file) = &loaded.exposed {
        log::warn!(file:% = file.display(); "secrets stand in a file that others on this machine can read");
    }
    if let Some(model) = &loaded.unknown_model {
        log::warn!(model = model; "board \"auto\": no profile matches this machine, using generic; `branchline boards` lists them");
    }
    if let Some(warning) = loaded.config.fit_descriptors(descriptors)? {
        log::warn!("{warning}");
    }
    for warning in loaded.config.warnings() {
        log::warn!("{warning}");
    }
    Ok(())
}

/// Checks whether the machine has enough memory for the limits; returns a warning if not certain.
///
/// # Errors
/// The memory allocated at startup exceeds that of the machine.
pub fn fit_memory(config: &Config, plan: &MediaPlan) -> Result<Option<String>, String> {
    let Some(memory) = machine::memory() else { return Ok(None) };
    MemoryBound::of(config, plan).fits(memory, &config.board)
}

/// Measures the memory needed for the limits, in parallel to the rest of startup.
fn begin_plan(config: &Config) -> Result<thread::JoinHandle<MediaPlan>, String> {
    let config = config.clone();
    let thread = thread::Builder::new().name("plan".to_owned());
    // The C library reuses the stack of an ended thread for the next one that needs at least a quarter of its
    // size. The stack of the media thread is locked as a whole.
    let planning = thread.stack_size(8 * media_thread::STACK).spawn(move || media_thread::plan(&config));
    planning.map_err(|e| format!("threads: {e}"))
}

fn end_plan(config: &Config, planning: thread::JoinHandle<MediaPlan>) -> Result<MediaPlan, String> {
    let plan = planning.join().map_err(|_| "the memory of the limits cannot be measured")?;
    if let Some(warning) = fit_memory(config, &plan)? {
        log::warn!("{warning}");
    }
    Ok(plan)
}

/// Opens the state directory, and determines the gateway's name.
fn open_state(config: &mut Config, rng: &mut Rng) -> std::io::Result<StateDirectory> {
    let state = StateDirectory::open(&config.state_dir)?;
    if config.instance_id.is_empty() {
        config.instance_id = state.instance_id(rng)?;
    }
    // A file left by a crash would contain outdated ports.
    state.remove("listen.json");
    state.expect_directories(&[&state.path(SOUNDS), &config.recording_dir()]);
    Ok(state)
}

/// Runs the gateway until it is stopped by a signal.
///
/// # Errors
/// Startup errors.
pub fn run(mut loaded: Loaded, files: &Files) -> Result<(), String> {
    let faults = prepare(&mut loaded)?;
    let mut config = loaded.config;
    let planning = begin_plan(&config)?;
    let mut rng = Rng::from_os().ok_or("the operating system gives no random numbers")?;
    let dir = config.state_dir.display().to_string();
    let state = open_state(&mut config, &mut rng).map_err(|e| format!("state_dir {dir}: {e}"))?;
    workers::start().map_err(|e| format!("threads: {e}"))?;
    let executor = Rc::new(Executor::default());
    let manager = Rc::new(ServiceManager::from_env());
    let signals = signals::listen(&executor).map_err(|e| format!("signals: {e}"))?;
    let http =
        Listener::bind(config.http.listen).map_err(|e| format!("http.listen {}: {e}", config.http.listen))?;
    let http_at = http.local_addr().map_err(|e| format!("http.listen: {e}"))?;
    let sip = bind::bind(&config.sip)?;
    let sip_at = sip.bound;
    let config = Rc::new(config);
    let tls = Tls::new(&config.sip.tls)?;
    let families = families(&config, &sip);
    let kept_outbox = KeptOutbox::open(&config, &state)?;
    let plan = end_plan(&config, planning)?;
    let (media, bell) = MediaThread::start(&config, plan).map_err(|e| format!("media thread: {e}"))?;
    let recordings = usize::try_from(config.limits.recordings).unwrap_or(usize::MAX);
    let (recorder, recorder_news) =
        Recorder::start(recordings, u64::from(config.recording.min_free_mb) << 20)
            .map_err(|e| format!("recorder thread: {e}"))?;
    let kept = state.trunks();
    let prompts = Some(config.prompts.dir.as_str()).filter(|d| !d.is_empty()).map(PathBuf::from);
    let parts = Parts {
        state: state.clone(),
        executor: Rc::clone(&executor),
        gateway: Gateway::new(Rc::clone(&config), sip.locals, rng.fork()),
        udp: sip.udp.clone(),
        tls,
        media,
        ports: PortPool::new(families, &config.rtp),
        recorder,
        feeder: feeder(&config, &state, prompts).map_err(|e| format!("state_dir {dir}: {e}"))?,
        outbox: kept_outbox.outbox,
        next_row: kept_outbox.next_row,
        config: Rc::clone(&config),
        faults,
        rng,
    };
    let driver = Rc::new(Driver::new(parts));
    driver.stock_ports();
    driver.accounts(|a| a.restore_trunks(kept));
    let sink: Rc<dyn SipSink> = Rc::clone(&driver) as _;
    for udp in sip.udp {
        executor.spawn(udp.run(Rc::clone(&sink)));
    }
    let streams = sip.tcp.into_iter().map(|l| (l, Transport::Tcp));
    for (listener, transport) in streams.chain(sip.tls.into_iter().map(|l| (l, Transport::Tls))) {
        executor.spawn(stream::run(Rc::clone(driver.streams()), Rc::clone(&sink), listener, transport));
    }
    let events = driver.events();
    executor.spawn(Rc::clone(events).run(kept_outbox.news));
    events.restore_targets(&kept_outbox.waiting);
    events.publish_late(&kept_outbox.untold);
    executor.spawn(Rc::clone(&driver).run_media(bell));
    executor.spawn(Rc::clone(&driver).run_recorder(recorder_news));
    start_webhooks(&executor, &driver, &config)?;
    mind_recordings(&executor, &driver, kept_outbox.tracks);
    executor.spawn(Rc::clone(&driver).run_timers());
    executor.spawn(free_memory::run());
    let instance_id: Rc<str> = Rc::from(config.instance_id.as_str());
    let app = Rc::new(App::new(Rc::clone(&instance_id), Rc::clone(&driver)));
    executor.spawn(server::run(Rc::clone(&executor), app, http));
    // After all mappings of startup, which would otherwise be delayed.
    let held = media_thread::hold_memory().map_err(|e| format!("memory thread: {e}"))?;
    tell_ports(&state, http_at, &sip.locals, sip_at).map_err(|e| format!("state_dir {dir}: {e}"))?;
    // Requests are already served.
    let _held = executor.block_on(held.recv());
    banner::lines(&driver.settings(), http_at, &sip.locals, &driver.memory_bound())
        .iter()
        .for_each(|line| log::info!("{line}"));
    log::info!(version = env!("CARGO_PKG_VERSION"), instance_id = &*instance_id, http:% = http_at, sip:% = sip_at; "ready");
    manager.status(&driver.summary().line());
    manager.ready();
    report_to(&manager, &executor, &driver);
    executor.block_on(live(&driver, &manager, &signals, files));
    state.remove("listen.json");
    Ok(())
}

/// Starts the delivery of events.
fn start_webhooks(executor: &Rc<Executor>, driver: &Driver, config: &Config) -> Result<(), String> {
    let client = HttpPool::new(Rc::clone(driver.dns()), Rules::new(config), webhook_client::LIMIT)
        .map_err(|e| format!("TLS of webhooks: {e}"))?;
    let events = Rc::clone(driver.events());
    executor.spawn(webhook_client::run(Rc::clone(executor), events, Rc::new(client)));
    Ok(())
}

/// Starts the watchdog notifications and status reports to the service manager.
fn report_to(manager: &Rc<ServiceManager>, executor: &Executor, driver: &Rc<Driver>) {
    let (pulse, driver) = (driver.pulse(), Rc::clone(driver));
    let ticks = move || pulse.ticks.load(Ordering::Acquire);
    let turn = move || {
        driver.call(Gateway::handle_timeout);
        driver.summary().line()
    };
    executor.spawn(Rc::clone(manager).watch(ticks, turn));
}

/// Handles signals.
async fn live(driver: &Rc<Driver>, manager: &ServiceManager, signals: &Listening, files: &Files) {
    let signal = loop {
        match signals.next().await {
            Asked::Reload => reload(driver, manager, files),
            Asked::Stop(signal) => break signal,
        }
    };
    log::info!(signal = signal; "stopping");
    manager.stopping(Duration::from_secs(driver.settings().sip.drain_s.into()));
    let again = async {
        let signal = signals.stop().await;
        log::info!(signal = signal; "stopping at once");
    };
    smol::future::or(driver.drain(), again).await;
    driver.stop().await;
}

/// Reloads the configuration and applies what can change at runtime. Errors are logged, and then nothing changes.
fn reload(driver: &Rc<Driver>, manager: &ServiceManager, files: &Files) {
    manager.reloading();
    match read_again(driver, files) {
        Ok((config, tls, left)) => {
            logging::set_level(config.log.level);
            let changed = driver.reload(Rc::new(config), tls);
            log::info!(
                trunks_added = changed.trunks_added, trunks_changed = changed.trunks_changed,
                trunks_removed = changed.trunks_removed, users_changed = changed.users_changed,
                users_removed = changed.users_removed; "the configuration was read again"
            );
            if !left.is_empty() {
                log::warn!(settings = left.join(", "); "settings that differ in the file take effect with a restart");
            }
        }
        Err(faults) => {
            for fault in faults.lines() {
                log::error!(fault = fault; "the new configuration is not applied");
            }
        }
    }
    manager.ready();
}

fn read_again(driver: &Driver, files: &Files) -> Result<(Config, Tls, Vec<&'static str>), String> {
    let running = driver.settings();
    let mut loaded = files.load()?;
    if loaded.config.instance_id.is_empty() {
        loaded.config.instance_id.clone_from(&running.instance_id);
    }
    warn(&mut loaded, process::raise_descriptor_limit())?;
    let reloaded = Reloaded::of(&running, &loaded.config).map_err(|faults| faults.join("\n"))?;
    let tls = Tls::new(&reloaded.config.sip.tls)?;
    Ok((reloaded.config, tls, reloaded.left))
}

/// Writes `listen.json` with the listening ports for other programs. The log contains them as well.
fn tell_ports(
    state: &StateDirectory,
    http: SocketAddr,
    sip: &Locals,
    bound: SocketAddr,
) -> std::io::Result<()> {
    let tls_port = sip.tls_port.map_or(String::new(), |p| format!(",\"sip_tls_port\":{p}"));
    let listen = format!("{{\"http\":\"{http}\",\"sip\":\"{bound}\"{tls_port}}}\n");
    match state.show("listen.json", listen.as_bytes()) {
        Err(e) if state.cannot_keep(&e) => log::error!(error:% = e; "listen.json cannot be written"),
        done => done?,
    }
    Ok(())
}

/// Starts processing of recordings: recovery after a crash, upload, deletion by age.
fn mind_recordings(executor: &Rc<Executor>, driver: &Rc<Driver>, cut: Vec<RecordingRow>) {
    executor.spawn(driver.save_tracks(cut));
    executor.spawn(driver.retention().run());
    executor.spawn(Rc::clone(driver.uploads()).restore());
    let settings = driver.settings();
    let (uploads, events) = (Rc::clone(driver.uploads()), Rc::clone(driver.events()));
    let rules = Rules::new(&settings);
    executor.spawn(upload::run(Rc::clone(executor), uploads, events, settings.s3.clone(), rules));
}

/// Content of the outbox from earlier runs, and the running outbox.
struct KeptOutbox {
    outbox: Outbox,
    news: async_channel::Receiver<OutboxEvent>,
    next_row: u64,
    waiting: Vec<(Destination, u64)>,
    tracks: Vec<RecordingRow>,
    untold: Vec<Event>,
}

impl KeptOutbox {
    fn open(config: &Config, state: &StateDirectory) -> Result<Self, String> {
        let now = clock::now();
        let read = |store: &mut Store| {
            let found = recover(store, config, now.utc)?;
            Ok::<_, fault::Fault>((found, store.next_row()?, store.targets()?))
        };
        let (url, secret) = (config.webhook.url.clone(), config.webhook.secret.reveal().to_owned());
        let known = Known {
            damage: state.damage().clone(),
            recordings: config.recording_dir(),
            webhook: Some((url, secret)).filter(|(url, _)| !url.is_empty()),
        };
        let mut store = Store::open(&config.state_dir, known)?;
        let (found, next_row, waiting) = match read(&mut store) {
            Ok(all) => all,
            Err(e) => {
                // It could be opened, but not read.
                store.renew(e)?;
                read(&mut store).map_err(|e| format!("the outbox: {e}"))?
            }
        };
        if found.legs + found.recordings > 0 {
            log::warn!(legs = found.legs, recordings = found.recordings; "the last run was interrupted: terminal events are sent for its legs and recordings");
        }
        let (told, news) = async_channel::bounded(1024);
        let room = u64::from(config.outbox.max_mb) << 20;
        let limits = OutboxLimits {
            budget: if store.is_in_memory() { room.min(MAX_IN_MEMORY) } else { room },
            age: Duration::from_secs(u64::from(config.outbox.keep_h) * 3600),
        };
        let outbox = Outbox::start(store, limits, told, now).map_err(|e| format!("outbox thread: {e}"))?;
        Ok(Self { outbox, news, next_row, waiting, tracks: found.tracks, untold: found.untold })
    }
}

fn feeder(config: &Config, state: &StateDirectory, prompts: Option<PathBuf>) -> std::io::Result<Feeder> {
    let min_free = u64::from(config.recording.min_free_mb) << 20;
    Feeder::start(Sounds::open(state.path(SOUNDS), prompts, 2 * min_free)?)
}

/// Media addresses: bound and announced.
fn families(config: &Config, sip: &bind::Sockets) -> Vec<(IpAddr, IpAddr)> {
    let bound = config.sip.listen_ip.unwrap_or(config.sip.bind_ip);
    let ours = [sip.locals.v4, sip.locals.v6].into_iter().flatten();
    let mut out = Vec::new();
    for address in ours.map(|a| a.ip()) {
        let first = address.is_ipv4() == bound.is_ipv4();
        out.push((if first { bound } else { config.sip.bind_ip6.unwrap_or(bound) }, address));
    }
    out
}
