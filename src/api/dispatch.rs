//! From a judged head to a reply, in one order of checks: token, route, method, size, 501, then the verb's own.

use std::rc::Rc;

use super::auth::authorized;
use super::error::{ApiError, MAX_BODY};
use super::head::Head;
use super::reply::Reply;
use super::routes::{self, Op, Route};
use super::{openapi, system};
use crate::config::Config;
use crate::io::shell::Shell;

/// What every request is answered from.
pub struct App {
    /// Settings in force.
    pub config: Rc<Config>,
    /// Name of this gateway.
    pub instance_id: Rc<str>,
    /// The running gateway.
    pub shell: Rc<Shell>,
}

/// A request that has passed the checks its head decides, waiting for its body.
pub struct Admitted<'h> {
    route: &'static Route,
    params: Vec<&'h str>,
}

/// Checks all that the head alone decides. `Err` is the complete reply.
pub fn admit<'h>(app: &App, head: &'h Head) -> Result<Admitted<'h>, Reply> {
    let fail = |e: &ApiError| Err(Reply::error(&app.instance_id, e));
    let candidates: Vec<_> = routes::at(&head.path).collect();
    let open = candidates.iter().any(|(r, _)| r.open);
    if !open && !authorized(head.authorization.as_deref(), &app.config.http.tokens) {
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
    Ok(Admitted { route, params })
}

/// Carries out an admitted request.
pub fn serve(app: &App, admitted: &Admitted<'_>, _body: &[u8]) -> Reply {
    let _ = &admitted.params;
    match admitted.route.op {
        Op::Health => system::health(app),
        Op::Metrics => system::metrics(app),
        Op::Capacity => system::capacity(app),
        Op::OpenApi => Reply::json(200, &openapi::document()),
        Op::Later(what) => Reply::error(&app.instance_id, &ApiError::NotImplemented(what.to_owned())),
    }
}

/// CORS headers, only for origins that the operator listed.
pub fn cors(app: &App, head: &Head, reply: &mut Reply) {
    let Some(origin) = &head.origin else { return };
    if app.config.http.cors_origins.iter().any(|o| o == origin) {
        reply.headers.push(("Access-Control-Allow-Origin", origin.clone()));
        reply.headers.push(("Vary", "Origin".to_owned()));
        reply.headers.push(("Access-Control-Allow-Headers", "Content-Type, Authorization".to_owned()));
        reply.headers.push(("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE, OPTIONS".to_owned()));
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
