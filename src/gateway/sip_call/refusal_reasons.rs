//! Classification of final error responses to our INVITE: disconnect reason, and priority among several.

/// Priority of error responses: declined, busy, other responses of phones, then timeouts.
pub(super) fn weight(code: u16) -> u16 {
    match code {
        600..=699 => 0,
        486 => 1,
        // Timeout, or an unreachable phone (RFC 3261 §8.1.3.1).
        408 | 487 | 503 => 3,
        _ => 2,
    }
}

/// The disconnect reason for a final response to our INVITE.
pub(super) fn reason_of(code: u16) -> String {
    let word = match code {
        486 => "busy",
        480 => "unavailable",
        404 => "not_found",
        403 => "forbidden",
        401 | 407 => "unauthorized",
        408 => "timeout",
        487 => "cancelled",
        488 => "not_acceptable",
        503 => "service_unavailable",
        603 => "declined",
        300..=399 => "invite_failed",
        other => return format!("sip_{other}"),
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_codes_become_reasons() {
        let got: Vec<String> = [486, 480, 407, 302, 500, 603].into_iter().map(reason_of).collect();
        assert_eq!(got, ["busy", "unavailable", "unauthorized", "invite_failed", "sip_500", "declined"]);
    }
}
