//! HTTP server: accepts connections (allow-list, limited number, one task each) and answers their requests.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use picoserve::io::Read;
use picoserve::request::{Path, Request};
use picoserve::response::ResponseWriter;
use picoserve::routing::PathRouterService;
use picoserve::{ResponseSent, Router};

use super::app::App;
use super::dispatch;
use super::http::access::allowed;
use super::http::clients::Entry;
use super::http::connection::{self, Connection, ENGINE_BUFFER, Shared, Slot, SmolTimer};
use super::http::error::ApiError;
use super::http::head::Head;
use super::http::reply::Reply;
use super::http::{origin, response};
use crate::io::net::tcp::{Listener, Stream};
use crate::io::system::clock;
use crate::io::system::executor::Executor;

/// Connections from addresses not allowed that get an error reply; further ones are closed at once.
const MAX_TURNED_AWAY: usize = 8;

/// Serves the API on `listener` until the program ends.
pub async fn run(executor: Rc<Executor>, app: Rc<App>, listener: Listener) {
    let turned_away = Rc::new(Cell::new(0usize));
    let shared = Rc::new(Shared {
        instance_id: Rc::clone(&app.instance_id),
        clients: Rc::clone(&app.clients),
        is_health: dispatch::is_health,
    });
    loop {
        let (stream, peer) = listener.accept().await;
        if !allowed(peer.ip(), &app.config().http.allowed_ips) {
            if turned_away.get() < MAX_TURNED_AWAY {
                turned_away.set(turned_away.get() + 1);
                let reply = Reply::error(&app.instance_id, &ApiError::Forbidden);
                executor.spawn(turn_away(stream, reply, Rc::clone(&turned_away)));
            }
            continue;
        }
        let entry = app.clients.open(clock::now().mono, peer.ip());
        let (app, shared) = (Rc::clone(&app), Rc::clone(&shared));
        executor.spawn(connection(app, shared, stream, peer, entry));
    }
}

async fn turn_away(stream: Stream, reply: Reply, open: Rc<Cell<usize>>) {
    if stream.write_all(&reply.dated(clock::now().utc).to_bytes(false)).await.is_ok() {
        stream.close_gently().await;
    }
    open.set(open.get() - 1);
}

async fn connection(app: Rc<App>, shared: Rc<Shared>, stream: Stream, peer: SocketAddr, entry: Entry) {
    let (slot, id) = (Slot::default(), entry.id);
    let connection = Connection::new(stream, Rc::clone(&slot), shared, &entry);
    let router = Router::from_service(Service { app: Rc::clone(&app), slot });
    let mut buffer = [0u8; ENGINE_BUFFER];
    let config = connection::config();
    let serve = async {
        let served =
            picoserve::Server::custom(&router, SmolTimer, &config, &mut buffer).serve(connection).await;
        if let Err(e) = served {
            log::debug!(peer:%, error:% = e; "http connection ended");
        }
    };
    let give_way = async {
        // The sender lives as long as the connection is listed; without it no eviction can follow.
        if entry.give_way.recv().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    smol::future::or(serve, give_way).await;
    app.clients.close(id);
}

/// The service for all paths.
struct Service {
    app: Rc<App>,
    /// Where the connection stores the head.
    slot: Slot,
}

impl PathRouterService for Service {
    async fn call_path_router_service<R: Read, W: ResponseWriter<Error = R::Error>>(
        &self,
        (): &(),
        (): (),
        _path: Path<'_>,
        mut request: Request<'_, R>,
        writer: W,
    ) -> Result<ResponseSent, W::Error> {
        let head = self.slot.borrow_mut().take();
        let (reply, send_body) = match head {
            Some(head) => {
                let mut reply = self.answer(&head, &mut request).await;
                origin::add_cors_headers(&head, &self.app.config().http, &mut reply);
                (reply, head.method != "HEAD")
            }
            None => (self.error(&ApiError::Internal("a request without a head".to_owned())), true),
        };
        let reply = reply.dated(clock::now().utc);
        let connection = request.body_connection.finalize().await?;
        response::write(reply, send_body, connection, writer).await
    }
}

impl Service {
    async fn answer<R: Read>(&self, head: &Head, request: &mut Request<'_, R>) -> Reply {
        let admitted = match dispatch::admit(&self.app, head) {
            Ok(admitted) => admitted,
            Err(reply) => return reply,
        };
        let mut body = Vec::new();
        let mut reader = request.body_connection.body().reader();
        let mut chunk = [0u8; 2048];
        loop {
            match reader.read(&mut chunk).await {
                Ok(0) => break,
                Ok(n) => body.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(_) => return self.error(&ApiError::BodyTimeout),
            }
        }
        if (body.len() as u64) < head.body_len {
            return self.error(&ApiError::BadRequest("the body is shorter than Content-Length".to_owned()));
        }
        dispatch::serve(&self.app, &admitted, &body).await
    }

    fn error(&self, e: &ApiError) -> Reply {
        Reply::error(&self.app.instance_id, e)
    }
}
