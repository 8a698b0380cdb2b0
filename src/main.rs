//! Arguments, configuration, threads, exit code.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use branchline::api::clients::Clients;
use branchline::api::dispatch::App;
use branchline::api::server;
use branchline::base::rng::Rng;
use branchline::base::time::Utc;
use branchline::config::{self, Config, Sources, settings};
use branchline::deliver::events::{Destination, shown_url};
use branchline::gateway::Gateway;
use branchline::gateway::event::Event;
use branchline::hook;
use branchline::io::clock;
use branchline::io::feeder::Feeder;
use branchline::io::fetch::Sounds;
use branchline::io::http_client::Rules;
use branchline::io::media_thread::MediaThread;
use branchline::io::outbox::{Limits as OutboxLimits, MAX_IN_MEMORY, News, Outbox};
use branchline::io::outbox_fault;
use branchline::io::outbox_judge::Known;
use branchline::io::outbox_rows::{Op, RecordingRow};
use branchline::io::outbox_store::{self, Store};
use branchline::io::recorder::Recorder;
use branchline::io::recovery::recover;
use branchline::io::rtp_ports::PortPool;
use branchline::io::secrets;
use branchline::io::shell::{Parts, Shell};
use branchline::io::{
    executor::Executor, free_memory, log as logging, process, signals, sip, sip_stream, state::State,
    tcp::Listener, tls::Tls, workers,
};
use branchline::sip::locals::Locals;
use branchline::sip::target::Transport;
use branchline::upload;

const USAGE: &str = "usage: branchline [--config FILE] [--check] [--print-config] [--version]\n       branchline [--config FILE] outbox list | drop NUMBER | drop all";
const SYSTEM_FILE: &str = "/etc/branchline/branchline.toml";

/// Directory of sounds that were fetched, in the state directory.
const SOUNDS: &str = "sounds";

struct Arguments {
    /// Words behind `outbox`.
    outbox: Option<Vec<String>>,
    config: Option<String>,
    check: bool,
    print: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say_error(&message);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let Some(arguments) = arguments(std::env::args().skip(1))? else { return Ok(()) };
    let file = arguments.config.as_deref().or_else(|| Path::new(SYSTEM_FILE).exists().then_some(SYSTEM_FILE));
    let mut config = configuration(file)?;
    let exposed = file.filter(|f| secrets::are_exposed(Path::new(f), &config)).map(str::to_owned);
    secrets::read(&mut config)?;
    if let Some(words) = &arguments.outbox {
        return outbox(&config, words);
    }
    if arguments.print {
        say(settings::print(&config).trim_end());
    }
    if arguments.check {
        config.warnings().iter().for_each(|warning| say(&format!("warning: {warning}")));
        say("the configuration is good");
    }
    if arguments.print || arguments.check { Ok(()) } else { serve(config, exposed) }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut out = Arguments { outbox: None, config: None, check: false, print: false };
    while let Some(arg) = given.next() {
        match arg.as_str() {
            "--config" => out.config = Some(given.next().ok_or(format!("--config needs a file\n{USAGE}"))?),
            "outbox" => out.outbox = Some(Vec::new()),
            "--check" => out.check = true,
            "--print-config" => out.print = true,
            "--version" => {
                say(concat!("branchline ", env!("CARGO_PKG_VERSION")));
                return Ok(None);
            }
            "--help" | "-h" => {
                say(USAGE);
                return Ok(None);
            }
            other => match &mut out.outbox {
                Some(words) => words.push(other.to_owned()),
                None => return Err(format!("unknown argument {other}\n{USAGE}")),
            },
        }
    }
    Ok(Some(out))
}

