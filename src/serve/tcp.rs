//! The TCP listener: a program sends lines, gets a line for each, and what it subscribed to behind
//! them.
//!
//! What a line means is in `command`, one client's connection in `connection`; the streams come
//! from `super::push`. `docs/programs.md` is the reference for users.

mod command;
mod connection;

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    listen::{self, Clients, stopped},
    push::Hubs,
};
use crate::{
    config,
    limits::ACCEPT_PAUSE,
    registry::Registry,
    shares::{Caller, Refused, Resource},
};
use connection::Connection;
use tidecast_net::{clock, log_limiter::LogLimiter};

/// A listener that does not answer before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    on_demand: Option<config::Http>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    hubs: Arc<Hubs>,
    /// Which groups may be asked for, if any.
    on_demand: Option<config::Http>,
}

impl Server {
    /// Binds the socket. `on_demand`: which groups may be asked for, as over HTTP.
    ///
    /// # Errors
    /// The port is in use, or the address cannot be bound.
    pub async fn bind(
        config: &config::Tcp,
        on_demand: Option<&config::Http>,
    ) -> Result<Server, listen::ListenError> {
        let (listener, address) = listen::bind(&config.listen, Clients::Tcp).await?;
        Ok(Server { listener, address, on_demand: on_demand.cloned() })
    }

    /// Where it listens; the port is the real one, whatever was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true, then accepts nobody, and returns when the last client has
    /// got its last byte. Connections end when all that they subscribed to does. `hubs`: who hands
    /// messages to programs.
    pub async fn run(self, registry: Registry, hubs: Arc<Hubs>, mut stop: watch::Receiver<bool>) {
        let shared = Arc::new(Shared { hubs, registry, on_demand: self.on_demand });
        let shares = shared.registry.shares().clone();
        let mut connections = JoinSet::new();
        let clients_stop = stop.clone();
        let mut trouble = LogLimiter::default();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match shares.take(Resource::Tcp, Caller::at(peer.ip())) {
                        Ok(place) => {
                            let connection = Connection::new(stream, shared.clone());
                            let stop = clients_stop.clone();
                            connections.spawn(async move {
                                connection.run(stop).await;
                                drop(place);
                            });
                        }
                        Err(refused) => refuse(&stream, refused),
                    },
                    Err(error) => {
                        // Out of descriptors, most likely: some connection will end.
                        if trouble.admits(clock::now()) {
                            tracing::warn!("cannot accept a TCP client: {error}");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Too many clients, or too many of one host: says so.
fn refuse(stream: &TcpStream, refused: Refused) {
    let answer = format!("ERR {refused}\n");
    // If it does not fit into an empty send buffer, the client is told by the closed connection.
    let _ = stream.try_write(answer.as_bytes());
}
