//! TCP ports that clients come to: those of [`super::http`] and [`super::tcp`].

use std::{io, net::SocketAddr};

use tokio::{net::TcpListener, sync::watch};

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
        address: SocketAddr,
        /// For whom.
        clients: Clients,
    },
    /// Anything else, such as an address that this host does not have.
    #[error("cannot listen on {address}{}: {error}", .clients.words())]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// For whom.
        clients: Clients,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Who comes to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Players, browsers and programs that speak HTTP.
    Http,
    /// Programs that send lines.
    Tcp,
}

impl Clients {
    fn words(self) -> &'static str {
        match self {
            Clients::Http => "",
            Clients::Tcp => " for TCP clients",
        }
    }

    /// Where the address is given.
    fn place(self) -> &'static str {
        match self {
            Clients::Http => "--http ADDR, or listen in [http]",
            Clients::Tcp => "--tcp ADDR, or listen in [tcp]",
        }
    }
}

/// Binds a socket; with where it listens, whose port is the real one, whatever was asked for.
pub(super) async fn bind(address: SocketAddr, clients: Clients) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address, clients },
        _ => Error::Listen { address, clients, error },
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Returns when a listener shall end; also when nobody is left to say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
