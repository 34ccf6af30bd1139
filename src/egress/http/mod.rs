//! The HTTP server: streams for players, state and metrics for people and Prometheus, and the page.
//!
//! The page's files are in `page`, what it shows in `live` once a second and in `api` (`rows`, `table`) when asked.
//!
//! Messages for programs go over server-sent events and WebSockets (`push`, `websocket`) and Socket.IO (`socketio`).
//!
//! Requests and their answers are the HTTP library's (`routes`, `refusal`, `connection`). Behind the head of a stream
//! (`stream`) the socket is ours: payloads come as chunks from [`super::tap`], through the subscriptions that
//! [`crate::control`] hands out; one task per tap (`feeder`) writes them to all of its clients (`client`).
//! Each client costs bounded memory and never slows another one or the packet path.

mod api;
mod client;
mod connection;
mod cors;
mod feeder;
mod live;
mod page;
mod players;
mod push;
mod refusal;
mod routes;
mod rows;
mod snapshot;
mod socketio;
mod status;
mod stream;
mod table;
mod websocket;

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use socketioxide::SocketIo;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    listen::{self, Clients, stopped},
    push::Hubs,
    trouble::Trouble,
};
use crate::{
    clock, config,
    control::Control,
    limits::{
        ACCEPT_PAUSE, CLIENT_STALL_MAX, CONNECTIONS_EXTRA, PAGES_MAX, PUSH_UNSENT_BYTES_MAX,
        REQUEST_HEAD_BYTES_MAX, RETRY_AFTER,
    },
    observe::Observer,
};
use client::{Client, End, Patience};
use connection::Watched;
use feeder::Feeders;
use routes::Bodies;
use snapshot::Snapshots;
use stream::{Handover, Ordered};

/// What every request handler knows.
#[derive(Debug, Clone)]
struct App {
    control: Control,
    config: Arc<config::Http>,
    /// One permit per streaming client.
    places: Arc<Semaphore>,
    snapshots: Arc<Snapshots>,
    bodies: Arc<Bodies>,
    /// One permit per page that is open.
    pages: Arc<Semaphore>,
    /// Who hands messages to programs.
    hubs: Arc<Hubs>,
    /// What happened lately.
    observer: Observer,
    /// Turns true when the server shall end.
    stop: watch::Receiver<bool>,
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
    pub async fn bind(config: config::Http) -> Result<Server, listen::Error> {
        let (listener, address) = listen::bind(&config.listen, Clients::Http).await?;
        Ok(Server { listener, address, config })
    }

    /// Where it listens; the port is the real one, whatever was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then accepts nobody, and returns when the last client has got its last byte.
    /// Streams end when their channels do.
    pub async fn run(self, control: Control, observer: Observer, mut stop: watch::Receiver<bool>) {
        let connections_max = self.config.clients_max + CONNECTIONS_EXTRA;
        tokio::task::spawn_blocking(page::compress);
        let service = Arc::new(Shared::new(self.config, control, observer, stop.clone()));
        let mut connections = JoinSet::new();
        let mut trouble = Trouble::default();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() >= connections_max => refuse(stream),
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, service.clone(), stop.clone()));
                    }
                    Err(error) => pause(&error, &mut trouble).await,
                },
            }
        }
        drop(self.listener);
        service.socketio.close().await;
        while connections.join_next().await.is_some() {}
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    router: Router,
    socketio: SocketIo,
    header_timeout: Duration,
    patience: Patience,
    feeders: Feeders,
    hubs: Arc<Hubs>,
}

impl Shared {
    fn new(
        config: config::Http,
        control: Control,
        observer: Observer,
        stop: watch::Receiver<bool>,
    ) -> Shared {
        let places = Arc::new(Semaphore::new(config.clients_max));
        let patience = Patience { lag_max: config.lag_max, idle_timeout: config.idle_timeout };
        let header_timeout = config.header_timeout;
        let pages = Arc::new(Semaphore::new(PAGES_MAX));
        let hubs = Arc::new(Hubs::new(control.clone()));
        let (config, snapshots, bodies) = (Arc::new(config), Arc::default(), Arc::default());
        let app =
            App { control, config, places, snapshots, bodies, pages, hubs: hubs.clone(), observer, stop };
        let (router, socketio) = routes::router(app);
        Shared { router, socketio, header_timeout, patience, feeders: Feeders::default(), hubs }
    }
}

