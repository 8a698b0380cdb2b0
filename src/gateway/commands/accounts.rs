//! API commands for trunks and phone registrations.

use crate::base::time::Now;
use crate::config::TrunkFields;
use crate::gateway::accounts::Accounts;
use crate::gateway::context::Context;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::trunks::TrunkView;

/// Commands for trunks and registrations.
#[derive(Debug)]
pub struct AccountCommands<'a> {
    now: Now,
    ctx: &'a mut Context,
    accounts: &'a mut Accounts,
}

impl<'a> AccountCommands<'a> {
    /// Executes commands on these parts at `now`.
    #[must_use]
    pub fn new(now: Now, ctx: &'a mut Context, accounts: &'a mut Accounts) -> Self {
        Self { now, ctx, accounts }
    }

    /// Loads the trunks of the configuration, and those created by the API before a restart; once, at
    /// startup.
    pub fn restore_trunks(&mut self, kept: Vec<TrunkFields>) {
        self.accounts.trunks_mut().restore(self.ctx, self.now, kept);
    }

    /// `POST /v1/sip/trunks`.
    ///
    /// # Errors
    /// An invalid value (400), an address that is already registered (409), too many (503).
    pub fn add_trunk(&mut self, fields: TrunkFields) -> Result<TrunkView, GatewayError> {
        self.accounts.trunks_mut().add(self.ctx, self.now, fields)
    }

    /// `DELETE /v1/sip/trunks/{id}`: unregisters and removes it.
    ///
    /// # Errors
    /// No such trunk (404), or configured in the file (409).
    pub fn remove_trunk(&mut self, name: &str) -> Result<(), GatewayError> {
        self.accounts.trunks_mut().remove(self.ctx, self.now, name)
    }

    /// `DELETE /v1/sip/registrations/{aor}`: all contacts or one of them.
    ///
    /// # Errors
    /// No such registration.
    pub fn remove_registration(&mut self, aor: &str, contact: Option<&str>) -> Result<(), GatewayError> {
        self.accounts.registrar_mut().remove(self.ctx, self.now, aor, contact)
    }
}
