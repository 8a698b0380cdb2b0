//! What the gateway can do, as its messages say it.

/// Methods the gateway takes.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, NOTIFY, UPDATE, PRACK";
/// Media types the gateway makes use of.
pub const ACCEPT: &str = "application/sdp, multipart/mixed, multipart/alternative, application/dtmf-relay, \
                          application/dtmf, message/sipfrag";
/// Extensions the gateway knows.
pub const SUPPORTED: &str = "replaces, timer, 100rel";
