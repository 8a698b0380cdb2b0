//! The way of an event: from the gateway into the outbox, from there into the queues, from there to its target. It goes out
//! only when the outbox has it, so that no number is told that a crash could take back.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;

use super::outbox_ops::{changes, destination, item};
use crate::deliver::events::{Destination, Item, Job, TargetId, TargetView};
use crate::deliver::failure::Failure;
use crate::gateway::events::Event;
use crate::io::outbox::rows::Op;
use crate::io::outbox::store::Store;
use crate::io::outbox::thread::News;
use crate::io::shell::Shell;
use crate::io::system::clock;
use crate::io::system::timer;

/// Events that wait for the outbox at most; past it they go out without.
const MAX_PENDING: usize = 8192;
/// Changes that wait for a full outbox at most.
const MAX_UNSENT: usize = 16_384;

/// How long the outbox is left alone that could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is between the gateway and the outbox.
#[derive(Debug)]
pub struct Mailroom {
    next_row: u64,
    /// Changes that the outbox is to be told.
    unsent: Vec<Op>,
    /// Events that it is about to commit.
    pending: VecDeque<(Destination, Item)>,
    /// Of these, events that it will never be told of.
    untold: BTreeSet<u64>,
}

impl Mailroom {
    /// An empty one; the first event has this number.
    #[must_use]
    pub fn new(next_row: u64) -> Self {
        Self { next_row, unsent: Vec::new(), pending: VecDeque::new(), untold: BTreeSet::new() }
    }

    /// Events up to this row are committed (`durable`), or may go out without.
    fn take(&mut self, upto: u64, durable: bool) -> Vec<(Destination, Item)> {
        let count = self.pending.iter().take_while(|(_, i)| i.row <= upto).count();
        let untold = &mut self.untold;
        let taken = self.pending.drain(..count);
        taken.map(|(to, item)| (to, Item { stored: durable && !untold.remove(&item.row), ..item })).collect()
    }

    /// Too much waits for the outbox: non-terminal events stay in memory alone.
    fn bound_unsent(&mut self) {
        if self.unsent.len() <= MAX_UNSENT {
            return;
        }
        let untold = &mut self.untold;
        let pending = self.pending.front().map_or(u64::MAX, |(_, i)| i.row);
        self.unsent.retain(|op| {
            let Op::Event { item, .. } = op else { return true };
            if !item.terminal && item.row >= pending {
                untold.insert(item.row);
            }
            item.terminal
        });
    }
}

impl Shell {
    /// An event of the gateway.
    pub(in crate::io) fn publish(&self, event: &Event) {
        let changes = changes(event);
        changes.iter().for_each(|op| self.uploading.note(op));
        let mut room = self.mailroom.borrow_mut();
        room.unsent.extend(changes);
        let settings = self.settings();
        let Some(to) = destination(&settings, event) else { return };
        let item = item(&settings, event, room.next_row);
        room.next_row += 1;
        room.unsent.push(Op::Event { to: to.clone(), item: item.clone(), at_ms: event.at.millis() });
        room.pending.push_back((to, item));
        if room.pending.len() > MAX_PENDING
            && let Some((to, item)) = room.pending.pop_front()
        {
            // The outbox has stood still for long: better told than kept.
            room.untold.remove(&item.row);
            self.queues.borrow_mut().push(&to, item);
        }
    }

    /// Events of an earlier run that the outbox could not take, as if they had just happened.
    pub fn tell_late(&self, events: &[Event]) {
        events.iter().for_each(|e| self.publish(e));
        self.post();
    }

    /// Tells the outbox what has changed.
    pub(in crate::io) fn post(&self) {
        let mut room = self.mailroom.borrow_mut();
        if room.unsent.is_empty() {
            return;
        }
        let ops = std::mem::take(&mut room.unsent);
        if let Err(ops) = self.outbox.borrow().apply(ops) {
            room.unsent = ops;
            room.bound_unsent();
        }
    }

