//! Streams over HTTP: `/streams/NAME`, and the URLs that udpxy users know, `/udp/[SOURCE@]GROUP:PORT` and `/rtp/...`.
//!
//! Chunks of payload come from the channel's tap and go into the response's body as they are. The response ends
//! with the connection, without chunked encoding, which simple players do not know.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, Method, Uri, Version, header},
    response::Response,
};
use serde::Deserialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::unconstrained,
    time::{Instant, Sleep, sleep},
};
use tokio_stream::{
    Stream,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};

use super::{App, refusal::Refusal, routes::allowed};
use crate::{
    address::{self, Input, Scheme, udpxy},
    clock, config,
    control::{Share, Subscription},
    egress::tap::{Chunk, Select},
    limits::FLOW_KEY_BYTES_MAX,
    wire::Format,
};

const MPEG_TS: &str = "video/mp2t";
const BYTES: &str = "application/octet-stream";

#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamQuery {
    /// The key of one flow; it may begin later.
    flow: Option<String>,
}

type Queried = Result<Query<StreamQuery>, QueryRejection>;

/// `/streams/NAME[?flow=KEY]`
pub(super) async fn named(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    query: Queried,
) -> Result<Response, Refusal> {
    let select = select(query)?;
    let name = uri.path().trim_start_matches("/streams/").trim_end_matches('/');
    let content_type = content_type(&app, name).await?;
    if method == Method::HEAD {
        return Ok(response(content_type, unknown_length()));
    }
    let place = place(&app)?;
    let subscription = app.control.subscribe(name, select).await?;
    Ok(response(content_type, feed(&app, subscription, place)))
}

/// `/udp/[SOURCE@]GROUP:PORT[?flow=KEY]`
pub(super) async fn udp(
    state: State<App>,
    method: Method,
    uri: Uri,
    query: Queried,
) -> Result<Response, Refusal> {
    on_demand(Scheme::Udp, state, method, uri, query).await
}

/// `/rtp/[SOURCE@]GROUP:PORT[?flow=KEY]`
pub(super) async fn rtp(
    state: State<App>,
    method: Method,
    uri: Uri,
    query: Queried,
) -> Result<Response, Refusal> {
    on_demand(Scheme::Rtp, state, method, uri, query).await
}

async fn on_demand(
    scheme: Scheme,
    State(app): State<App>,
    method: Method,
    uri: Uri,
    query: Queried,
) -> Result<Response, Refusal> {
    let select = select(query)?;
    // As it stood in the request: the parser knows what a percent sign means here.
    let text = uri.path().get("/udp/".len()..).unwrap_or_default();
    let input = group(scheme, text, &app.config)?;
    if method == Method::HEAD {
        return Ok(response(MPEG_TS, unknown_length()));
    }
    let place = place(&app)?;
    let subscription = app.control.subscribe_on_demand(input, select).await?;
    Ok(response(MPEG_TS, feed(&app, subscription, place)))
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
    if let Some(address::Interface::Addr(address)) = interface
        && address.is_ipv4() != group.is_ipv4()
    {
        return Err(Refusal::Forbidden(format!(
            "group {group} cannot be joined on {address}: expected a group of the same family (IPv4 or IPv6)"
        )));
    }
    Ok(Input { interface, ..input })
}

fn select(query: Queried) -> Result<Select, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::Malformed(error.body_text()))?;
    match query.flow {
        None => Ok(Select::Auto),
        Some(flow) if (1..=FLOW_KEY_BYTES_MAX).contains(&flow.len()) => Ok(Select::Flow(flow)),
        Some(flow) => Err(Refusal::Malformed(format!(
            "flow of {} bytes: expected a key of 1 to {FLOW_KEY_BYTES_MAX} bytes, as /api/v1/streams lists them",
            flow.len()
        ))),
    }
}

/// What a channel's payloads are, as far as its format or its first flow tells.
async fn content_type(app: &App, name: &str) -> Result<&'static str, Refusal> {
    match app.control.format(name)? {
        Format::Rtp | Format::Ts => Ok(MPEG_TS),
        Format::Auto => {
            let states = app.control.states(1).await;
            let flow =
                states.iter().find(|view| view.state.name == name).and_then(|view| view.state.flows.first());
            let is_media = flow.is_some_and(|flow| matches!(flow.format, "rtp" | "ts"));
            Ok(if is_media { MPEG_TS } else { BYTES })
        }
        _ => Ok(BYTES),
    }
}

fn place(app: &App) -> Result<OwnedSemaphorePermit, Refusal> {
    app.places.clone().try_acquire_owned().map_err(|_| {
        let max = app.config.clients_max;
        Refusal::Busy(format!("{max} clients are served already, expected fewer: try again later"))
    })
}

fn response(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    // This version makes the body end with the connection.
    *response.version_mut() = Version::HTTP_10;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// For HEAD: no body, and no word on its length, as with GET.
fn unknown_length() -> Body {
    Body::from_stream(tokio_stream::empty::<Result<Bytes, Infallible>>())
}

fn feed(app: &App, subscription: Subscription, place: OwnedSemaphorePermit) -> Body {
    Body::from_stream(Feed::new(subscription, app.config.idle_timeout, place))
}

/// One client's stream. It ends with the channel, or after a long silence.
struct Feed {
    chunks: BroadcastStream<Arc<Chunk>>,
    /// The number of the packet that comes next, once one has come.
    next: Option<u64>,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    share: Share,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn new(subscription: Subscription, idle_timeout: Duration, place: OwnedSemaphorePermit) -> Feed {
        Feed {
            chunks: BroadcastStream::new(subscription.reader),
            next: None,
            idle: Box::pin(sleep(idle_timeout)),
            idle_timeout,
            share: subscription.share,
            _place: place,
        }
    }

    /// The next chunk. What was skipped before it is counted.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Chunk>>> {
        loop {
            match ready!(Pin::new(&mut self.chunks).poll_next(cx)) {
                None => return Poll::Ready(None),
                // The next chunk's number says how many packets they were.
                Some(Err(BroadcastStreamRecvError::Lagged(_))) => {}
                Some(Ok(chunk)) => {
                    let next = self.next.unwrap_or(chunk.first);
                    self.share.subscribers().lagged(chunk.first.saturating_sub(next));
                    self.next = Some(chunk.first + u64::from(chunk.packets));
                    return Poll::Ready(Some(chunk));
                }
            }
        }
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(chunk) = self.poll_chunk(cx) {
            let Some(chunk) = chunk else { return Poll::Ready(None) };
            let deadline = Instant::from_std(clock::now() + self.idle_timeout);
            self.idle.as_mut().reset(deadline);
            self.share.subscribers().sent(u64::from(chunk.packets), chunk.bytes.len() as u64);
            return Poll::Ready(Some(Ok(chunk.bytes.clone())));
        }
        ready!(self.idle.as_mut().poll(cx));
        tracing::debug!("a client's stream was silent for {:?}: ends", self.idle_timeout);
        Poll::Ready(None)
    }
}

impl Drop for Feed {
    /// What waited for the client when its connection ended was not sent.
    fn drop(&mut self) {
        let rest = poll_fn(|cx| {
            while let Some(chunk) = ready!(self.poll_chunk(cx)) {
                self.share.subscribers().cut(u64::from(chunk.packets));
            }
            Poll::Ready(())
        });
        // Unconstrained: all of it, even if the task has used up its turn. Pending is the end of what waits.
        let _ = pin!(unconstrained(rest)).poll(&mut Context::from_waker(Waker::noop()));
    }
}

#[cfg(test)]
mod tests;
