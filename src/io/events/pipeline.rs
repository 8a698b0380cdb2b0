//! The path of an event: from the gateway to the outbox, then to the delivery queues and its target. It is
//! delivered only after the outbox has committed it, so that no event number is reported that a crash could
//! take back.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::outbox_ops::{changes, destination, item};
use super::upload_queue::UploadQueue;
use crate::base::rng::Rng;
use crate::delivery::events::{Counts, Destination, EventQueues, Item, Job, TargetId, TargetView};
use crate::delivery::failure::Failure;
use crate::gateway::events::Event;
use crate::io::outbox::rows::Op;
use crate::io::outbox::store::Store;
use crate::io::outbox::thread::{Outbox, OutboxEvent};
use crate::io::system::clock;
use crate::io::system::executor::Executor;
use crate::io::system::settings::Settings;
use crate::io::system::timer;

/// Maximum events waiting for their commit; beyond it, the oldest are delivered uncommitted.
const MAX_PENDING: usize = 8192;
/// Maximum changes waiting while the outbox queue is full.
const MAX_UNSENT: usize = 16_384;

/// Retry interval if the outbox could not be queried.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Longest that a delivered event stays in the outbox when nothing else is stored meanwhile: removals share a transaction
/// with what comes next, and with each other. After a crash in between it is delivered again, with the same id.
const REMOVE_WITHIN: Duration = Duration::from_millis(50);
/// Removals that wait at most.
const MAX_REMOVALS: usize = 256;

/// Changes and events on their way to the outbox.
#[derive(Debug)]
struct Waiting {
    next_row: u64,
    /// Changes not yet passed to the outbox.
    unsent: Vec<Op>,
    /// Removals of delivered events, which are passed on with the next change.
    removals: Vec<Op>,
    /// Events waiting for their commit.
    pending: VecDeque<(Destination, Item)>,
    /// Those of them that are kept in memory only.
    unstored: BTreeSet<u64>,
}

impl Waiting {
    /// Has the removals passed on with the other changes.
    fn take_removals(&mut self) {
        self.unsent.append(&mut self.removals);
    }

    /// Removes events up to this row: they are committed (`durable`), or may be delivered uncommitted.
    fn take(&mut self, upto: u64, durable: bool) -> Vec<(Destination, Item)> {
        let count = self.pending.iter().take_while(|(_, i)| i.row <= upto).count();
        let unstored = &mut self.unstored;
        let taken = self.pending.drain(..count);
        taken
            .map(|(to, item)| (to, Item { stored: durable && !unstored.remove(&item.row), ..item }))
            .collect()
    }

    /// Bounds the queue: non-terminal events are then kept in memory only.
    fn bound_unsent(&mut self) {
        if self.unsent.len() <= MAX_UNSENT {
            return;
        }
        let unstored = &mut self.unstored;
        let pending = self.pending.front().map_or(u64::MAX, |(_, i)| i.row);
        self.unsent.retain(|op| {
            let Op::Event { item, .. } = op else { return true };
            if !item.terminal && item.row >= pending {
                unstored.insert(item.row);
            }
            item.terminal
        });
    }
}

/// Events between the gateway, the outbox and their targets.
#[derive(Debug)]
pub struct EventPipeline {
    executor: Rc<Executor>,
    settings: Settings,
    outbox: RefCell<Outbox>,
    waiting: RefCell<Waiting>,
    queues: RefCell<EventQueues>,
    /// Recordings to be uploaded are queued here.
    uploads: Rc<UploadQueue>,
    /// Generates ids of events that do not come from the gateway.
    rng: RefCell<Rng>,
    /// Wakes the webhook client.
    wake: (Sender<()>, Receiver<()>),
}

impl EventPipeline {
    /// An empty pipeline; the first event gets the number `next_row`.
    #[must_use]
    pub fn new(
        executor: Rc<Executor>,
        settings: Settings,
        outbox: Outbox,
        next_row: u64,
        uploads: Rc<UploadQueue>,
        mut rng: Rng,
    ) -> Self {
        let waiting = Waiting {
            next_row,
            unsent: Vec::new(),
            removals: Vec::new(),
            pending: VecDeque::new(),
            unstored: BTreeSet::new(),
        };
        Self {
            executor,
            settings,
            outbox: RefCell::new(outbox),
            waiting: RefCell::new(waiting),
            queues: RefCell::new(EventQueues::new(rng.fork())),
            uploads,
            rng: RefCell::new(rng),
            wake: async_channel::bounded(1),
        }
    }