fn configuration(path: Option<&str>) -> Result<Config, String> {
    let text = match path {
        Some(p) => Some(std::fs::read_to_string(p).map_err(|e| format!("{p}: {e}"))?),
        None => None,
    };
    let env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    config::load(&Sources { file: path.zip(text.as_deref()), env: &env }).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// Begins to log, and says what of the configuration deserves a warning.
fn prepare(config: &mut Config, exposed: Option<String>) -> Result<(), String> {
    logging::start(config.log.level);
    if let Some(file) = exposed {
        log::warn!(file = file; "secrets stand in a file that others on this machine can read");
    }
    if let Some(warning) = config.fit_descriptors(process::raise_descriptor_limit())? {
        log::warn!("{warning}");
    }
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    Ok(())
}

/// Opens the state directory, and names the gateway as it does.
fn open_state(config: &mut Config, rng: &mut Rng) -> std::io::Result<State> {
    let state = State::open(&config.state_dir)?;
    if config.instance_id.is_empty() {
        config.instance_id = state.instance_id(rng)?;
    }
    // What a crash left behind would lead to ports of the past.
    state.remove("listen.json");
    state.expect_directories(&[&state.path(SOUNDS), &config.recording_dir()]);
    Ok(state)
}

fn serve(mut config: Config, exposed: Option<String>) -> Result<(), String> {
    prepare(&mut config, exposed)?;
    let mut rng = Rng::from_os().ok_or("the operating system gives no random numbers")?;
    let dir = config.state_dir.display().to_string();
    let state = open_state(&mut config, &mut rng).map_err(|e| format!("state_dir {dir}: {e}"))?;
    workers::start().map_err(|e| format!("threads: {e}"))?;
    let executor = Rc::new(Executor::default());
    let mut stop = signals::stop().map_err(|e| format!("signals: {e}"))?;
    let http =
        Listener::bind(config.http.listen).map_err(|e| format!("http.listen {}: {e}", config.http.listen))?;
    let http_at = http.local_addr().map_err(|e| format!("http.listen: {e}"))?;
    let sip = sip::bind(&config.sip)?;
    let sip_at = sip.bound;
    let config = Rc::new(config);
    let tls = Tls::new(&config.sip.tls)?;
    let families = families(&config, &sip);
    let (media, bell) = MediaThread::start(&config).map_err(|e| format!("media thread: {e}"))?;
    let (notes, recorder_news) = async_channel::bounded(8192);
    let kept_outbox = KeptOutbox::open(&config, &state)?;
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
        recorder: Recorder::start(notes, u64::from(config.recording.min_free_mb) << 20)
            .map_err(|e| format!("recorder thread: {e}"))?,
        feeder: feeder(&config, &state, prompts).map_err(|e| format!("state_dir {dir}: {e}"))?,
        outbox: kept_outbox.outbox,
        next_row: kept_outbox.next_row,
        config: Rc::clone(&config),
        rng,
    };
    let shell = Rc::new(Shell::new(parts));
    shell.stock_ports();
    shell.call(|gateway, now| gateway.restore_trunks(now, kept));
    executor.spawn(Rc::clone(&shell).run_outbox(kept_outbox.news));
    shell.restore_targets(&kept_outbox.waiting);
    shell.tell_late(&kept_outbox.untold);
    executor.spawn(Rc::clone(&shell).run_media(bell));
    executor.spawn(Rc::clone(&shell).run_recorder(recorder_news));
    executor.spawn(hook::run(Rc::clone(&shell), Rules::new(&config)));
    mind_recordings(&executor, &shell, kept_outbox.tracks);
    for udp in sip.udp {
        executor.spawn(udp.run(Rc::clone(&shell)));
    }
    let streams = sip.tcp.into_iter().map(|l| (l, Transport::Tcp));
    for (listener, transport) in streams.chain(sip.tls.into_iter().map(|l| (l, Transport::Tls))) {
        executor.spawn(sip_stream::run(Rc::clone(&shell), listener, transport));
    }
    executor.spawn(Rc::clone(&shell).run_timers());
    executor.spawn(free_memory::run());
    let instance_id: Rc<str> = Rc::from(config.instance_id.as_str());
    let app = Rc::new(App {
        instance_id: Rc::clone(&instance_id),
        config,
        shell: Rc::clone(&shell),
        clients: Clients::default(),
    });
    executor.spawn(server::run(Rc::clone(&executor), app, http));
    tell_ports(&state, http_at, &sip.locals, sip_at).map_err(|e| format!("state_dir {dir}: {e}"))?;
    log::info!(version = env!("CARGO_PKG_VERSION"), instance_id = &*instance_id, http:% = http_at, sip:% = sip_at; "ready");
    executor.block_on(async {
        let signal = stop.wait().await;
        log::info!(signal = signal; "stopping");
        let again = async {
            let signal = stop.wait().await;
            log::info!(signal = signal; "stopping at once");
        };
        smol::future::or(shell.drain(), again).await;
        shell.stop().await;
    });
    state.remove("listen.json");
    Ok(())
}

/// Writes `listen.json`: the ports that are listened on, for programs of this machine. Without it the log has them.
fn tell_ports(state: &State, http: SocketAddr, sip: &Locals, bound: SocketAddr) -> std::io::Result<()> {
    let tls_port = sip.tls_port.map_or(String::new(), |p| format!(",\"sip_tls_port\":{p}"));
    let listen = format!("{{\"http\":\"{http}\",\"sip\":\"{bound}\"{tls_port}}}\n");
    match state.replace("listen.json", listen.as_bytes()) {
        Err(e) if state.cannot_keep(&e) => log::error!(error:% = e; "listen.json cannot be written"),
        done => done?,
    }
    Ok(())
}