/// Answers requests, and says where they leave what their connection shall carry.
struct Answers {
    router: TowerToHyperService<Router>,
    handover: Handover,
}

type Answer = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

impl Service<Request<Incoming>> for Answers {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = Pin<Box<Answer>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.handover.clone());
        routes::plain(request.uri_mut());
        Box::pin(self.router.call(request))
    }
}

/// One connection, to its end.
async fn serve(stream: TcpStream, shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    // A reading that comes ten times a second must not wait for the next one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    // What the kernel has is old after a pause. Players get more of it when their streams begin.
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(PUSH_UNSENT_BYTES_MAX);
    // Boxed: its memory is given back before a stream begins.
    match Box::pin(answer(stream, &shared, stop)).await {
        Ok(None) => {}
        Ok(Some(Behind { stream, early, ordered })) => carry(stream, early, ordered, &shared).await,
        Err(error) => tracing::debug!("a connection has ended: {error}"),
    }
}

/// A connection behind the head of an answer, and what follows on it.
struct Behind {
    stream: TcpStream,
    /// What the client has sent already.
    early: Vec<u8>,
    ordered: Ordered,
}

/// Answers requests until one asks for a stream; then gives the connection back behind the answer's head. Socket.IO keeps
/// the connections that it upgrades.
async fn answer(
    stream: TcpStream,
    shared: &Shared,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<Option<Behind>> {
    let handover = Handover::new(stream.peer_addr().ok());
    let answers =
        Answers { router: TowerToHyperService::new(shared.router.clone()), handover: handover.clone() };
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.header_timeout)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Watched::new(stream, CLIENT_STALL_MAX)), answers)
        .with_upgrades();
    tokio::select! {
        result = &mut connection => result?,
        () = stopped(&mut stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await?;
        }
    }
    let ordered = handover.take();
    let Some(parts) = connection.into_parts() else {
        return match ordered {
            Some(ordered) => upgraded(ordered).await,
            None => Ok(None),
        };
    };
    let watched = parts.io.into_inner();
    let ordered = ordered.filter(|_| watched.is_flushed());
    let mut stream = watched.into_inner();
    match ordered {
        Some(ordered) => Ok(Some(Behind { stream, early: Vec::new(), ordered })),
        None => {
            // It is gone already, or hears that this is the end.
            let _ = stream.shutdown().await;
            Ok(None)
        }
    }
}

/// The connection of a WebSocket.
async fn upgraded(ordered: Ordered) -> hyper::Result<Option<Behind>> {
    let Ordered::WebSocket { wanted, upgrade } = ordered else { return Ok(None) };
    // What `answer` serves is what comes out.
    let Ok(parts) = upgrade.await?.downcast::<TokioIo<Watched<TcpStream>>>() else { return Ok(None) };
    let stream = parts.io.into_inner().into_inner();
    let ordered = Ordered::Upgraded(wanted);
    Ok(Some(Behind { stream, early: parts.read_buf.to_vec(), ordered }))
}

/// Sends a client its stream, to its end.
async fn carry(stream: TcpStream, early: Vec<u8>, ordered: Ordered, shared: &Shared) {
    let (subscription, place) = match ordered {
        Ordered::Stream { subscription, place } => (subscription, place),
        Ordered::Events(wanted) => return push::events(stream, wanted, &shared.hubs).await,
        Ordered::Upgraded(wanted) => return push::frames(stream, early, wanted, &shared.hubs).await,
        Ordered::WebSocket { .. } => return, // its connection was not upgraded
    };
    let mut reader = subscription.reader;
    let start = reader.take_start();
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(0); // the system's choice, which is no limit
    let peer = stream.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string());
    let client = Client::new(stream, subscription.share, reader.number(), Some(place)).starting_with(start);
    let client = Arc::new(client);
    let _seat = shared.feeders.join(&client, reader);
    let Patience { lag_max, idle_timeout } = shared.patience;
    match client.run(shared.patience).await {
        End::Channel | End::Gone => {}
        End::Behind => {
            tracing::info!(client = peer, "a client has been behind its stream for {lag_max:?}: cut off")
        }
        End::Silent => {
            tracing::debug!(client = peer, "a client's stream was silent for {idle_timeout:?}: ends")
        }
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
async fn pause(error: &io::Error, trouble: &mut Trouble) {
    if trouble.is_news(clock::now()) {
        tracing::warn!("cannot accept a connection: {error}");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
