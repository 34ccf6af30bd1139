//! The TCP listener: a program sends command lines and gets a line for each, and then the messages
//! of its subscriptions.
//!
//! `command` parses the lines, and `connection` handles one client; the streams come from
//! `super::push`. `docs/programs.md` is the reference for users.

mod command;
mod connection;

use std::{net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    listen::{self, Clients},
    push::Hubs,
};
use crate::{
    access::Access,
    audit::AuditLog,
    config,
    limits::ACCEPT_PAUSE,
    registry::Registry,
    shares::{Caller, Refused, Resource},
};
use connection::Connection;
use tidecast_net::{clock, log_limiter::LogLimiter};

/// A listener that answers only in [`Server::run`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    on_demand: Option<config::Http>,
}

/// State of all connections.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    access: Access,
    audit: AuditLog,
    hubs: Arc<Hubs>,
    /// The allowed groups on demand, if any.
    on_demand: Option<config::Http>,
}

impl Server {
    /// Binds the socket. `on_demand`: the allowed groups, as for HTTP.
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

    /// Address of the listener; the port is the actual one, even if 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then accepts no more connections, and returns when the
    /// last client has received its last byte. A connection ends when all its subscriptions have
    /// ended.
    /// `hubs`: sends messages to programs.
    pub async fn run(
        self,
        registry: Registry,
        access: Access,
        audit: AuditLog,
        hubs: Arc<Hubs>,
        stop: CancellationToken,
    ) {
        let shared = Arc::new(Shared { hubs, access, audit, registry, on_demand: self.on_demand });
        let shares = shared.registry.shares().clone();
        let connections = TaskTracker::new();
        let mut trouble = LogLimiter::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => match shares.take(Resource::Tcp, Caller::at(peer.ip())) {
                        Ok(place) => {
                            let connection = Connection::new(stream, shared.clone());
                            let stop = stop.clone();
                            connections.spawn(async move {
                                connection.run(stop).await;
                                drop(place);
                            });
                        }
                        Err(refused) => refuse(&stream, refused),
                    },
                    Err(error) => {
                        // Descriptors have probably run out; a connection will end.
                        if trouble.admits(clock::now()) {
                            tracing::warn!("cannot accept a TCP client: {error}");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

/// Refuses a client, because there are too many, or too many from one host.
fn refuse(stream: &TcpStream, refused: Refused) {
    let answer = format!("ERR {refused}\n");
    // If it does not fit into an empty send buffer, the client only sees the closed connection.
    let _ = stream.try_write(answer.as_bytes());
}
