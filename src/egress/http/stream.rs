//! Streams over HTTP: `/streams/NAME`, and the URLs that udpxy users know, `/udp/[SOURCE@]GROUP:PORT` and `/rtp/...`.
//!
//! The response has a head and no body as far as the HTTP library knows: it ends with the connection, without chunked
//! encoding, which simple players do not know. What was subscribed to is left in the connection's [`Handover`], and
//! when the head has gone out, chunks of payload follow it as they are (`client`, `feeder`).

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, Uri, Version, header},
    response::Response,
};
use hyper::{body::Frame, upgrade::OnUpgrade};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{App, players, push::Wanted, refusal::Refusal, routes::allowed, snapshot};
use crate::{
    address::{self, Input, Scheme, udpxy},
    config,
    control::Subscription,
    egress::{
        subscribers::Who,
        tap::{Begin, Select},
        wanted::FlowWanted,
    },
    wire::Format,
};

const MPEG_TS: &str = "video/mp2t";
const BYTES: &str = "application/octet-stream";

#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamQuery {
    /// The key of one flow; it may begin later.
    flow: Option<String>,
    /// `live`: from the next packet on, without what a player needs to begin at once.
    start: Option<String>,
}

/// Where a request handler leaves what its connection shall carry behind the head. One per connection, in the
/// extensions of its requests.
#[derive(Debug, Clone)]
pub(super) struct Handover {
    peer: Option<SocketAddr>,
    ordered: Arc<Mutex<Option<Ordered>>>,
}

/// What a client has asked for and shall get.
#[derive(Debug)]
pub(super) enum Ordered {
    /// Payloads.
    Stream { subscription: Subscription, place: OwnedSemaphorePermit },
    /// Server-sent events.
    Events(Wanted),
    /// A WebSocket, whose connection comes out of the upgrade.
    WebSocket { wanted: Wanted, upgrade: OnUpgrade },
    /// The WebSocket on its connection.
    Upgraded(Wanted),
}

impl Handover {
    pub(super) fn new(peer: Option<SocketAddr>) -> Handover {
        Handover { peer, ordered: Arc::default() }
    }

    /// Who has sent a request with these headers.
    pub(super) fn who(&self, headers: &HeaderMap) -> Who {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Who::new(self.peer, agent)
    }

    pub(super) fn give(&self, ordered: Ordered) {
        *self.ordered.lock().unwrap_or_else(PoisonError::into_inner) = Some(ordered);
    }

