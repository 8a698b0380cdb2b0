//! The thread that owns the outbox. It commits changes at once to the page cache, so that they survive the
//! process; a second thread syncs at most once a second, so that they survive a power cut.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::backlog::shrink;
use super::rows::Op;
use super::store::{NewTime, Store};
use super::sync_thread::SyncThread;
use crate::base::time::{ClockWatch, Now};
use crate::delivery::events::{Item, Load, TargetId};
use crate::io::system::clock;

/// Maximum queued orders.
const MAX_ORDERS: usize = 4096;
/// Maximum orders per transaction.
const MAX_BATCH: usize = 256;
/// Maximum changes waiting for a disk that cannot be written; beyond it, non-terminal events are dropped.
const MAX_BACKLOG: usize = 16_384;
/// Retry interval after a disk error.
const RETRY: Duration = Duration::from_secs(1);
/// Minimum time between two replacements of a damaged outbox.
const MEND: Duration = Duration::from_secs(60);
/// Maximum bytes of events in an outbox in memory.
pub const MAX_IN_MEMORY: u64 = 8 << 20;
/// Interval of deleting old events, and of the heartbeat while legs are active.
const PRUNE: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// 2026-01-01, Unix milliseconds: earlier times are from an unset clock.
const FIRST_RELEASE_MS: u64 = 1_767_225_600_000;
/// Maximum clock corrections remembered.
const MAX_SET: usize = 16;

/// Key of the last heartbeat, ms since 1970.
pub const ALIVE: &str = "alive_ms";

/// A report of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxEvent {
    /// All events up to this row are committed, or, if the disk cannot be written, may be delivered
    /// uncommitted.
    Committed {
        /// The last row.
        upto: u64,
        /// They survive the process.
        durable: bool,
    },
    /// These events, delivered uncommitted, are now committed, too.
    Recovered(BTreeSet<u64>),
    /// Result of a load.
    Loaded {
        /// The target.
        target: TargetId,
        /// The events.
        items: Vec<Item>,
        /// Number of further events.
        left: u64,
    },
    /// A load failed; the events still exist.
    NotLoaded(TargetId),
    /// Number of events lost: too old, or no space left.
    Lost(u64),
}

/// Limits of stored events.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum bytes of events.
    pub budget: u64,
    /// Maximum age of events.
    pub age: Duration,
}

type Question = Box<dyn FnOnce(&mut Store) + Send>;

enum OutboxCommand {
    Apply(Vec<Op>),
    Load(Load),
    Ask(Question),
}

/// The control thread's handle.
#[derive(Debug)]
pub struct Outbox {
    orders: Option<SyncSender<OutboxCommand>>,
    handle: Option<thread::JoinHandle<()>>,
    news: async_channel::Sender<OutboxEvent>,
}

impl Outbox {
    /// Starts the threads; they report to `news`. Rows already written in this run have times from `now` on.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start(
        store: Store,
        limits: Limits,
        news: async_channel::Sender<OutboxEvent>,
        now: Now,
    ) -> std::io::Result<Self> {
        let (orders, take) = sync_channel(MAX_ORDERS);
        let told = news.clone();
        let syncs = SyncThread::start(store.log_file())?;
        let body = move || {
            let mut keeper = OutboxThread {
                store,
                limits,
                news,
                backlog: VecDeque::new(),
                retry_at: None,
                mended_at: None,
                upto: 0,
                clock: ClockWatch::new(now),
                born_ms: now.utc.millis(),
                set: Vec::new(),
            };
            keeper.run(&take, &syncs);
            syncs.stop();
        };
        let handle = thread::Builder::new().name("outbox".to_owned()).spawn(body)?;
        Ok(Self { orders: Some(orders), handle: Some(handle), news: told })
    }

    fn send(&self, order: OutboxCommand) -> Result<(), OutboxCommand> {
        let Some(orders) = &self.orders else { return Err(order) };
        orders.try_send(order).map_err(|e| match e {
            std::sync::mpsc::TrySendError::Full(order)
            | std::sync::mpsc::TrySendError::Disconnected(order) => order,
        })
    }

    /// Queues changes; returns them if the queue is full.
    ///
    /// # Errors
    /// The changes.
    pub fn apply(&self, ops: Vec<Op>) -> Result<(), Vec<Op>> {
        match self.send(OutboxCommand::Apply(ops)) {
            Err(OutboxCommand::Apply(ops)) => Err(ops),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Requests a load; false if the queue is full.
    #[must_use]
    pub fn load(&self, load: Load) -> bool {
        self.send(OutboxCommand::Load(load)).is_ok()
    }

    /// Runs a query after all changes queued before are committed. `None`: it cannot be run now.
    pub fn ask<T: Send + 'static, F: FnOnce(&mut Store) -> T + Send + 'static>(
        &self,
        f: F,
    ) -> impl Future<Output = Option<T>> + use<T, F> {
        let (tell, answer) = async_channel::bounded(1);
        let question = move |store: &mut Store| {
            // The receiver may have been dropped.
            let _told = tell.try_send(f(store));
        };
        let sent = self.send(OutboxCommand::Ask(Box::new(question)));
        async move {
            sent.ok()?;
            answer.recv().await.ok()
        }
    }

    /// Commits and syncs everything queued, and stops the threads; further reports are discarded.
    pub fn stop(&mut self) {
        self.news.close();
        self.orders = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("the outbox thread panicked");
        }
    }
}

