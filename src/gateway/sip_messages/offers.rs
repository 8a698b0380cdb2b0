//! Capabilities for SDP negotiation.

use crate::gateway::context::Context;
use crate::sdp::Able;
use crate::wire::crypto::Srtp;

/// For the offer of a new call.
pub(in crate::gateway) fn able_to_begin(ctx: &Context, srtp: Srtp) -> Able<'_> {
    let locals = ctx.sip.locals();
    Able { srtp, codecs: &ctx.config.sip.codecs, v4: locals.v4.is_some(), v6: locals.v6.is_some() }
}
