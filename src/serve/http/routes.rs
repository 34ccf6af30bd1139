//! Maps paths to handlers, except for the streams themselves.

use std::fmt::Write as _;

use axum::{
    Extension, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, Method, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    App, access, answers, api, control, cors, encoding, group, host, live, login, openapi, page, players,
    push,
    refusal::{Allow, Refusal},
    socketio, status, stream,
    via::{Door, Via},
};
use crate::{
    access::Grant,
    config::Role,
    limits::{STATE_FLOWS, STATE_FLOWS_MAX},
    metrics,
    registry::ChannelView,
    shares::Resource,
};

/// A route of the API: its path, the method that [`openapi`] describes, and its handlers.
pub(super) type ApiRoute = (&'static str, &'static str, MethodRouter<App>);

/// Answers that may be long.
fn api_answers() -> [ApiRoute; 11] {
    [
        ("/api/v1/streams", "get", get(streams)),
        ("/api/v1/channels", "get", get(api::channels)),
        ("/api/v1/streams/{name}/flows", "get", get(api::flows)),
        ("/api/v1/streams/{name}/clients", "get", get(api::clients)),
        (
            "/api/v1/streams/{name}/clients/{id}",
            "delete",
            delete(control::disconnect).fallback(control::not_so),
        ),
        ("/api/v1/streams/{name}/legs", "get", get(api::legs)),
        ("/api/v1/streams/{name}/outputs", "get", get(api::outputs)),
        ("/api/v1/streams/{name}/subscribers", "get", get(api::subscribers)),
        ("/api/v1/history", "get", get(api::history)),
        ("/api/v1/events", "get", get(api::events)),
        ("/api/v1/losses", "get", get(api::losses)),
    ]
}

/// Answers that are short, or written as they are generated.
fn api_streams() -> [ApiRoute; 2] {
    [("/api/v1/live", "get", get(live::live)), ("/api/v1/openapi.json", "get", get(openapi::openapi))]
}

fn add(router: Router<App>, routes: impl IntoIterator<Item = ApiRoute>) -> Router<App> {
    routes.into_iter().fold(router, |router, (path, _, handlers)| router.route(path, handlers))
}

/// The paths of the API, each with its method.
#[cfg(test)]
pub(super) fn api_paths() -> impl Iterator<Item = (&'static str, &'static str)> {
    api_answers().into_iter().chain(api_streams()).map(|(path, method, _)| (path, method))
}

/// The routes, and the handle of Socket.IO, which must be closed at the end.
pub(super) fn router(app: App) -> (Router, socketio::Handle) {
    let bound = middleware::from_fn_with_state(app.answers.clone(), answers::bound);
    let meant = middleware::from_fn_with_state(app.clone(), host::guard);
    let router = Router::new()
        .route("/readyz", get(ready))
        .route("/login", get(login::show).post(login::login))
        .route("/logout", post(login::logout))
        .route("/metrics", get(scrape))
        .route("/playlist.m3u", get(players::playlist));
    let router = add(router, api_answers()).route_layer(bound);
    let router = page::mount(add(router, api_streams()))
        .route("/api/v1/streams/{name}/{part}", get(api::no_part))
        .route("/", get(index))
        .route("/status", get(status::page))
        .route("/status/", get(status::page))
        .route("/healthz", get(health))
        .route("/streams/", get(stream::named))
        .route("/streams/{*name}", get(stream::named))
        .route("/ws/{*target}", get(push::websocket))
        .route("/sse/{*target}", get(push::sse))
        .route("/udp/", get(stream::udp))
        .route("/udp/{*address}", get(stream::udp))
        .route("/rtp/", get(stream::rtp))
        .route("/rtp/{*address}", get(stream::rtp))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app.clone(), access::guard))
        .layer(cors::layer(&app.config))
        .with_state(app.clone());
    let (router, io) = socketio::mount(router, &app);
    (router.layer(meant), io)
}

/// The page for browsers, text for other clients. If the operator has a separate port, this port
/// shows only what its clients can use.
async fn index(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
) -> Response {
    let for_operators = via.door == Door::Admin || app.config.admin.is_none();
    if let Some(page) = page::index(&headers).filter(|_| for_operators) {
        return page;
    }
    ([(header::VARY, "accept, accept-encoding")], contents(&app, &grant, for_operators).await).into_response()
}

