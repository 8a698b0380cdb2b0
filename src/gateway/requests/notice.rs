//! What a NOTIFY of ours is about.

/// What a NOTIFY of ours is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The REFER.
    pub number: u32,
    /// It tells the outcome.
    pub outcome: Option<u16>,
}
