//! Changes made by a configuration reload.

/// Changes made by a reload, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Trunks of the file that are new, or now have another account or peer.
    pub trunks_added: usize,
    /// Trunks of the file with changed settings.
    pub trunks_changed: usize,
    /// Trunks no longer in the file.
    pub trunks_removed: usize,
    /// Users that are new or have changed settings.
    pub users_changed: usize,
    /// Users no longer in the file; their phones are unregistered.
    pub users_removed: usize,
}
