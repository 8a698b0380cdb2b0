//! One HTTP/1.1 request and its response (RFC 9112), without I/O.

use ureq_proto::client::state::{Cleanup, RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult, SendRequestResult};
use ureq_proto::http::{HeaderMap, Request, Uri};

/// Maximum size of a response head, bytes.
const MAX_HEAD: usize = 64 << 10;
/// Maximum size of a response body that is read so that the connection can be used again, bytes.
const MAX_BODY: usize = 64 << 10;
/// Space for the head of a request beside its URL and its own header fields, bytes.
const HEAD_SPACE: usize = 512;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL or a header field is invalid.
    #[error("the URL or a header field is invalid")]
    BadRequest,
    /// The response is invalid.
    #[error("the response is invalid: {0}")]
    BadResponse(#[from] ureq_proto::Error),
    /// The response head is larger than 64 KiB.
    #[error("the response head is larger than 64 KiB")]
    LongHead,
    /// The connection was closed before any byte of the response.
    #[error("the server closed the connection without a response")]
    Closed,
    /// The name has no address.
    #[error("host not found")]
    HostNotFound,
    /// All addresses are forbidden for URLs of API clients.
    #[error("the address is not allowed for URLs of API clients (security.url_allow)")]
    Forbidden,
    /// Errors of the operating system and of TLS.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No response within this number of seconds.
    #[error("no response within {0} s")]
    Timeout(u64),
}

/// A response. Its body has been discarded.
#[derive(Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    headers: HeaderMap,
    /// The connection can be used again.
    pub reusable: bool,
}

impl HttpResponse {
    /// Value of a header field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

enum State {
    Head(Call<RecvResponse>),
    Body(Call<RecvBody>, HttpResponse),
    Ended,
}

/// A request whose response is awaited.
pub struct HttpCall {
    state: State,
    received: Vec<u8>,
    /// Bytes of the body so far.
    body: usize,
}

impl HttpCall {
    /// A POST request; returns its bytes, head and body.
    ///
    /// # Errors
    /// The URL or a header field is invalid.
    pub fn post(uri: &Uri, fields: &[(&str, &str)], body: &[u8]) -> Result<(Self, Vec<u8>), HttpError> {
        let mut request = Request::post(uri).header("Content-Length", body.len());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|_| HttpError::BadRequest)?;
        let mut call = Call::new(request).map_err(|_| HttpError::BadRequest)?.proceed();
        let own: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        // User and password of the URL are sent in base64.
        let mut bytes = vec![0; HEAD_SPACE + own + 2 * uri.to_string().len() + body.len()];
        let mut used = 0;
        while !call.can_proceed() {
            let n = call.write(bytes.get_mut(used..).unwrap_or_default());
            match n {
                Ok(n) if n > 0 => used += n,
                _ => return Err(HttpError::BadRequest),
            }
        }
        let call = match call.proceed()? {
            Some(SendRequestResult::SendBody(mut call)) => {
                let (taken, n) = call.write(body, bytes.get_mut(used..).unwrap_or_default())?;
                used += n;
                if taken < body.len() {
                    return Err(HttpError::BadRequest);
                }
                call.proceed().ok_or(HttpError::BadRequest)?
            }
            Some(SendRequestResult::RecvResponse(call)) => call,
            // No field expects 100 (Continue).
            Some(SendRequestResult::Await100(_)) | None => return Err(HttpError::BadRequest),
        };
        bytes.truncate(used);
        Ok((Self { state: State::Head(call), received: Vec::new(), body: 0 }, bytes))
    }

    /// Handles received bytes; returns the response once it is complete.
    ///
    /// # Errors
    /// The response is invalid or its head too large.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Option<HttpResponse>, HttpError> {
        self.received.extend_from_slice(bytes);
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Head(mut call) => {
                    let (used, response) = call.try_response(&self.received, false)?;
                    self.received.drain(..used);
                    let Some(response) = response else {
                        self.state = State::Head(call);
                        if used > 0 {
                            continue;
                        }
                        return if self.received.len() > MAX_HEAD {
                            Err(HttpError::LongHead)
                        } else {
                            Ok(None)
                        };
                    };
                    let (parts, ()) = response.into_parts();
                    let response = HttpResponse {
                        status: parts.status.as_u16(),
                        headers: parts.headers,
                        reusable: false,
                    };
                    match call.proceed().ok_or(HttpError::BadRequest)? {
                        RecvResponseResult::RecvBody(call) => self.state = State::Body(call, response),
                        RecvResponseResult::Redirect(call) => {
                            return Ok(Some(self.end(response, &call.proceed())));
                        }
                        RecvResponseResult::Cleanup(call) => return Ok(Some(self.end(response, &call))),
                    }
                }
                State::Body(call, response) => match self.discard(call)? {
                    Discard::All(call) => return Ok(Some(self.end(response, &call))),
                    Discard::Rest => return Ok(Some(response)),
                    Discard::More(call) => {
                        self.state = State::Body(*call, response);
                        return Ok(None);
                    }
                },
                State::Ended => return Err(HttpError::Closed),
            }
        }
    }

    /// Handles the end of the connection. A body that is cut off changes nothing.
    ///
    /// # Errors
    /// There is no complete head.
    pub fn handle_end(self) -> Result<HttpResponse, HttpError> {
        match self.state {
            State::Body(_, response) => Ok(response),
            State::Head(_) | State::Ended if self.received.is_empty() => Err(HttpError::Closed),
            State::Head(_) | State::Ended => {
                Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
            }
        }
    }

    /// Discards the part of the body that was received.
    fn discard(&mut self, mut call: Call<RecvBody>) -> Result<Discard, HttpError> {
        let mut sink = [0; 2048];
        loop {
            let (used, out) = call.read(&self.received, &mut sink)?;
            self.received.drain(..used);
            self.body += out;
            // A body that ends with the connection, or is large, is not worth waiting for.
            if self.body > MAX_BODY
                || (call.can_proceed() && call.body_mode() == ureq_proto::BodyMode::CloseDelimited)
            {
                return Ok(Discard::Rest);
            }
            if call.can_proceed() {
                return Ok(match call.proceed() {
                    Some(RecvBodyResult::Cleanup(call)) => Discard::All(Box::new(call)),
                    Some(RecvBodyResult::Redirect(call)) => Discard::All(Box::new(call.proceed())),
                    None => Discard::Rest,
                });
            }
            if used == 0 && out == 0 {
                return Ok(Discard::More(Box::new(call)));
            }
        }
    }

    fn end(&self, response: HttpResponse, call: &Call<Cleanup>) -> HttpResponse {
        // Bytes after the response belong to no request.
        HttpResponse { reusable: !call.must_close_connection() && self.received.is_empty(), ..response }
    }
}

