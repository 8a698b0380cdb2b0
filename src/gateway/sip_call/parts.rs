//! Context of the parts of a call.

use super::event::CallEvent;
use super::peer::Peer;
use super::session::Session;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::EventBody;
use crate::sip::dialog::Dialog;

/// Context passed to a part of a call: the core's context, the far end, and our session with it.
pub(super) struct CallContext<'a> {
    pub(super) ctx: &'a mut Context,
    pub(super) now: Now,
    pub(super) peer: &'a mut Peer,
    pub(super) session: &'a mut Session,
}

impl<'a> CallContext<'a> {
    /// Context for a part of the call with `peer` and `session`.
    pub(super) fn new(ctx: &'a mut Context, now: Now, peer: &'a mut Peer, session: &'a mut Session) -> Self {
        Self { ctx, now, peer, session }
    }

    /// Reports an event of the call to the core.
    pub(super) fn report(&mut self, event: CallEvent) {
        self.peer.report(self.ctx, event);
    }

    /// Publishes an event of the leg.
    pub(super) fn publish(&mut self, body: EventBody) {
        self.ctx.events.publish(self.now, self.peer.id, body);
    }

    /// Our Contact in a dialog.
    pub(super) fn contact_in(&self, dialog: &Dialog) -> String {
        self.peer.contact(self.ctx, dialog.is_secure())
    }
}
