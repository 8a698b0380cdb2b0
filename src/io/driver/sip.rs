//! The driver as sink of the SIP sockets.

use std::rc::Rc;

use super::Driver;
use crate::base::pool::Standing;
use crate::io::sip::sink::SipSink;
use crate::sip::flow::Flow;

impl SipSink for Driver {
    fn message(self: Rc<Self>, source: Flow, bytes: &[u8]) {
        self.call(|gateway, now| gateway.handle_message(now, source, bytes));
    }

    fn broken(self: Rc<Self>, source: Flow, head: &[u8]) {
        self.call(|gateway, now| gateway.handle_broken(now, source, head));
    }

    fn unreachable(self: Rc<Self>, target: Flow, again: bool, open: bool) {
        // Spawned, since sending may fail while the gateway is borrowed.
        let driver = Rc::clone(&self);
        self.spawn(async move {
            driver.call(|gateway, now| {
                target.conn.filter(|_| !again).into_iter().for_each(|conn| gateway.forget_connection(conn));
                gateway.handle_unreachable(now, target, open);
            })
        });
    }

    fn may_connect(self: Rc<Self>, peer: Flow) -> bool {
        self.call(|gateway, now| gateway.may_connect(now, peer))
    }

    fn may_send(self: Rc<Self>, source: Flow, bytes: usize) -> bool {
        self.call(|gateway, now| gateway.may_send(now, source, bytes))
    }

    fn standing(&self, source: Flow) -> Standing {
        self.look(|view| view.sources().standing(source))
    }

    fn accepts(&self, source: Flow) -> bool {
        self.look(|view| view.sources().accepts(source))
    }

    fn knows(&self, source: Flow) -> bool {
        self.look(|view| view.sources().knows(source))
    }

    fn uses(&self, peer: &Flow) -> bool {
        self.look(|view| view.sources().uses(peer))
    }
}
