//! Saves the trunks created over the API, latest version only.

use std::cell::RefCell;

use smol::lock::Mutex;

use super::directory::StateDirectory;
use crate::config::TrunkFields;
use crate::io::system::workers::FILES;

/// Writer of `trunks.json`.
#[derive(Debug)]
pub struct TrunkStore {
    state: StateDirectory,
    /// The version to be written.
    newest: RefCell<Option<Vec<TrunkFields>>>,
    /// Serializes writes; holds the result of the last one.
    writing: Mutex<Result<(), String>>,
}

impl TrunkStore {
    /// Writes to this directory.
    #[must_use]
    pub fn new(state: StateDirectory) -> Self {
        Self { state, newest: RefCell::default(), writing: Mutex::new(Ok(())) }
    }

    /// Sets the version to be written, replacing one not yet written.
    pub fn note(&self, trunks: Vec<TrunkFields>) {
        *self.newest.borrow_mut() = Some(trunks);
    }

    /// Waits until the noted version is written.
    ///
    /// # Errors
    /// The operating system's error of the last attempt.
    pub async fn write(&self) -> Result<(), String> {
        let mut last = self.writing.lock().await;
        let newest = self.newest.borrow_mut().take();
        if let Some(trunks) = newest {
            let state = self.state.clone();
            let kept = FILES.run(move || state.keep_trunks(&trunks)).await;
            *last = kept.unwrap_or_else(|e| Err(e.into())).map_err(|e| e.to_string());
        }
        last.clone()
    }
}
