//! From a judged head to a reply, in one order of checks: origin, token, route, method, size, 501, then the verb's own.

use super::app::App;
use super::http::access::authorized;
use super::http::body::parse;
use super::http::conditional::Conditions;
use super::http::error::{ApiError, MAX_BODY};
use super::http::head::Head;
use super::http::origin;
use super::http::reply::Reply;
use super::routes::{self, Op, Route, Scope};
use super::{
    amd, call_control, dtmf, legs, metrics, openapi, playback, quality, recording, recordings, registrations,
    rooms, self_test, status, system, trunks, webhooks,
};
use crate::gateway::playback::Owner;
use crate::io::process;

/// A request that has passed the checks its head decides, waiting for its body.
pub struct Admitted<'h> {
    route: &'static Route,
    params: Vec<&'h str>,
    query: Option<&'h str>,
    conditions: &'h Conditions,
}

/// True for `/health`, which supervisors watch: it is answered to everybody, always.
#[must_use]
pub fn is_health(head: &Head) -> bool {
    routes::at(&head.path).any(|(r, _)| is_watched(r))
}

fn is_watched(route: &Route) -> bool {
    matches!(route.op, Op::Health)
}

/// Checks all that the head alone decides. `Err` is the complete reply.
pub fn admit<'h>(app: &App, head: &'h Head) -> Result<Admitted<'h>, Reply> {
    let fail = |e: &ApiError| Err(Reply::error(&app.instance_id, e));
    let config = app.config();
    let candidates: Vec<_> = routes::at(&head.path).collect();
    let watched = candidates.iter().any(|(r, _)| is_watched(r));
    if !watched && let Err(e) = origin::judge(head, &config.http, process::host_name) {
        return fail(&e);
    }
    if origin::is_preflight(head, &config.http) {
        return Err(Reply::empty());
    }
    let open = candidates.iter().any(|(r, _)| r.open);
    if !open && !authorized(head.authorization.as_deref(), &config.http.tokens) {
        return fail(&ApiError::Unauthorized);
    }
    if candidates.is_empty() {
        return fail(&ApiError::NotFound("no such route".to_owned()));
    }
    let allow = allowed_methods(&candidates);
    if head.method == "OPTIONS" {
        let mut reply = Reply::empty();
        reply.headers.push(("Allow", allow));
        return Err(reply);
    }
    let method = if head.method == "HEAD" { "GET" } else { head.method.as_str() };
    let Some((route, params)) = candidates.into_iter().find(|(r, _)| r.method == method) else {
        return fail(&ApiError::MethodNotAllowed(allow));
    };
    if head.body_len > MAX_BODY {
        return fail(&ApiError::TooLarge);
    }
    if let Op::Later(what) = route.op {
        return fail(&ApiError::NotImplemented(what.to_owned()));
    }
    Ok(Admitted { route, params, query: head.query.as_deref(), conditions: &head.conditions })
}

/// Carries out an admitted request.
pub async fn serve(app: &App, admitted: &Admitted<'_>, body: &[u8]) -> Reply {
    let outcome = carry_out(app, admitted, body).await;
    outcome.unwrap_or_else(|e| Reply::error(&app.instance_id, &e))
}

async fn carry_out(app: &App, admitted: &Admitted<'_>, body: &[u8]) -> Result<Reply, ApiError> {
    let first = admitted.params.first().copied().unwrap_or_default();
    let second = admitted.params.get(1).copied().unwrap_or_default();
    let owner = |scope: Scope| match scope {
        Scope::Leg => Owner::Leg(first),
        Scope::Room => Owner::Room(first),
    };
    if admitted.route.body.is_none() && admitted.route.method != "GET" {
        // What nobody reads has to be a JSON object all the same.
        parse::<serde::de::IgnoredAny>(body)?;
    }
    match admitted.route.op {
        Op::Health => Ok(system::health(app)),
        Op::Metrics => Ok(metrics::metrics(app)),
        Op::Capacity => Ok(system::capacity(app)),
        Op::Status => status::status(app).await,
        Op::SelfTest => self_test::self_test(app).await,
        Op::SelfTestStep => Ok(self_test::step(app)),
        Op::OpenApi => Ok(Reply::json(200, &openapi::document())),
        Op::Legs => Ok(legs::list(app)),
        Op::CreateLeg => legs::create(app, parse(body)?),
        Op::Leg => legs::get(app, first),
        Op::DeleteLeg => legs::delete(app, first, &parse(body)?),
        Op::Answer => call_control::answer(app, first),
        Op::Ring => call_control::ring(app, first),
        Op::EarlyMedia => call_control::early_media(app, first),
        Op::Mute(on) => call_control::mute(app, first, on),
        Op::Deaf(on) => call_control::deaf(app, first, on),
        Op::Hold(on) => call_control::hold(app, first, on).await,
        Op::Transfer => call_control::transfer(app, first, &parse(body)?),
        Op::Dtmf => dtmf::send(app, first, &parse(body)?),
        Op::DetectMachine => amd::detect_machine(app, first, &parse(body)?),
        Op::Quality => quality::quality(app, first).await,
        Op::AcceptDtmf(on) => dtmf::accept(app, first, on),
        Op::Play(s) => playback::play(app, owner(s), parse(body)?),
        Op::Volume(s) => playback::set_volume(app, owner(s), second, &parse(body)?),
        Op::StopPlay(s) => playback::stop(app, owner(s), second),
        Op::Record(s) => recording::record(app, owner(s), &parse(body)?).await,
        Op::StopRecord(s) => recording::stop(app, owner(s)).await,
        Op::PauseRecord(s, on) => recording::pause(app, owner(s), on),
        Op::Rooms => Ok(rooms::list(app)),
        Op::CreateRoom => rooms::create(app, parse(body)?),
        Op::Room => rooms::get(app, first),
        Op::DeleteRoom => rooms::delete(app, first),
        Op::AddLeg => rooms::add(app, first, &parse(body)?).await,
        Op::RemoveLeg => rooms::remove(app, first, second),
        Op::Trunks => Ok(trunks::list(app)),
        Op::AddTrunk => trunks::add(app, parse(body)?).await,
        Op::Trunk => trunks::get(app, first),
        Op::RemoveTrunk => trunks::remove(app, first).await,
        Op::Registrations => Ok(registrations::list(app)),
        Op::RemoveRegistration => registrations::remove(app, first, admitted.query),
        Op::Recordings => recordings::recordings(app).await,
        Op::Recording => recordings::recording(app, first).await,
        Op::RecordingFile => recordings::file(app, first, admitted.conditions).await,
        Op::DeleteRecording => recordings::delete(app, first).await,
        Op::Webhooks => Ok(webhooks::webhooks(app)),
        Op::Later(what) => Err(ApiError::NotImplemented(what.to_owned())),
    }
}

fn allowed_methods(candidates: &[(&'static Route, Vec<&str>)]) -> String {
    let mut methods: Vec<&str> = candidates.iter().map(|(r, _)| r.method).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.join(", ")
}
