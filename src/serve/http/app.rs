//! Shared state: of all request handlers ([`App`]), and of all connections ([`Shared`]).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::{
    Rules, answers::InFlight, feeder::Feeders, host::Names, player::Patience, routes, snapshot::Snapshots,
    socketio, via::Door,
};
use crate::{
    access::Access,
    audit::AuditLog,
    config,
    metrics::Exporter,
    observe::Observer,
    registry::Registry,
    serve::push::Hubs,
    shares::{Caller, Place, Refused, Resource},
};

use tidecast_net::log_limiter::LogLimiter;

/// State of all request handlers.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) registry: Registry,
    pub(super) config: Arc<config::Http>,
    /// Who may do what.
    pub(super) access: Access,
    /// What they did.
    pub(super) audit: AuditLog,
    pub(super) snapshots: Arc<Snapshots>,
    /// Answers that clients have not read yet.
    pub(super) answers: Arc<InFlight>,
    /// Names of this machine.
    pub(super) names: Arc<Names>,
    /// Sends messages to programs.
    pub(super) hubs: Arc<Hubs>,
    /// Recent observations.
    pub(super) observer: Observer,
    /// Metrics for Prometheus.
    pub(super) metrics: Exporter,
    /// Turns true when the server must end.
    pub(super) stop: CancellationToken,
}

/// State of all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) config: Arc<config::Http>,
    pub(super) router: Router,
    pub(super) socketio: socketio::Handle,
    pub(super) feeders: Feeders,
    pub(super) hubs: Arc<Hubs>,
    /// Limits log lines about clients that do not read.
    pub(super) cut_off: Mutex<LogLimiter>,
}

impl Shared {
    pub(super) fn new(
        config: config::Http,
        registry: Registry,
        rules: Rules,
        observer: Observer,
        hubs: Arc<Hubs>,
        metrics: Exporter,
        stop: CancellationToken,
    ) -> Shared {
        let (config, snapshots) = (Arc::new(config), Arc::default());
        let (answers, names) = (Arc::default(), Arc::new(Names::of_machine()));
        let app = App {
            registry: registry.clone(),
            config: config.clone(),
            access: rules.access,
            audit: rules.audit,
            snapshots,
            answers,
            names,
            hubs: hubs.clone(),
            observer,
            metrics,
            stop,
        };
        let (router, socketio) = routes::router(app);
        let feeders = Feeders::default();
        Shared { registry, config, router, socketio, feeders, hubs, cut_off: Mutex::default() }
    }

    /// How long to keep a client that is behind, or whose stream is silent.
    pub(super) fn patience(&self) -> Patience {
        Patience { lag_max: self.config.lag_max, idle_timeout: self.config.idle_timeout }
    }

    /// Takes a place for a connection. Behind a proxy, each request takes a place for its own
    /// client.
    pub(super) fn admit(&self, door: Door, peer: SocketAddr) -> Result<Place, Refused> {
        let resource = match door {
            Door::Main => Resource::Connections,
            Door::Admin => Resource::Admin,
        };
        let caller = match Caller::at(peer.ip()) {
            Caller::Host(_) if self.config.trusts(peer.ip()) => Caller::Proxy,
            caller => caller,
        };
        self.registry.shares().take(resource, caller)
    }

    /// Whether this path is served on this port.
    pub(super) fn serves(&self, door: Door, path: &str) -> bool {
        const OPERATORS: [&str; 4] = ["/api/", "/page/", "/metrics", "/status"];
        let is_operators = OPERATORS.iter().any(|start| path.starts_with(start));
        door == Door::Admin || self.config.admin.is_none() || !is_operators
    }
}
