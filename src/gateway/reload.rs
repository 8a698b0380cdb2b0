//! Another configuration while calls run: users and trunks of the file come, go and change; calls go on.

use std::rc::Rc;

use super::accounts::Accounts;
use super::core::Gateway;
use super::trunk::TrunkId;
use crate::base::time::Now;
use crate::config::{Config, Trunk as Settings};

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

impl Gateway {
    /// Goes on with `config`, which differs from the present one in trunks, users and what others read of it. Trunks that
    /// the API made stay; those of the file that are gone are unregistered, and calls through them go on.
    pub fn reload(&mut self, now: Now, config: Rc<Config>) -> Changed {
        let old = std::mem::replace(&mut self.ctx.config, config);
        let config = Rc::clone(&self.ctx.config);
        let users_changed = config.sip.users.iter().filter(|u| !old.sip.users.contains(u)).count();
        let mut changed = Changed { users_changed, ..Changed::default() };
        self.accounts = Accounts::new(&config);
        self.guesses.set_users(self.accounts.names());
        for user in &old.sip.users {
            if !self.accounts.has(&user.name) {
                changed.users_removed += 1;
                self.forget_bindings(now, &user.name, |_| true);
            }
        }
        let of_file: Vec<(TrunkId, String)> = self
            .trunks
            .iter()
            .filter(|(_, t)| t.from_file && !t.is_removing())
            .map(|(id, t)| (*id, t.settings.fields.id.clone()))
            .collect();
        for (id, name) in of_file {
            if !config.sip.trunks.iter().any(|t| t.fields.id == name) {
                changed.trunks_removed += 1;
                self.discard_trunk(now, id);
            }
        }
        if !self.stopping {
            config.sip.trunks.iter().for_each(|settings| self.reload_trunk(now, settings, &mut changed));
        }
        self.drain(now);
        changed
    }

    fn reload_trunk(&mut self, now: Now, settings: &Settings, changed: &mut Changed) {
        let known = self.trunk_named(&settings.fields.id);
        let found = known.and_then(|id| Some((id, self.trunks.get_mut(&id)?)));
        match found {
            Some((_, trunk)) if trunk.settings == *settings => {}
            Some((id, trunk)) if trunk.is_same_account(settings) => {
                let before = std::mem::replace(&mut trunk.settings, settings.clone());
                changed.trunks_changed += 1;
                self.trunk_changed(now, id, &before);
            }
            Some((_, trunk)) if !trunk.from_file => {
                log::warn!(trunk = settings.fields.id; "a trunk that the API made has the name of one in the file, which is left out");
            }
            other => {
                if let Some((id, _)) = other {
                    self.discard_trunk(now, id);
                }
                changed.trunks_added += 1;
                self.insert_trunk(now, settings.clone(), true);
            }
        }
    }

    /// The settings of a trunk are others than `before`, of the same account or peer.
    fn trunk_changed(&mut self, now: Now, id: TrunkId, before: &Settings) {
        let Some(trunk) = self.trunks.get_mut(&id) else { return };
        let (old, new) = (&before.fields, &trunk.settings.fields);
        let same_way = trunk.settings.kind == before.kind
            && new.password == old.password
            && new.tls_insecure_skip_verify == old.tls_insecure_skip_verify;
        if same_way {
            return;
        }
        let credentials = trunk.credentials();
        match &mut trunk.registration {
            Some(r) => r.begin_again(now.mono, credentials),
            None => trunk.look_up_at = Some(now.mono),
        }
    }
}
