//! What the gateway is doing, in few numbers: for the service manager and the operator.

use crate::base::counted::counted;
use crate::gateway::View;

/// The numbers of a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Legs that have not ended.
    pub legs: u32,
    /// Rooms.
    pub rooms: u32,
    /// Trunks, and those of them that are active.
    pub trunks: (usize, usize),
    /// Contacts of phones that are registered.
    pub phones: usize,
    /// Events that wait for their target.
    pub events: u64,
    /// Recordings that wait for their upload, as far as they are in memory.
    pub uploads: u64,
    /// New calls are refused, as the gateway stops.
    pub stopping: bool,
}

impl Summary {
    /// The numbers of this moment: those of the gateway, and how many events and uploads wait.
    #[must_use]
    pub fn of(view: &View<'_>, events: u64, uploads: u64) -> Self {
        let numbers = view.numbers();
        Self {
            legs: numbers.legs,
            rooms: numbers.rooms,
            trunks: view.trunks().counts(),
            phones: view.registered_contacts(),
            events,
            uploads,
            stopping: view.is_stopping(),
        }
    }

    /// The same in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut out = vec![counted(self.legs.into(), "leg"), counted(self.rooms.into(), "room")];
        let (trunks, active) = self.trunks;
        if trunks > 0 {
            out.push(format!("{active} of {} active", counted(trunks as u64, "trunk")));
        }
        out.push(counted(self.phones as u64, "phone"));
        if self.events > 0 {
            out.push(format!("{} waiting", counted(self.events, "event")));
        }
        if self.uploads > 0 {
            out.push(format!("{} waiting", counted(self.uploads, "upload")));
        }
        if self.stopping {
            out.insert(0, "stopping".to_owned());
        }
        out.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_there_is() {
        assert_eq!(Summary::default().line(), "0 legs, 0 rooms, 0 phones");
        let busy =
            Summary { legs: 1, rooms: 2, trunks: (2, 1), phones: 14, events: 3, uploads: 1, stopping: true };
        assert_eq!(
            busy.line(),
            "stopping, 1 leg, 2 rooms, 1 of 2 trunks active, 14 phones, 3 events waiting, 1 upload waiting"
        );
    }
}
