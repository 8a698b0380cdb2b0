//! What the gateway asks the shell to do and wants to hear back about: look-ups, fetches, files.

use std::rc::Rc;

use super::feeder::Wanted;
use super::locate::locate;
use super::recorder::Job as RecorderJob;
use super::shell::Shell;
use super::sound::Bare;
use crate::gateway::work::{Work, WorkId, WorkResult};

impl Shell {
    /// Starts a piece of work; its result comes back as one of the gateway's inputs.
    pub(super) fn start(self: &Rc<Self>, work: Work) {
        let shell = Rc::clone(self);
        match work {
            Work::Locate { id, hop, lax } => self.spawn(async move {
                let places = {
                    let _turn = shell.look_ups.acquire().await;
                    locate(&shell.dns, &hop).await
                };
                let lead = |place| shell.connections.borrow_mut().lead_to(place, lax);
                let targets = places.into_iter().map(lead).collect();
                shell.done(id, WorkResult::Located(targets));
            }),
            Work::KeepTrunks(trunks) => {
                // The last word counts, whichever task gets to write first.
                *self.trunks.borrow_mut() = Some(trunks);
                self.spawn(async move {
                    if let Err(e) = shell.keep_trunks().await {
                        log::error!(error = e; "the trunks cannot be written down: the next start will not know them");
                    }
                });
            }
            Work::Fetch { id, play, url, rate, repeat, bare } => self.spawn(async move {
                let _turn = shell.fetches.acquire().await;
                let (feeder, client) = (shell.feeder.clone(), shell.sounds.clone());
                let wanted =
                    Wanted { url, name: id.to_string(), rate, repeat, bare: bare.map(|rate| Bare { rate }) };
                let fetched = smol::unblock(move || feeder.fetch(&client, &wanted)).await;
                let outcome = fetched.map(|source| shell.media.borrow_mut().offer_feed(play, source));
                shell.done(id, WorkResult::Fetched(outcome));
                // Stopped while it was fetched: nobody takes it.
                shell.media.borrow_mut().withdraw_feed(play);
            }),
            Work::OpenRecording { id, record, file, input_rate, file_rate, channels } => {
                let job = RecorderJob { work: id, record, file, input_rate, file_rate, channels };
                let opened = self.recorder.borrow().open(job);
                match opened {
                    Some((ring, shared)) => self.media.borrow_mut().offer_recorder(record, ring, shared),
                    None => {
                        let busy = Err("the recorder is overloaded".to_owned());
                        self.spawn(async move { shell.done(id, WorkResult::RecordingOpened(busy)) });
                    }
                }
            }
        }
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
            *last = smol::unblock(move || state.keep_trunks(&trunks)).await.map_err(|e| e.to_string());
        }
        last.clone()
    }

    pub(super) fn done(self: &Rc<Self>, id: WorkId, result: WorkResult) {
        self.call(|gateway, now| gateway.handle_work(now, id, result));
    }
}
