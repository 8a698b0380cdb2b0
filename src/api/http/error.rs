//! API errors and their HTTP status codes.

use schemars::JsonSchema;
use serde::Serialize;

use crate::gateway::GatewayError;

/// Why a request failed. The text states the problem and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Malformed JSON, a wrong type or a value out of range.
    #[error("{0}")]
    BadRequest(String),
    /// No token, or a wrong one.
    #[error("a bearer token is required: send Authorization: Bearer <token>")]
    Unauthorized,
    /// The client's address is not in the allow-list.
    #[error("this address is not in http.allowed_ips")]
    Forbidden,
    /// Sent by a browser for a web page of another origin.
    #[error("a web page of another origin may not use the API: list its origin in http.cors_origins")]
    CrossOrigin,
    /// Without tokens: a name in `Host` that could belong to any web site (DNS rebinding).
    #[error(
        "Host {0} is not a name of this gateway: without http.tokens an address, localhost, the machine's own name or \
         one of http.hosts is expected"
    )]
    Misdirected(String),
    /// No such route, leg, room, playback or recording.
    #[error("{0}")]
    NotFound(String),
    /// The route exists but not with this method; the allowed methods.
    #[error("method not allowed; allowed here: {0}")]
    MethodNotAllowed(String),
    /// The body did not arrive in time.
    #[error("the body did not arrive within 10 s")]
    BodyTimeout,
    /// The body exceeds [`MAX_BODY`].
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// The range is not satisfiable; file size in bytes.
    #[error("the file has no such part: it is {0} bytes long")]
    NoSuchPart(u64),
    /// A precondition of the request failed.
    #[error("If-Match names another version of the file than the one that is here")]
    PreconditionFailed,
    /// Valid request, but not possible in the current state.
    #[error("{0}")]
    Conflict(String),
    /// The gateway failed.
    #[error("{0}")]
    Internal(String),
    /// Part of the API but not of this version.
    #[error("not implemented in this version: {0}")]
    NotImplemented(String),
    /// A limit of the board profile is reached, or the gateway is stopping.
    #[error("{0}")]
    Unavailable(String),
}

/// Largest request body, bytes.
pub const MAX_BODY: u64 = 64 * 1024;

impl ApiError {
    /// The gateway replied with an unexpected type: an internal error.
    #[must_use]
    pub fn mismatched_reply() -> Self {
        Self::Internal("the reply is of another kind than was asked for".to_owned())
    }

    /// The HTTP status code of the error.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::CrossOrigin => 403,
            Self::NotFound(_) => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTimeout => 408,
            Self::Conflict(_) => 409,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::NoSuchPart(_) => 416,
            Self::Misdirected(_) => 421,
            Self::Internal(_) => 500,
            Self::NotImplemented(_) => 501,
            Self::Unavailable(_) => 503,
        }
    }
}

impl From<GatewayError> for ApiError {
    fn from(e: GatewayError) -> Self {
        match e {
            GatewayError::NotFound(what) => Self::NotFound(what.to_owned()),
            GatewayError::Invalid(what) => Self::BadRequest(what),
            GatewayError::Conflict(what) => Self::Conflict(what),
            GatewayError::Failed(what) => Self::Internal(what),
            GatewayError::Unavailable(what) => Self::Unavailable(what),
        }
    }
}

/// Body of error replies.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// Description of the problem, and of what is allowed.
    pub error: String,
}
