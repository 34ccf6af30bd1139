//! Socket.IO: a client emits `subscribe` and receives `packet`, `lost`, `missed`, `started` and
//! `ended`. The library writes to the socket; each client has a queue without a socket, and a task
//! passes its chunks to the library at the library's pace.
//!
//! The library creates a session for every client that asks. So a request for one takes a place
//! first, which is kept until the session ends ([`open`]). A posted body has a deadline and a
//! bound, and a session connects once. `docs/programs.md` describes the events for users.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::{
    SendError, SocketError, SocketIo,
    extract::{AckSender, Extension, SocketRef, TryData},
    handler::ConnectHandler,
    layer::SocketIoLayer,
};
use tokio::time::{sleep, timeout};

use super::{App, access, path, push, refusal::Refusal, stream, via::Via};
use crate::{
    access::Grant,
    limits::{
        PUSH_STALL_MAX, SOCKETIO_BUFFER, SOCKETIO_MESSAGE_BYTES_MAX, SOCKETIO_PAUSE_MAX, SOCKETIO_PAUSE_MIN,
        SUBSCRIPTIONS_MAX,
    },
    registry::audience::{Transport, Who},
    serve::push::{PushQueue, SubscribeOptions, Update, Wire},
    shares::Place,
};

/// Request of a client to subscribe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    stream: String,
    flow: Option<String>,
    every: Option<String>,
    format: Option<String>,
}

/// Request of a client to end a subscription.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unwanted {
    stream: String,
}

/// One client.
#[derive(Debug)]
struct Client {
    app: App,
    who: Who,
    /// What it may do.
    grant: Grant,
    queue: Arc<PushQueue>,
    subscriptions: Mutex<Subscriptions>,
}

/// A session's place among the clients, stored by the library with the request that opened the
/// session.
#[derive(Debug)]
struct Session {
    connected: AtomicBool,
    /// What its client may do.
    grant: Grant,
    _place: Place,
}

/// Subscriptions of a client: its streams, with the id of each subscription once it is known. A
/// place is taken before the hub is asked, since a client need not wait for an answer before it
/// emits the next request.
#[derive(Debug, Default)]
struct Subscriptions(Vec<(String, Option<u64>)>);

/// The handle, which must be closed at the end.
pub(super) type Handle = SocketIo;

/// Puts Socket.IO in front of the routes.
pub(super) fn mount(router: Router, app: &App) -> (Router, Handle) {
    let (layer, io) = layer(app.clone());
    let guard = middleware::from_fn_with_state(app.clone(), guard);
    (router.layer(layer).layer(guard), io)
}

/// Blocks pages of other sites from Socket.IO, and lets allowed pages read the answers to their
/// requests.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(path::SOCKET_IO) {
        return next.run(request).await;
    }
    let origin = match push::admit(&app.config, request.headers()) {
        Ok(origin) => origin,
        Err(refusal) => return refusal.into_response(),
    };
    let mut response = match (request.method(), access::admit(&app, &request)) {
        (&Method::OPTIONS, _) => StatusCode::NO_CONTENT.into_response(),
        (_, Err(denied)) => access::refuse(&app, &request, denied),
        (_, Ok(grant)) => match open(&app, request, grant).await {
            Ok(request) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        },
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    response
}

fn layer(app: App) -> (SocketIoLayer, SocketIo) {
    let (layer, io) = SocketIo::builder()
        .connect_timeout(app.config.header_timeout)
        .max_buffer_size(SOCKETIO_BUFFER)
        .max_payload(SOCKETIO_MESSAGE_BYTES_MAX)
        .ws_max_message_size(SOCKETIO_MESSAGE_BYTES_MAX as usize)
        .ws_max_frame_size(SOCKETIO_MESSAGE_BYTES_MAX as usize)
        .build_layer();
    // The handlers are registered before the client learns that it is connected, since it may
    // emit from then on.
    let admit = async move |socket: SocketRef| admit(&socket, app.clone());
    let connected = async |socket: SocketRef, io: SocketIo, Extension(queue): Extension<Arc<PushQueue>>| {
        connected(socket, &io, queue);
    };
    io.ns("/", connected.with(admit));
    (layer, io)
}

