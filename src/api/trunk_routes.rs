//! The routes of trunks and of registrations of phones.

use super::routes::{Answer, BAD, DONE, FULL, Op, Route, Shape, error, ok, route, schema};
use super::trunks::{AddTrunk, Added, Bindings, Trunks};
use crate::gateway::trunk::TrunkView;

const NO_TRUNK: Answer = error(404, "No such trunk");

/// The routes.
pub(super) static TRUNK_ROUTES: &[Route] = &[
    route("GET", "/sip/trunks", Op::Trunks, "All trunks", None, &[ok(Shape::Object(schema::<Trunks>))]),
    route(
        "POST",
        "/sip/trunks",
        Op::AddTrunk,
        "Add a trunk; events tell how its registration goes",
        Some(schema::<AddTrunk>),
        &[
            Answer { status: 202, when: "Added", shape: Shape::Object(schema::<Added>) },
            BAD,
            error(409, "The same account is a trunk already"),
            error(500, "Done, but the state directory cannot be written"),
            FULL,
        ],
    ),
    route(
        "GET",
        "/sip/trunks/{id}",
        Op::Trunk,
        "One trunk",
        None,
        &[ok(Shape::Object(schema::<TrunkView>)), NO_TRUNK],
    ),
    route(
        "DELETE",
        "/sip/trunks/{id}",
        Op::RemoveTrunk,
        "Unregister and remove a trunk",
        None,
        &[
            Answer { status: 202, ..DONE },
            NO_TRUNK,
            error(409, "It stands in the configuration file"),
            error(500, "Done, but the state directory cannot be written"),
        ],
    ),
    route(
        "GET",
        "/sip/registrations",
        Op::Registrations,
        "Phones that have registered",
        None,
        &[ok(Shape::Object(schema::<Bindings>))],
    ),
    route(
        "DELETE",
        "/sip/registrations/{aor}",
        Op::RemoveRegistration,
        "Forget a phone, with ?contact= one contact of it",
        None,
        &[Answer { status: 204, when: "Forgotten", shape: Shape::Empty }, error(404, "No such registration")],
    ),
];
