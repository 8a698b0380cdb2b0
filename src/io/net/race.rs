//! Several futures polled in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Futures of which the next to complete is awaited. Dropping it cancels all.
pub struct Race<'a, T>(Vec<Pin<Box<dyn Future<Output = T> + 'a>>>);

impl<T> std::fmt::Debug for Race<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Race({})", self.0.len())
    }
}

impl<T> Default for Race<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T> Race<'a, T> {
    /// Adds a future.
    pub fn add(&mut self, f: impl Future<Output = T> + 'a) {
        self.0.push(Box::pin(f));
    }

    /// Waits for all of them.
    pub async fn end(mut self) {
        while !self.0.is_empty() {
            drop(self.next().await);
        }
    }

    /// The output of the next future to complete; never returns if there is none.
    pub async fn next(&mut self) -> T {
        poll_fn(|cx| {
            for at in 0..self.0.len() {
                let ready = self.0.get_mut(at).map(|f| f.as_mut().poll(cx));
                if let Some(Poll::Ready(out)) = ready {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(out);
                }
            }
            Poll::Pending
        })
        .await
    }
}
