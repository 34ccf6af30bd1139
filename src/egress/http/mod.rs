//! The HTTP server: streams for players, state and metrics for people and Prometheus.
//!
//! Payloads come as chunks from [`super::tap`], through the subscriptions that [`crate::control`] hands out, and
//! leave over one connection per client (`connection`); `routes` and `stream` say what is at which path.
//! Each client costs bounded memory (the tap's ring is shared) and never slows another one or the packet path.

mod connection;
mod refusal;
mod routes;
mod stream;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    config,
    control::Control,
    limits::{ACCEPT_PAUSE, CLIENT_STALL_MAX, CONNECTIONS_EXTRA, REQUEST_HEAD_BYTES_MAX, RETRY_AFTER},
};
use connection::Watched;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}: another program has this port, expected a free one (--http ADDR, or listen in [http])"
    )]
    InUse {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// Anything else, such as an address that this host does not have.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
}

/// What every request handler knows.
#[derive(Debug, Clone)]
struct App {
    control: Control,
    config: Arc<config::Http>,
    /// One permit per streaming client.
    places: Arc<Semaphore>,
}

/// A server that listens, and does not answer before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: config::Http,
}

impl Server {
    /// Binds the socket.
    ///
    /// # Errors
    /// The port is in use, or the address cannot be bound.
    pub async fn bind(config: config::Http) -> Result<Server, Error> {
        let address = config.listen;
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => Error::InUse { address },
            _ => Error::Listen { address, error },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Server { listener, address, config })
    }

    /// Where it listens; the port is the real one, whatever was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then accepts nobody, and returns when the last client has got its last byte.
    /// Streams end when their channels do.
    pub async fn run(self, control: Control, mut stop: watch::Receiver<bool>) {
        let connections_max = self.config.clients_max + CONNECTIONS_EXTRA;
        let header_timeout = self.config.header_timeout;
        let places = Arc::new(Semaphore::new(self.config.clients_max));
        let router = routes::router(App { control, config: Arc::new(self.config), places });
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() >= connections_max => refuse(stream),
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, router.clone(), header_timeout, stop.clone()));
                    }
                    Err(error) => pause(&error).await,
                },
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Returns when the server shall end; also when nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One connection, to its end.
async fn serve(stream: TcpStream, router: Router, header_timeout: Duration, mut stop: watch::Receiver<bool>) {
    // A reading that comes ten times a second must not wait for the next one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    let io = TokioIo::new(Watched::new(stream, CLIENT_STALL_MAX));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection has ended: {error}");
    }
}

/// Too many connections: says so without reading the request.
fn refuse(stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        RETRY_AFTER.as_secs()
    );
    // If it does not fit into an empty send buffer, the client is told by the closed connection.
    if let Ok(mut stream) = stream.into_std() {
        let _ = io::Write::write_all(&mut stream, answer.as_bytes());
    }
}

/// Out of descriptors, most likely: some connection will end.
async fn pause(error: &io::Error) {
    tracing::warn!("cannot accept a connection: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
