//! Threads for work that blocks. Those of each purpose are their own, so that none takes the threads of another; some are
//! made at the start, and more where there is much to do. Where the system gives no more of them, work waits for those
//! that there are.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::timer;

/// Reads and writes files for the API, for recordings that are over, and for the state directory.
pub static FILES: LazyLock<Workers> = LazyLock::new(|| Workers::new("files", 2, 32));
/// Delivers events.
pub static HOOKS: LazyLock<Workers> = LazyLock::new(|| Workers::new("hooks", 2, 8));
/// Uploads recordings.
pub static UPLOADS: LazyLock<Workers> = LazyLock::new(|| Workers::new("uploads", 1, 6));
/// Asks the system for addresses of names.
pub static NAMES: LazyLock<Workers> = LazyLock::new(|| Workers::new("names", 1, 64));
/// Fetches sounds.
pub static SOUNDS: LazyLock<Workers> = LazyLock::new(|| Workers::new("sounds", 1, 68));

/// Pieces of work of one purpose that wait at most.
const MAX_WAITING: usize = 1024;
/// How long a thread that was made for much work waits for more.
const IDLE: Duration = Duration::from_secs(5);

/// Why a piece of work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// There is none, and the system gives none.
    #[error("the system gives no thread for it")]
    NoThread,
    /// Too much waits already.
    #[error("too much of its kind waits already")]
    TooMuch,
    /// It has failed in a way that nobody expected.
    #[error("it has failed unexpectedly")]
    Failed,
}

impl From<WorkError> for std::io::Error {
    fn from(e: WorkError) -> Self {
        Self::other(e)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads of one purpose.
pub struct Workers {
    name: &'static str,
    least: usize,
    most: usize,
    jobs: (Sender<Job>, Receiver<Job>),
    threads: AtomicUsize,
    idle: AtomicUsize,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes the threads that are there from the start, and stay.
///
/// # Errors
/// What the operating system says.
pub fn start() -> std::io::Result<()> {
    [&FILES, &HOOKS, &UPLOADS, &NAMES, &SOUNDS].into_iter().try_for_each(|of| of.start())
}

impl Workers {
    fn new(name: &'static str, least: usize, most: usize) -> Self {
        let jobs = async_channel::bounded(MAX_WAITING);
        Self { name, least, most, jobs, threads: AtomicUsize::new(0), idle: AtomicUsize::new(0) }
    }

    fn start(&'static self) -> std::io::Result<()> {
        while self.threads.load(Ordering::SeqCst) < self.least {
            self.add()?;
        }
        Ok(())
    }

    fn add(&'static self) -> std::io::Result<()> {
        let number = self.threads.fetch_add(1, Ordering::SeqCst);
        // It counts as idle from now on, so that no second one is made for the same work.
        self.idle.fetch_add(1, Ordering::SeqCst);
        let body = move || if number < self.least { self.stay() } else { self.help() };
        let made = thread::Builder::new().name(self.name.to_owned()).spawn(body);
        if made.is_err() {
            self.idle.fetch_sub(1, Ordering::SeqCst);
            self.threads.fetch_sub(1, Ordering::SeqCst);
        }
        made.map(drop)
    }

    fn carry_out(&'static self, job: Job) {
        self.idle.fetch_sub(1, Ordering::SeqCst);
        // There may be threads again for what has waited since there were none.
        self.grow();
        job();
        self.idle.fetch_add(1, Ordering::SeqCst);
    }

    /// Works as long as the program runs.
    fn stay(&'static self) {
        while let Ok(job) = self.jobs.1.recv_blocking() {
            self.carry_out(job);
        }
    }

    /// Works as long as there is something to do.
    fn help(&'static self) {
        loop {
            match smol::future::block_on(timer::within(IDLE, self.jobs.1.recv())) {
                Some(Ok(job)) => self.carry_out(job),
                Some(Err(_)) => return,
                None => {
                    self.idle.fetch_sub(1, Ordering::SeqCst);
                    // Whoever has just counted on this thread has left its work there.
                    if self.jobs.1.is_empty() {
                        break;
                    }
                    self.idle.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
    }

    /// Has a piece of work done.
    ///
    /// # Errors
    /// Too much waits, or there is no thread and none can be made.
    pub fn submit(&'static self, job: impl FnOnce() + Send + 'static) -> Result<(), WorkError> {
        if self.threads.load(Ordering::SeqCst) == 0 {
            self.add().map_err(|_| WorkError::NoThread)?;
        }
        self.jobs.0.try_send(Box::new(job)).map_err(|_| WorkError::TooMuch)?;
        self.grow();
        Ok(())
    }

    /// Makes threads for all that waits, as far as that is possible.
    fn grow(&'static self) {
        let waits = || self.jobs.1.len() > self.idle.load(Ordering::SeqCst);
        while waits() && self.threads.load(Ordering::SeqCst) < self.most {
            if let Err(e) = self.add() {
                log::debug!(of = self.name, error:% = e; "no further thread can be made: work waits");
                return;
            }
        }
    }

    /// Has a piece of work done, and waits for what comes of it.
    ///
    /// # Errors
    /// It was not done.
    pub fn run<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &'static self,
        work: F,
    ) -> impl Future<Output = Result<T, WorkError>> + use<T, F> {
        let (tell, answer) = async_channel::bounded(1);
        let submitted = self.submit(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|_| WorkError::Failed);
            // Nobody waits any more: so be it.
            let _told = tell.try_send(outcome);
        });
        async move {
            submitted?;
            answer.recv().await.unwrap_or(Err(WorkError::Failed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_by_few_threads_and_fails_for_itself() {
        static FEW: LazyLock<Workers> = LazyLock::new(|| Workers::new("few", 1, 3));
        let (go, wait) = async_channel::unbounded::<()>();
        let work = |n: usize| {
            let wait = wait.clone();
            FEW.run(move || {
                wait.recv_blocking().unwrap();
                n
            })
        };
        // The first three hold all threads; the rest waits.
        let all: Vec<_> = (0..10).map(work).collect();
        assert!(FEW.threads.load(Ordering::SeqCst) <= 3);
        (0..10).for_each(|_| go.try_send(()).unwrap());
        let done: Vec<_> = all.into_iter().map(smol::block_on).collect();
        assert_eq!(done, (0..10).map(Ok).collect::<Vec<_>>());
        assert_eq!(smol::block_on(FEW.run(|| -> u32 { panic!("a test") })), Err(WorkError::Failed));
        assert_eq!(smol::block_on(FEW.run(|| 7)), Ok(7), "the thread lives");
        // Too much.
        let more: Vec<_> = (0..MAX_WAITING + 10).map(work).collect();
        assert_eq!(smol::block_on(FEW.run(|| 7)), Err(WorkError::TooMuch));
        (0..MAX_WAITING + 10).for_each(|_| go.try_send(()).unwrap());
        let done = more.into_iter().map(smol::block_on).filter(Result::is_ok).count();
        assert!((MAX_WAITING..=MAX_WAITING + 3).contains(&done), "{done}");
        let end = crate::io::system::clock::now().mono + IDLE * 3;
        while FEW.threads.load(Ordering::SeqCst) > 1 {
            assert!(crate::io::system::clock::now().mono < end, "threads that are not needed go");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}
