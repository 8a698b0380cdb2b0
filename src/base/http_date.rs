//! HTTP dates (RFC 9110 §5.6.7): written as IMF-fixdate, read in all three formats.

use std::time::Duration;

use super::time::Utc;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 86_400;
/// Last second with a four-digit year.
const LAST: u64 = 253_402_300_799;
/// 2025-01-01, before the first release: an earlier clock has not been set since power-on.
const CLOCK_EPOCH: u64 = 1_735_689_600;

/// The `Date` header value of `now`; `None` while the clock is not set, when a server must not send one (RFC
/// 9110 §6.6.1).
#[must_use]
pub fn date_field(now: Utc) -> Option<String> {
    (now.secs() >= CLOCK_EPOCH).then(|| imf_fixdate(now))
}

/// IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[must_use]
pub fn imf_fixdate(at: Utc) -> String {
    let secs = at.secs().min(LAST);
    let (year, month, day) = civil(secs / DAY);
    let name = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    // 1 January 1970 was a Thursday.
    let weekday = name(&DAYS, (secs / DAY + 4) % 7);
    let (hour, minute, second) = (secs % DAY / 3600, secs / 60 % 60, secs % 60);
    let month = name(&MONTHS, month - 1);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Parses IMF-fixdate, the RFC 850 format (two-digit years at most 50 years ahead of `now`) and the asctime
/// format.
#[must_use]
pub fn parse(text: &str, now: Utc) -> Option<Utc> {
    let words: Vec<&str> = text.split_ascii_whitespace().take(7).collect();
    let (day, month, year, time) = match *words.as_slice() {
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        [_, date, time, "GMT"] => {
            let mut parts = date.splitn(3, '-');
            (parts.next()?, parts.next()?, parts.next().filter(|y| y.len() == 2)?, time)
        }
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    let mut clock = time.splitn(3, ':').map(|part| number(part, 60));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if day == 0 || hour > 23 || minute > 59 {
        return None;
    }
    // Only the RFC 850 format has four words.
    let year = if words.len() == 4 { full_year(year, now) } else { year };
    let days = days_of(year, month, day)?;
    Some(Utc(Duration::from_secs(days * DAY + hour * 3600 + minute * 60 + second)))
}

/// A two-digit year that appears more than 50 years in the future belongs to the previous century (RFC 9110
/// §5.6.7).
fn full_year(short: u64, now: Utc) -> u64 {
    let this = civil(now.secs().min(LAST) / DAY).0;
    let year = this - this % 100 + short;
    if year > this + 50 { year.saturating_sub(100) } else { year }
}

fn number(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|n| *n <= most)
}

/// Year, month and day of a number of days since 1970; Gregorian calendar, years counted from March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
}

/// Days since 1970; `None` for earlier dates and for days that the month does not have.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let from_march = if month > 2 { year } else { year.checked_sub(1)? };
    let (era, of_era) = (from_march / 400, from_march % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THE_DATE: u64 = 784_111_777;

    fn at(secs: u64) -> Utc {
        Utc(Duration::from_secs(secs))
    }

    #[test]
    fn three_forms_are_one_time() {
        let now = at(1_776_330_000);
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text, now), Some(at(THE_DATE)), "{text}");
        }
        assert_eq!(imf_fixdate(at(THE_DATE)), "Sun, 06 Nov 1994 08:49:37 GMT");
        // Two digits of year: 2076 is 50 years ahead, 77 was last century.
        assert_eq!(
            parse("Wednesday, 01-Jan-76 00:00:00 GMT", now).map(imf_fixdate).unwrap()[12..16],
            *"2076"
        );
        assert_eq!(parse("Saturday, 01-Jan-77 00:00:00 GMT", now).map(imf_fixdate).unwrap()[12..16], *"1977");
    }

    #[test]
    fn every_day_is_written_and_read_alike() {
        for day in (0..80_000).step_by(13).chain([59, 11_016, 11_017, 19_782, 47_540]) {
            let time = at(day * DAY + 86_399);
            let text = imf_fixdate(time);
            assert_eq!(parse(&text, time), Some(time), "{text}");
            assert!(time.rfc3339().starts_with(&text[12..16]), "{text} {}", time.rfc3339());
        }
        assert_eq!(imf_fixdate(at(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 2026 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1960 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text, at(1_776_330_000)), None, "{text}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_dates_nothing() {
        assert_eq!(date_field(at(0)), None);
        assert_eq!(date_field(at(1_000_000)), None);
        assert_eq!(date_field(at(CLOCK_EPOCH)).as_deref(), Some("Wed, 01 Jan 2025 00:00:00 GMT"));
    }
}
