//! What every part of the core is handed.

use std::collections::VecDeque;
use std::rc::Rc;

use super::events::Publisher;
use super::outputs::{IoRequests, Replies};
use super::ports::Ports;
use super::requests::Requests;
use super::snapshot::Numbers;
use crate::base::rng::Rng;
use crate::config::Config;
use crate::media::command::Command;
use crate::sip::transactions::Transactions;

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
    pub counters: Numbers,
    /// Events for the world.
    pub events: Publisher,
    /// Commands for the media engine.
    pub media: VecDeque<Command>,
    /// What `io` is asked to do.
    pub io: IoRequests,
    /// Replies to API calls that had to wait.
    pub replies: Replies,
    /// Our requests on their way.
    pub requests: Requests,
    /// The gateway stops: no new calls.
    pub stopping: bool,
}
