//! Request and status lines (RFC 3261 §7.1, §7.2), parsed strictly: exactly one space.

use super::error::WireError;
use super::method::Method;
use super::uri::Uri;

/// The first line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartLine {
    /// Method and Request-URI.
    Request(Method, Uri),
    /// Status code (100 to 699) and reason phrase.
    Response(u16, String),
}

/// Why a start line is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// Not SIP: no answer.
    NotSip,
    /// An invalid response.
    BadResponse,
    /// A request with another SIP version: 505.
    Version,
    /// A malformed request: 400.
    BadRequest(WireError),
}

impl StartLine {
    /// Parses the line.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn parse(line: &str) -> Result<Self, StartError> {
        if line.get(..8).is_some_and(|p| p.eq_ignore_ascii_case("SIP/2.0 ")) {
            return status(line.get(8..).unwrap_or_default());
        }
        let trimmed = line.trim_end();
        let Some((rest, version)) = trimmed.rsplit_once(' ') else { return Err(StartError::NotSip) };
        if !version.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("SIP/")) {
            return Err(StartError::NotSip);
        }
        if !version.eq_ignore_ascii_case("SIP/2.0") {
            return Err(StartError::Version);
        }
        if trimmed.len() != line.len() {
            return Err(StartError::BadRequest(WireError::Value("request line")));
        }
        let (method, uri) = rest.split_once(' ').ok_or(StartError::NotSip)?;
        let method = Method::parse(method).ok_or(StartError::BadRequest(WireError::Value("method")))?;
        let uri = Uri::parse(uri).map_err(StartError::BadRequest)?;
        if uri.sip().is_some_and(|u| u.headers.is_some()) {
            return Err(StartError::BadRequest(WireError::Value("headers in the Request-URI")));
        }
        Ok(Self::Request(method, uri))
    }
}

fn status(rest: &str) -> Result<StartLine, StartError> {
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code: u16 = code.trim().parse().map_err(|_| StartError::BadResponse)?;
    if !(100..=699).contains(&code) {
        return Err(StartError::BadResponse);
    }
    Ok(StartLine::Response(code, reason.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_space() {
        assert!(matches!(
            StartLine::parse("INVITE sip:a@h SIP/2.0"),
            Ok(StartLine::Request(Method::Invite, _))
        ));
        assert_eq!(StartLine::parse("SIP/2.0 200 OK"), Ok(StartLine::Response(200, "OK".into())));
        assert_eq!(StartLine::parse("SIP/2.0 100 "), Ok(StartLine::Response(100, String::new())));
        assert_eq!(StartLine::parse("SIP/2.0 4294967301 better not"), Err(StartError::BadResponse));
        assert_eq!(StartLine::parse("OPTIONS sip:a@h SIP/7.0"), Err(StartError::Version));
        for bad in [
            "INVITE <sip:a@h> SIP/2.0",
            "INVITE sip:a@h; lr SIP/2.0",
            "INVITE  sip:a@h  SIP/2.0",
            "OPTIONS sip:a@h SIP/2.0  ",
            "INVITE sip:a@h?Route=x SIP/2.0",
        ] {
            assert!(matches!(StartLine::parse(bad), Err(StartError::BadRequest(_))), "{bad}");
        }
        for not in ["", "GET / HTTP/1.1", "hello", "\0\0\0"] {
            assert_eq!(StartLine::parse(not), Err(StartError::NotSip), "{not}");
        }
    }
}
