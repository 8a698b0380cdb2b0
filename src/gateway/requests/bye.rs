//! BYE requests that outlive their leg.

use super::client_auth::ClientAuth;
use crate::sip::dialog::Dialog;
use crate::sip::flow::Flow;

/// Data of a leg for its BYE, which may be sent or challenged after the leg was removed.
#[derive(Debug, Clone, Default)]
pub struct Parting {
    /// Flow of the dialog.
    pub flow: Option<Flow>,
    /// Credentials for challenges.
    pub auth: Option<ClientAuth>,
    /// Over TLS, accept any certificate.
    pub lax: bool,
}

/// A BYE to be sent after the ACK (RFC 3261 §15), or one that may be challenged.
#[derive(Debug)]
pub struct Bye {
    /// The dialog it ends.
    pub dialog: Dialog,
    /// Data of its leg.
    pub parting: Parting,
}
