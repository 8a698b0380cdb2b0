//! Every way a request can fail, and the one place that chooses HTTP status codes.

use schemars::JsonSchema;
use serde::Serialize;

use crate::gateway::GatewayError;

/// Why a request was not carried out. The text says what was wrong and what is allowed.
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
    /// A web page of another origin has a browser ask.
    #[error("a web page of another origin may not use the API: list its origin in http.cors_origins")]
    CrossOrigin,
    /// Without tokens, a name in `Host` that any web page's server could have.
    #[error(
        "Host {0} is not a name of this gateway: without http.tokens an address, localhost, the machine's own name or \
         one of http.hosts is expected"
    )]
    Misdirected(String),
    /// No such route, leg, room, playback or recording.
    #[error("{0}")]
    NotFound(String),
    /// The route exists, the method does not; the allowed ones.
    #[error("method not allowed; allowed here: {0}")]
    MethodNotAllowed(String),
    /// The body did not arrive in time.
    #[error("the body did not arrive within 10 s")]
    BodyTimeout,
    /// The body exceeds [`MAX_BODY`].
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// A file has no such part; it is so long.
    #[error("the file has no such part: it is {0} bytes long")]
    NoSuchPart(u64),
    /// A condition of the request is false.
    #[error("If-Match names another version of the file than the one that is here")]
    PreconditionFailed,
    /// The request is right, but not in this state.
    #[error("{0}")]
    Conflict(String),
    /// The gateway failed.
    #[error("{0}")]
    Internal(String),
    /// Known to the API, not to this version.
    #[error("not implemented in this version: {0}")]
    NotImplemented(String),
    /// A limit of the board is reached, or the gateway is stopping.
    #[error("{0}")]
    Unavailable(String),
}

/// Largest request body, bytes.
pub const MAX_BODY: u64 = 64 * 1024;

impl ApiError {
    /// The gateway has answered with a reply of another kind than was asked for: a bug of ours.
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

/// Body of every error reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// What was wrong with the request, and what is allowed.
    pub error: String,
}
