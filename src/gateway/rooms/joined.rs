//! A leg comes into a room.

/// What a leg brings into a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinFlags {
    /// Muted or not; `None`: as it is.
    pub mute: Option<bool>,
    /// Deaf or not; `None`: as it is.
    pub deaf: Option<bool>,
    /// Takes digits of others or not; `None`: as it is.
    pub accept_dtmf: Option<bool>,
}

/// What came of adding a leg to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// It is in.
    Added,
    /// It was in another room.
    Moved {
        /// The room it left.
        from: String,
        /// The room it is in.
        to: String,
    },
}
