//! The dialog of a call, or of one that has ended, for what is told in it beside the call (RFC 5057 §3.2).

use crate::sip::dialog::Dialog;
use crate::sip::target::Target;

/// The dialog of a call that has ended.
#[derive(Debug)]
pub struct Outlived {
    /// The dialog, behind a BYE of ours.
    dialog: Dialog,
    /// The way it went.
    flow: Option<Target>,
    /// Over TLS, any certificate will do.
    lax: bool,
    /// Our Contact in it.
    contact: String,
}

/// A dialog that requests can be sent in.
#[derive(Debug)]
pub struct OpenDialog<'a> {
    /// The dialog.
    pub dialog: &'a mut Dialog,
    /// The way it goes.
    pub flow: Option<Target>,
    /// Over TLS, any certificate will do.
    pub lax: bool,
    /// Our Contact in it.
    pub contact: String,
}

impl Outlived {
    /// That of a call whose BYE may be on its way.
    pub(super) fn new(mut dialog: Dialog, flow: Option<Target>, lax: bool, contact: String) -> Self {
        dialog.local_seq = dialog.local_seq.saturating_add(1);
        Self { dialog, flow, lax, contact }
    }

    /// To send a request in it.
    pub fn open(&mut self) -> OpenDialog<'_> {
        let (flow, lax, contact) = (self.flow, self.lax, self.contact.clone());
        OpenDialog { dialog: &mut self.dialog, flow, lax, contact }
    }
}
