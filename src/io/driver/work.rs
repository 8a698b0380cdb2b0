//! Asynchronous work requested by the gateway: look-ups, fetches, files.

use std::rc::Rc;

use super::Driver;
use crate::gateway::interface::work::{Work, WorkId, WorkResult};
use crate::io::recording::recorder::Job as RecorderJob;
use crate::io::sound::decode::Bare;
use crate::io::sound::feeder::SoundRequest;
use crate::media::command::PlaySlot;
use crate::sip::flow::NextHop;

impl Driver {
    /// Starts a work item; its result is passed back to the gateway.
    pub(super) fn start(self: &Rc<Self>, work: Work) {
        let driver = Rc::clone(self);
        match work {
            Work::Locate { id, hop, lax, whole } => {
                self.spawn(async move { driver.locate(id, &hop, lax, whole).await });
            }
            Work::KeepTrunks(trunks) => {
                // The latest version is written, whichever task runs first.
                self.trunk_store.note(trunks);
                self.spawn(async move {
                    if let Err(e) = driver.trunk_store.write().await {
                        log::error!(error = e; "trunks cannot be saved: they will be lost at restart");
                    }
                });
            }
            Work::Fetch { id, play, url, rate, repeat, bare } => {
                let given_up = self.tasks.begin_fetch(id);
                let (name, bare) = (id.to_string(), bare.map(|rate| Bare { rate }));
                let wanted = SoundRequest { url, name, rate, repeat, bare, given_up };
                self.spawn(async move { driver.fetch(id, play, wanted).await });
            }
            Work::GiveUp(id) => self.tasks.give_up(id),
            Work::Merge(id, order) => self.spawn(async move {
                let merged = driver.merger.merge(order).await;
                driver.done(id, WorkResult::Merged(merged));
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

    /// Locates the servers of a hop.
    async fn locate(self: &Rc<Self>, id: WorkId, hop: &NextHop, lax: bool, whole: bool) {
        let located = self.tasks.locate(hop, whole).await;
        let lead = |place| {
            let (target, forgotten) = self.streams.connections().lead_to(place, lax);
            forgotten.into_iter().for_each(|conn| self.call(|g, _| g.forget_connection(conn)));
            target
        };
        let targets = located.places.into_iter().map(lead).collect();
        self.done(id, WorkResult::Located(targets));
        self.tasks.answer_rest(located.rest).await;
    }

    /// Fetches a sound and starts the playback.
    async fn fetch(self: &Rc<Self>, id: WorkId, play: PlaySlot, wanted: SoundRequest) {
        let Some(fetched) = Rc::clone(&self.tasks).fetch(id, wanted).await else { return };
        let outcome = fetched.map(|source| self.media.borrow_mut().offer_feed(play, source));
        self.done(id, WorkResult::Fetched(outcome));
        // If it was stopped during the fetch, the feed was not taken.
        self.media.borrow_mut().withdraw_feed(play);
    }

    /// Passes the result of a work item to the gateway.
    pub(super) fn done(self: &Rc<Self>, id: WorkId, result: WorkResult) {
        self.call(|gateway, now| gateway.handle_work(now, id, result));
    }
}
