//! Look-ups and fetches that the gateway asks for. Each kind is bounded, so that one cannot take the threads of another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smol::lock::Semaphore;

use crate::base::rng::Rng;
use crate::gateway::interface::work::WorkId;
use crate::io::net::dns::Dns;
use crate::io::net::http_client::{HttpClient, Rules};
use crate::io::net::locate::{Located, Rest, families, locate};
use crate::io::sound::feeder::{Feeder, Wanted};
use crate::io::sound::fetch::Sounds;
use crate::io::system::settings::Settings;
use crate::io::system::workers::SOUNDS;
use crate::media::play::Source;
use crate::sip::target::NextHop;

/// Longest fetch of a sound.
const FETCH: Duration = Duration::from_secs(30);
/// Sounds fetched at once; servers that stall hold a place for up to [`FETCH`].
const FETCHES: usize = 64;
/// Prompts read at once.
const PROMPTS: usize = 4;
/// Names looked up at once; dead name servers hold a place for some seconds.
const LOOK_UPS: usize = 16;

/// Look-ups and fetches under way.
#[derive(Debug)]
pub struct Tasks {
    settings: Settings,
    dns: Dns,
    look_ups: Semaphore,
    /// Turns of the questions that look-ups leave without an answer.
    unanswered: Semaphore,
    feeder: Feeder,
    client: HttpClient,
    fetches: Semaphore,
    prompts: Semaphore,
    /// Sounds being fetched, and how to give them up.
    fetching: RefCell<BTreeMap<WorkId, Arc<AtomicBool>>>,
}

impl Tasks {
    /// None is under way yet.
    #[must_use]
    pub fn new(settings: Settings, feeder: Feeder, rng: Rng) -> Self {
        let config = settings.current();
        Self {
            dns: Dns::new(config.dns.servers.clone(), rng),
            look_ups: Semaphore::new(LOOK_UPS),
            unanswered: Semaphore::new(LOOK_UPS),
            feeder,
            client: HttpClient::new(&Rules::new(&config), FETCH),
            fetches: Semaphore::new(FETCHES),
            prompts: Semaphore::new(PROMPTS),
            fetching: RefCell::default(),
            settings,
        }
    }

    /// Looks up where a hop leads. `whole`: all that can be found; else what there is to go on with.
    pub async fn locate(&self, hop: &NextHop, whole: bool) -> Located<'_> {
        let _turn = self.look_ups.acquire().await;
        let families = families(&self.settings.current().sip);
        // On the heap, and in one place only: debug builds copy futures that are moved.
        Box::pin(locate(&self.dns, families, hop, whole)).await
    }

    /// Waits for the questions that a look-up left without an answer, so that the next one finds them answered. Nobody waits
    /// for these: where there are too many, they are dropped.
    pub async fn answer_rest(&self, rest: Rest<'_>) {
        if let Some(_turn) = self.unanswered.try_acquire() {
            rest.end().await;
        }
    }

    /// A fetch begins that may be given up: the flag that says so.
    #[must_use]
    pub fn begin_fetch(&self, id: WorkId) -> Arc<AtomicBool> {
        let given_up = Arc::new(AtomicBool::new(false));
        self.fetching.borrow_mut().insert(id, Arc::clone(&given_up));
        given_up
    }

    /// Fetches a sound and gets it ready to be played; `None`: it was given up before its turn came.
    pub async fn fetch(self: Rc<Self>, id: WorkId, wanted: Wanted) -> Option<Result<Source, String>> {
        // Servers that stall do not keep prompts waiting.
        let places = if Sounds::prompt_of(&wanted.url).is_some() { &self.prompts } else { &self.fetches };
        let _turn = places.acquire().await;
        if wanted.given_up.load(Ordering::Acquire) {
            return None;
        }
        let (feeder, client) = (self.feeder.clone(), self.client.clone());
        let fetched = SOUNDS.run(move || feeder.fetch(&client, &wanted)).await;
        self.fetching.borrow_mut().remove(&id);
        Some(fetched.unwrap_or_else(|e| Err(e.to_string())))
    }

    /// A sound is not wanted any more.
    pub fn give_up(&self, id: WorkId) {
        if let Some(flag) = self.fetching.borrow_mut().remove(&id) {
            flag.store(true, Ordering::Release);
        }
    }
}
