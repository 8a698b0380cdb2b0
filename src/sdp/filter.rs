//! Normalizes real-world session descriptions for the strict parser, keeping everything we use.

/// Maximum number of lines.
const MAX_LINES: usize = 600;

/// The description with one `v`, one `t`, a well-formed `o` and well-formed `m` lines.
#[must_use]
pub fn tidy(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut session = String::new();
    let mut media = String::new();
    let mut origin = "o=- 0 0 IN IP4 0.0.0.0".to_owned();
    for line in text.split(['\r', '\n', '\0']).map(str::trim).filter(|l| !l.is_empty()).take(MAX_LINES) {
        let Some((kind, value)) = line.split_once('=').filter(|(k, _)| k.len() == 1) else { continue };
        let target = if media.is_empty() { &mut session } else { &mut media };
        match kind {
            "o" => origin = tidy_origin(value),
            "m" => media.push_str(&format!("m={}\r\n", tidy_media(value))),
            "c" => {
                target.push_str(&format!("c={}\r\n", value.split_whitespace().collect::<Vec<_>>().join(" ")))
            }
            "a" => target.push_str(&format!("a={value}\r\n")),
            // Other lines are not used here, and often malformed.
            _ => {}
        }
    }
    // Connection lines must precede attributes of the session.
    let (c, rest): (Vec<&str>, Vec<&str>) = session.lines().partition(|l| l.starts_with("c="));
    let mut out = format!("v=0\r\n{origin}\r\ns=-\r\n");
    for line in c.iter().take(1) {
        out.push_str(&format!("{line}\r\n"));
    }
    out.push_str("t=0 0\r\n");
    for line in rest {
        out.push_str(&format!("{line}\r\n"));
    }
    out + &media
}

/// Takes five fields from the right, in case the user name contains a space; a version that is not a 64-bit
/// number becomes 0.
fn tidy_origin(value: &str) -> String {
    let fields: Vec<&str> = value.split_whitespace().collect();
    let at = |back: usize| fields.len().checked_sub(back).and_then(|i| fields.get(i)).copied();
    let version = at(4).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let address = at(1).unwrap_or("0.0.0.0");
    let family = at(2).unwrap_or("IP4");
    format!("o=- {} {version} IN {family} {address}", at(5).unwrap_or("0"))
}

/// A port that is not a 16-bit number rejects the stream; a missing format list becomes `*`.
fn tidy_media(value: &str) -> String {
    let mut fields = value.split_whitespace();
    let kind = fields.next().unwrap_or("audio");
    let port = fields.next().unwrap_or("0");
    let number = port.split('/').next().and_then(|p| p.parse::<u16>().ok()).unwrap_or(0);
    let proto = fields.next().unwrap_or("RTP/AVP");
    let formats: Vec<&str> = fields.collect();
    let formats = if formats.is_empty() { "*".to_owned() } else { formats.join(" ") };
    format!("{kind} {number} {proto} {formats}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_descriptions_become_regular() {
        let got = tidy(b"a=tool:x\ny=1\nb=AS:64.5\no=a b 99999999999999999999999 99999999999999999999999 IN IP4 1.2.3.4\nc=IN  IP4 5.6.7.8\nm=audio 70000 RTP/AVP\nz\n");
        assert_eq!(
            got,
            "v=0\r\no=- 99999999999999999999999 0 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 5.6.7.8\r\nt=0 0\r\na=tool:x\r\nm=audio 0 RTP/AVP *\r\n"
        );
    }
}
