//! What every part of the core is handed.

use std::collections::VecDeque;
use std::rc::Rc;

use super::counters::Counters;
use super::events::Publisher;
use super::leg_id::LegId;
use super::legs::OpusPlaces;
use super::outputs::{IoRequests, Replies};
use super::ports::Ports;
use super::requests::Requests;
use super::sip_call::CallEvent;
use crate::base::rng::Rng;
use crate::config::Config;
use crate::media::command::Command;
use crate::sip::locals::Locals;
use crate::sip::transactions::Transactions;

/// Transactions outlive their calls by up to 37 s, so that short calls need many.
const TRANSACTIONS_PER_LEG: usize = 32;
const MIN_TRANSACTIONS: usize = 1024;

/// What every part of the core is handed: settings, randomness, the SIP transactions, the stock of sockets, counters, and the
/// queues of what goes out. It decides nothing.
#[derive(Debug)]
pub struct Context {
    /// Settings; another set after a reload.
    pub config: Rc<Config>,
    /// Randomness: ids, tags, keys, spread of waiting times.
    pub rng: Rng,
    /// SIP transactions, both ways.
    pub sip: Transactions,
    /// Sockets for media.
    pub ports: Ports,
    /// Counters for `/metrics`.
    pub counters: Counters,
    /// Events for the world.
    pub events: Publisher,
    /// Commands for the media engine.
    pub media: VecDeque<Command>,
    /// What has become of calls, for the core to map to the other parts.
    pub call_events: VecDeque<(LegId, CallEvent)>,
    /// Places of legs that use Opus.
    pub opus: OpusPlaces,
    /// What `io` is asked to do.
    pub io: IoRequests,
    /// Replies to API calls that had to wait.
    pub replies: Replies,
    /// Our requests on their way.
    pub requests: Requests,
    /// The gateway stops: no new calls.
    pub stopping: bool,
}

impl Context {
    /// Nothing waits yet; the gateway is known to the network under `locals`.
    #[must_use]
    pub fn new(config: Rc<Config>, locals: Locals, mut rng: Rng) -> Self {
        let legs = usize::try_from(config.limits.legs).unwrap_or(usize::MAX);
        let most = legs.saturating_mul(TRANSACTIONS_PER_LEG).max(MIN_TRANSACTIONS);
        Self {
            sip: Transactions::new(locals, rng.fork(), most),
            events: Publisher::new(rng.fork()),
            ports: Ports::default(),
            counters: Counters::default(),
            media: VecDeque::new(),
            call_events: VecDeque::new(),
            opus: OpusPlaces::new(config.limits.opus_legs),
            config,
            rng,
            io: IoRequests::default(),
            replies: Replies::default(),
            requests: Requests::default(),
            stopping: false,
        }
    }

    /// True when no transaction, request or event of a call is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sip.is_empty() && self.requests.is_empty() && self.call_events.is_empty()
    }
}
