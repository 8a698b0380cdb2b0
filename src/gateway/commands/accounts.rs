//! What the API does to trunks and to registrations of phones.

use crate::base::time::Now;
use crate::config::TrunkFields;
use crate::gateway::accounts::Accounts;
use crate::gateway::context::Context;
use crate::gateway::error::GatewayError;
use crate::gateway::trunks::TrunkView;

/// Commands to trunks and registrations.
#[derive(Debug)]
pub struct AccountCommands<'a> {
    now: Now,
    ctx: &'a mut Context,
    accounts: &'a mut Accounts,
}

impl<'a> AccountCommands<'a> {
    /// To these parts, now.
    #[must_use]
    pub fn new(now: Now, ctx: &'a mut Context, accounts: &'a mut Accounts) -> Self {
        Self { now, ctx, accounts }
    }

    /// Takes the trunks of the configuration, and those that the API made in an earlier life; once, at the start.
    pub fn restore_trunks(&mut self, kept: Vec<TrunkFields>) {
        self.accounts.trunks_mut().restore(self.ctx, self.now, kept);
    }

    /// `POST /v1/sip/trunks`.
    ///
    /// # Errors
    /// A value that is not allowed (400), an address that is registered already (409), too many (503).
    pub fn add_trunk(&mut self, fields: TrunkFields) -> Result<TrunkView, GatewayError> {
        self.accounts.trunks_mut().add(self.ctx, self.now, fields)
    }

    /// `DELETE /v1/sip/trunks/{id}`: unregisters, then forgets it.
    ///
    /// # Errors
    /// No such trunk (404), one of the file (409).
    pub fn remove_trunk(&mut self, name: &str) -> Result<(), GatewayError> {
        self.accounts.trunks_mut().remove(self.ctx, self.now, name)
    }

    /// `DELETE /v1/sip/registrations/{aor}`, all contacts or one of them.
    ///
    /// # Errors
    /// No such registration.
    pub fn remove_registration(&mut self, aor: &str, contact: Option<&str>) -> Result<(), GatewayError> {
        self.accounts.registrar_mut().remove(self.ctx, self.now, aor, contact)
    }
}
