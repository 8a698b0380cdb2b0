//! The control thread's executor: tasks that need not be `Send`, none of which outlives it.

use std::future::Future;

/// A single-threaded executor.
#[derive(Debug, Default)]
pub struct Executor(smol::LocalExecutor<'static>);

impl Executor {
    /// Runs a task to its end, unless the program ends first.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(task).detach();
    }

    /// Runs all tasks on this thread until `main` is done.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        async_io::block_on(self.0.run(main))
    }
}
