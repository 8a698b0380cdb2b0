//! What SIP messages say, apart from any call: bodies, offers, capabilities, expiry, refusals.

pub mod bodies;
pub mod capabilities;
pub mod expiry;
pub mod offers;
pub mod refusal;
