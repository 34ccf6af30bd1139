//! The running relay behind `serve`, `relay` and `demo`, made from a [`Config`], from its start to
//! its end.

mod reload;

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, sync::Arc};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    task::{AbortHandle, JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    shutdown::{self, Asked, Signals},
    watch::View,
    watchdog,
};
use crate::{
    access::Access,
    audit::AuditLog,
    channel::{PathSettings, state::ChannelState, thread::Started},
    cli,
    config::{self, Config, Errors},
    limits::{CHUNK, DRAIN_MAX, LINGER, RECORDING_DRAIN_MAX, RUNTIME_THREADS_MAX},
    metrics::{Exporter, Metrics},
    observe::Observer,
    registry::{self, Registry},
    serve::{
        http::{Rules, Server},
        push::Hubs,
        record::{self, Recorder},
        sap::Announcer,
        tcp, udp,
    },
    shares::Shares,
    words,
};

/// A running relay.
#[derive(Debug)]
pub struct Service {
    /// What runs, apart from what counts at the next start.
    config: Config,
    registry: Registry,
    access: Access,
    /// Keeps the keys of the identity provider fresh.
    keys: AbortHandle,
    audit: AuditLog,
    channels: usize,
    http: Option<Listener>,
    /// Address of the operator's port, if there is one.
    admin: Option<SocketAddr>,
    tcp: Option<Listener>,
    udp: Option<Listener>,
    /// Announces streams that are sent to groups.
    announcer: Option<Task>,
    /// Recorders of each channel.
    recorders: BTreeMap<String, Vec<Arc<Recorder>>>,
    /// Legs that wait, with the reason.
    waiting: Vec<String>,
    /// Observes the channels and logs trouble, with or without HTTP.
    observer: Observer,
}

/// A running server.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    task: Task,
}

/// A task that ends on request, or when this is dropped.
#[derive(Debug)]
struct Task {
    stop: CancellationToken,
    _stops: DropGuard,
    task: JoinHandle<()>,
}

impl Task {
    /// Starts what runs until the token is cancelled.
    fn start<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(CancellationToken) -> F) -> Task {
        let stop = CancellationToken::new();
        Task { _stops: stop.clone().drop_guard(), task: tokio::spawn(run(stop.clone())), stop }
    }

    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!("the announcements have failed: {error}");
        }
    }
}