    /// What was left here.
    pub(super) fn take(&self) -> Option<Ordered> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type Queried = Result<Query<StreamQuery>, QueryRejection>;

/// `/streams/NAME[?flow=KEY][&start=live]`, and what belongs to a stream: `.sdp`, `/snapshot.jpg`
pub(super) async fn named(
    State(app): State<App>,
    Extension(handover): Extension<Handover>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    let name = uri.path().trim_start_matches("/streams/").trim_end_matches('/');
    if app.control.format(name).is_err() {
        // A channel may have a name like one of these.
        if let Some(name) = name.strip_suffix(".sdp") {
            return players::description(&app, name, &uri).await;
        }
        if let Some(name) = name.strip_suffix("/snapshot.jpg") {
            return snapshot::snapshot(&app, name).await;
        }
    }
    let (select, begin) = wanted(query, &app.control.format(name)?)?;
    let content_type = content_type(&app, name).await?;
    if method == Method::HEAD {
        return Ok(response(content_type));
    }
    let place = place(&app)?;
    let subscription = app.control.subscribe(name, select, begin).await?;
    subscription.share.introduce(handover.who(&headers));
    handover.give(Ordered::Stream { subscription, place });
    Ok(response(content_type))
}

/// `/udp/[SOURCE@]GROUP:PORT[?flow=KEY]`
pub(super) async fn udp(
    state: State<App>,
    handover: Extension<Handover>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    on_demand(Scheme::Udp, state, handover, method, uri, headers, query).await
}

/// `/rtp/[SOURCE@]GROUP:PORT[?flow=KEY]`
pub(super) async fn rtp(
    state: State<App>,
    handover: Extension<Handover>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    on_demand(Scheme::Rtp, state, handover, method, uri, headers, query).await
}

async fn on_demand(
    scheme: Scheme,
    State(app): State<App>,
    Extension(handover): Extension<Handover>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    let format = if scheme == Scheme::Rtp { Format::Rtp } else { Format::Auto };
    let (select, begin) = wanted(query, &format)?;
    // As it stood in the request: the parser knows what a percent sign means here.
    let text = uri.path().get("/udp/".len()..).unwrap_or_default();
    let input = group(scheme, text, &app.config)?;
    if method == Method::HEAD {
        return Ok(response(HeaderValue::from_static(MPEG_TS)));
    }
    let place = place(&app)?;
    let subscription = app.control.subscribe_on_demand(input, select, begin, app.config.fec).await?;
    subscription.share.introduce(handover.who(&headers));
    handover.give(Ordered::Stream { subscription, place });
    Ok(response(HeaderValue::from_static(MPEG_TS)))
}

/// The group that was asked for, if it may be.
fn group(scheme: Scheme, text: &str, config: &config::Http) -> Result<Input, Refusal> {
    let input = udpxy::parse(scheme, text).map_err(|error| {
        Refusal::Malformed(format!(
            "{error}, as in /{scheme}/239.1.1.1:5000 or /{scheme}/10.0.0.5@232.1.1.1:5000"
        ))
    })?;
    let group = input.group;
    if !address::is_class_d(group) {
        return Err(Refusal::Forbidden(format!(
            "{group} is no multicast group: expected one of {}",
            allowed(config)
        )));
    }
    if !config.allows(group) {
        return Err(Refusal::Forbidden(format!(
            "group {group} is not allowed here: expected one of {} (the operator allows more with `serve --allow {group}` or allow in [http])",
            allowed(config)
        )));
    }
    let interface = config.interface.clone();
    if let Some(address) = interface.as_ref().and_then(address::Interface::address)
        && address.is_ipv4() != group.is_ipv4()
    {
        return Err(Refusal::Forbidden(format!(
            "group {group} cannot be joined on {address}: expected a group of the same family (IPv4 or IPv6)"
        )));
    }
    // A client does not choose where to join.
    if let Some(zone) = input.interface
        && Some(&zone) != interface.as_ref()
    {
        let here = interface.map_or("by the routes".to_owned(), |interface| format!("on {interface}"));
        return Err(Refusal::Forbidden(format!(
            "zone {zone}: groups on demand are joined {here} (the operator names one interface with --if, or `interface` in [http])"
        )));
    }
    Ok(Input { interface, ..input })
}

/// What of the channel is asked for, and from where on.
fn wanted(query: Queried, format: &Format) -> Result<(Select, Begin), Refusal> {
    let Query(query) = query.map_err(|error| Refusal::Malformed(error.body_text()))?;
    let begin = match query.start.as_deref() {
        None => Begin::Picture,
        Some("live") => Begin::Live,
        Some(other) => {
            return Err(Refusal::Malformed(format!(
                "start={other:?}: expected start=live, or no start for one with a picture"
            )));
        }
    };
    Ok((select(query.flow.as_deref(), format)?, begin))
}

fn select(flow: Option<&str>, format: &Format) -> Result<Select, Refusal> {
    let Some(flow) = flow else { return Ok(Select::Auto) };
    let wanted = FlowWanted::parse(flow).map_err(Refusal::Malformed)?;
    wanted.check(format).map_err(Refusal::Malformed)?;
    Ok(Select::Flow(wanted))
}

/// What a channel's payloads are, as far as its description, its format or its packets tell.
async fn content_type(app: &App, name: &str) -> Result<HeaderValue, Refusal> {
    let channel = app.control.channel(name)?;
    let known = app.control.contents(&channel).await.media_type();
    // Before the first packet nobody knows; programs do not look, and players that are told "bytes" may refuse.
    let is_media = matches!(channel.format, Format::Rtp | Format::Ts | Format::Auto);
    let known = known.and_then(|text| HeaderValue::try_from(text).ok());
    Ok(known.unwrap_or(HeaderValue::from_static(if is_media { MPEG_TS } else { BYTES })))
}

/// A place among the clients that may stream at the same time.
pub(super) fn place(app: &App) -> Result<OwnedSemaphorePermit, Refusal> {
    app.places.clone().try_acquire_owned().map_err(|_| {
        let max = app.config.clients_max;
        Refusal::Busy(format!("{max} clients are served already, expected fewer: try again later"))
    })
}

/// The head of a stream, for GET as for HEAD.
pub(super) fn response(content_type: HeaderValue) -> Response {
    let mut response = Response::new(Body::new(Rest));
    // This version makes the body end with the connection.
    *response.version_mut() = Version::HTTP_10;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body of unknown length, so that its head says nothing of a length, and of no bytes.
struct Rest;

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests;