/// Passes a request on to the library: with a place if it opens a session, and with the complete
/// body if it has one.
///
/// # Errors
/// There is no place; or the body is late or too long.
async fn open(app: &App, mut request: Request, grant: Grant) -> Result<Request, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    if !query.split('&').any(|pair| pair.starts_with("sid=")) {
        let via = request.extensions().get::<Via>();
        let via = via.ok_or_else(|| Refusal::Malformed("no request of HTTP: expected one".to_owned()))?;
        let session = Session { connected: AtomicBool::new(false), _place: stream::place(app, via)?, grant };
        request.extensions_mut().insert(Arc::new(session));
    }
    if *request.method() != Method::POST {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let patience = app.config.header_timeout;
    let body = timeout(patience, to_bytes(body, SOCKETIO_MESSAGE_BYTES_MAX as usize)).await;
    let body = body.map_err(|_| {
        let patience = humantime::format_duration(patience);
        Refusal::Late(format!("the body did not come: expected all of it within {patience}"))
    })?;
    let body = body.map_err(|error| {
        Refusal::TooLong(format!("{error}: expected a body of at most {SOCKETIO_MESSAGE_BYTES_MAX} bytes"))
    })?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Registers the handlers of a client. A session that connects a second time gets a
/// `connect_error`.
fn admit(socket: &SocketRef, app: App) -> Result<(), String> {
    let request = socket.req_parts();
    let session = request.extensions.get::<Arc<Session>>();
    let session = session
        .filter(|session| !session.connected.swap(true, Ordering::Relaxed))
        .ok_or_else(|| "this session has connected before: expected a new one to connect again".to_owned())?;
    let grant = session.grant.clone();
    let who = request.extensions.get::<Via>().map(|via| via.who(&request.headers, &grant));
    let who = who.unwrap_or_default();
    let queue = PushQueue::new(None, who.clone());
    socket.extensions.insert(queue.clone());
    let client = Arc::new(Client { app, who, grant, queue: queue.clone(), subscriptions: Mutex::default() });
    let subscriber = client.clone();
    socket.on("subscribe", async move |socket: SocketRef, TryData::<Wanted>(wanted), ack: AckSender| {
        let answer = match wanted {
            Ok(wanted) => subscriber.subscribe(wanted).await,
            Err(error) => Err(format!(
                "{error}: expected subscribe with {{ stream: \"NAME\" }}, and flow, every, format (json, binary) as wanted"
            )),
        };
        reply(&socket, ack, answer);
    });
    socket.on(
        "unsubscribe",
        async move |socket: SocketRef, TryData::<Unwanted>(unwanted), ack: AckSender| {
            let answer = match unwanted {
                Ok(unwanted) => client.unsubscribe(&unwanted.stream),
                Err(error) => Err(format!("{error}: expected unsubscribe with {{ stream: \"NAME\" }}")),
            };
            reply(&socket, ack, answer);
        },
    );
    socket.on_disconnect(async move || queue.close());
    Ok(())
}

fn connected(socket: SocketRef, io: &SocketIo, queue: Arc<PushQueue>) {
    if !socket.connected() || io.get_socket(socket.id).is_none() {
        queue.close(); // it left before the handlers were registered
    }
    tokio::spawn(write(socket, queue));
}

fn refuse(socket: &SocketRef, reason: &str) {
    let _ = socket.emit("refused", &json!({ "error": reason })); // it may have gone
}

/// Acknowledges with the answer; a refusal is also sent as an event, for clients that did not
/// request an acknowledgement.
fn reply(socket: &SocketRef, ack: AckSender, answer: Result<Value, String>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => {
            refuse(socket, &reason);
            json!({ "error": reason })
        }
    };
    let _ = ack.send(&answer); // the client may have gone
}

impl Client {
    fn subscriptions(&self) -> std::sync::MutexGuard<'_, Subscriptions> {
        // Single insertions and removals, so a panic cannot leave the list inconsistent.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn subscribe(&self, wanted: Wanted) -> Result<Value, String> {
        let Wanted { stream, flow, every, format } = wanted;
        let wire = match format.as_deref() {
            None | Some("json") => Wire::SocketIoJson,
            Some("binary") => Wire::SocketIoBinary,
            Some(other) => return Err(format!("format {other:?}: expected json or binary")),
        };
        let options = SubscribeOptions::parse(wire, flow.as_deref(), every.as_deref())?;
        // The rules may have changed since the session began.
        let exists = self.app.registry.knows(&stream);
        let granted = self.app.access.renew(&self.grant).and_then(|grant| grant.channel(&stream, exists));
        granted.map_err(|denied| {
            let denied = denied.to_string();
            self.app.audit.refused_http(&self.who, &format!("subscribe {stream}"), &denied);
            denied
        })?;
        let known = self.app.registry.format(&stream).map_err(|error| error.to_string())?;
        options.check(&known)?;
        self.subscriptions().reserve(&stream)?;
        let subscribed = self.app.hubs.subscribe(&stream, Transport::SocketIo, options, &self.queue).await;
        self.subscriptions().settle(&stream, subscribed.as_ref().ok().copied());
        subscribed.map(|_| json!({ "stream": stream })).map_err(|error| error.to_string())
    }

    fn unsubscribe(&self, stream: &str) -> Result<Value, String> {
        let id = self.subscriptions().remove(stream)?;
        let tally = self.queue.remove(id).unwrap_or_default();
        Ok(
            json!({ "stream": stream, "packets": tally.packets, "bytes": tally.bytes, "missed": tally.missed }),
        )
    }
}

