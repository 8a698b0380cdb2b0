//! Limits of one message.

/// Largest SIP message taken or sent, bytes.
pub const MAX_MESSAGE: usize = 65_535;
/// Most header lines of one message; more are refused.
pub const MAX_HEADERS: usize = 256;
