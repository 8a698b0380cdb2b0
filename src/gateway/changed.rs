//! What another configuration has changed.

/// What a reload has changed, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Trunks of the file that are new, or another account or peer than before.
    pub trunks_added: usize,
    /// Trunks of the file whose settings differ.
    pub trunks_changed: usize,
    /// Trunks that the file has no more.
    pub trunks_removed: usize,
    /// Users that are new or whose settings differ.
    pub users_changed: usize,
    /// Users that the file has no more; their phones are forgotten.
    pub users_removed: usize,
}