impl Subscriptions {
    /// Takes a place for a stream.
    fn reserve(&mut self, stream: &str) -> Result<(), String> {
        if self.0.iter().any(|(known, _)| known == stream) {
            return Err(format!("{stream} is subscribed already: expected unsubscribe first"));
        }
        if self.0.len() >= SUBSCRIPTIONS_MAX {
            return Err(format!("{SUBSCRIPTIONS_MAX} streams already: expected another connection for more"));
        }
        self.0.push((stream.to_owned(), None));
        Ok(())
    }

    /// Stores the hub's answer; without an id, frees the place.
    fn settle(&mut self, stream: &str, id: Option<u64>) {
        let Some(place) = self.0.iter().position(|(known, _)| known == stream) else { return };
        match id {
            Some(id) => self.0[place].1 = Some(id),
            None => drop(self.0.remove(place)),
        }
    }

    fn remove(&mut self, stream: &str) -> Result<u64, String> {
        let place = self.0.iter().position(|(known, _)| known == stream);
        let place = place.ok_or_else(|| format!("{stream} is not subscribed: expected subscribe first"))?;
        let id = self.0[place].1;
        let id = id
            .ok_or_else(|| format!("{stream} is not answered yet: expected its answer before unsubscribe"))?;
        self.0.remove(place);
        Ok(id)
    }
}

/// Serves a client until it ends, or an operator disconnects it.
async fn write(socket: SocketRef, queue: Arc<PushQueue>) {
    tokio::select! {
        () = pass(&socket, &queue) => {}
        _ = queue.disconnected() => {}
    }
    let _ = socket.disconnect(); // the client may have gone
}

/// Passes the queue's chunks to the library.
async fn pass(socket: &SocketRef, queue: &PushQueue) {
    while let Some(chunk) = queue.next().await {
        for update in &chunk.updates {
            match timeout(PUSH_STALL_MAX, emit(socket, update)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    tracing::debug!("a Socket.IO client has taken nothing for {PUSH_STALL_MAX:?}: cut off");
                    queue.cut_off();
                    break;
                }
            }
        }
    }
}

/// Returns whether the client is still connected.
async fn emit(socket: &SocketRef, update: &Update) -> bool {
    let mut pause = SOCKETIO_PAUSE_MIN;
    loop {
        let emitted = match &update.payload {
            Some(payload) => socket.emit(update.event, &(&update.about, payload)),
            None => socket.emit(update.event, &(&update.about,)),
        };
        match emitted {
            Ok(()) => return true,
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                sleep(pause).await;
                pause = (2 * pause).min(SOCKETIO_PAUSE_MAX);
            }
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Like a client that emits all requests at once.
    #[test]
    fn places_are_taken_before_the_answers_come() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.reserve("a").unwrap();
        assert!(subscriptions.reserve("a").unwrap_err().starts_with("a is subscribed already"));
        assert!(subscriptions.remove("a").unwrap_err().contains("expected its answer"));
        for n in 1..SUBSCRIPTIONS_MAX {
            subscriptions.reserve(&n.to_string()).unwrap();
        }
        assert!(subscriptions.reserve("one more").unwrap_err().contains("expected another connection"));
        subscriptions.settle("a", Some(5));
        subscriptions.settle("1", None);
        assert_eq!(subscriptions.remove("a"), Ok(5));
        assert!(subscriptions.remove("1").unwrap_err().contains("expected subscribe first"));
        assert_eq!(subscriptions.0.len(), SUBSCRIPTIONS_MAX - 2);
    }
}
