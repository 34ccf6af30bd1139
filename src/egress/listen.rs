//! TCP ports that clients come to: those of [`super::http`] and [`super::tcp`].

use std::{io, net::SocketAddr};

use tokio::{net::TcpListener, sync::watch};

use crate::{address::Endpoint, net::interface};

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}{}: another program has this port, expected a free one ({})",
        .clients.words(), .clients.place()
    )]
    InUse {
        /// Where it was to listen.
        address: Endpoint,
        /// For whom.
        clients: Clients,
    },
    /// Anything else, such as an address that this host does not have.
    #[error("cannot listen on {address}{}: {error}", .clients.words())]
    Listen {
        /// Where it was to listen.
        address: Endpoint,
        /// For whom.
        clients: Clients,
        /// What the kernel said.
        error: io::Error,
    },
    /// The interface that its zone names is missing, or it needs a zone.
    #[error("cannot listen on {address}{}: {reason}", .clients.words())]
    Zone {
        /// Where it was to listen.
        address: Endpoint,
        /// For whom.
        clients: Clients,
        /// What is missing.
        reason: crate::net::Error,
    },
}

/// Who comes to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Players, browsers and programs that speak HTTP.
    Http,
    /// Programs that send lines.
    Tcp,
    /// Who watches over the relay.
    Operator,
}

impl Clients {
    fn words(self) -> &'static str {
        match self {
            Clients::Http => "",
            Clients::Tcp => " for TCP clients",
            Clients::Operator => " for the operator",
        }
    }

    /// Where the address is given.
    fn place(self) -> &'static str {
        match self {
            Clients::Http => "--http ADDR, or listen in [http]",
            Clients::Tcp => "--tcp ADDR, or listen in [tcp]",
            Clients::Operator => "admin in [http]",
        }
    }
}

/// Binds a socket; with where it listens, whose port is the real one, whatever was asked for.
pub(super) async fn bind(address: &Endpoint, clients: Clients) -> Result<(TcpListener, SocketAddr), Error> {
    let resolved = interface::resolve(address);
    let resolved = resolved.map_err(|reason| Error::Zone { address: address.clone(), clients, reason })?;
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address: address.clone(), clients },
        _ => Error::Listen { address: address.clone(), clients, error },
    };
    let listener = TcpListener::bind(resolved).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Returns when a listener shall end; also when nobody is left to say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
