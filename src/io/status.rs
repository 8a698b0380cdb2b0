//! Key figures of the gateway, for the service manager and the operator.

use crate::base::counted::counted;
use crate::gateway::View;

/// Current key figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Legs.
    pub legs: u32,
    /// Rooms.
    pub rooms: u32,
    /// Trunks, and active ones among them.
    pub trunks: (usize, usize),
    /// Registered contacts of phones.
    pub phones: usize,
    /// Events waiting for delivery.
    pub events: u64,
    /// Recordings waiting for upload, those in memory only.
    pub uploads: u64,
    /// New calls are rejected because the gateway is stopping.
    pub stopping: bool,
}

impl Summary {
    /// The key figures of the gateway and the given numbers of waiting events and uploads.
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

    /// One-line summary.
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
    fn the_line_lists_what_there_is() {
        assert_eq!(Summary::default().line(), "0 legs, 0 rooms, 0 phones");
        let busy =
            Summary { legs: 1, rooms: 2, trunks: (2, 1), phones: 14, events: 3, uploads: 1, stopping: true };
        assert_eq!(
            busy.line(),
            "stopping, 1 leg, 2 rooms, 1 of 2 trunks active, 14 phones, 3 events waiting, 1 upload waiting"
        );
    }
}
