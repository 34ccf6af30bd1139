//! Messages for browsers and programs: `/ws/NAME` and `/sse/NAME`. [`crate::serve::push`] makes
//! the messages; here are the requests, and the connections after their responses.
//!
//! A page of another site must not read what only its visitor can reach, so the browser's `Origin`
//! must be ours or one that the operator names. Programs send none.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    response::Response,
};
use hyper::upgrade::OnUpgrade;
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    time::{Instant, interval_at},
};

use super::{
    App, deflate, group,
    handover::{Handover, Messages, Ordered, PushOrder},
    refusal::Refusal,
    stream,
    via::Via,
    websocket,
};
use crate::{
    access::Grant,
    config,
    limits::{CLIENT_CHATTER_BYTES_MAX, PUSH_KEEPALIVE, PUSH_STALL_MAX},
    registry::audience::{Transport, Who},
    serve::{
        listen,
        push::{Hubs, PushQueue, SubscribeOptions, Wire},
        queue::End,
    },
    shares::Place,
};
use tidecast_net::address::{Input, Scheme, udpxy};
use tidecast_wire::Format;

/// An empty comment, which clients of server-sent events ignore.
const COMMENT: &[u8] = b":\n\n";

/// Query of a subscription.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PushQuery {
    flow: Option<String>,
    every: Option<String>,
    format: Option<String>,
    /// For raw messages, as for streams.
    start: Option<String>,
}

type Queried = Result<Query<PushQuery>, QueryRejection>;

/// Checks whether pages of the browser's site may subscribe.
///
/// # Errors
/// `Forbidden` if they may not.
pub(super) fn admit(config: &config::Http, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let text = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if config.admits(text, host) {
        return Ok(Some(origin.clone()));
    }
    let mut expected: Vec<String> = host.map(|host| format!("http://{host}")).into_iter().collect();
    expected.extend(config.origins.iter().map(ToString::to_string));
    let expected = expected.join(", ");
    Err(Refusal::Forbidden(format!(
        "pages of {text:?} may not subscribe: expected one of {expected} (the operator allows more with `--origin {text}` or origins in [http])"
    )))
}

/// The target of a path after `/ws/` or `/sse/`: a channel, or a group such as
/// `udp/239.1.1.1:5000`.
enum Target {
    Channel(String),
    Group(Input),
}

impl Target {
    fn parse(app: &App, path: &str) -> Result<Target, Refusal> {
        let text = udpxy::label(path.splitn(3, '/').nth(2).unwrap_or_default());
        for scheme in [Scheme::Udp, Scheme::Rtp] {
            if let Some(address) = text.strip_prefix(&format!("{scheme}/")) {
                return group::checked(scheme, address, None, &app.config).map(Target::Group);
            }
        }
        Ok(Target::Channel(text.trim_end_matches('/').to_owned()))
    }

    fn format(&self, app: &App) -> Result<Format, Refusal> {
        match self {
            Target::Channel(name) => Ok(app.registry.format(name)?),
            Target::Group(input) => Ok(if input.scheme.is_rtp() { Format::Rtp } else { Format::Auto }),
        }
    }
}

/// A client's validated options.
struct Asked<'a> {
    app: &'a App,
    target: Target,
    options: SubscribeOptions,
    who: Who,
    via: &'a Via,
}

impl<'a> Asked<'a> {
    fn new(
        app: &'a App,
        path: &str,
        wire: Wire,
        query: &PushQuery,
        who: Who,
        (via, grant): (&'a Via, &Grant),
    ) -> Result<Asked<'a>, Refusal> {
        let target = Target::parse(app, path)?;
        match &target {
            Target::Channel(name) => grant.channel(name, app.registry.knows(name))?,
            Target::Group(input) => grant.group(input.group)?,
        }
        let options = SubscribeOptions::parse(wire, query.flow.as_deref(), query.every.as_deref())
            .map_err(Refusal::Malformed)?;
        options.check(&target.format(app)?).map_err(Refusal::Malformed)?;
        Ok(Asked { app, target, options, who, via })
    }

    /// Takes a place, and joins the requested group.
    async fn order(self, transport: Transport) -> Result<PushOrder, Refusal> {
        let Asked { app, target, options, who, via } = self;
        let place = stream::place(app, via)?;
        let (name, share) = match target {
            Target::Channel(name) => (name, None),
            Target::Group(input) => {
                let joining = group::joining(&app.config);
                let joined = app.registry.join_on_demand(input, joining, transport, via.caller).await?;
                (joined.0, Some(joined.1))
            }
        };
        Ok(PushOrder { name, share, options, who, after: None, place })
    }

    /// Subscribes to a stream as players do.
    async fn raw(self, query: &PushQuery) -> Result<Messages, Refusal> {
        let Asked { app, target, who, via, .. } = self;
        let select = stream::select(query.flow.as_deref(), &target.format(app)?)?;
        let begin = stream::begin(query.start.as_deref(), None)?;
        let place = stream::place(app, via)?;
        let (registry, transport) = (&app.registry, Transport::WebSocket);
        let subscription = match target {
            Target::Channel(name) => registry.subscribe(&name, transport, select, begin).await?,
            Target::Group(input) => {
                let joining = group::joining(&app.config);
                registry.subscribe_on_demand(input, select, begin, joining, transport, via.caller).await?
            }
        };
        subscription.share.introduce(who);
        Ok(Messages::Raw { subscription, place })
    }
}

