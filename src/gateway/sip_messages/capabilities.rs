//! Capabilities announced in our messages.

/// Supported methods.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK";
/// Supported media types.
pub const ACCEPT: &str = "application/sdp, multipart/mixed, multipart/alternative, application/dtmf-relay, \
                          application/dtmf, message/sipfrag";
/// Supported extensions.
pub const SUPPORTED: &str = "replaces, timer, 100rel";