    /// Publishes an event. It is passed to the outbox with the next [`Self::flush`].
    pub fn publish(&self, event: &Event) {
        let changes = changes(event);
        changes.iter().for_each(|op| self.uploads.note(op));
        let mut waiting = self.waiting.borrow_mut();
        waiting.unsent.extend(changes);
        let settings = self.settings.current();
        let Some(to) = destination(&settings, event) else { return };
        let item = item(&settings, event, waiting.next_row);
        waiting.next_row += 1;
        waiting.unsent.push(Op::Event { to: to.clone(), item: item.clone(), at_ms: event.at.millis() });
        waiting.pending.push_back((to, item));
        if waiting.pending.len() > MAX_PENDING
            && let Some((to, item)) = waiting.pending.pop_front()
        {
            // The outbox has not committed for long: deliver without it.
            waiting.unstored.remove(&item.row);
            self.queues.borrow_mut().push(&to, item);
        }
    }

    /// Publishes events of an earlier run that the outbox could not store, as if they had just happened.
    pub fn publish_late(&self, events: &[Event]) {
        events.iter().for_each(|e| self.publish(e));
        self.flush();
    }

    /// An id for an event that does not come from the gateway.
    #[must_use]
    pub fn event_id(&self) -> String {
        self.rng.borrow_mut().uuid()
    }

