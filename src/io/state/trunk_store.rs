//! Writes down the trunks that the API made, the newest state only.

use std::cell::RefCell;

use smol::lock::Mutex;

use super::directory::State;
use crate::config::TrunkFields;
use crate::io::system::workers::FILES;

/// The way of trunks into `trunks.json`.
#[derive(Debug)]
pub struct TrunkStore {
    state: State,
    /// What is to be written.
    newest: RefCell<Option<Vec<TrunkFields>>>,
    /// Whose turn it is, and the outcome of the last try.
    writing: Mutex<Result<(), String>>,
}

impl TrunkStore {
    /// Writes into this directory.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state, newest: RefCell::default(), writing: Mutex::new(Ok(())) }
    }

    /// These are to be written, instead of those that still wait for it.
    pub fn note(&self, trunks: Vec<TrunkFields>) {
        *self.newest.borrow_mut() = Some(trunks);
    }

    /// Waits until the trunks that were noted are written.
    ///
    /// # Errors
    /// What the operating system said of the last try.
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
