//! Size limits of a message.

/// Maximum size of a SIP message, bytes.
pub const MAX_MESSAGE: usize = 65_535;
/// Maximum header lines per message; messages with more are rejected.
pub const MAX_HEADERS: usize = 256;