enum Discard {
    /// The body is complete.
    All(Box<Call<Cleanup>>),
    /// The rest is not read.
    Rest,
    /// The rest is awaited.
    More(Box<Call<RecvBody>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(url: &str) -> (HttpCall, String) {
        let uri: Uri = url.parse().unwrap();
        let (call, bytes) = HttpCall::post(&uri, &[("X-Event-Id", "e1")], b"{\"a\":1}").unwrap();
        (call, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_request_has_the_head_and_the_body() {
        let (_, text) = post("http://h.example:81/a?b=c");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("post /a?b=c http/1.1\r\n"), "{head}");
        for line in ["host: h.example:81", "content-length: 7", "x-event-id: e1"] {
            assert_eq!(head.lines().filter(|l| *l == line).count(), 1, "{line} in {head}");
        }
        assert_eq!(body, "{\"a\":1}");
    }

    #[test]
    fn user_and_password_of_the_url_are_sent_as_basic_authorization() {
        let (_, text) = post("http://user:pass@h.example/");
        assert!(text.to_ascii_lowercase().contains("\r\nhost: h.example\r\n"), "{text}");
        assert!(text.contains("Basic dXNlcjpwYXNz"), "{text}");
    }

    #[test]
    fn a_response_is_complete_with_its_body_however_it_is_cut() {
        for (text, status, reusable) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, true),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, true),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", 500, true),
            ("HTTP/1.1 302 x\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", 302, true),
            ("HTTP/1.1 302 x\r\nLocation: /b\r\nContent-Length: 1\r\n\r\nx", 302, true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false),
            ("HTTP/1.1 200 OK\r\n\r\n", 200, false),
        ] {
            for size in 1..=text.len() {
                let (mut call, _) = post("http://h/");
                let mut out = None;
                for part in text.as_bytes().chunks(size) {
                    assert!(out.is_none(), "complete too early: {text}");
                    out = call.handle_bytes(part).unwrap();
                }
                let out = out.unwrap();
                assert_eq!((out.status, out.reusable), (status, reusable), "{size} of {text}");
            }
        }
    }

    #[test]
    fn bytes_after_the_response_make_the_connection_unusable() {
        let (mut call, _) = post("http://h/");
        let out = call.handle_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP").unwrap().unwrap();
        assert!(!out.reusable);
    }

    #[test]
    fn endless_heads_and_bodies_are_bounded() {
        let (mut call, _) = post("http://h/");
        let filler = [b'a'; 1 << 10];
        call.handle_bytes(b"HTTP/1.1 200 OK\r\nX: ").unwrap();
        let mut parts = std::iter::repeat_with(|| call.handle_bytes(&filler)).take(100);
        assert!(parts.any(|out| matches!(out, Err(HttpError::LongHead))));
        let (mut call, _) = post("http://h/");
        call.handle_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").unwrap();
        let mut parts = std::iter::repeat_with(|| call.handle_bytes(&filler).unwrap()).take(100);
        let out = parts.find_map(|out| out).unwrap();
        assert!(out.status == 200 && !out.reusable);
    }

    #[test]
    fn invalid_and_missing_responses_are_errors() {
        let (mut call, _) = post("http://h/");
        assert!(matches!(call.handle_bytes(b"SSH-2.0-x\r\n\r\n"), Err(HttpError::BadResponse(_))));
        assert!(matches!(post("http://h/").0.handle_end(), Err(HttpError::Closed)));
        let (mut call, _) = post("http://h/");
        assert!(call.handle_bytes(b"HTTP/1.1 200 OK\r\n").unwrap().is_none());
        assert!(matches!(call.handle_end(), Err(HttpError::Io(_))));
        let (mut call, _) = post("http://h/");
        assert!(call.handle_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal").unwrap().is_none());
        assert_eq!(call.handle_end().unwrap().status, 200, "a body that is cut off");
    }
}
