//! Timers of the control thread: all of them share one timer of the reactor, which is told only when an earlier one
//! comes first. A timer of its own would be a system call, and would wake the reactor, each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;

use super::clock;

#[derive(Default)]
struct Queue {
    /// [`run`] is running on this thread.
    running: bool,
    next_id: u64,
    waiting: BTreeMap<(Instant, u64), Waker>,
    /// When the timer of the reactor fires.
    alarm: Option<Instant>,
    /// Wakes [`run`].
    runner: Option<Waker>,
}

thread_local! {
    static QUEUE: RefCell<Queue> = RefCell::default();
}

impl Queue {
    /// Removes a timer that is due.
    fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.waiting.first_entry()?;
        if first.key().0 > now { None } else { Some(first.remove()) }
    }

    /// The time to which the timer of the reactor must be moved. One that is too early fires for nothing, which costs less
    /// than moving it.
    fn move_alarm(&mut self) -> Option<Instant> {
        let (first, _) = *self.waiting.first_key_value()?.0;
        if self.alarm.is_some_and(|alarm| alarm <= first) {
            return None;
        }
        self.alarm = Some(first);
        self.alarm
    }
}

/// A timer in the queue of this thread.
struct Sleep {
    at: Instant,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if clock::now().mono >= self.at {
            return Poll::Ready(());
        }
        // What is replaced is dropped outside: its task may have timers, too.
        let (runner, _replaced) = QUEUE.with_borrow_mut(|queue| {
            let id = *self.id.get_or_insert_with(|| {
                queue.next_id += 1;
                queue.next_id
            });
            let replaced = queue.waiting.insert((self.at, id), cx.waker().clone());
            let earlier = queue.alarm.is_none_or(|alarm| self.at < alarm);
            (if earlier { queue.runner.take() } else { None }, replaced)
        });
        if let Some(runner) = runner {
            runner.wake();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // There is no queue any more when the thread ends.
            let _removed = QUEUE.try_with(|queue| queue.borrow_mut().waiting.remove(&(self.at, id)));
        }
    }
}

/// Resets the queue when [`run`] ends.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        let _left = QUEUE.try_with(RefCell::take);
    }
}

/// Fires the timers of this thread; started by its executor.
pub async fn run() {
    QUEUE.with_borrow_mut(|queue| queue.running = true);
    let _running = Running;
    let mut timer = Timer::never();
    poll_fn(|cx| {
        loop {
            let now = clock::now().mono;
            while let Some(waker) = QUEUE.with_borrow_mut(|queue| queue.pop_due(now)) {
                waker.wake();
            }
            let alarm = QUEUE.with_borrow_mut(|queue| {
                queue.runner = Some(cx.waker().clone());
                queue.move_alarm()
            });
            if let Some(at) = alarm {
                timer.set_at(at);
            }
            if Pin::new(&mut timer).poll(cx).is_pending() {
                return Poll::<()>::Pending;
            }
            QUEUE.with_borrow_mut(|queue| queue.alarm = None);
        }
    })
    .await;
}

/// Waits for `d`.
pub async fn sleep(d: Duration) {
    sleep_until(clock::now().mono.checked_add(d)).await;
}

/// Waits until `at`; forever if `None`.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) if QUEUE.with_borrow(|queue| queue.running) => Sleep { at, id: None }.await,
        // Another thread, without an executor of its own.
        Some(at) => {
            Timer::at(at).await;
        }
        None => std::future::pending().await,
    }
}

/// The output of `f`, or `None` after `d`.
pub async fn within<F: Future>(d: Duration, f: F) -> Option<F::Output> {
    smol::future::or(async { Some(f.await) }, async {
        sleep(d).await;
        None
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::io::system::executor::Executor;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn timers_fire_in_the_order_of_their_times() {
        let executor = Executor::default();
        let (order, start) = (Rc::new(RefCell::new(Vec::new())), clock::now().mono);
        executor.block_on(smol::future::yield_now());
        for ms in [30, 10, 20, 0] {
            let order = Rc::clone(&order);
            executor.spawn(async move {
                sleep_until(Some(start + ms * MS)).await;
                assert!(clock::now().mono >= start + ms * MS);
                order.borrow_mut().push(ms);
            });
        }
        executor.block_on(sleep(40 * MS));
        assert_eq!(*order.borrow(), [0, 10, 20, 30]);
        QUEUE.with_borrow(|queue| assert!(queue.running && queue.waiting.is_empty()));
    }

    #[test]
    fn timers_that_are_dropped_leave_the_queue() {
        let executor = Executor::default();
        executor.block_on(async {
            smol::future::yield_now().await;
            let ready = within(Duration::from_secs(3600), async {
                smol::future::yield_now().await;
                7
            });
            assert_eq!(ready.await, Some(7));
            assert_eq!(within(MS, std::future::pending::<()>()).await, None);
        });
        QUEUE.with_borrow(|queue| assert!(queue.running && queue.waiting.is_empty()));
        drop(executor);
        QUEUE.with_borrow(|queue| assert!(!queue.running));
    }

    #[test]
    fn an_earlier_timer_is_not_delayed_by_a_later_one() {
        let executor = Executor::default();
        executor.block_on(smol::future::yield_now());
        executor.spawn(sleep(Duration::from_secs(3600)));
        let start = clock::now().mono;
        executor.block_on(async {
            sleep(5 * MS).await;
            sleep(MS).await;
        });
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_thread_without_an_executor_can_wait_too() {
        let start = clock::now().mono;
        smol::future::block_on(sleep(2 * MS));
        assert!(start.elapsed() >= 2 * MS);
    }
}
