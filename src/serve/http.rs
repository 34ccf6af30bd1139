//! The HTTP server: streams for players, state and metrics for people and Prometheus, and the web
//! page.
//!
//! `page` has the page's files. `live` sends the page its contents once a second, `api` (with
//! `rows` and `table`) on request.
//!
//! Messages for programs use server-sent events and WebSockets (`push`, `websocket`) and Socket.IO
//! (`socketio`).
//!
//! The HTTP library handles requests and responses (`connection`, `requests`, `routes`,
//! `refusal`). After the head of a stream's response (`stream`), this code writes to the socket
//! itself: payloads come as chunks from [`crate::channel::tap`], through subscriptions of
//! [`crate::registry`]. One task per tap (`feeder`) writes them to all of its clients (`player`).
//! Each client has bounded memory and never delays other clients or the packet path.

mod access;
mod answers;
mod api;
mod app;
mod connection;
mod control;
mod cors;
mod deflate;
mod encoding;
mod feeder;
pub(in crate::serve) mod group;
mod handover;
mod host;
mod live;
mod login;
mod openapi;
#[cfg_attr(not(feature = "page"), path = "http/no_page.rs")]
mod page;
mod path;
mod player;
mod players;
mod push;
mod refusal;
mod requests;
mod reserve;
mod routes;
mod rows;
mod select;
mod snapshot;
#[cfg_attr(not(feature = "socketio"), path = "http/no_socketio.rs")]
mod socketio;
mod status;
mod stream;
mod table;
mod totals;
mod via;
mod watched;
mod websocket;

use std::{io, net::SocketAddr, sync::Arc};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    listen::{self, Clients},
    push::Hubs,
};
use crate::{
    access::Access,
    audit::AuditLog,
    config,
    limits::{ACCEPT_PAUSE, REFUSAL_LINGER, REFUSALS_AT_ONCE, REQUEST_HEAD_BYTES_MAX},
    metrics::Exporter,
    observe::Observer,
    registry::Registry,
    shares::Refused,
};
pub use access::LINKED;
use app::{App, Shared};
use connection::serve;
use reserve::Reserve;
use tidecast_net::{clock, log_limiter::LogLimiter};
use via::Door;

/// Who may do what, and where it is written down.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who may do what.
    pub access: Access,
    /// What they did.
    pub audit: AuditLog,
}

/// A server that listens, but answers only in [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    /// The operator's port, if configured.
    admin: Option<(TcpListener, SocketAddr)>,
    config: config::Http,
}

impl Server {
    /// Binds the socket.
    ///
    /// # Errors
    /// The port is in use, or the address cannot be bound.
    pub async fn bind(config: config::Http) -> Result<Server, listen::ListenError> {
        let (listener, address) = listen::bind(&config.listen, Clients::Http).await?;
        let admin = match &config.admin {
            Some(admin) => Some(listen::bind(admin, Clients::Operator).await?),
            None => None,
        };
        Ok(Server { listener, address, admin, config })
    }

    /// Address of the operator's port, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// Address of the server; the port is the actual one, even if 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then accepts no more connections, and returns when the
    /// last client has received its last byte. Streams end with their channels. `hubs`: sends
    /// messages to programs.
    pub async fn run(
        self,
        registry: Registry,
        rules: Rules,
        observer: Observer,
        hubs: Arc<Hubs>,
        metrics: Exporter,
        stop: CancellationToken,
    ) {
        tokio::task::spawn_blocking(page::compress);
        let service =
            Arc::new(Shared::new(self.config, registry, rules, observer, hubs, metrics, stop.clone()));
        let (connections, refusals) = (TaskTracker::new(), TaskTracker::new());
        let mut trouble = LogLimiter::default();
        let mut reserve =
            Reserve::new().inspect_err(|error| tracing::warn!("no descriptor is kept back: {error}")).ok();
        let admin = self.admin.map(|(listener, _)| listener);
        loop {
            let (door, accepted) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = returned(reserve.as_mut()) => continue,
                accepted = accept(admin.as_ref()) => (Door::Admin, accepted),
                accepted = self.listener.accept() => (Door::Main, accepted),
            };
            match accepted {
                Ok((stream, peer)) => match service.admit(door, peer) {
                    Ok(place) => {
                        connections.spawn(serve(stream, door, place, service.clone(), stop.clone()));
                    }
                    Err(refused) if refusals.len() < REFUSALS_AT_ONCE => {
                        refusals.spawn(refuse(stream, refused));
                    }
                    Err(_) => {} // a closed connection must do
                },
                Err(error) => {
                    let listener = admin.as_ref().filter(|_| door == Door::Admin).unwrap_or(&self.listener);
                    let (registry, base) = (&service.registry, &service.config.base);
                    let answered = match &mut reserve {
                        Some(reserve) => reserve.answer(&error, listener, registry, base).await,
                        None => false,
                    };
                    if !answered {
                        pause(&error, &mut trouble).await;
                    }
                }
            }
        }
        drop((self.listener, admin));
        service.socketio.close().await;
        connections.close();
        connections.wait().await;
    }
}

/// Waits until the reserved descriptor is back.
async fn returned(reserve: Option<&mut Reserve>) {
    match reserve {
        Some(reserve) => reserve.returned().await,
        None => std::future::pending().await,
    }
}

/// Accepts on a listener; without one, waits forever.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Refuses a connection without reading the request, because there are too many.
async fn refuse(mut stream: TcpStream, refused: Refused) {
    let answer = refusal::plain(StatusCode::SERVICE_UNAVAILABLE, &refused.to_string());
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with an unread request would reset the connection, and the answer would be lost.
        tokio::io::copy(&mut stream.take(REQUEST_HEAD_BYTES_MAX as u64), &mut tokio::io::sink()).await
    };
    // The answer fits into an empty send buffer; a client that does not close its side is not
    // waited for.
    let _ = timeout(REFUSAL_LINGER, told).await;
}

/// Pauses after an error, probably because descriptors ran out: a connection will end.
async fn pause(error: &io::Error, trouble: &mut LogLimiter) {
    if trouble.admits(clock::now()) {
        tracing::warn!("cannot accept a connection: {error}");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
