//! Streams over HTTP: `/streams/NAME`, and the URLs of udpxy, `/udp/[SOURCE@]GROUP:PORT` and
//! `/rtp/...`.
//!
//! For the HTTP library the response has a head and no body: it ends with the connection, without
//! chunked encoding, which simple players do not support. The subscription is stored in the
//! connection's [`Handover`]. After the head, chunks of payload are sent unchanged (`player`,
//! `feeder`).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    App, group,
    handover::{Handover, Ordered},
    players,
    refusal::Refusal,
    snapshot,
    via::Via,
};
use crate::{
    access::Grant,
    channel::{
        tap::{Begin, Select},
        wanted::FlowWanted,
    },
    registry::audience::Transport,
    serve::sdp::Contents,
    shares::{Place, Resource},
};
use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, Method, Uri, Version, header},
    response::Response,
};
use hyper::body::Frame;
use serde::Deserialize;
use tidecast_net::address::{Input, Scheme, udpxy};
use tidecast_wire::Format;

const MPEG_TS: &str = "video/mp2t";
const BYTES: &str = "application/octet-stream";

/// Keys of other relays and of playlists (`fcc`, `playseek`, ...) are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamQuery {
    /// Key of one flow; it may start later.
    flow: Option<String>,
    /// `live`: start with the next packet, without older data that lets a player start at once. A
    /// time is a player's request for past data; it is treated as if absent.
    start: Option<String>,
    end: Option<String>,
    /// Interface on which to join.
    #[serde(rename = "if", alias = "ifname")]
    interface: Option<String>,
    /// `small`: of a snapshot.
    size: Option<String>,
}

impl StreamQuery {
    /// Reads the query, without the label that playlists append to a URL.
    fn read(query: Queried) -> Result<StreamQuery, Refusal> {
        let Query(query) = query.map_err(|error| Refusal::Malformed(error.body_text()))?;
        let plain = |text: Option<String>| text.map(|text| udpxy::label(&text).to_owned());
        let StreamQuery { flow, start, end, interface, size } = query;
        Ok(StreamQuery { flow: plain(flow), start: plain(start), end, interface: plain(interface), size })
    }
}

type Queried = Result<Query<StreamQuery>, QueryRejection>;

/// `/streams/NAME[?flow=KEY][&start=live]`, and the files of a stream: `.sdp`, `/snapshot.jpg`
#[expect(clippy::too_many_arguments, reason = "they are the parts of the request")]
pub(super) async fn named(
    State(app): State<App>,
    Extension(handover): Extension<Handover>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    let whole = udpxy::label(uri.path().trim_start_matches("/streams/")).trim_end_matches('/');
    let knows = |name: &str| app.registry.format(name).is_ok();
    let mut name = whole;
    // A channel's own name may end like one of these.
    if !knows(name) {
        let shorter = [udpxy::plain(whole), udpxy::without_extension(whole).unwrap_or(whole)];
        name = shorter.into_iter().find(|shorter| knows(shorter)).unwrap_or(whole);
    }
    if !knows(name) {
        if let Some(name) = name.strip_suffix(".sdp") {
            grant.channel(name, knows(name))?;
            return players::description(&app, &grant, name, &uri).await;
        }
        if let Some(name) = name.strip_suffix("/snapshot.jpg") {
            grant.channel(name, knows(name))?;
            return snapshot::snapshot(&app, name, StreamQuery::read(query)?.size.as_deref()).await;
        }
    }
    // The name as it was asked for: whether a part of it is a channel's is not for everyone.
    grant.channel(name, knows(name)).map_err(|denied| denied.about(whole))?;
    let format = app.registry.format(name)?;
    let query = StreamQuery::read(query)?;
    if let Some(interface) = &query.interface {
        return Err(Refusal::Malformed(format!(
            "if={interface:?}: expected no interface, since stream {name:?} is received where its input says (?if= in its address)"
        )));
    }
    let (select, begin) =
        (select(query.flow.as_deref(), &format)?, begin(query.start.as_deref(), query.end.as_deref())?);
    let content_type = content_type(&app, name).await?;
    if method == Method::HEAD {
        return Ok(response(content_type));
    }
    let place = place(&app, &via)?;
    let subscription = app.registry.subscribe(name, Transport::Http, select, begin).await?;
    subscription.share.introduce(via.who(&headers, &grant));
    handover.give(Ordered::Stream { subscription, place });
    Ok(response(content_type))
}

/// `/udp/[SOURCE@]GROUP:PORT[?flow=KEY]`
#[expect(clippy::too_many_arguments, reason = "they are the parts of the request")]
pub(super) async fn udp(
    state: State<App>,
    handover: Extension<Handover>,
    via: Extension<Via>,
    grant: Extension<Grant>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    on_demand(Scheme::Udp, state, handover, via, grant, method, uri, headers, query).await
}

