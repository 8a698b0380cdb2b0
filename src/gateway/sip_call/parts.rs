//! What the parts of a call are handed.

use super::event::CallEvent;
use super::peer::Peer;
use super::session::Session;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::EventBody;
use crate::sip::dialog::Dialog;

/// What a part of a call is handed: the core's context, the far end, and our session with it.
pub(super) struct CallContext<'a> {
    pub(super) ctx: &'a mut Context,
    pub(super) now: Now,
    pub(super) peer: &'a mut Peer,
    pub(super) session: &'a mut Session,
}

impl<'a> CallContext<'a> {
    /// Handed on to a part of the call of `peer` and `session`.
    pub(super) fn new(ctx: &'a mut Context, now: Now, peer: &'a mut Peer, session: &'a mut Session) -> Self {
        Self { ctx, now, peer, session }
    }

    /// Tells the core what has become of the call.
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
