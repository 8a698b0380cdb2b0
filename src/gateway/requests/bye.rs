//! BYEs that outlive their leg: what they need of it.

use super::client_auth::ClientAuth;
use crate::sip::dialog::Dialog;
use crate::sip::target::Target;

/// What a BYE needs of its leg, which may be gone when it is sent or challenged.
#[derive(Debug, Clone, Default)]
pub struct Parting {
    /// The connection or address the dialog came along.
    pub flow: Option<Target>,
    /// Credentials for who challenges it.
    pub auth: Option<ClientAuth>,
    /// Over TLS, any certificate will do.
    pub lax: bool,
}

/// The BYE that an ended leg owes once the ACK is in (RFC 3261 §15), or one that may be challenged.
#[derive(Debug)]
pub struct Bye {
    /// The dialog that it ends.
    pub dialog: Dialog,
    /// What it needs of its leg.
    pub parting: Parting,
}