impl Service {
    /// Binds HTTP, joins the groups, and serves. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A port is in use, or a leg cannot be opened and waiting does not help; then nothing keeps
    /// running.
    pub async fn start(config: &Config) -> anyhow::Result<Service> {
        raise_descriptor_limit();
        let server = match &config.http {
            Some(http) => Some(Server::bind(http.clone()).await?),
            None => None,
        };
        let programs = match &config.tcp {
            Some(tcp) => Some(tcp::Server::bind(tcp, config.http.as_ref()).await?),
            None => None,
        };
        let subscribers = config.udp.as_ref().map(udp::Server::bind).transpose()?;
        let (linger, chunk) = config.http.as_ref().map_or((LINGER, CHUNK), |http| (http.linger, http.chunk));
        let start_bytes_max = config.http.as_ref().map_or(0, |http| http.start_bytes_max);
        let last_values = server.is_some() || programs.is_some();
        let settings =
            PathSettings { tick: config.tick, burst: config.burst, chunk, last_values, start_bytes_max };
        warn_if_open(config);
        let metrics = Arc::new(Metrics::new());
        let audit = open_audit(config, &metrics)?;
        let control = config.http.as_ref().is_some_and(|http| http.control);
        let access = Access::new(config.access.clone(), control);
        let keys = tokio::spawn(access.clone().keep_keys()).abort_handle();
        let registry =
            Registry::start(config.threads, settings, linger, Shares::new(config.bounds), metrics.clone())
                .context("cannot start the packet path")?;
        if audit.is_on() {
            let audit = audit.clone();
            registry.on_leaving(Box::new(move |channel, client| audit.watched(channel, client)));
        }
        let (mut waiting, mut recorders) = (Vec::new(), BTreeMap::new());
        for channel in &config.channels {
            match start_channel(&registry, channel).await {
                Ok((started, recorded)) => {
                    waiting.extend(started.waiting);
                    recorders.insert(channel.name.clone(), recorded);
                }
                Err(error) => {
                    registry.stop().await;
                    return Err(anyhow::Error::new(error).context(format!("channel {}", channel.name)));
                }
            }
        }
        let announcer = Announcer::new(registry.clone(), &config.channels)
            .map(|announcer| Task::start(|stop| announcer.run(stop)));
        let observer = Observer::start(registry.clone()).await;
        let exporter = Exporter::start(metrics.clone(), registry.clone());
        let hubs = Arc::new(Hubs::new(registry.clone()));
        let admin = server.as_ref().and_then(Server::admin);
        let http = server.map(|server| {
            let (registry, observer) = (registry.clone(), observer.clone());
            let (access, audit) = (access.clone(), audit.clone());
            let (hubs, exporter) = (hubs.clone(), exporter.clone());
            let address = server.address();
            Listener {
                address,
                task: Task::start(|stop| {
                    server.run(registry, Rules { access, audit }, observer, hubs, exporter, stop)
                }),
            }
        });
        let tcp = programs.map(|server| {
            let address = server.address();
            Listener {
                address,
                task: Task::start(|stop| {
                    server.run(registry.clone(), access.clone(), audit.clone(), hubs, stop)
                }),
            }
        });
        let udp = subscribers.map(|server| {
            let address = server.address();
            Listener {
                address,
                task: Task::start(|stop| server.run(registry.clone(), access.clone(), metrics.clone(), stop)),
            }
        });
        let channels = config.channels.len();
        let config = config.clone();
        Ok(Service {
            config,
            registry,
            access,
            keys,
            audit,
            channels,
            http,
            admin,
            tcp,
            udp,
            announcer,
            recorders,
            waiting,
            observer,
        })
    }

    /// The registry of the channels.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Address of HTTP, if enabled.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|http| http.address)
    }

    /// `ready: 2 channels, tcp://127.0.0.1:9000, http://127.0.0.1:8080`, and what legs wait for.
    pub fn ready_line(&self) -> String {
        let mut line = format!("ready: {}", words::count(self.channels as u64, "channel"));
        if let Some(tcp) = &self.tcp {
            let _ = write!(line, ", tcp://{}", tcp.address); // a String takes all
        }
        if let Some(udp) = &self.udp {
            let _ = write!(line, ", tidecast://{}", udp.address); // a String takes all
        }
        if let Some(address) = self.http() {
            let _ = write!(line, ", http://{address}"); // a String takes all
        }
        if let Some(address) = self.admin {
            let _ = write!(line, "; admin: http://{address}"); // a String takes all
        }
        if !self.waiting.is_empty() {
            let _ = write!(line, "; waiting: {}", self.waiting.join("; "));
        }
        line
    }

    /// Reports on standard error and to the service manager that it is ready, and waits for a
    /// signal to end; shows the channels meanwhile if asked to. At a signal to reload it applies
    /// the configuration that `read` returns.
    pub async fn run(
        &mut self,
        mut signals: Signals,
        view: cli::View,
        read: impl Fn() -> Result<Config, Errors>,
    ) {
        say(&self.ready_line());
        let view = view.watch().then(|| self.view()).flatten();
        shutdown::notify_ready();
        let watchdog = watchdog::keep_alive(self.registry.clone());
        while signals.wait().await == Asked::Reload {
            shutdown::notify_reloading();
            match read() {
                Ok(config) => self.apply(config).await,
                Err(errors) => {
                    let errors = errors.to_string().replace('\n', "; ");
                    tracing::error!("the configuration is wrong, so nothing has changed: {errors}");
                }
            }
            shutdown::notify_ready();
        }
        drop(view);
        if let Some(task) = watchdog {
            task.abort();
        }
        shutdown::notify_stopping();
        tracing::info!("was asked to end");
    }

    fn view(&self) -> Option<View> {
        let page = self.http().map(|http| format!("http://{http}/"));
        let opened = View::open(self.observer.clone(), page);
        opened.inspect_err(|error| tracing::error!("cannot use the terminal: {error}")).ok()
    }

    /// Leaves the groups, sends packets that are held back, and gives the clients their last
    /// bytes, all within [`DRAIN_MAX`]. Returns the channels' last states.
    pub async fn stop(self) -> Vec<ChannelState> {
        let Service { registry, http, tcp, udp, announcer, recorders, keys, .. } = self;
        keys.abort();
        let mut states = Vec::new();
        let drained = timeout(DRAIN_MAX, async {
            for listener in http.iter().chain(&tcp) {
                listener.task.stop.cancel();
            }
            if let Some(announcer) = announcer {
                announcer.end().await;
            }
            states = registry.stop().await;
            // Their streams have ended: subscribers get the remaining packets and a message.
            if let Some(udp) = &udp {
                udp.task.stop.cancel();
            }
            for listener in [http, tcp, udp].into_iter().flatten() {
                listener.task.task.await?;
            }
            Ok::<_, JoinError>(())
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("a server has failed: {error}"),
            Err(_) => tracing::info!("some clients did not take their last bytes within {DRAIN_MAX:?}"),
        }
        let recorded = async {
            for recorder in recorders.values().flatten() {
                recorder.ended().await;
            }
        };
        if timeout(RECORDING_DRAIN_MAX, recorded).await.is_err() {
            tracing::warn!("the disk did not take the end of a recording within {RECORDING_DRAIN_MAX:?}");
        }
        states
    }
}

