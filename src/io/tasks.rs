//! Look-ups and sound fetches requested by the gateway. The number of each kind is bounded separately.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smol::lock::Semaphore;
use ureq::Agent;

use crate::base::rng::Rng;
use crate::gateway::interface::work::WorkId;
use crate::io::net::dns::Dns;
use crate::io::net::http_client::{Rules, sound_agent};
use crate::io::net::locate::{Located, Rest, families, locate};
use crate::io::sound::feeder::{Feeder, SoundRequest};
use crate::io::sound::fetch::Sounds;
use crate::io::system::settings::Settings;
use crate::io::system::workers::SOUNDS;
use crate::media::play::Source;
use crate::sip::flow::NextHop;

/// Time limit for fetching a sound.
const FETCH: Duration = Duration::from_secs(30);
/// Maximum concurrent fetches; stalled servers hold a slot for up to [`FETCH`].
const FETCHES: usize = 64;
/// Maximum prompts opened concurrently.
const PROMPTS: usize = 4;
/// Maximum concurrent look-ups; dead name servers hold a slot for some seconds.
const LOOK_UPS: usize = 16;

/// Running look-ups and fetches.
#[derive(Debug)]
pub struct Tasks {
    settings: Settings,
    dns: Rc<Dns>,
    look_ups: Semaphore,
    /// Slots for queries that look-ups did not wait for.
    unanswered: Semaphore,
    feeder: Feeder,
    client: Agent,
    fetches: Semaphore,
    prompts: Semaphore,
    /// Cancellation flags of running fetches.
    fetching: RefCell<BTreeMap<WorkId, Arc<AtomicBool>>>,
}

impl Tasks {
    /// Nothing is running yet.
    #[must_use]
    pub fn new(settings: Settings, feeder: Feeder, rng: Rng) -> Self {
        let config = settings.current();
        Self {
            dns: Rc::new(Dns::new(config.dns.servers.clone(), rng)),
            look_ups: Semaphore::new(LOOK_UPS),
            unanswered: Semaphore::new(LOOK_UPS),
            feeder,
            client: sound_agent(&Rules::new(&config), FETCH),
            fetches: Semaphore::new(FETCHES),
            prompts: Semaphore::new(PROMPTS),
            fetching: RefCell::default(),
            settings,
        }
    }

    /// Locates the servers of a hop. `whole`: wait for all servers; otherwise return as soon as one is
    /// usable.
    pub async fn locate(&self, hop: &NextHop, whole: bool) -> Located<'_> {
        let _turn = self.look_ups.acquire().await;
        let families = families(&self.settings.current().sip);
        // Boxed once: debug builds copy futures that are moved.
        Box::pin(locate(&self.dns, families, hop, whole)).await
    }

    /// The resolver.
    #[must_use]
    pub fn dns(&self) -> &Rc<Dns> {
        &self.dns
    }

    /// Completes the queries that a look-up did not wait for, so that the next one finds their results in the
    /// cache. Dropped if too many are running.
    pub async fn answer_rest(&self, rest: Rest<'_>) {
        if let Some(_turn) = self.unanswered.try_acquire() {
            rest.end().await;
        }
    }

    /// Registers a fetch; returns its cancellation flag.
    #[must_use]
    pub fn begin_fetch(&self, id: WorkId) -> Arc<AtomicBool> {
        let given_up = Arc::new(AtomicBool::new(false));
        self.fetching.borrow_mut().insert(id, Arc::clone(&given_up));
        given_up
    }

    /// Fetches a sound and prepares it for playback; `None`: cancelled before it started.
    pub async fn fetch(self: Rc<Self>, id: WorkId, wanted: SoundRequest) -> Option<Result<Source, String>> {
        // Stalled servers must not delay prompts.
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

    /// Cancels the fetch of a sound.
    pub fn give_up(&self, id: WorkId) {
        if let Some(flag) = self.fetching.borrow_mut().remove(&id) {
            flag.store(true, Ordering::Release);
        }
    }
}
