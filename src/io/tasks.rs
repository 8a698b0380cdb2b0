//! What the gateway asks the driver to do and wants to hear back about: look-ups, fetches, files.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::driver::Driver;
use crate::gateway::work::{Work, WorkId, WorkResult};
use crate::io::net::locate::{families, locate};
use crate::io::recording::recorder::Job as RecorderJob;
use crate::io::recording::track_merge::merge;
use crate::io::sound::decode::Bare;
use crate::io::sound::feeder::Wanted;
use crate::io::sound::fetch::Sounds;
use crate::io::system::workers::{FILES, SOUNDS};
use crate::media::command::PlaySlot;
use crate::sip::target::NextHop;

impl Driver {
    /// Starts a piece of work; its result comes back as one of the gateway's inputs.
    pub(super) fn start(self: &Rc<Self>, work: Work) {
        let driver = Rc::clone(self);
        match work {
            Work::Locate { id, hop, lax, whole } => {
                self.spawn(async move { driver.locate(id, &hop, lax, whole).await });
            }
            Work::KeepTrunks(trunks) => {
                // The newest counts, whichever task gets to write first.
                *self.trunks.borrow_mut() = Some(trunks);
                self.spawn(async move {
                    if let Err(e) = driver.keep_trunks().await {
                        log::error!(error = e; "the trunks cannot be written down: the next start will not know them");
                    }
                });
            }
            Work::Fetch { id, play, url, rate, repeat, bare } => {
                let given_up = Arc::new(AtomicBool::new(false));
                self.fetching.borrow_mut().insert(id, Arc::clone(&given_up));
                let (name, bare) = (id.to_string(), bare.map(|rate| Bare { rate }));
                let wanted = Wanted { url, name, rate, repeat, bare, given_up };
                self.spawn(async move { driver.fetch(id, play, wanted).await });
            }
            Work::GiveUp(id) => {
                if let Some(flag) = self.fetching.borrow_mut().remove(&id) {
                    flag.store(true, Ordering::Release);
                }
            }
            Work::Merge(id, order) => self.spawn(async move {
                let _turn = driver.merges.acquire().await;
                let min_free = driver.min_free();
                let merged = FILES.run(move || merge(&order, min_free)).await;
                driver.done(id, WorkResult::Merged(merged.unwrap_or_else(|e| Err(e.to_string()))));
            }),
            Work::OpenRecording { id, record, file, input_rate, file_rate, channels } => {
                let job = RecorderJob { work: id, record, file, input_rate, file_rate, channels };
                let opened = self.recorder.borrow().open(job);
                match opened {
                    Some((ring, shared)) => self.media.borrow_mut().offer_recorder(record, ring, shared),
                    None => {
                        let busy = Err("the recorder is overloaded".to_owned());
                        self.spawn(async move { driver.done(id, WorkResult::RecordingOpened(busy)) });
                    }
                }
            }
        }
    }

    /// Looks up where a hop leads.
    async fn locate(self: &Rc<Self>, id: WorkId, hop: &NextHop, lax: bool, whole: bool) {
        let located = {
            let _turn = self.look_ups.acquire().await;
            let families = families(&self.settings().sip);
            // On the heap, and in one place only: debug builds copy futures that are moved.
            Box::pin(locate(&self.dns, families, hop, whole)).await
        };
        let lead = |place| {
            let (target, forgotten) = self.connections.borrow_mut().lead_to(place, lax);
            forgotten.into_iter().for_each(|conn| self.call(|g, _| g.forget_connection(conn)));
            target
        };
        let targets = located.places.into_iter().map(lead).collect();
        self.done(id, WorkResult::Located(targets));
        // Nobody waits for this part; where there is too much of it, it is left.
        if let Some(_turn) = self.unheard.try_acquire() {
            located.rest.end().await;
        }
    }

    /// Fetches a sound and lets the playback begin.
    async fn fetch(self: &Rc<Self>, id: WorkId, play: PlaySlot, wanted: Wanted) {
        // Servers that stall do not keep prompts waiting.
        let places = if Sounds::prompt_of(&wanted.url).is_some() { &self.prompts } else { &self.fetches };
        let _turn = places.acquire().await;
        if wanted.given_up.load(Ordering::Acquire) {
            return;
        }
        let (feeder, client) = (self.feeder.clone(), self.sounds.clone());
        let fetched = SOUNDS.run(move || feeder.fetch(&client, &wanted)).await;
        let fetched = fetched.unwrap_or_else(|e| Err(e.to_string()));
        self.fetching.borrow_mut().remove(&id);
        let outcome = fetched.map(|source| self.media.borrow_mut().offer_feed(play, source));
        self.done(id, WorkResult::Fetched(outcome));
        // Stopped while it was fetched: nobody takes it.
        self.media.borrow_mut().withdraw_feed(play);
    }

    /// Waits until the trunks that the API made are written down.
    ///
    /// # Errors
    /// What the operating system said of the last try.
    pub async fn keep_trunks(&self) -> Result<(), String> {
        let mut last = self.writing.lock().await;
        let waiting = self.trunks.borrow_mut().take();
        if let Some(trunks) = waiting {
            let state = self.state.clone();
            let kept = FILES.run(move || state.keep_trunks(&trunks)).await;
            *last = kept.unwrap_or_else(|e| Err(e.into())).map_err(|e| e.to_string());
        }
        last.clone()
    }

    pub(super) fn done(self: &Rc<Self>, id: WorkId, result: WorkResult) {
        self.call(|gateway, now| gateway.handle_work(now, id, result));
    }
}