async fn contents(app: &App, grant: &Grant, for_operators: bool) -> String {
    let mut text = format!("tidecast {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |path: &str, what: &str| {
        let _ = writeln!(text, "{path:<32} {what}"); // a String takes all
    };
    if for_operators {
        for view in app.registry.views(0).await.unwrap_or_default().iter() {
            let legs: Vec<&str> = view.state.legs.iter().map(|leg| leg.address.as_str()).collect();
            line(&view.path, &legs.join(" + "));
        }
    } else {
        line("/streams/NAME", "a stream");
    }
    if !app.config.allow.is_empty() {
        let what = format!("a group on demand (allowed: {})", group::allowed(&app.config));
        line("/udp/[SOURCE@]GROUP:PORT", &what);
        line("/rtp/[SOURCE@]GROUP:PORT", "the same, for RTP");
    }
    line("/playlist.m3u", "the streams for players");
    line("/streams/NAME.sdp", "where it goes by RTP or UDP, for players");
    line("/streams/NAME/snapshot.jpg", "its last key frame, if ffmpeg is installed");
    line("/ws/NAME", "a stream's packets and gaps as WebSocket messages (?flow= &every= &format=json)");
    line("/sse/NAME", "the same as server-sent events (?flow= &every=)");
    if cfg!(feature = "socketio") {
        line("/socket.io/", "the same for Socket.IO clients, which emit subscribe");
    }
    line("/healthz", "whether it runs and the packet path turns");
    line("/readyz", "whether all configured groups are joined");
    if !for_operators {
        return text;
    }
    line("/metrics", "for Prometheus");
    line("/status", "who gets which group, as udpxy shows it");
    line("/api/v1/channels", "rates, losses and verdicts of all streams (?search= &sort= &format=csv)");
    line(
        "/api/v1/streams/NAME/flows",
        "its flows (?search= &sort= &format=csv); likewise clients, legs, outputs, subscribers",
    );
    if control::may_disconnect(app, grant) {
        line("DELETE /api/v1/streams/NAME/clients/ID", "disconnects one of its clients");
    }
    line("/api/v1/history?channel=NAME", "its last ten minutes, as JSON or CSV");
    line("/api/v1/events", "what happened, and what to do, as JSON or CSV");
    line("/api/v1/losses", "what was lost lately, and why, as JSON or CSV");
    line("/api/v1/live", "what the page shows, once a second, as server-sent events");
    line("/api/v1/openapi.json", "all of this for programs, as OpenAPI 3.1");
    line("/api/v1/streams", "the state of all streams, as JSON (?flows=N: so many flows of each)");
    text
}

/// Whether the packet threads run. Whether packets arrive depends on the network and does not
/// count.
async fn health(State(app): State<App>) -> Result<&'static str, Refusal> {
    app.registry.health().await?;
    Ok("ok\n")
}

async fn ready(State(app): State<App>, Extension(grant): Extension<Grant>) -> Response {
    let mut lines = app.registry.not_ready().await;
    let is_ready = lines.is_empty();
    // Refused datagrams are the senders' fault, and no reason to take the relay out of service.
    let seen = app.observer.seen();
    lines.extend(
        seen.channels.iter().flat_map(|channel| {
            channel.refused().iter().map(|reason| format!("{}: {reason}", channel.name()))
        }),
    );
    drop(seen);
    if !grant.has(Role::View) {
        lines = if is_ready { Vec::new() } else { vec!["not ready".to_owned()] };
    }
    if is_ready {
        lines.insert(0, "ready".to_owned());
        (lines.join("\n") + "\n").into_response()
    } else {
        Refusal::Busy(lines.join("\n")).into_response()
    }
}

async fn scrape(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refusal> {
    Ok(encoding::text(&headers, metrics::CONTENT_TYPE, app.metrics.text().await?))
}

#[derive(Debug, Deserialize)]
struct StreamsQuery {
    flows: Option<usize>,
}

/// State of all streams.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Streams {
    /// Version of the program.
    version: &'static str,
    /// Clients at present that take streams.
    clients: usize,
    /// How many there may be.
    clients_max: usize,
    /// The channels.
    channels: Vec<ChannelView>,
}

async fn streams(
    State(app): State<App>,
    query: Result<Query<StreamsQuery>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let flows = query.ok().map(|Query(query)| query.flows.unwrap_or(STATE_FLOWS));
    let flows = flows.filter(|flows| *flows <= STATE_FLOWS_MAX).ok_or_else(|| {
        Refusal::Malformed(format!("flows: expected ?flows=N with N from 0 to {STATE_FLOWS_MAX}"))
    })?;
    let views = app.registry.views(flows).await?;
    let json = views.text(flows, |channels| {
        let clients_max = app.config.clients_max;
        let cut = |view: &ChannelView| {
            let mut view = view.clone();
            view.state.flows = view.state.flows.first(flows);
            view
        };
        let streams = Streams {
            version: env!("CARGO_PKG_VERSION"),
            clients: app.registry.shares().taken(Resource::Streams),
            clients_max,
            channels: channels.iter().map(cut).collect(),
        };
        serde_json::to_vec(&streams).unwrap_or_default() // numbers and texts
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], json))
}

async fn not_found(uri: Uri) -> Refusal {
    Refusal::NotFound(format!("there is nothing at {}: see / for what is here", uri.path()))
}

async fn method_not_allowed(method: Method) -> Refusal {
    Refusal::Method(format!("method {method}: expected GET or HEAD"), Allow::Get)
}
