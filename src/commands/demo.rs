//! `demo`: a complete example on loopback, without installation or configuration.
//!
//! Producers ([`crate::commands::send`]) send to groups on 127.0.0.1, each through a bad link
//! ([`crate::commands::impair`]) to a second group, which the relay joins and serves over HTTP. A
//! live table shows what the links did and what the relay recovered.

mod scene;
mod table;

use std::{
    io::{self, IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    Failure,
    service::{self, Service, say},
    shutdown::Signals,
};
use crate::{cli, config::Config, terminal::progress::Lines};
use scene::Scene;
use table::Table;
use tidecast_net::{address::Endpoint, clock};

/// Interval at which the table is redrawn: twice a second does not flicker.
const DRAW_INTERVAL: Duration = Duration::from_millis(500);
/// Interval at which it is printed if it cannot be redrawn in place.
const LOG_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum time from a producer to the relay, to wait for at the end.
const UNDER_WAY: Duration = Duration::from_millis(150);

/// Runs until Ctrl-C or the end of its time, and prints a summary.
///
/// # Errors
/// A socket cannot be opened.
pub(super) fn run(args: &cli::Demo) -> Result<(), Failure> {
    let summary = service::block_on(demo(args)).map_err(|error| match error.downcast::<io::Error>() {
        Ok(error) => Failure::output(error),
        Err(error) => error.into(),
    })?;
    writeln!(io::stdout(), "{summary}").map_err(Failure::output)
}

async fn demo(args: &cli::Demo) -> anyhow::Result<String> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let scenes = scene::all(free_port()?);
    let service = start(&scenes, args.http.clone()).await?;
    let running: anyhow::Result<Vec<_>> = scenes.iter().map(Scene::start).collect();
    let running = running?;

    if let Some(http) = service.http() {
        writeln!(io::stdout(), "{}", table::introduction(http, &scenes))?;
    }
    say(&format!("{}; end it with Ctrl-C", service.ready_line()));
    let shown = tokio::select! {
        _ = signals.wait() => Ok(()),
        () = sleep_until(args.duration.map(|duration| clock::now() + duration)) => Ok(()),
        result = show(&service) => result,
    };

    // Joining the threads blocks, but nothing else in this runtime needs this thread meanwhile.
    let finishing: Vec<_> = running.into_iter().map(scene::Running::end_producer).collect();
    tokio::time::sleep(UNDER_WAY).await;
    let links: anyhow::Result<Vec<Vec<_>>> =
        finishing.into_iter().map(|links| links.into_iter().map(scene::Link::end).collect()).collect();
    tokio::time::sleep(UNDER_WAY).await;
    let states = service.stop().await;
    shown?;
    Ok(table::summary(&scenes, &links?, &states))
}

/// Redraws the table until standard output is closed: below the log lines if they go to the same
/// terminal, which removes it at the end.
async fn show(service: &Service) -> anyhow::Result<()> {
    let mut lines = Lines::open();
    let mut table = Table::new(io::stdout().is_terminal());
    let mut draw = tokio::time::interval(if table.is_live() { DRAW_INTERVAL } else { LOG_INTERVAL });
    loop {
        draw.tick().await;
        let views = service.registry().views(0).await.unwrap_or_default();
        if let Some(lines) = &mut lines {
            lines.set(&table.rows(clock::now(), &views));
            continue;
        }
        let text = table.draw(clock::now(), &views);
        let mut out = io::stdout().lock();
        write!(out, "{text}").and_then(|()| out.flush())?;
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}

/// A free port on loopback. All groups of a run share it; the groups differ.
fn free_port() -> anyhow::Result<u16> {
    let socket =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind a UDP socket on 127.0.0.1")?;
    Ok(socket.local_addr().context("cannot ask for a socket's address")?.port())
}

/// The relay's configuration, as in a file.
fn configuration(scenes: &[Scene]) -> anyhow::Result<Config> {
    let channels: String = scenes.iter().map(Scene::channel).collect();
    channels.parse().map_err(|errors| anyhow::anyhow!("the demo's configuration: {errors}"))
}

/// Starts the relay, with HTTP at the requested address; by default on the usual port, or on any
/// free one if that is in use.
async fn start(scenes: &[Scene], asked: Option<Endpoint>) -> anyhow::Result<Service> {
    let mut config = configuration(scenes)?;
    if let (Some(http), Some(asked)) = (&mut config.http, &asked) {
        http.listen = asked.clone();
    }
    match (Service::start(&config).await, asked) {
        (Err(_), None) => {
            if let Some(http) = &mut config.http {
                http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
            }
            Service::start(&config).await
        }
        (started, _) => started,
    }
}
