//! Dialogs for requests besides the call, possibly after its end (RFC 5057 §3.2).

use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;

/// The dialog of an ended call.
#[derive(Debug)]
pub struct Outlived {
    /// The dialog, with the CSeq of our BYE.
    dialog: Dialog,
    /// Its flow.
    flow: Option<Flow>,
    /// Over TLS, accept any certificate.
    lax: bool,
    /// Our Contact.
    contact: String,
}

/// A dialog in which requests can be sent.
#[derive(Debug)]
pub struct OpenDialog<'a> {
    /// The dialog.
    pub dialog: &'a mut Dialog,
    /// Its flow.
    pub flow: Option<Flow>,
    /// Over TLS, accept any certificate.
    pub lax: bool,
    /// Our Contact.
    pub contact: String,
}

impl Outlived {
    /// For a call whose BYE may be in progress.
    pub(super) fn new(mut dialog: Dialog, flow: Option<Flow>, lax: bool, contact: String) -> Self {
        dialog.local_seq = dialog.local_seq.saturating_add(1);
        Self { dialog, flow, lax, contact }
    }

    /// Access for sending a request.
    pub fn open(&mut self) -> OpenDialog<'_> {
        let (flow, lax, contact) = (self.flow, self.lax, self.contact.clone());
        OpenDialog { dialog: &mut self.dialog, flow, lax, contact }
    }
}
