//! Another configuration while calls run: users and trunks of the file come, go and change; calls go on.

use std::rc::Rc;

use super::changed::Changed;
use super::core::Gateway;
use crate::base::time::Now;
use crate::config::Config;

impl Gateway {
    /// Goes on with `config`, which differs from the present one in trunks, users and what others read of it. Trunks that
    /// the API made stay; those of the file that are gone are unregistered, and calls through them go on.
    pub fn reload(&mut self, now: Now, config: Rc<Config>) -> Changed {
        let old = std::mem::replace(&mut self.ctx.config, config);
        let mut changed = Changed::default();
        self.registrar.reload(&mut self.ctx, now, &old, &mut changed);
        self.trunks.reload(&mut self.ctx, now, &mut changed);
        self.drain(now);
        changed
    }
}
