//! Classification of S3 responses: success, temporary failure with back-off, or permanent failure with its
//! reason.

use super::s3_response::{self, Answer};
use crate::base::time::Utc;
use crate::delivery::failure::{Failure, retry_after};

/// Classification of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Success.
    Done,
    /// Temporary failure, with the wait the server requests.
    Later(Failure),
    /// Retry with a new multipart upload: the server does not have all parts of this one.
    Anew(String),
    /// Permanent failure: the same request will always be rejected; why.
    Never(String),
}

/// Errors that mean the request itself is invalid. All others may be temporary or fixed by somebody: keys,
/// permissions, buckets, quotas, load.
const NEVER: &[&str] = &[
    "EntityTooLarge",
    "EntityTooSmall",
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidObjectName",
    "InvalidRequest",
    "InvalidStorageClass",
    "InvalidURI",
    "KeyTooLong",
    "KeyTooLongError",
    "MalformedXML",
    "MetadataTooLarge",
    "MethodNotAllowed",
    "MissingContentLength",
    "NotImplemented",
    "XMinioInvalidObjectName",
];

/// Errors of a multipart upload that the server has forgotten, or whose parts differ.
const ANEW: &[&str] = &["InvalidPart", "InvalidPartOrder", "NoSuchUpload"];

/// Classifies a response at `now`: first by its error code, which may come with a 200 (the server had to
/// respond before it knew the outcome), then by its status.
#[must_use]
pub fn judge(told: &Answer, now: Utc) -> Verdict {
    let refusal = s3_response::refusal(&told.text);
    let why = || s3_response::explain(told);
    let later = || {
        let wait = retry_after(told.status, told.retry_after.as_deref(), told.date.as_deref(), now);
        Verdict::Later(Failure { why: why(), wait })
    };
    match (&refusal, told.status) {
        (Some(r), _) if ANEW.contains(&r.code.as_str()) => Verdict::Anew(why()),
        (Some(r), _) if NEVER.contains(&r.code.as_str()) => Verdict::Never(why()),
        (None, 200..=299) => Verdict::Done,
        // Method, length and address of the request will not change, whatever server or proxy said it.
        (_, 405 | 411 | 413 | 414 | 431 | 501 | 505) => Verdict::Never(why()),
        // A redirect that cannot be followed may come from a captive portal.
        _ => later(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(status: u16, code: &str) -> Answer {
        let text = match code {
            "" => String::new(),
            "<html>" => "<html><body>Sorry</body></html>".to_owned(),
            code => {
                format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>m</Message></Error>")
            }
        };
        Answer { status, text, ..Answer::default() }
    }

    #[test]
    fn every_answer_has_one_outcome() {
        let (done, later, anew, never) = ("done", "later", "anew", "never");
        for (status, code, want) in [
            (200, "", done),
            (201, "", done),
            (204, "", done),
            (200, "InternalError", later),
            (200, "SlowDown", later),
            (200, "NoSuchUpload", anew),
            (200, "EntityTooSmall", never),
            (301, "PermanentRedirect", later),
            (301, "<html>", later),
            (302, "", later),
            (304, "", later),
            (307, "TemporaryRedirect", later),
            (308, "", later),
            (400, "", later),
            (400, "<html>", later),
            (400, "AuthorizationHeaderMalformed", later),
            (400, "BadDigest", later),
            (400, "EntityTooLarge", never),
            (400, "EntityTooSmall", never),
            (400, "ExpiredToken", later),
            (400, "IncompleteBody", later),
            (400, "InvalidArgument", never),
            (400, "InvalidBucketName", never),
            (400, "InvalidPart", anew),
            (400, "InvalidPartOrder", anew),
            (400, "InvalidRequest", never),
            (400, "InvalidToken", later),
            (400, "KeyTooLongError", never),
            (400, "RequestTimeout", later),
            (400, "XAmzContentSHA256Mismatch", later),
            (401, "", later),
            (403, "", later),
            (403, "AccessDenied", later),
            (403, "InvalidAccessKeyId", later),
            (403, "QuotaExceeded", later),
            (403, "RequestTimeTooSkewed", later),
            (403, "SignatureDoesNotMatch", later),
            (404, "", later),
            (404, "<html>", later),
            (404, "NoSuchBucket", later),
            (404, "NoSuchUpload", anew),
            (405, "", never),
            (405, "MethodNotAllowed", never),
            (407, "", later),
            (408, "", later),
            (409, "OperationAborted", later),
            (410, "", later),
            (411, "MissingContentLength", never),
            (412, "PreconditionFailed", later),
            (413, "", never),
            (413, "<html>", never),
            (414, "", never),
            (417, "", later),
            (421, "", later),
            (425, "", later),
            (429, "TooManyRequests", later),
            (431, "", never),
            (451, "", later),
            (500, "InternalError", later),
            (501, "NotImplemented", never),
            (502, "<html>", later),
            (503, "SlowDown", later),
            (503, "ServiceUnavailable", later),
            (504, "", later),
            (505, "", never),
            (507, "XMinioStorageFull", later),
            (599, "", later),
        ] {
            let (got, why) = match judge(&told(status, code), Utc::from_millis(0)) {
                Verdict::Done => (done, "-".to_owned()),
                Verdict::Later(f) => (later, f.why),
                Verdict::Anew(why) => (anew, why),
                Verdict::Never(why) => (never, why),
            };
            assert_eq!(got, want, "{status} {code}");
            assert!(got == done || why.contains(&status.to_string()), "{status} {code}: {why}");
        }
    }

    #[test]
    fn a_server_may_name_the_time_it_wants() {
        let at = |status, code| {
            let told = Answer { retry_after: Some("90".to_owned()), ..told(status, code) };
            let Verdict::Later(f) = judge(&told, Utc::from_millis(0)) else { panic!("{status} {code}") };
            f.wait
        };
        let asked = Some(Duration::from_secs(90));
        assert_eq!((at(503, "SlowDown"), at(429, ""), at(503, "<html>")), (asked, asked, asked));
        assert_eq!((at(500, "InternalError"), at(403, "AccessDenied"), at(301, "")), (None, None, None));
    }
}
