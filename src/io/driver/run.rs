//! Tasks of the driver while the gateway runs: timers, events of the media thread and the recorder; drain and
//! shutdown.

use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;

use super::Driver;
use crate::gateway::Gateway;
use crate::gateway::interface::work::WorkResult;
use crate::io::media::media_thread::Bell;
use crate::io::recording::recorder_event::RecorderEvent;
use crate::io::system::clock;
use crate::io::system::timer;

/// Interval at which the number of remaining calls is logged during the drain.
const DRAIN_LOG: Duration = Duration::from_secs(5);
/// Time limit for the last events at shutdown.
const GOODBYE: Duration = Duration::from_secs(5);

impl Driver {
    /// Fires the gateway's timers until the process ends.
    pub async fn run_timers(self: Rc<Self>) {
        loop {
            let next = self.gateway.borrow().poll_timeout();
            let due = async {
                timer::sleep_until(next).await;
                true
            };
            let woken = async {
                // The sender lives as long as the driver.
                let _word = self.wake.1.recv().await;
                false
            };
            if smol::future::or(due, woken).await {
                self.call(Gateway::handle_timeout);
            }
        }
    }

    /// Handles events of the media thread until the process ends.
    pub async fn run_media(self: Rc<Self>, bell: Bell) {
        loop {
            bell.rung().await;
            loop {
                let event = self.media.borrow_mut().poll();
                let Some(event) = event else { break };
                self.call(|gateway, now| gateway.handle_media(now, event));
            }
            self.media.borrow_mut().flush();
        }
    }

    /// Handles events of the recorder until the process ends.
    pub async fn run_recorder(self: Rc<Self>, events: Receiver<RecorderEvent>) {
        while let Ok(event) = events.recv().await {
            match event {
                RecorderEvent::Opened(id, outcome) => self.done(id, WorkResult::RecordingOpened(outcome)),
                RecorderEvent::Closed(record, error, written) => {
                    self.call(|gateway, now| gateway.handle_recording_closed(now, record, error, written));
                }
            }
        }
    }

    /// Rejects new calls and waits until running calls have ended, or the drain time is over.
    pub async fn drain(self: &Rc<Self>) {
        self.call(|gateway, _| gateway.refuse_new_calls());
        let time = Duration::from_secs(self.settings().sip.drain_s.into());
        let until = clock::now().mono + time;
        let empty = async {
            let mut next = clock::now().mono;
            while !self.look(|view| view.is_without_calls()) {
                let now = clock::now().mono;
                if now >= next {
                    next = now + DRAIN_LOG;
                    let left = until.saturating_duration_since(now).as_secs();
                    log::info!(legs = self.look(|view| view.legs().len()), seconds_left = left; "draining: waiting for calls to end");
                }
                timer::sleep(Duration::from_millis(20)).await;
            }
        };
        if timer::within(time, empty).await.is_none() {
            log::info!(calls = self.look(|view| view.legs().len()); "drain time is over: hanging up remaining calls");
        }
    }

    /// Ends all calls, waits a limited time for the terminal events, then stops the threads.
    pub async fn stop(self: &Rc<Self>) {
        self.call(|gateway, now| gateway.shut_down(now));
        let quiet = async {
            while !(self.gateway.borrow().is_quiet() && self.events.is_empty()) {
                timer::sleep(Duration::from_millis(20)).await;
            }
        };
        if timer::within(GOODBYE, quiet).await.is_none() {
            log::info!(events = self.events.counts().waiting; "undelivered events remain in the outbox");
        }
        self.media.borrow_mut().stop();
        self.recorder.borrow_mut().stop();
        self.events.stop();
    }
}
