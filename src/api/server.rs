//! Accepts HTTP connections: allow-list, a bounded number of them, one task each.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use picoserve::Router;

use super::auth::allowed;
use super::dispatch::App;
use super::engine::{self, Connection, ENGINE_BUFFER, Service, Slot, SmolTimer};
use super::error::ApiError;
use super::reply::Reply;
use crate::io::clock;
use crate::io::executor::Executor;
use crate::io::tcp::{Listener, Stream};

/// HTTP connections open at once.
pub const MAX_CONNECTIONS: usize = 64;

/// Serves the API on `listener` until the program ends.
pub async fn run(executor: Rc<Executor>, app: Rc<App>, listener: Listener) {
    let open = Rc::new(Cell::new(0usize));
    loop {
        let (stream, peer) = listener.accept().await;
        if !allowed(peer.ip(), &app.config.http.allowed_ips) {
            executor.spawn(turn_away(stream, Reply::error(&app.instance_id, &ApiError::Forbidden)));
            continue;
        }
        if open.get() >= MAX_CONNECTIONS {
            let full = ApiError::Unavailable(format!("{MAX_CONNECTIONS} connections are open already"));
            executor.spawn(turn_away(stream, Reply::error(&app.instance_id, &full)));
            continue;
        }
        open.set(open.get() + 1);
        executor.spawn(connection(Rc::clone(&app), stream, peer, Rc::clone(&open)));
    }
}

async fn turn_away(stream: Stream, reply: Reply) {
    if stream.write_all(&reply.dated(clock::now().utc).to_bytes(false)).await.is_ok() {
        stream.close_gently().await;
    }
}

async fn connection(app: Rc<App>, stream: Stream, peer: SocketAddr, open: Rc<Cell<usize>>) {
    let slot = Slot::default();
    let connection = Connection::new(stream, Rc::clone(&slot), Rc::clone(&app.instance_id));
    let router = Router::from_service(Service { app, slot });
    let mut buffer = [0u8; ENGINE_BUFFER];
    let config = engine::config();
    let served = picoserve::Server::custom(&router, SmolTimer, &config, &mut buffer).serve(connection).await;
    if let Err(e) = served {
        log::debug!(peer:%, error:% = e; "http connection ended");
    }
    open.set(open.get() - 1);
}
