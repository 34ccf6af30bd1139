//! TCP ports that clients come to: those of [`super::http`] and [`super::tcp`].

use std::{
    io,
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::limits::{
    CLIENT_GONE_MAX, CLIENT_UNREAD_BYTES_MAX, PARTING_MAX, PUSH_KEEPALIVE, PUSH_UNSENT_BYTES_MAX,
};
use tidecast_net::{address::Endpoint, interface};

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
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
        reason: tidecast_net::SocketError,
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
pub(super) async fn bind(
    address: &Endpoint,
    clients: Clients,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let resolved = interface::resolve(address);
    let resolved =
        resolved.map_err(|reason| ListenError::Zone { address: address.clone(), clients, reason })?;
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address: address.clone(), clients },
        _ => ListenError::Listen { address: address.clone(), clients, error },
    };
    let listener = TcpListener::bind(resolved).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Makes a client's socket send at once, keep little that is unsent, and end when the client has
/// vanished.
pub(super) fn prepare(stream: &TcpStream) {
    // Without any of these the client is served all the same, only worse: a reading that comes ten
    // times a second must not wait for the next one, and what the kernel has is old after a pause.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_notsent_lowat(PUSH_UNSENT_BYTES_MAX);
    let _ = socket.set_recv_buffer_size(CLIENT_UNREAD_BYTES_MAX);
    let probes = TcpKeepalive::new().with_time(PUSH_KEEPALIVE).with_interval(PUSH_KEEPALIVE);
    let _ = socket.set_tcp_keepalive(&probes);
    be_patient(stream, Duration::ZERO);
}

/// Keeps a client for so long that acknowledges nothing. To the kernel one that reads nothing is
/// the same, so this is at least how long that may last.
pub(super) fn be_patient(stream: &TcpStream, patience: Duration) {
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(patience.max(CLIENT_GONE_MAX)));
}

/// Returns when a connection is broken, for one whose client has closed its side, and may listen
/// all the same.
pub(super) async fn broken(stream: &TcpStream) {
    // An error is what it waits for, too.
    let _ = stream.ready(Interest::ERROR).await;
}

/// Ends a connection behind its last byte. What the client has sent meanwhile is read: unread, it
/// would make the kernel reset the connection, and the last bytes might be lost.
pub(super) async fn part(stream: &TcpStream) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let _ = timeout(PARTING_MAX, async {
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut [0; 4096]) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    })
    .await;
}

/// Returns when a listener shall end; also when nobody is left to say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