/// Warns of servers that other hosts reach, where nothing says who may do what.
fn warn_if_open(config: &Config) {
    if config.access.has_rules() {
        return;
    }
    let http = config.http.as_ref();
    let control = if http.is_some_and(|http| http.control) { ", disconnects clients" } else { "" };
    let what = match http.is_some_and(|http| http.admin.is_some()) {
        true => "watches all streams".to_owned(),
        false => format!("watches all streams, sees the page, the API and the metrics{control}"),
    };
    let servers = [
        (http.map(|http| &http.listen), what),
        (
            http.and_then(|http| http.admin.as_ref()),
            format!("sees the page, the API and the metrics{control}"),
        ),
        (config.tcp.as_ref().map(|tcp| &tcp.listen), "watches all streams".to_owned()),
        (config.udp.as_ref().map(|udp| &udp.listen), "watches all streams".to_owned()),
    ];
    for (listen, what) in servers {
        if let Some(listen) = listen.filter(|listen| !listen.address().ip().is_loopback()) {
            tracing::warn!(
                "who reaches {listen} {what}: expected a [[token]], or a firewall that keeps others out (docs/security.md)"
            );
        }
    }
}

fn open_audit(config: &Config, metrics: &Metrics) -> anyhow::Result<AuditLog> {
    let target = config.access.audit.as_ref();
    AuditLog::open(target, metrics.access_refused()).with_context(|| match target {
        Some(config::Audit::File(path)) => format!(
            "cannot open the audit log {}, expected a file in a folder that the relay may write (audit in [access])",
            path.display()
        ),
        _ => "cannot open the audit log".to_owned(),
    })
}

/// Starts a channel and its recordings.
async fn start_channel(
    registry: &Registry,
    channel: &config::Channel,
) -> Result<(Started, Vec<Arc<Recorder>>), registry::RegistryError> {
    let started = registry.add(channel).await?;
    Ok((started, record::start_all(registry, channel).await?))
}

/// Raises the limit of descriptors to the maximum of the process: the default of usually 1,024 is
/// less than clients_max needs.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Prints a line for the user to standard error.
pub(super) fn say(line: &str) {
    crate::log::say(&format!("tidecast: {line}"));
}

/// Runs a command's asynchronous part until it ends.
///
/// # Errors
/// The runtime cannot be created, or the error of the command.
pub(super) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(RUNTIME_THREADS_MAX))
        .enable_all()
        .thread_name("tidecast-io")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