struct OutboxThread {
    store: Store,
    limits: Limits,
    news: async_channel::Sender<OutboxEvent>,
    /// Changes not yet written because of a disk error.
    backlog: VecDeque<Op>,
    /// Time of the next retry after a disk error.
    retry_at: Option<Instant>,
    /// When a damaged outbox was last replaced.
    mended_at: Option<Instant>,
    /// Highest row number seen.
    upto: u64,
    clock: ClockWatch,
    /// Start of this run, by its clock.
    born_ms: u64,
    /// Clock corrections: from, until, and by how much; later changes may still have such a time.
    set: Vec<(u64, u64, u64)>,
}

impl OutboxThread {
    fn run(&mut self, orders: &Receiver<OutboxCommand>, syncs: &SyncThread) {
        let mut prune_at = clock::now().mono;
        let mut beat_at = prune_at;
        let mut running = true;
        self.date_undated(clock::now().utc.millis());
        while running {
            let now = clock::now().mono;
            let next = self.retry_at.unwrap_or_else(|| prune_at.min(beat_at));
            let mut waiting: Vec<OutboxCommand> = Vec::new();
            match orders.recv_timeout(next.saturating_duration_since(now)) {
                Ok(order) => waiting.push(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => running = false,
            }
            while waiting.len() < MAX_BATCH {
                match orders.try_recv() {
                    Ok(order) => waiting.push(order),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if !running {
                self.retry_at = self.retry_at.map(|_| now);
            }
            self.carry_out(waiting, syncs);
            let now = clock::now();
            if now.mono >= prune_at {
                prune_at = now.mono + PRUNE;
                self.prune(now.utc.millis());
            }
            if now.mono >= beat_at {
                beat_at = now.mono + HEARTBEAT;
                self.note_alive(now.utc.millis());
            }
        }
    }

    fn carry_out(&mut self, orders: Vec<OutboxCommand>, syncs: &SyncThread) {
        let mut questions = Vec::new();
        for order in orders {
            match order {
                OutboxCommand::Apply(mut ops) => {
                    ops.iter_mut().for_each(|op| op.set_times(&self.set));
                    self.backlog.extend(ops);
                }
                OutboxCommand::Load(load) => questions.push(Err(load)),
                OutboxCommand::Ask(question) => questions.push(Ok(question)),
            }
        }
        self.follow_clock(clock::now());
        self.commit(syncs);
        for question in questions {
            match question {
                Ok(question) => question(&mut self.store),
                Err(load) => self.load(&load),
            }
        }
        self.mend();
    }

    /// Replaces an outbox found to be damaged. Queries that failed meanwhile are repeated.
    fn mend(&mut self) {
        let now = clock::now().mono;
        let Some(fault) = self.store.take_damage() else { return };
        if self.mended_at.is_some_and(|at| now < at + MEND) {
            return;
        }
        self.mended_at = Some(now);
        match self.store.renew(fault) {
            Ok(()) => self.retry_at = self.retry_at.map(|_| now),
            Err(e) => {
                log::error!(error = e; "the damaged outbox cannot be replaced: events are kept in memory")
            }
        }
        if self.store.is_in_memory() {
            self.limits.budget = self.limits.budget.min(MAX_IN_MEMORY);
        }
    }

    fn commit(&mut self, syncs: &SyncThread) {
        if self.backlog.is_empty() {
            return;
        }
        let upto = self.rows().max().unwrap_or(0).max(self.upto);
        let now = clock::now().mono;
        let durable = self.retry_at.is_none_or(|at| now >= at) && self.write(now, syncs);
        if !durable {
            shrink(&mut self.backlog, MAX_BACKLOG);
        }
        if upto > self.upto {
            self.upto = upto;
            self.tell(OutboxEvent::Committed { upto, durable });
        }
        if self.store.held() > self.limits.budget {
            self.prune(clock::now().utc.millis());
        }
    }

    /// Row numbers of the events in the backlog.
    fn rows(&self) -> impl Iterator<Item = u64> {
        let row = |op: &Op| if let Op::Event { item, .. } = op { Some(item.row) } else { None };
        self.backlog.iter().filter_map(row)
    }

    /// Writes the backlog; false if the disk cannot be written.
    fn write(&mut self, now: Instant, syncs: &SyncThread) -> bool {
        if let Err(e) = self.store.apply(self.backlog.make_contiguous()) {
            if self.retry_at.is_none() {
                log::error!(error:% = e; "the outbox cannot be written: events are kept in memory");
            }
            self.retry_at = Some(now + RETRY);
            return false;
        }
        if self.retry_at.take().is_some() {
            log::info!("the outbox can be written again");
            let told = self.upto;
            let late: BTreeSet<u64> = self.rows().filter(|row| *row <= told).collect();
            self.tell(OutboxEvent::Recovered(late));
        }
        self.backlog.clear();
        syncs.request();
        true
    }

    fn load(&mut self, load: &Load) {
        let target = load.target;
        match self.store.load(&load.destination, load.after, load.most) {
            Ok((items, left)) => self.tell(OutboxEvent::Loaded { target, items, left }),
            Err(e) => {
                log::error!(error:% = e; "the outbox cannot be read");
                self.tell(OutboxEvent::NotLoaded(target));
            }
        }
    }

    /// Corrects the times of rows written in this run before its clock was set forward.
    fn follow_clock(&mut self, now: Now) {
        self.born_ms = self.born_ms.min(now.utc.millis());
        let Some((step, expected)) = self.clock.set_forward(now) else { return };
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        log::info!(seconds = step.as_secs(); "the clock was set forward: ages are kept");
        // Times after the step are later than this.
        let until = expected.millis() + 1000;
        if let Err(e) = self.store.date(self.born_ms, until, NewTime::Later, ms(step)) {
            log::error!(error:% = e; "times in the outbox cannot be corrected");
        }
        let set = (self.born_ms, until, ms(step));
        self.backlog.iter_mut().for_each(|op| op.set_times(&[set]));
        if self.set.len() < MAX_SET {
            self.set.push(set);
        }
        self.born_ms = self.born_ms.saturating_add(ms(step));
        self.date_undated(now.utc.millis());
    }

    /// Rows with times before the first release were written without a valid clock: their age is counted from
    /// now.
    fn date_undated(&mut self, now_ms: u64) {
        if now_ms > FIRST_RELEASE_MS
            && let Err(e) = self.store.date(0, FIRST_RELEASE_MS, NewTime::At, now_ms)
        {
            log::error!(error:% = e; "outbox maintenance failed");
        }
    }

    fn prune(&mut self, now_ms: u64) {
        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
        match self.store.prune(now_ms.saturating_sub(age), self.limits.budget) {
            Ok(0) => {}
            Ok(lost) => {
                log::warn!(events = lost; "events were dropped: too old, or the outbox is full");
                self.tell(OutboxEvent::Lost(lost));
            }
            Err(e) => log::error!(error:% = e; "outbox maintenance failed"),
        }
    }

    /// Heartbeat, so that the end of legs interrupted by a crash is known to within [`HEARTBEAT`].
    fn note_alive(&mut self, now_ms: u64) {
        let any = self.store.legs().is_ok_and(|legs| !legs.is_empty());
        if any && let Err(e) = self.store.keep_value(ALIVE, &now_ms.to_string()) {
            log::debug!(error:% = e; "the outbox heartbeat cannot be written");
        }
    }

    fn tell(&self, news: OutboxEvent) {
        // The receiver exists as long as the gateway.
        if self.news.send_blocking(news).is_err() {
            log::debug!("outbox reports cannot be delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Utc;
    use crate::io::outbox::judge::Known;
    use crate::io::outbox::rows::{LegRow, RecordingRow};

    #[test]
    fn the_backlog_is_corrected_once_when_the_clock_is_set() {
        let dir = std::env::temp_dir().join(format!("branchline-waits-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (news, _told) = async_channel::unbounded();
        let syncs = SyncThread::start(None).unwrap();
        let now = clock::now();
        // The run began an hour ago; its clock is now set ten minutes forward.
        let (hour, step) = (Duration::from_secs(3600), Duration::from_secs(600));
        let began = Now { mono: now.mono, utc: Utc(now.utc.0 - hour) };
        let mut keeper = OutboxThread {
            store: Store::open(&dir, Known::default()).unwrap(),
            limits: Limits { budget: 1 << 20, age: hour },
            news,
            backlog: VecDeque::new(),
            retry_at: None,
            mended_at: None,
            upto: 0,
            clock: ClockWatch::new(now),
            born_ms: began.utc.millis(),
            set: Vec::new(),
        };
        let leg = |id: &str| {
            let created_ms = began.utc.millis() + 1000;
            Op::Leg(LegRow { id: id.to_owned(), created_ms, ..LegRow::default() })
        };
        keeper.store.set_refusing(true);
        keeper.carry_out(vec![OutboxCommand::Apply(vec![leg("early")])], &syncs);
        keeper.follow_clock(Now { mono: now.mono, utc: Utc(now.utc.0 + step) });
        for _ in 0..3 {
            keeper.retry_at = None;
            keeper.carry_out(Vec::new(), &syncs);
        }
        keeper.store.set_refusing(false);
        keeper.retry_at = None;
        keeper.carry_out(vec![OutboxCommand::Apply(vec![leg("late")])], &syncs);
        let created: Vec<u64> = keeper.store.legs().unwrap().iter().map(|l| l.created_ms).collect();
        let want = (began.utc.0 + step).as_millis() as u64 + 1000;
        // Real time passes, too, but less than a step.
        assert!(
            created.len() == 2 && created.iter().all(|c| c.abs_diff(want) < 60_000),
            "{created:?}: {want}"
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn rows_written_before_the_clock_was_set_are_not_old() {
        let dir = std::env::temp_dir().join(format!("branchline-clock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut store = Store::open(&dir, Known::default()).unwrap();
        let recording = |id: &str, started_ms| {
            let row = RecordingRow {
                id: id.to_owned(),
                state: "done".to_owned(),
                started_ms,
                ..Default::default()
            };
            Op::Recording(Box::new(row))
        };
        let leg =
            LegRow { id: "l".to_owned(), created_ms: 5000, answered_ms: Some(6000), ..LegRow::default() };
        let mut late = recording("d", 5000);
        late.set_times(&[(4000, 7000, 10_000), (14_000, 17_000, 100_000)]);
        let Op::Recording(row) = late else { panic!("a recording") };
        assert_eq!(row.started_ms, 115_000, "written after the clock was set twice");
        // One of an earlier run, one of this one, and one after the clock was set.
        let now = 1_776_330_000_000u64;
        let rows = [recording("a", 100), recording("b", 5000), recording("c", now + 1000), Op::Leg(leg)];
        store.apply(&rows).unwrap();
        store.date(4000, 7000, NewTime::Later, now - 7000).unwrap();
        store.date(0, FIRST_RELEASE_MS, NewTime::At, now).unwrap();
        let started = |id: &str| store.recording(id).unwrap().unwrap().started_ms;
        assert_eq!((started("a"), started("b"), started("c")), (now, now - 2000, now + 1000));
        let leg = store.legs().unwrap().remove(0);
        assert_eq!((leg.created_ms, leg.answered_ms), (now - 2000, Some(now - 1000)));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