    /// Asks the outbox something, behind all that it was told before; `None` when it cannot be asked.
    pub fn ask_outbox<T: Send + 'static, F: FnOnce(&mut Store) -> T + Send + 'static>(
        &self,
        f: F,
    ) -> impl Future<Output = Option<T>> + use<T, F> {
        self.post();
        self.outbox.borrow().ask(f)
    }

    /// Tells the outbox of a change that no event tells of.
    pub fn keep(&self, op: Op) {
        self.mailroom.borrow_mut().unsent.push(op);
        self.post();
    }

    /// Takes the news of the outbox until the program ends.
    pub async fn run_outbox(self: Rc<Self>, news: Receiver<News>) {
        while let Ok(news) = news.recv().await {
            match news {
                News::Committed { upto, durable } => {
                    let committed = self.mailroom.borrow_mut().take(upto, durable);
                    let mut queues = self.queues.borrow_mut();
                    committed.into_iter().for_each(|(to, item)| queues.push(&to, item));
                }
                News::Recovered(rows) => self.queues.borrow_mut().handle_stored(&rows),
                News::Loaded { target, items, left } => {
                    self.queues.borrow_mut().handle_loaded(target, items, left);
                }
                News::NotLoaded(target) => self.load_later(target),
                News::Lost(count) => self.queues.borrow_mut().note_lost(count),
            }
            self.mind_queues();
        }
    }

    /// Asks the outbox what the queues want of it, and tells it what it may forget.
    fn mind_queues(self: &Rc<Self>) {
        {
            let mut queues = self.queues.borrow_mut();
            let mut room = self.mailroom.borrow_mut();
            room.unsent.extend(std::iter::from_fn(|| queues.poll_finished()).map(Op::Done));
            while let Some(load) = queues.poll_load() {
                let target = load.target;
                if !self.outbox.borrow().load(load) {
                    self.load_later(target);
                    break;
                }
            }
        }
        self.post();
        let _woken = self.mail.0.try_send(());
    }

    /// The outbox could not be asked; perhaps it can in a moment.
    fn load_later(self: &Rc<Self>, target: TargetId) {
        let shell = Rc::clone(self);
        self.spawn(async move {
            timer::sleep(ASK_AGAIN).await;
            shell.queues.borrow_mut().handle_not_loaded(target);
            shell.mind_queues();
        });
    }

    /// The targets that events wait for since earlier lives.
    pub fn restore_targets(self: &Rc<Self>, targets: &[(Destination, u64)]) {
        targets.iter().for_each(|(to, count)| self.queues.borrow_mut().restore(to, *count));
        self.mind_queues();
    }

    /// The next webhook delivery to carry out, until `None`.
    #[must_use]
    pub fn next_delivery(&self) -> Option<Job> {
        self.queues.borrow_mut().poll(clock::now().mono)
    }

    /// What came of a delivery.
    pub fn delivered(self: &Rc<Self>, target: TargetId, row: u64, outcome: Result<(), Failure>) {
        self.queues.borrow_mut().handle_outcome(clock::now().mono, target, row, outcome);
        self.mind_queues();
        if self.queues.borrow_mut().poll_revive() {
            let shell = Rc::clone(self);
            self.spawn(async move {
                let asked = shell.outbox.borrow().ask(|store| store.targets());
                let answer = asked.await;
                if let Some(Ok(targets)) = &answer {
                    shell.restore_targets(targets);
                }
                shell.queues.borrow_mut().handle_revived(!matches!(answer, Some(Ok(_))));
            });
        }
    }

    /// Waits until there may be something to deliver.
    pub async fn delivery_due(&self) {
        let next = self.queues.borrow().poll_timeout();
        let word = async {
            // The sender lives as long as the shell.
            let _word = self.mail.1.recv().await;
        };
        smol::future::or(timer::sleep_until(next), word).await;
    }

    /// True when every event has reached its target.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.queues.borrow().is_empty() && self.mailroom.borrow().pending.is_empty()
    }

    /// How delivery goes, target by target.
    #[must_use]
    pub fn webhooks(&self) -> Vec<TargetView> {
        self.queues.borrow().view()
    }
}
