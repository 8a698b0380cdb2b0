//! Options and result of joining a room.

/// Options of joining a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinFlags {
    /// Muted; `None`: unchanged.
    pub mute: Option<bool>,
    /// Deaf; `None`: unchanged.
    pub deaf: Option<bool>,
    /// Receives digits of other members; `None`: unchanged.
    pub accept_dtmf: Option<bool>,
}

/// Result of adding a leg to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It has joined.
    Added,
    /// It was in another room before.
    Moved {
        /// The room it left.
        from: String,
        /// The room it is in.
        to: String,
    },
}
