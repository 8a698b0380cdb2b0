//! What calls are handed beside themselves.

use crate::base::time::Now;
use crate::gateway::accounts::Accounts;
use crate::gateway::context::Context;
use crate::gateway::rooms::Rooms;

/// The time, and the parts that calls ask or have something done by.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The time.
    pub now: Now,
    /// What every part is handed.
    pub ctx: &'a mut Context,
    /// Trunks and phones.
    pub accounts: &'a mut Accounts,
    /// Rooms, and who is in them.
    pub rooms: &'a Rooms,
}
