//! Checks digits against the telephone events that a far end accepts: events not listed in its SDP must not
//! be sent (RFC 4733 §2.5.1.1).

use crate::gateway::interface::error::GatewayError;
use crate::rtp::telephone_event::{DIGITS, code_of};
use crate::sdp::Dtmf;

fn takes(events: &Dtmf, digit: char) -> bool {
    code_of(digit).is_some_and(|code| events.takes(code))
}

/// Checks that the far end accepts all of these digits as events.
///
/// # Errors
/// It does not (409); the message lists the accepted ones.
pub(super) fn check_taken(events: &Dtmf, digits: &str) -> Result<(), GatewayError> {
    let all = || DIGITS.iter().map(|d| char::from(*d));
    let list = |which: &dyn Fn(&char) -> bool| {
        let found: Vec<String> = all().filter(which).map(String::from).collect();
        found.join(" ")
    };
    let refused = list(&|d| digits.contains(*d) && !takes(events, *d));
    if refused.is_empty() {
        return Ok(());
    }
    let taken = list(&|d| takes(events, *d));
    let taken = if taken.is_empty() { "no digits".to_owned() } else { format!("only {taken}") };
    Err(GatewayError::Conflict(format!(
        "digits: by its telephone-event list the far end takes {taken}; nothing was sent because of {refused}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(events: u16, digits: &str) -> Option<String> {
        match check_taken(&Dtmf { events, ..Dtmf::new(101, 8000) }, digits) {
            Ok(()) => None,
            Err(GatewayError::Conflict(why)) => Some(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_list_lacks_is_named() {
        assert_eq!(outcome(0xffff, "0123456789*#ABCD"), None);
        assert_eq!(outcome(0x0fff, "12*#"), None);
        let why = outcome(0x03ff, "1#*#2").unwrap();
        assert!(why.contains("only 0 1 2 3 4 5 6 7 8 9;") && why.ends_with("because of * #"), "{why}");
        assert!(outcome(0x0fff, "A").unwrap().ends_with("because of A"));
        assert!(outcome(0, "1").unwrap().contains("takes no digits;"), "a list of other events");
    }
}
