//! The control thread's executor: tasks need not be `Send`, and none outlives it.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use super::timer;

/// A single-threaded executor.
#[derive(Debug)]
pub struct Executor {
    tasks: smol::LocalExecutor<'static>,
    alive: Rc<Cell<u64>>,
}

/// Counts a running task.
struct Alive(Rc<Cell<u64>>);

impl Alive {
    fn new(count: &Rc<Cell<u64>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Default for Executor {
    fn default() -> Self {
        let tasks = smol::LocalExecutor::new();
        tasks.spawn(timer::run()).detach();
        Self { tasks, alive: Rc::default() }
    }
}

impl Executor {
    /// Runs a task until it completes, or the process ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let alive = Alive::new(&self.alive);
        let counted = async move {
            let _alive = alive;
            task.await;
        };
        self.tasks.spawn(counted).detach();
    }

    /// Number of running tasks.
    #[must_use]
    pub fn alive(&self) -> u64 {
        self.alive.get()
    }

    /// Runs all tasks on this thread until `main` completes.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        async_io::block_on(self.tasks.run(main))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_counted_until_they_are_done() {
        let executor = Executor::default();
        let (stop, stopped) = async_channel::bounded::<()>(1);
        executor.spawn(async move {
            let _closed = stopped.recv().await;
        });
        executor.spawn(async {});
        assert_eq!(executor.alive(), 2);
        executor.block_on(smol::future::yield_now());
        while executor.alive() > 1 {
            executor.block_on(smol::future::yield_now());
        }
        drop(stop);
        while executor.alive() > 0 {
            executor.block_on(smol::future::yield_now());
        }
    }
}
