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

mod answers;
mod api;
mod client;
mod connection;
mod cors;
mod deflate;
mod feeder;
mod host;
mod live;
mod page;
mod players;
mod push;
mod refusal;
mod reserve;
mod routes;
mod rows;
mod snapshot;
mod socketio;
mod status;
mod stream;
mod table;
mod via;
mod websocket;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Redirect, Response},
};
use hyper::{Request, body::Incoming, service::Service, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use socketioxide::SocketIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use super::{
    listen::{self, Clients, stopped},
    push::Hubs,
    trouble::Trouble,
};
use crate::{
    config,
    control::{Control, Joining},
    limits::{
        ACCEPT_PAUSE, CLIENT_STALL_MAX, REFUSAL_LINGER, REFUSALS_AT_ONCE, REQUEST_HEAD_BYTES_MAX, RETRY_AFTER,
    },
    observe::Observer,
    shares::{Caller, Place, Refused, Resource},
};
use answers::InFlight;
use client::{Client, End, Patience};
use connection::Watched;
use feeder::Feeders;
use host::Names;
use push::Messages;
use refusal::Refusal;
use reserve::Reserve;
use routes::Bodies;
use snapshot::Snapshots;
use stream::{Handover, Ordered};
use tidecast_net::{
    address::{Input, Scheme},
    clock,
};
use via::{Door, Ends, Via};

/// The group that a path such as `/udp/239.1.1.1:5000` names, for those who ask for it otherwise. `None`: it names none.
///
/// # Errors
/// What is wrong with it, or why it may not be asked for.
pub(in crate::egress) fn group(path: &str, config: &config::Http) -> Option<Result<Input, String>> {
    let of = |scheme: Scheme| Some((scheme, path.strip_prefix(&format!("/{scheme}/"))?));
    let (scheme, address) = [Scheme::Udp, Scheme::Rtp].into_iter().find_map(of)?;
    Some(stream::group(scheme, address, None, config).map_err(|refusal| refusal.text()))
}

/// How groups on demand are received.
pub(in crate::egress) fn joining(config: &config::Http) -> Joining {
    stream::joining(config)
}

/// What every request handler knows.
#[derive(Debug, Clone)]
struct App {
    control: Control,
    config: Arc<config::Http>,
    snapshots: Arc<Snapshots>,
    bodies: Arc<Bodies>,
    /// What waits for clients to read it.
    answers: Arc<InFlight>,
    /// What this machine is called.
    names: Arc<Names>,
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
    /// The operator's port, if there is one.
    admin: Option<(TcpListener, SocketAddr)>,
    config: config::Http,
}

impl Server {
    /// Binds the socket.
    ///
    /// # Errors
    /// The port is in use, or the address cannot be bound.
    pub async fn bind(config: config::Http) -> Result<Server, listen::Error> {
        let (listener, address) = listen::bind(&config.listen, Clients::Http).await?;
        let admin = match &config.admin {
            Some(admin) => Some(listen::bind(admin, Clients::Operator).await?),
            None => None,
        };
        Ok(Server { listener, address, admin, config })
    }

    /// Where the operator's port is, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// Where it listens; the port is the real one, whatever was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then accepts nobody, and returns when the last client has got its last byte.
    /// Streams end when their channels do.
    pub async fn run(self, control: Control, observer: Observer, mut stop: watch::Receiver<bool>) {
        tokio::task::spawn_blocking(page::compress);
        let service = Arc::new(Shared::new(self.config, control, observer, stop.clone()));
        let (mut connections, mut refusals) = (JoinSet::new(), JoinSet::new());
        let mut trouble = Trouble::default();
        let mut reserve =
            Reserve::new().inspect_err(|error| tracing::warn!("no descriptor is kept back: {error}")).ok();
        let admin = self.admin.map(|(listener, _)| listener);
        loop {
            let (door, accepted) = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => continue,
                Some(_) = refusals.join_next() => continue,
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
                    let (control, base) = (&service.control, &service.config.base);
                    let answered = match &mut reserve {
                        Some(reserve) => reserve.answer(&error, listener, control, base).await,
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
        while connections.join_next().await.is_some() {}
    }
}

/// Waits until the last descriptor is back.
async fn returned(reserve: Option<&mut Reserve>) {
    match reserve {
        Some(reserve) => reserve.returned().await,
        None => std::future::pending().await,
    }
}

/// Accepts on a listener; without one it waits for ever.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    control: Control,
    config: Arc<config::Http>,
    router: Router,
    socketio: SocketIo,
    header_timeout: Duration,
    patience: Patience,
    feeders: Feeders,
    hubs: Arc<Hubs>,
    /// Clients that do not read, in the log.
    cut_off: Mutex<Trouble>,
}

impl Shared {
    fn new(
        config: config::Http,
        control: Control,
        observer: Observer,
        stop: watch::Receiver<bool>,
    ) -> Shared {
        let patience = Patience { lag_max: config.lag_max, idle_timeout: config.idle_timeout };
        let header_timeout = config.header_timeout;
        let hubs = Arc::new(Hubs::new(control.clone()));
        let (config, snapshots, bodies) = (Arc::new(config), Arc::default(), Arc::default());
        let (answers, names) = (Arc::default(), Arc::new(Names::of_machine()));
        let app = App {
            control: control.clone(),
            config: config.clone(),
            snapshots,
            bodies,
            answers,
            names,
            hubs: hubs.clone(),
            observer,
            stop,
        };
        let (router, socketio) = routes::router(app);
        let feeders = Feeders::default();
        Shared {
            control,
            config,
            router,
            socketio,
            header_timeout,
            patience,
            feeders,
            hubs,
            cut_off: Mutex::default(),
        }
    }

    /// A place for a connection. Whoever comes through a proxy gets his own with each request.
    fn admit(&self, door: Door, peer: SocketAddr) -> Result<Place, Refused> {
        let resource = match door {
            Door::Main => Resource::Connections,
            Door::Admin => Resource::Admin,
        };
        let caller = match Caller::at(peer.ip()) {
            Caller::Host(_) if self.config.trusts(peer.ip()) => Caller::Proxy,
            caller => caller,
        };
        self.control.shares().take(resource, caller)
    }

    /// Whether what is at this path is served at this port.
    fn serves(&self, door: Door, path: &str) -> bool {
        const OPERATORS: [&str; 4] = ["/api/", "/page/", "/metrics", "/status"];
        let is_operators = OPERATORS.iter().any(|start| path.starts_with(start));
        door == Door::Admin || self.config.admin.is_none() || !is_operators
    }
}

/// Answers requests, and says where they leave what their connection shall carry.
struct Answers {
    router: TowerToHyperService<Router>,
    handover: Handover,
    shared: Arc<Shared>,
    ends: Ends,
    place: ConnectionPlace,
}

/// A connection's place, which is theirs who ask over it.
type ConnectionPlace = Arc<Mutex<Place>>;

impl Service<Request<Incoming>> for Answers {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let config = &self.shared.config;
        self.handover.offered(request.extensions().get::<OnUpgrade>().cloned());
        routes::plain(request.uri_mut());
        strip(request.uri_mut(), &config.base);
        routes::plain(request.uri_mut());
        let via = Via::new(self.ends, request.uri(), request.headers(), config);
        if let Err(refused) = self.place.lock().unwrap_or_else(PoisonError::into_inner).pass_to(via.caller) {
            let mut response = Refusal::from(refused).into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Box::pin(std::future::ready(Ok(response)));
        }
        let path = request.uri().path();
        if config.base.strip_suffix('/').is_some_and(|base| !base.is_empty() && base == path) {
            return Box::pin(std::future::ready(Ok(Redirect::permanent(&config.base).into_response())));
        }
        if !self.shared.serves(via.door, path) {
            let refusal =
                Refusal::NotFound(format!("{path} is not served at this port: see / for what is here"));
            return Box::pin(std::future::ready(Ok(refusal.into_response())));
        }
        request.extensions_mut().insert(self.handover.clone());
        // Whatever asks where we are found from here on sees what the client has asked for.
        if let Some(host) = via.host().and_then(|host| HeaderValue::from_str(host).ok())
            && request.headers().get(header::HOST) != Some(&host)
        {
            request.headers_mut().insert(header::HOST, host);
        }
        request.extensions_mut().insert(via);
        Box::pin(self.router.call(request))
    }
}

/// Takes the base off a path that begins with it. A proxy may have taken it off already.
fn strip(uri: &mut Uri, base: &str) {
    let Some(whole) = uri.path_and_query().filter(|_| base.len() > 1) else { return };
    let Some(rest) =
        whole.as_str().strip_prefix(&base[..base.len() - 1]).filter(|rest| rest.starts_with('/'))
    else {
        return;
    };
    let Ok(rest) = rest.parse::<PathAndQuery>() else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(rest);
    // Of the same parts, and a path that begins with a slash.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// One connection, to its end.
async fn serve(
    stream: TcpStream,
    door: Door,
    place: Place,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let place = Arc::new(Mutex::new(place));
    listen::prepare(&stream);
    // Boxed: its memory is given back before a stream begins.
    match Box::pin(answer(stream, door, &place, &shared, stop)).await {
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
    door: Door,
    place: &ConnectionPlace,
    shared: &Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<Option<Behind>> {
    let handover = Handover::default();
    let ends = Ends { door, peer: stream.peer_addr().ok(), local: stream.local_addr().ok() };
    let router = TowerToHyperService::new(shared.router.clone());
    let (place, shared) = (place.clone(), shared.clone());
    let header_timeout = shared.header_timeout;
    let connection = Watched::new(stream, CLIENT_STALL_MAX).keeping(place.clone());
    let answers = Answers { router, handover: handover.clone(), shared, ends, place };
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        // A client may close its side behind its request, and gets the answer all the same.
        .half_close(true)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(connection), answers)
        .with_upgrades();
    tokio::select! {
        result = &mut connection => result?,
        () = stopped(&mut stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await?;
        }
    }
    let ordered = handover.take();
    let (watched, early) = match connection.into_parts() {
        Some(parts) => (parts.io.into_inner(), parts.read_buf),
        // The library gives away a connection on which an upgrade was offered, whatever was answered (RFC 9110, section
        // 7.8: an offer may be ignored). One that Socket.IO has taken does not come here.
        None => {
            let Some((upgrade, _)) = handover.offer().zip(ordered.as_ref()) else { return Ok(None) };
            // What is served here is what comes out.
            let Ok(parts) = upgrade.await?.downcast::<TokioIo<Watched<TcpStream>>>() else { return Ok(None) };
            (parts.io.into_inner(), parts.read_buf)
        }
    };
    let ordered = ordered.filter(|_| watched.is_flushed());
    let mut stream = watched.into_inner();
    match ordered {
        Some(ordered) => Ok(Some(Behind { stream, early: early.to_vec(), ordered })),
        None => {
            // It is gone already, or hears that this is the end.
            let _ = stream.shutdown().await;
            Ok(None)
        }
    }
}

/// Sends a client its stream, to its end.
async fn carry(stream: TcpStream, early: Vec<u8>, ordered: Ordered, shared: &Shared) {
    let (subscription, place, in_messages) = match ordered {
        Ordered::Stream { subscription, place } => (subscription, place, false),
        Ordered::WebSocket(Messages::Raw { subscription, place }) => (subscription, place, true),
        Ordered::Events(wanted) => return push::events(stream, wanted, &shared.hubs).await,
        Ordered::WebSocket(Messages::Told(wanted)) => {
            return push::frames(stream, early, wanted, &shared.hubs).await;
        }
    };
    let mut reader = subscription.reader;
    let start = reader.take_start();
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(0); // the system's choice, which is no limit
    listen::be_patient(&stream, shared.patience.lag_max);
    let peer = stream.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string());
    let client = Client::new(stream, subscription.share, reader.number(), Some(place)).starting_with(start);
    let client = Arc::new(if in_messages { client.in_messages() } else { client });
    let _seat = shared.feeders.join(&client, reader);
    let Patience { lag_max, idle_timeout } = shared.patience;
    let end = match in_messages {
        true => client.run_messages(shared.patience, early).await,
        false => client.run(shared.patience).await,
    };
    match end {
        End::Channel | End::Gone => {}
        End::Behind => {
            let text = format!("a client has been behind its stream for {lag_max:?}: cut off");
            // Strangers may do that a thousand times; the metrics count all of them.
            if shared.cut_off.lock().unwrap_or_else(PoisonError::into_inner).is_news(clock::now()) {
                tracing::info!(client = peer, "{text}");
            } else {
                tracing::debug!(client = peer, "{text}");
            }
        }
        End::Silent => {
            tracing::debug!(client = peer, "a client's stream was silent for {idle_timeout:?}: ends")
        }
    }
}

/// Too many connections: says so without reading the request.
async fn refuse(mut stream: TcpStream, refused: Refused) {
    let (text, retry) = (format!("{refused}\n"), RETRY_AFTER.as_secs());
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {retry}\r\nconnection: close\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with a request that was not read, it would be reset, and the answer lost.
        tokio::io::copy(&mut stream.take(REQUEST_HEAD_BYTES_MAX as u64), &mut tokio::io::sink()).await
    };
    // It fits into an empty send buffer; whoever does not close his side is not waited for.
    let _ = timeout(REFUSAL_LINGER, told).await;
}

/// Out of descriptors, most likely: some connection will end.
async fn pause(error: &io::Error, trouble: &mut Trouble) {
    if trouble.is_news(clock::now()) {
        tracing::warn!("cannot accept a connection: {error}");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
