//! What this gateway can do with an offer.

use super::context::Context;
use super::leg::Leg;
use super::trunks::Trunks;
use crate::sdp::Able;
use crate::wire::crypto::Srtp;

/// With the offer of a call that begins.
pub(super) fn able_to_begin(ctx: &Context, srtp: Srtp) -> Able<'_> {
    let locals = ctx.sip.locals();
    Able { srtp, codecs: &ctx.config.sip.codecs, v4: locals.v4.is_some(), v6: locals.v6.is_some() }
}

/// With an offer inside a call: as when it began, whatever has become of its trunk, and at the address that its media has.
pub(super) fn able_in_call<'a>(ctx: &'a Context, trunks: &Trunks, leg: Option<&'a Leg>) -> Able<'a> {
    let local = leg.and_then(|l| l.local.as_ref());
    let srtp = local.map_or_else(|| trunks.srtp_of(ctx, leg.and_then(|l| l.trunk)), |l| l.srtp);
    let begin = able_to_begin(ctx, srtp);
    Able {
        codecs: leg.map_or(begin.codecs, |l| &l.codecs),
        v4: local.map_or(begin.v4, |l| l.address.is_ipv4()),
        v6: local.map_or(begin.v6, |l| l.address.is_ipv6()),
        ..begin
    }
}
