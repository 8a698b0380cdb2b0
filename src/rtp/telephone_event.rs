//! Telephone events (RFC 4733): payload format, and the sender. Received events are handled by
//! [`super::event_receiver`].

/// Digits by event code.
pub const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// The event code of a digit.
#[must_use]
pub fn code_of(digit: char) -> Option<u8> {
    let upper = digit.to_ascii_uppercase();
    DIGITS.iter().position(|d| char::from(*d) == upper).and_then(|i| u8::try_from(i).ok())
}

/// An event payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Event code; 0 to 15 are digits.
    pub code: u8,
    /// The event has ended.
    pub end: bool,
    /// Level, −dBm0.
    pub volume: u8,
    /// Duration so far, in clock units.
    pub duration: u16,
}

impl Event {
    /// Reads a payload; `None` when it is too short.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (b, _) = payload.split_first_chunk::<4>()?;
        Some(Self {
            code: b[0],
            end: b[1] & 0x80 != 0,
            volume: b[1] & 0x3f,
            duration: u16::from_be_bytes([b[2], b[3]]),
        })
    }

    /// The payload.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3f, d0, d1]
    }
}

/// Packets per digit: four during the event, three with the end bit.
const UPDATES: u8 = 4;
const PACKETS: u8 = 7;
/// Ticks between digits.
const GAP: u8 = 2;
const VOLUME: u8 = 10;

/// Generates the packets of a sequence of digits, one per tick.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    code: u8,
    step: u8,
    timestamp: u32,
    active: bool,
}

/// One packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// First packet of the event.
    pub marker: bool,
    /// The same for all packets of the event.
    pub timestamp: u32,
    /// Payload.
    pub event: Event,
}

impl Sender {
    /// True from the first packet of a digit to the end of the following gap.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Starts a digit at this timestamp.
    pub fn start(&mut self, code: u8, timestamp: u32) {
        *self = Self { code, step: 0, timestamp, active: true };
    }

    /// The packet of this tick, if any; `per_tick` is 20 ms in clock units.
    pub fn tick(&mut self, per_tick: u16) -> Option<Outgoing> {
        if !self.active {
            return None;
        }
        let step = self.step;
        self.step += 1;
        self.active = self.step < PACKETS + GAP;
        if step >= PACKETS {
            return None;
        }
        let duration = per_tick.saturating_mul(u16::from(step.min(UPDATES - 1)) + 1);
        let event = Event { code: self.code, end: step >= UPDATES, volume: VOLUME, duration };
        Some(Outgoing { marker: step == 0, timestamp: self.timestamp, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(digit: char, timestamp: u32) -> Vec<Outgoing> {
        let mut s = Sender::default();
        s.start(code_of(digit).unwrap(), timestamp);
        let mut out = Vec::new();
        while s.is_active() {
            out.extend(s.tick(160));
        }
        out
    }

    #[test]
    fn a_digit_is_seven_packets() {
        let packets = send('#', 800);
        let durations: Vec<u16> = packets.iter().map(|p| p.event.duration).collect();
        assert_eq!(durations, [160, 320, 480, 640, 640, 640, 640]);
        assert_eq!(packets.iter().filter(|p| p.event.end).count(), 3);
        assert_eq!((packets[0].marker, packets[1].marker, packets[0].event.code), (true, false, 11));
        assert_eq!(Event::parse(&packets[6].event.to_bytes()), Some(packets[6].event));
    }

    #[test]
    fn digits_and_codes() {
        assert_eq!((code_of('a'), code_of('*'), code_of('x')), (Some(12), Some(10), None));
        assert_eq!(Event::parse(&[1, 2, 3]), None);
    }
}
