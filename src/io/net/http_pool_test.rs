//! Tests of the HTTP client of the control thread against servers on real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::dns::Dns;
use super::http_call::HttpError;
use super::http_client::Rules;
use super::http_pool::HttpPool;
use crate::base::rng::Rng;
use crate::config::Config;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Handles the connections of a server one after the other.
fn serve(
    connections: usize,
    each: impl Fn(usize, TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let body = move || (0..connections).for_each(|n| each(n, listener.accept().unwrap().0));
    (at, std::thread::spawn(body))
}

/// Reads one request with the body `{}`; false at the end of the connection.
fn read_request(stream: &mut TcpStream) -> bool {
    let (mut got, mut bytes) = (Vec::new(), [0; 4096]);
    while !got.ends_with(b"{}") {
        match stream.read(&mut bytes) {
            Ok(n) if n > 0 => got.extend_from_slice(&bytes[..n]),
            _ => return false,
        }
    }
    true
}

fn pool(config: &Config, limit: Duration) -> HttpPool {
    let dns = Rc::new(Dns::new(Vec::new(), Rng::from_number(1)));
    HttpPool::new(dns, Rules::new(config), limit).unwrap()
}

fn post(pool: &HttpPool, url: &str, trusted: bool) -> Result<u16, HttpError> {
    async_io::block_on(pool.post(url, trusted, &[], b"{}")).map(|r| r.status)
}

#[test]
fn a_connection_is_used_again() {
    let (at, server) = serve(1, |_, mut stream| {
        while read_request(&mut stream) {
            stream.write_all(OK).unwrap();
        }
    });
    let pool = pool(&Config::default(), Duration::from_secs(10));
    for _ in 0..5 {
        assert_eq!(post(&pool, &format!("http://{at}/"), true).unwrap(), 200);
    }
    drop(pool);
    server.join().unwrap();
}

#[test]
fn a_kept_connection_that_is_closed_is_replaced() {
    // The first is closed while idle; the second when its second request arrives.
    let (at, server) = serve(3, |n, mut stream| {
        assert!(read_request(&mut stream));
        stream.write_all(OK).unwrap();
        if n == 1 {
            assert!(read_request(&mut stream));
        }
    });
    let pool = pool(&Config::default(), Duration::from_secs(10));
    for _ in 0..3 {
        assert_eq!(post(&pool, &format!("http://{at}/"), true).unwrap(), 200);
    }
    server.join().unwrap();
}

#[test]
fn a_connection_to_an_address_of_the_operator_is_not_used_for_api_clients() {
    let mut config = Config::default();
    config.http.listen = "192.0.2.1:80".parse().unwrap();
    let pool = pool(&config, Duration::from_secs(10));
    let (at, server) = serve(1, |_, mut stream| {
        while read_request(&mut stream) {
            stream.write_all(OK).unwrap();
        }
    });
    let url = format!("http://{at}/");
    assert_eq!(post(&pool, &url, true).unwrap(), 200);
    assert!(matches!(post(&pool, &url, false), Err(HttpError::Forbidden)), "loopback");
    for host in ["[::1]", "169.254.169.254", "[fe80::1]", "0.0.0.0", "localhost"] {
        assert!(
            matches!(post(&pool, &format!("http://{host}/"), false), Err(HttpError::Forbidden)),
            "{host}"
        );
    }
    drop(pool);
    server.join().unwrap();
}

#[test]
fn a_silent_server_costs_no_more_than_the_time_limit() {
    let (at, server) = serve(1, |_, mut stream| while read_request(&mut stream) {});
    let pool = pool(&Config::default(), Duration::from_millis(50));
    assert!(matches!(post(&pool, &format!("http://{at}/"), true), Err(HttpError::Timeout(_))));
    server.join().unwrap();
}

#[test]
fn urls_that_cannot_be_requested_are_errors() {
    let pool = pool(&Config::default(), Duration::from_secs(10));
    for url in ["", "/path", "ftp://h/", "http://", "nonsense", "http://h\r\nX: y/"] {
        assert!(matches!(post(&pool, url, true), Err(HttpError::BadRequest)), "{url:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(post(&pool, &format!("http://{closed}/"), true), Err(HttpError::Io(_))));
}

#[test]
fn the_certificate_of_a_server_must_be_valid() {
    let (at, server) = serve(1, |_, mut stream| {
        // A TLS alert: the handshake fails.
        let _sent = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]);
    });
    let pool = pool(&Config::default(), Duration::from_secs(10));
    assert!(matches!(post(&pool, &format!("https://{at}/"), true), Err(HttpError::Io(_))));
    server.join().unwrap();
}
