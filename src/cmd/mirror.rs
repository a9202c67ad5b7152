//! `mirror serve`: the cache by digest over HTTP, to be read by other machines and to be written by none.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::artifact::cache::Cache;
use crate::cluster::routes::Routes;
use crate::event::Events;
use crate::failure::{Exit, Failure};
use crate::lab::pin::Digest;

use super::cx::Cx;

/// A mirror that is bound to its address.
pub struct Mirror {
    listener: TcpListener,
    /// Where it listens.
    pub at: SocketAddr,
}

/// Bind the address; nothing is served yet.
pub async fn bind(at: SocketAddr) -> Result<Mirror, Failure> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::Conflict } else { Exit::HostUnfit };
        Failure::new(exit, "mirror.listen", format!("listen on {at}"))
            .because(&error)
            .hint("--listen ADDRESS:PORT with an address of this host; port 0 takes a free one")
    };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok(Mirror { listener, at })
}

impl Mirror {
    /// Its address as others type it.
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Serve until the user's interrupt; requests at work are finished as far as that goes.
    pub async fn serve(self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.tell(&cx.events);
        let shop = Shop { cache: cx.cache.clone(), events: cx.events.clone() };
        let router = Router::new()
            .route("/", any(about))
            .route("/{algorithm}/{hex}", any(file))
            .fallback(async || StatusCode::NOT_FOUND)
            .with_state(shop);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::select! {
            () = cx.interrupt.told() => Ok(()),
            ended = axum::serve(self.listener, service) => ended.map_err(|error| {
                Failure::new(Exit::Unexpected, "mirror.serve", "serve the cache").because(&error)
            }),
        }
    }

    /// What the user of this machine and those of the others need to know.
    fn tell(&self, events: &Events) {
        events.note(format!("serving {} to whoever asks; Ctrl-C ends it", self.url()));
        let port = self.at.port();
        match self.at.ip() {
            ip if ip.is_loopback() => {
                events.note(format!("on this machine: {}", line(&self.url())));
                events.note(format!("for other machines too: calicolab mirror serve --listen 0.0.0.0:{port}"));
            }
            ip => {
                events.warn(
                    "anyone on this network can read the pinned files; they are public, and nothing else is served",
                );
                let own = if ip.is_unspecified() { addresses() } else { vec![ip] };
                for ip in own {
                    let at = format!("http://{}", SocketAddr::new(ip, port));
                    events.note(format!("on the other machines: {}", line(&at)));
                }
            }
        }
    }
}

/// What is typed on the machines that fetch from here.
fn line(url: &str) -> String {
    format!("calicolab --mirror '*={url}' fetch LAB")
}

/// This host's own addresses, by its routing tables.
fn addresses() -> Vec<IpAddr> {
    Routes::read().map_or_else(|_| Vec::new(), |routes| routes.own().into_iter().map(IpAddr::V4).collect())
}

/// What is served, and how it is told.
#[derive(Clone)]
struct Shop {
    cache: Cache,
    events: Events,
}

/// What one can do here, for who comes with a browser.
async fn about(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("HOST:PORT");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']');
    let host = if host.chars().all(plain) { host } else { "HOST:PORT" };
    let text = format!(
        "A mirror of calicolab: files by digest, at /sha256/HEX and /sha512/HEX.\n\n{}\n\n\
         It need not be trusted: calicolab hashes whatever it fetches and takes only what its labs' locks name.\n",
        line(&format!("http://{host}"))
    );
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// One file of the cache, whole or a range of it. Only a digest leads to one.
async fn file(
    State(shop): State<Shop>,
    ConnectInfo(who): ConnectInfo<SocketAddr>,
    Path((algorithm, hex)): Path<(String, String)>,
    request: Request,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let range =
        request.headers().get(header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or("whole").to_owned();
    let method = request.method().clone();
    let response = sent(shop.cache.file(&digest), request).await;
    let status = response.status().as_u16();
    shop.events.note(format!("{} {method} {algorithm}:{} {range}: {status}", who.ip(), &digest.hex()[..12]));
    response
}

async fn sent(path: PathBuf, request: Request) -> Response {
    match ServeFile::new(path).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}
