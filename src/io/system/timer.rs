//! Timers of the control thread.

use std::future::Future;
use std::time::{Duration, Instant};

/// Waits for `d`.
pub async fn sleep(d: Duration) {
    async_io::Timer::after(d).await;
}

/// Waits until `at`; forever if `None`.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => {
            async_io::Timer::at(at).await;
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
