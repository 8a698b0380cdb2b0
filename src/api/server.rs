//! Accepts HTTP connections: allow-list, a bounded number of them, one task each.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use picoserve::Router;

use super::app::App;
use super::http::access::allowed;
use super::http::clients::Entry;
use super::http::connection::{self, Connection, ENGINE_BUFFER, Service, Slot, SmolTimer};
use super::http::error::ApiError;
use super::http::reply::Reply;
use crate::io::clock;
use crate::io::executor::Executor;
use crate::io::tcp::{Listener, Stream};

/// Connections from addresses that are not allowed that are told so at once; further ones are closed without a word.
const MAX_TURNED_AWAY: usize = 8;

/// Serves the API on `listener` until the program ends.
pub async fn run(executor: Rc<Executor>, app: Rc<App>, listener: Listener) {
    let turned_away = Rc::new(Cell::new(0usize));
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
        executor.spawn(connection(Rc::clone(&app), stream, peer, entry));
    }
}

async fn turn_away(stream: Stream, reply: Reply, open: Rc<Cell<usize>>) {
    if stream.write_all(&reply.dated(clock::now().utc).to_bytes(false)).await.is_ok() {
        stream.close_gently().await;
    }
    open.set(open.get() - 1);
}

async fn connection(app: Rc<App>, stream: Stream, peer: SocketAddr, entry: Entry) {
    let (slot, id) = (Slot::default(), entry.id);
    let connection = Connection::new(stream, Rc::clone(&slot), Rc::clone(&app), &entry);
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
        // The sender lives as long as the connection is listed; without it nobody asks for the place any more.
        if entry.give_way.recv().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    smol::future::or(serve, give_way).await;
    app.clients.close(id);
}
