//! Thread pools for blocking work, one per purpose, so that they cannot starve each other. Some threads are
//! created at the start, more on demand. If the system cannot create threads, work waits for the existing
//! ones.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::timer;

/// File access for the API, finished recordings, and the state directory.
pub static FILES: LazyLock<Workers> = LazyLock::new(|| Workers::new("files", 2, 32));
/// Recording uploads.
pub static UPLOADS: LazyLock<Workers> = LazyLock::new(|| Workers::new("uploads", 1, 6));
/// Name resolution by the system.
pub static NAMES: LazyLock<Workers> = LazyLock::new(|| Workers::new("names", 1, 64));
/// Sound downloads.
pub static SOUNDS: LazyLock<Workers> = LazyLock::new(|| Workers::new("sounds", 1, 68));

/// Maximum queued jobs per pool.
const MAX_WAITING: usize = 1024;
/// Idle time after which an additional thread exits.
const IDLE: Duration = Duration::from_secs(5);

/// Why a job was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// There is no thread and none can be created.
    #[error("no thread can be created")]
    NoThread,
    /// The queue of the pool is full.
    #[error("too many jobs are queued")]
    TooMuch,
    /// The job panicked.
    #[error("the job failed unexpectedly")]
    Failed,
}

impl From<WorkError> for std::io::Error {
    fn from(e: WorkError) -> Self {
        Self::other(e)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread pool.
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

/// Creates the permanent threads of all pools.
///
/// # Errors
/// Errors of the operating system.
pub fn start() -> std::io::Result<()> {
    [&FILES, &UPLOADS, &NAMES, &SOUNDS].into_iter().try_for_each(|of| of.start())
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
        // Counted as idle from now on, so that no second thread is created for the same job.
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
        // Creating threads may be possible again for jobs queued meanwhile.
        self.grow();
        job();
        self.idle.fetch_add(1, Ordering::SeqCst);
    }

    /// Main loop of a permanent thread.
    fn stay(&'static self) {
        while let Ok(job) = self.jobs.1.recv_blocking() {
            self.carry_out(job);
        }
    }

    /// Main loop of an additional thread: exits when idle.
    fn help(&'static self) {
        loop {
            match smol::future::block_on(timer::within(IDLE, self.jobs.1.recv())) {
                Some(Ok(job)) => self.carry_out(job),
                Some(Err(_)) => return,
                None => {
                    self.idle.fetch_sub(1, Ordering::SeqCst);
                    // A job may have been queued while this thread still counted as idle.
                    if self.jobs.1.is_empty() {
                        break;
                    }
                    self.idle.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        self.threads.fetch_sub(1, Ordering::SeqCst);
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The queue is full, or there is no thread and none can be created.
    pub fn submit(&'static self, job: impl FnOnce() + Send + 'static) -> Result<(), WorkError> {
        if self.threads.load(Ordering::SeqCst) == 0 {
            self.add().map_err(|_| WorkError::NoThread)?;
        }
        self.jobs.0.try_send(Box::new(job)).map_err(|_| WorkError::TooMuch)?;
        self.grow();
        Ok(())
    }

    /// Creates threads for queued jobs, as far as possible.
    fn grow(&'static self) {
        let waits = || self.jobs.1.len() > self.idle.load(Ordering::SeqCst);
        while waits() && self.threads.load(Ordering::SeqCst) < self.most {
            if let Err(e) = self.add() {
                log::debug!(of = self.name, error:% = e; "cannot create another thread: jobs are queued");
                return;
            }
        }
    }

    /// Runs a job, and waits for its result.
    ///
    /// # Errors
    /// The job was not done.
    pub fn run<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &'static self,
        work: F,
    ) -> impl Future<Output = Result<T, WorkError>> + use<T, F> {
        let (tell, answer) = async_channel::bounded(1);
        let submitted = self.submit(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|_| WorkError::Failed);
            // The receiver may have been dropped.
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
    fn jobs_share_few_threads_and_a_panic_affects_only_its_job() {
        static FEW: LazyLock<Workers> = LazyLock::new(|| Workers::new("few", 1, 3));
        let (go, wait) = async_channel::unbounded::<()>();
        let work = |n: usize| {
            let wait = wait.clone();
            FEW.run(move || {
                wait.recv_blocking().unwrap();
                n
            })
        };
        // The first three occupy all threads; the rest is queued.
        let all: Vec<_> = (0..10).map(work).collect();
        assert!(FEW.threads.load(Ordering::SeqCst) <= 3);
        (0..10).for_each(|_| go.try_send(()).unwrap());
        let done: Vec<_> = all.into_iter().map(smol::block_on).collect();
        assert_eq!(done, (0..10).map(Ok).collect::<Vec<_>>());
        assert_eq!(smol::block_on(FEW.run(|| -> u32 { panic!("a test") })), Err(WorkError::Failed));
        assert_eq!(smol::block_on(FEW.run(|| 7)), Ok(7), "the thread survives");
        // Queue overflow.
        let more: Vec<_> = (0..MAX_WAITING + 10).map(work).collect();
        assert_eq!(smol::block_on(FEW.run(|| 7)), Err(WorkError::TooMuch));
        (0..MAX_WAITING + 10).for_each(|_| go.try_send(()).unwrap());
        let done = more.into_iter().map(smol::block_on).filter(Result::is_ok).count();
        assert!((MAX_WAITING..=MAX_WAITING + 3).contains(&done), "{done}");
        let end = crate::io::system::clock::now().mono + IDLE * 3;
        while FEW.threads.load(Ordering::SeqCst) > 1 {
            assert!(crate::io::system::clock::now().mono < end, "idle threads exit");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}
