//! The outbound call requested by a REFER.

use crate::codec::Codec;
use crate::gateway::events::Webhook;
use crate::gateway::interface::command::Originate;
use crate::wire::Uri;
use crate::wire::replaces::ReferTo;

/// Parameters of the call requested by a REFER. `from`: our user towards the referrer; `by`: value of
/// Referred-By.
#[must_use]
pub fn referral_call(
    target: &ReferTo,
    from: String,
    codecs: &[Codec],
    by: Option<String>,
    ring_timeout: u32,
    webhook: Option<Webhook>,
) -> Originate {
    let mut headers: Vec<(String, String)> = Vec::new();
    if let Some(by) = by {
        headers.push(("Referred-By".to_owned(), by));
    }
    if let Some(replaces) = &target.replaces {
        headers.push(("Replaces".to_owned(), replaces.to_string()));
    }
    Originate {
        amd: None,
        uri: target.uri.clone(),
        from,
        privacy: String::new(),
        ring_timeout,
        max_duration: 0,
        codecs: codecs.to_vec(),
        headers,
        room_id: String::new(),
        accept_dtmf: true,
        auth: None,
        webhook,
    }
}

/// The user part as written in a URI, without password.
#[must_use]
pub fn raw_user(uri: &Uri) -> String {
    let user = uri.sip().and_then(|u| u.user.as_deref()).unwrap_or_default();
    user.split(':').next().unwrap_or_default().to_owned()
}