/// `/sse/NAME[?flow=KEY&every=1s]`
#[expect(clippy::too_many_arguments, reason = "they are the parts of the request")]
pub(super) async fn sse(
    State(app): State<App>,
    Extension(handover): Extension<Handover>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    admit(&app.config, &headers)?;
    let query = super::api::asked(query)?;
    if let Some(format) = query.format.as_deref().filter(|format| *format != "json") {
        return Err(Refusal::Malformed(format!(
            "format {format:?}: expected json, all that events can carry"
        )));
    }
    let asked = Asked::new(&app, uri.path(), Wire::Sse, &query, via.who(&headers, &grant), (&via, &grant))?;
    let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
    if method != Method::HEAD {
        let mut order = asked.order(Transport::Sse).await?;
        order.after = last.and_then(|last| last.parse().ok()); // otherwise it is from another server
        handover.give(Ordered::Events(order));
    }
    let mut response = stream::response(HeaderValue::from_static("text/event-stream"));
    let headers = response.headers_mut();
    // Otherwise proxies that buffer responses would hold back events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// `/ws/NAME[?flow=KEY&every=1s&format=json]`, `/ws/NAME?format=raw[&flow=KEY&start=live]`
pub(super) async fn websocket(
    State(app): State<App>,
    Extension(handover): Extension<Handover>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    query: Queried,
    request: Request,
) -> Result<Response, Refusal> {
    admit(&app.config, request.headers())?;
    let query = super::api::asked(query)?;
    let wire = match query.format.as_deref() {
        None | Some("frames") => Wire::WebSocketFrames,
        Some("json") if deflate::is_offered(&request) => Wire::WebSocketDeflated,
        Some("json") => Wire::WebSocketJson,
        Some("raw") => Wire::Raw,
        Some(other) => {
            return Err(Refusal::Malformed(format!("format {other:?}: expected frames, json or raw")));
        }
    };
    if query.start.is_some() && wire != Wire::Raw {
        return Err(Refusal::Malformed("start: expected it with format=raw alone".to_owned()));
    }
    let path = request.uri().path().to_owned();
    let asked = Asked::new(&app, &path, wire, &query, via.who(request.headers(), &grant), (&via, &grant))?;
    let mut response = websocket::accept(&request)?;
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(Refusal::Malformed("no WebSocket: expected a request of HTTP/1.1".to_owned()));
    }
    let messages = match wire {
        Wire::Raw => {
            websocket::agree(&request, &mut response);
            asked.raw(&query).await?
        }
        _ => Messages::Told(asked.order(Transport::WebSocket).await?),
    };
    if wire == Wire::WebSocketDeflated {
        deflate::agree(&mut response);
    }
    handover.give(Ordered::WebSocket(messages));
    Ok(response)
}

/// Subscribes after the head of the response. `None` if the relay is ending.
async fn subscribe(
    hubs: &Hubs,
    transport: Transport,
    order: PushOrder,
    stream: TcpStream,
) -> Option<(Arc<PushQueue>, Place)> {
    let queue = PushQueue::new(Some(stream), order.who.clone());
    let PushOrder { name, share, options, after, place, .. } = order;
    let subscribed = match share {
        Some(share) => hubs.subscribe_shared(&name, share, options, &queue, after).await,
        None => hubs.subscribe_after(&name, transport, options, &queue, after).await,
    };
    match subscribed {
        Ok(_) => Some((queue, place)),
        Err(error) => {
            tracing::debug!("a subscription has failed: {error}");
            None
        }
    }
}

/// Sends server-sent events until the end.
pub(super) async fn events(stream: TcpStream, order: PushOrder, hubs: &Hubs) {
    let Some((queue, _place)) = subscribe(hubs, Transport::Sse, order, stream).await else { return };
    let end = tokio::select! {
        end = queue.write() => end,
        () = gone(&queue) => End::Gone,
        () = keep_alive(&queue) => End::Gone,
        end = queue.disconnected() => end,
    };
    log(end, "server-sent events");
}

/// Serves a WebSocket until the end.
pub(super) async fn frames(stream: TcpStream, early: Vec<u8>, order: PushOrder, hubs: &Hubs) {
    let deflated = order.options.wire == Wire::WebSocketDeflated;
    let Some((queue, _place)) = subscribe(hubs, Transport::WebSocket, order, stream).await else { return };
    let peer = websocket::Peer::default();
    let end = tokio::select! {
        end = queue.write() => end,
        () = websocket::read(&*queue, early, deflated, &peer) => End::Gone,
        () = websocket::ping(&*queue, &peer) => End::Gone,
        end = queue.disconnected() => end,
    };
    websocket::leave(&*queue, &peer, end).await;
    log(end, "a WebSocket");
}

fn log(end: End, what: &str) {
    if end == End::Behind {
        tracing::debug!("a client of {what} has taken nothing for {PUSH_STALL_MAX:?}: cut off");
    }
}

/// Sends a comment from time to time, so that proxies keep a silent connection and a vanished
/// client is detected.
async fn keep_alive(queue: &PushQueue) {
    let mut times = interval_at(Instant::now() + PUSH_KEEPALIVE, PUSH_KEEPALIVE);
    loop {
        times.tick().await;
        if queue.waiting() == 0 {
            queue.say(COMMENT.to_vec());
        }
    }
}

/// Returns when the client has gone, or sends too much.
async fn gone(queue: &PushQueue) {
    let Ok(stream) = queue.stream() else { return };
    let mut chatter = 0;
    while chatter <= CLIENT_CHATTER_BYTES_MAX {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0; 512]) {
            Ok(0) => {
                // It has closed its side, and may still listen. If it has gone, it answers this
                // with a reset.
                queue.say(COMMENT.to_vec());
                return listen::broken(stream).await;
            }
            Ok(bytes) => chatter += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