/// `/rtp/[SOURCE@]GROUP:PORT[?flow=KEY]`
#[expect(clippy::too_many_arguments, reason = "they are the parts of the request")]
pub(super) async fn rtp(
    state: State<App>,
    handover: Extension<Handover>,
    via: Extension<Via>,
    grant: Extension<Grant>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    on_demand(Scheme::Rtp, state, handover, via, grant, method, uri, headers, query).await
}

#[expect(clippy::too_many_arguments, reason = "they are the parts of the request")]
async fn on_demand(
    scheme: Scheme,
    State(app): State<App>,
    Extension(handover): Extension<Handover>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Queried,
) -> Result<Response, Refusal> {
    let format = if scheme == Scheme::Rtp { Format::Rtp } else { Format::Auto };
    let query = StreamQuery::read(query)?;
    let (select, begin) =
        (select(query.flow.as_deref(), &format)?, begin(query.start.as_deref(), query.end.as_deref())?);
    // Not decoded: the address parser handles percent signs itself.
    let text = uri.path().get("/udp/".len()..).unwrap_or_default().trim_start_matches('/');
    let input = group::checked(scheme, text, query.interface.as_deref(), &app.config)?;
    grant.group(input.group)?;
    let content_type = type_on_demand(&app, &input).await;
    if method == Method::HEAD {
        return Ok(response(content_type));
    }
    let place = place(&app, &via)?;
    let joining = group::joining(&app.config);
    let subscription =
        app.registry.subscribe_on_demand(input, select, begin, joining, Transport::Http, via.caller).await?;
    subscription.share.introduce(via.who(&headers, &grant));
    handover.give(Ordered::Stream { subscription, place });
    Ok(response(content_type))
}

/// Start position of a stream requested with these `start` and `end` values.
pub(super) fn begin(start: Option<&str>, end: Option<&str>) -> Result<Begin, Refusal> {
    // 20240101120000, 1704106800, ${start}, {utc}
    let is_time = |text: &str| text.is_empty() || text.contains(|c: char| c.is_ascii_digit() || c == '{');
    match start {
        None => Ok(Begin::Picture),
        Some("live") => Ok(Begin::Live),
        Some(start) if end.is_some() || is_time(start) => Ok(Begin::Picture),
        Some(other) => Err(Refusal::Malformed(format!(
            "start={other:?}: expected start=live, or no start for one with a picture"
        ))),
    }
}

pub(super) fn select(flow: Option<&str>, format: &Format) -> Result<Select, Refusal> {
    let Some(flow) = flow else { return Ok(Select::Auto) };
    let wanted = FlowWanted::parse(flow).map_err(Refusal::Malformed)?;
    wanted.check(format).map_err(Refusal::Malformed)?;
    Ok(Select::Flow(wanted))
}

/// Content type of a channel's payloads, as far as its description, format or packets show.
async fn content_type(app: &App, name: &str) -> Result<HeaderValue, Refusal> {
    let channel = app.registry.channel(name)?;
    if channel.format == Format::Ts {
        return Ok(HeaderValue::from_static(MPEG_TS)); // no other type is possible
    }
    let known = Contents::of_running(&app.registry, &channel).await.media_type();
    // Unknown before the first packet. Programs ignore the type, but players may refuse "bytes",
    // so media formats use the type of a transport stream.
    let is_media = matches!(channel.format, Format::Rtp | Format::Ts | Format::Auto);
    Ok(type_or(known, if is_media { MPEG_TS } else { BYTES }))
}

/// Content type of a group on demand, as far as its packets show, if it is already joined.
async fn type_on_demand(app: &App, input: &Input) -> HeaderValue {
    type_or(
        Contents::of_group(&app.registry, input).await.and_then(|contents| contents.media_type()),
        MPEG_TS,
    )
}

fn type_or(known: Option<String>, otherwise: &'static str) -> HeaderValue {
    let known = known.and_then(|text| HeaderValue::try_from(text).ok());
    known.unwrap_or(HeaderValue::from_static(otherwise))
}

/// Takes a place among the clients that may stream at the same time.
pub(super) fn place(app: &App, via: &Via) -> Result<Place, Refusal> {
    Ok(app.registry.shares().take(Resource::Streams, via.caller)?)
}

/// The head of a stream, for GET and HEAD.
pub(super) fn response(content_type: HeaderValue) -> Response {
    let mut response = Response::new(Body::new(Rest));
    // With HTTP/1.0 the body ends with the connection.
    *response.version_mut() = Version::HTTP_10;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body of unknown length, so that the head contains no length.
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
