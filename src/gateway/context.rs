//! Context shared by all parts of the core.

use std::collections::VecDeque;
use std::rc::Rc;

use super::events::Publisher;
use super::legs::OpusPlaces;
use super::requests::Requests;
use super::sip_call::CallEvent;
use crate::base::rng::Rng;
use crate::config::Config;
use crate::gateway::interface::counters::Counters;
use crate::gateway::interface::outputs::{IoRequests, Replies};
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::resources::ports::Ports;
use crate::media::command::Command;
use crate::sip::locals::Locals;
use crate::sip::transactions::Transactions;

/// Transactions outlive their calls by up to 37 s, so short calls need many.
const TRANSACTIONS_PER_LEG: usize = 32;
const MIN_TRANSACTIONS: usize = 1024;

/// Context shared by all parts of the core: settings, random generator, SIP transactions, free sockets,
/// counters, and output queues. Contains no logic.
#[derive(Debug)]
pub struct Context {
    /// Settings; replaced by a reload.
    pub config: Rc<Config>,
    /// Random generator: ids, tags, keys, jitter of timers.
    pub rng: Rng,
    /// SIP transactions, client and server.
    pub sip: Transactions,
    /// Free sockets for media.
    pub ports: Ports,
    /// Counters for `/metrics`.
    pub counters: Counters,
    /// Events for the API's clients.
    pub events: Publisher,
    /// Commands for the media engine.
    pub media: VecDeque<Command>,
    /// Events of calls, dispatched by the core to other parts.
    pub call_events: VecDeque<(LegId, CallEvent)>,
    /// Capacity of Opus legs.
    pub opus: OpusPlaces,
    /// Work requested from `io`.
    pub io: IoRequests,
    /// Replies to API requests that had to wait.
    pub replies: Replies,
    /// Our pending requests.
    pub requests: Requests,
    /// The gateway is stopping: no new calls.
    pub stopping: bool,
}

impl Context {
    /// Empty queues; the gateway announces the addresses in `locals`.
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

    /// True if no transaction, request or event of a call is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sip.is_empty() && self.requests.is_empty() && self.call_events.is_empty()
    }
}
