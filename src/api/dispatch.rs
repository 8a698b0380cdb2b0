//! From request head to reply, in a fixed order of checks: origin, token, path, method, size, 501, then the
//! endpoint.

use serde::de::IgnoredAny;

use super::app::App;
use super::endpoint::{Access, Action, Endpoint, Handler};
use super::http::access::authorized;
use super::http::body::parse;
use super::http::conditional::Conditions;
use super::http::error::{ApiError, MAX_BODY};
use super::http::head::Head;
use super::http::origin;
use super::http::reply::Reply;
use super::request::{Call, Outcome};
use super::{openapi, routes};
use crate::io::system::process;

/// A request that has passed the checks of its head, waiting for its body.
pub struct Admitted<'h> {
    endpoint: &'static Endpoint,
    handler: &'static dyn Handler,
    params: Vec<&'h str>,
    query: Option<&'h str>,
    conditions: &'h Conditions,
}

/// An endpoint and its path parameters, in order.
type Found<'p> = (&'static Endpoint, Vec<&'p str>);

/// True for `/health`, used by supervisors: always answered, to everybody.
#[must_use]
pub fn is_health(head: &Head) -> bool {
    at(&head.path).any(|(e, _)| is_watched(e))
}

fn is_watched(endpoint: &Endpoint) -> bool {
    endpoint.access == Access::Supervisor
}

/// Performs all checks that need only the head. `Err` is the complete reply.
pub fn admit<'h>(app: &App, head: &'h Head) -> Result<Admitted<'h>, Reply> {
    let fail = |e: &ApiError| Err(Reply::error(&app.instance_id, e));
    let config = app.config();
    let candidates: Vec<_> = at(&head.path).collect();
    let watched = candidates.iter().any(|(e, _)| is_watched(e));
    if !watched && let Err(e) = origin::judge(head, &config.http, process::host_name) {
        return fail(&e);
    }
    if origin::is_preflight(head, &config.http) {
        return Err(Reply::empty());
    }
    let open = candidates.iter().any(|(e, _)| e.access != Access::Token);
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
    let Some((endpoint, params)) = candidates.into_iter().find(|(e, _)| e.method == method) else {
        return fail(&ApiError::MethodNotAllowed(allow));
    };
    if head.body_len > MAX_BODY {
        return fail(&ApiError::TooLarge);
    }
    match endpoint.action {
        Action::NotImplemented(what) => fail(&ApiError::NotImplemented(what.to_owned())),
        Action::Handle(handler) => {
            let (query, conditions) = (head.query.as_deref(), &*head.conditions);
            Ok(Admitted { endpoint, handler, params, query, conditions })
        }
    }
}

/// Executes an admitted request.
pub async fn serve(app: &App, admitted: &Admitted<'_>, body: &[u8]) -> Reply {
    let outcome = carry_out(app, admitted, body).await;
    outcome.unwrap_or_else(|e| Reply::error(&app.instance_id, &e))
}

async fn carry_out(app: &App, admitted: &Admitted<'_>, body: &[u8]) -> Outcome {
    let Admitted { endpoint, handler, ref params, query, conditions } = *admitted;
    if handler.body().is_none() && endpoint.method != "GET" {
        // An unused body must still be a JSON object.
        parse::<IgnoredAny>(body)?;
    }
    let call = Call { app, params, query, conditions, description: openapi::document };
    handler.handle(call, body).await
}

fn allowed_methods(candidates: &[Found<'_>]) -> String {
    let mut methods: Vec<&str> = candidates.iter().map(|(e, _)| e.method).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

/// The endpoints of a path.
fn at(path: &[String]) -> impl Iterator<Item = Found<'_>> {
    let below = match path.split_first() {
        Some((first, rest)) if first == "v1" => rest,
        _ => path,
    };
    routes::all().filter_map(move |e| Some((e, matches(e.path, below)?)))
}

fn matches<'p>(pattern: &str, path: &'p [String]) -> Option<Vec<&'p str>> {
    let mut values = Vec::new();
    let mut given = path.iter();
    for want in pattern.split('/').skip(1) {
        let have = given.next()?;
        if want.starts_with('{') {
            if have.is_empty() {
                return None;
            }
            values.push(have.as_str());
        } else if want != have {
            return None;
        }
    }
    given.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(path: &str) -> Vec<(&'static str, Vec<String>)> {
        let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
        at(&segments).map(|(r, v)| (r.method, v.into_iter().map(str::to_owned).collect())).collect()
    }

    #[test]
    fn the_version_prefix_is_an_alias() {
        assert_eq!(ops("/v1/health"), ops("/health"));
        assert_eq!(ops("/health").len(), 1);
        assert_eq!(ops("/v1/v1/health"), []);
        assert_eq!(ops("/v1/legs/7/hold"), [("POST", vec!["7".into()]), ("DELETE", vec!["7".into()])]);
        assert_eq!(ops("/legs//hold"), []);
        assert_eq!(ops("/health/"), []);
    }
}
