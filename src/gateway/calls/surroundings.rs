//! Context for methods of calls.

use crate::base::time::Now;
use crate::gateway::accounts::Accounts;
use crate::gateway::context::Context;
use crate::gateway::rooms::Rooms;

/// The time, and the parts that calls use.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The time.
    pub now: Now,
    /// Context shared by all parts.
    pub ctx: &'a mut Context,
    /// Trunks and phones.
    pub accounts: &'a mut Accounts,
    /// Rooms and their members.
    pub rooms: &'a Rooms,
}