    /// Passes pending changes to the outbox.
    pub fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.unsent.is_empty() {
            return;
        }
        waiting.take_removals();
        let ops = std::mem::take(&mut waiting.unsent);
        if let Err(ops) = self.outbox.borrow().apply(ops) {
            waiting.unsent = ops;
            waiting.bound_unsent();
        }
    }

    /// Passes pending changes and removals to the outbox.
    fn flush_all(&self) {
        self.waiting.borrow_mut().take_removals();
        self.flush();
    }

    /// Queries the outbox, after all changes passed to it before; `None` if it cannot be queried.
    pub fn ask_outbox<T: Send + 'static, F: FnOnce(&mut Store) -> T + Send + 'static>(
        &self,
        f: F,
    ) -> impl Future<Output = Option<T>> + use<T, F> {
        self.flush_all();
        self.outbox.borrow().ask(f)
    }

    /// Passes a change to the outbox that belongs to no event.
    pub fn store(&self, op: Op) {
        self.waiting.borrow_mut().unsent.push(op);
        self.flush();
    }

    /// Handles the reports of the outbox until the process ends.
    pub async fn run(self: Rc<Self>, news: Receiver<OutboxEvent>) {
        while let Ok(news) = news.recv().await {
            match news {
                OutboxEvent::Committed { upto, durable } => {
                    let committed = self.waiting.borrow_mut().take(upto, durable);
                    let mut queues = self.queues.borrow_mut();
                    committed.into_iter().for_each(|(to, item)| queues.push(&to, item));
                }
                OutboxEvent::Recovered(rows) => self.queues.borrow_mut().handle_stored(&rows),
                OutboxEvent::Loaded { target, items, left } => {
                    self.queues.borrow_mut().handle_loaded(target, items, left);
                }
                OutboxEvent::NotLoaded(target) => self.load_later(target),
                OutboxEvent::Lost(count) => self.queues.borrow_mut().note_lost(count),
            }
            self.poll_queues();
        }
    }

    /// Loads the events that the queues request from the outbox, and reports completed ones to it.
    fn poll_queues(self: &Rc<Self>) {
        {
            let mut queues = self.queues.borrow_mut();
            let mut waiting = self.waiting.borrow_mut();
            let idle = waiting.removals.is_empty();
            waiting.removals.extend(std::iter::from_fn(|| queues.poll_finished()).map(Op::Done));
            if waiting.removals.len() > MAX_REMOVALS {
                waiting.take_removals();
            } else if idle && !waiting.removals.is_empty() {
                self.remove_later();
            }
            while let Some(load) = queues.poll_load() {
                let target = load.target;
                if !self.outbox.borrow().load(load) {
                    self.load_later(target);
                    break;
                }
            }
        }
        self.flush();
        let _woken = self.wake.0.try_send(());
    }

    /// Passes the removals on, unless something else does before.
    fn remove_later(self: &Rc<Self>) {
        let events = Rc::clone(self);
        self.executor.spawn(async move {
            timer::sleep(REMOVE_WITHIN).await;
            events.flush_all();
        });
    }

    /// Retries a load that failed.
    fn load_later(self: &Rc<Self>, target: TargetId) {
        let events = Rc::clone(self);
        self.executor.spawn(async move {
            timer::sleep(ASK_AGAIN).await;
            events.queues.borrow_mut().handle_not_loaded(target);
            events.poll_queues();
        });
    }

    /// Restores the targets of events from earlier runs.
    pub fn restore_targets(self: &Rc<Self>, targets: &[(Destination, u64)]) {
        targets.iter().for_each(|(to, count)| self.queues.borrow_mut().restore(to, *count));
        self.poll_queues();
    }

    /// The next webhook delivery to carry out; call until `None`.
    #[must_use]
    pub fn next_delivery(&self) -> Option<Job> {
        self.queues.borrow_mut().poll(clock::now().mono)
    }

    /// Handles the result of a delivery.
    pub fn delivered(self: &Rc<Self>, target: TargetId, row: u64, outcome: Result<(), Failure>) {
        self.queues.borrow_mut().handle_outcome(clock::now().mono, target, row, outcome);
        self.poll_queues();
        if self.queues.borrow_mut().poll_revive() {
            let events = Rc::clone(self);
            self.executor.spawn(async move {
                let asked = events.ask_outbox(|store| store.targets());
                let answer = asked.await;
                if let Some(Ok(targets)) = &answer {
                    events.restore_targets(targets);
                }
                events.queues.borrow_mut().handle_revived(!matches!(answer, Some(Ok(_))));
            });
        }
    }

    /// Waits until a delivery may be due.
    pub async fn delivery_due(&self) {
        let next = self.queues.borrow().poll_timeout();
        let woken = async {
            // The sender lives as long as the pipeline.
            let _woken = self.wake.1.recv().await;
        };
        smol::future::or(timer::sleep_until(next), woken).await;
    }

    /// True if all events were delivered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.borrow().is_empty() && self.waiting.borrow().pending.is_empty()
    }

    /// Delivery state of each target.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetView> {
        self.queues.borrow().view()
    }

    /// Counters of the delivery queues.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.queues.borrow().counts()
    }

    /// Passes the remaining changes to the outbox, and stops its thread.
    pub fn stop(&self) {
        self.flush_all();
        self.outbox.borrow_mut().stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::delivery::share::Origin;
    use crate::gateway::events::{EventBody, RecordingUploadFailed};
    use crate::io::outbox::judge::Known;
    use crate::io::outbox::thread::Limits;

    /// A pipeline with a global webhook over an outbox in `dir`.
    fn pipeline(dir: &std::path::Path) -> (Rc<Executor>, Rc<EventPipeline>) {
        let mut config = Config::default();
        config.webhook.url = "http://127.0.0.1:9/".to_owned();
        let (executor, mut rng) = (Rc::new(Executor::default()), Rng::from_number(1));
        let (tell, news) = async_channel::unbounded();
        let limits = Limits { budget: 1 << 20, age: Duration::from_secs(3600) };
        let store = Store::open(dir, Known::default()).unwrap();
        let outbox = Outbox::start(store, limits, tell, clock::now()).unwrap();
        let uploads = Rc::new(UploadQueue::new(rng.fork()));
        let settings = Settings::new(Rc::new(config));
        let events = Rc::new(EventPipeline::new(Rc::clone(&executor), settings, outbox, 1, uploads, rng));
        executor.spawn(Rc::clone(&events).run(news));
        (executor, events)
    }

    fn publish(events: &EventPipeline) {
        let body = RecordingUploadFailed { file: "a.wav".to_owned(), error: "x".into() };
        events.publish(&Event {
            at: clock::now().utc,
            event_id: events.event_id(),
            leg_id: None,
            leg_seq: None,
            room_id: None,
            body: EventBody::RecordingUploadFailed(body),
            webhook: None,
            origin: Origin::Own,
            upload: None,
        });
        events.flush();
    }

    async fn job(events: &EventPipeline) -> Job {
        loop {
            match events.next_delivery() {
                Some(job) => return job,
                None => events.delivery_due().await,
            }
        }
    }

    /// The rows in the outbox, without passing waiting removals on.
    async fn stored(events: &EventPipeline) -> Vec<u64> {
        let asked = events.outbox.borrow().ask(|store| store.events().unwrap());
        asked.await.unwrap().iter().map(|waiting| waiting.row).collect()
    }

    #[test]
    fn delivered_events_leave_the_outbox_with_the_next_change_or_soon_without_one() {
        let dir = std::env::temp_dir().join(format!("branchline-removals-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (executor, events) = pipeline(&dir);
        executor.block_on(async {
            publish(&events);
            let first = job(&events).await;
            events.delivered(first.target, first.item.row, Ok(()));
            assert_eq!(stored(&events).await, [1], "the removal waits for another change");
            publish(&events);
            let second = job(&events).await;
            assert_eq!(stored(&events).await, [2], "it shares the transaction of the next event");

            events.delivered(second.target, second.item.row, Ok(()));
            let gone = async {
                while !stored(&events).await.is_empty() {
                    timer::sleep(Duration::from_millis(1)).await;
                }
            };
            assert!(timer::within(Duration::from_secs(20), gone).await.is_some(), "never removed");
        });
        events.stop();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