/// What is done with recordings that are over: saved after a crash, uploaded, deleted in time.
fn mind_recordings(executor: &Executor, shell: &Rc<Shell>, cut: Vec<RecordingRow>) {
    executor.spawn(Rc::clone(shell).save_tracks(cut));
    executor.spawn(Rc::clone(shell).run_retention());
    executor.spawn(Rc::clone(shell).restore_uploads());
    executor.spawn(upload::run(Rc::clone(shell), Rules::new(shell.settings())));
}

/// What earlier lives left in the outbox, and the outbox at work.
struct KeptOutbox {
    outbox: Outbox,
    news: async_channel::Receiver<News>,
    next_row: u64,
    waiting: Vec<(Destination, u64)>,
    tracks: Vec<RecordingRow>,
    untold: Vec<Event>,
}

impl KeptOutbox {
    fn open(config: &Config, state: &State) -> Result<Self, String> {
        let now = clock::now();
        let read = |store: &mut Store| {
            let found = recover(store, config, now.utc)?;
            Ok::<_, outbox_fault::Fault>((found, store.next_row()?, store.targets()?))
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
            log::warn!(legs = found.legs, recordings = found.recordings; "the last run was cut: what it left is told of");
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

/// `branchline outbox list` and `drop`: what waits to be delivered, while the gateway does not run.
fn outbox(config: &Config, words: &[String]) -> Result<(), String> {
    if !config.state_dir.join(outbox_store::FILE).exists() {
        return Err(format!("{}: no gateway has run with this state directory", config.state_dir.display()));
    }
    let _lock = State::open(&config.state_dir).map_err(|e| format!("{}: {e}", config.state_dir.display()))?;
    let mut store = Store::open_as_is(&config.state_dir)?;
    let fail = |e: outbox_fault::Fault| format!("the outbox: {e}");
    let waiting = store.events().map_err(fail)?;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => {
            for w in &waiting {
                // Bodies may hold digits and numbers: only what kind of event it is.
                let body: serde_json::Value = serde_json::from_slice(&w.body).unwrap_or_default();
                let text = |key: &str| body.get(key).and_then(serde_json::Value::as_str).unwrap_or("-");
                let (kind, leg) = (text("type"), text("leg_id"));
                let at = Utc::from_millis(w.at_ms).rfc3339();
                say(&format!("{}\t{at}\t{kind}\t{leg}\t{}\t{}", w.row, w.event_id, shown_url(&w.url)));
            }
            Ok(())
        }
        ["drop", "all"] => drop_events(&mut store, waiting.iter().map(|w| w.row).collect()),
        ["drop", number] => {
            let row = number.parse().map_err(|_| format!("{number} is no number of an event"))?;
            if !waiting.iter().any(|w| w.row == row) {
                return Err(format!("no event {row} waits; `branchline outbox list` shows those that do"));
            }
            drop_events(&mut store, vec![row])
        }
        _ => Err("branchline outbox list | drop NUMBER | drop all".to_owned()),
    }
}

fn drop_events(store: &mut Store, rows: Vec<u64>) -> Result<(), String> {
    let ops: Vec<Op> = rows.into_iter().map(Op::Done).collect();
    store.apply(&ops).map_err(|e| format!("the outbox: {e}"))?;
    say(&format!("{} dropped", ops.len()));
    Ok(())
}

fn feeder(config: &Config, state: &State, prompts: Option<PathBuf>) -> std::io::Result<Feeder> {
    let min_free = u64::from(config.recording.min_free_mb) << 20;
    Feeder::start(Sounds::open(state.path(SOUNDS), prompts, 2 * min_free)?)
}

/// Addresses for media: what is bound, and what is given as ours.
fn families(config: &Config, sip: &sip::Sockets) -> Vec<(IpAddr, IpAddr)> {
    let bound = config.sip.listen_ip.unwrap_or(config.sip.bind_ip);
    let ours = [sip.locals.v4, sip.locals.v6].into_iter().flatten();
    let mut out = Vec::new();
    for address in ours.map(|a| a.ip()) {
        let first = address.is_ipv4() == bound.is_ipv4();
        out.push((if first { bound } else { config.sip.bind_ip6.unwrap_or(bound) }, address));
    }
    out
}

#[expect(clippy::print_stdout, reason = "what the user asked for goes to standard output")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "errors before logging starts")]
fn say_error(text: &str) {
    eprintln!("{text}");
}
