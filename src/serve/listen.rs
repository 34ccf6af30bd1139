//! TCP ports for the clients of [`super::http`] and [`super::tcp`], and why a port cannot be
//! opened.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::holder::Holder;
use crate::limits::{
    CLIENT_GONE_MAX, CLIENT_UNREAD_BYTES_MAX, PARTING_MAX, PUSH_KEEPALIVE, PUSH_UNSENT_BYTES_MAX,
};
use tidecast_net::{address::Endpoint, interface};

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program listens on the port.
    #[error(
        "cannot listen on {address}{}: {} has this port, expected a free one ({})",
        .clients.words(), name(holder.as_deref()), .clients.place()
    )]
    InUse {
        /// That program, if it can be told.
        holder: Option<Box<Holder>>,
        /// The configured address.
        address: Endpoint,
        /// The kind of clients.
        clients: Clients,
    },
    /// Another error, such as an address that this host does not have.
    #[error("cannot listen on {address}{}: {}", .clients.words(), reason(error, *clients))]
    Listen {
        /// The configured address.
        address: Endpoint,
        /// The kind of clients.
        clients: Clients,
        /// Error of the kernel.
        error: io::Error,
    },
    /// The interface that its zone names is missing, or it needs a zone.
    #[error("cannot listen on {address}{}: {reason}", .clients.words())]
    Zone {
        /// The configured address.
        address: Endpoint,
        /// The kind of clients.
        clients: Clients,
        /// What is missing.
        reason: Box<tidecast_net::SocketError>,
    },
}

/// What is wrong with an address, and what would be right.
fn reason(error: &io::Error, clients: Clients) -> String {
    let place = clients.place();
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "this host does not have that address, expected one of its own, or 0.0.0.0 for all ({place})"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("a port below 1024 needs a privilege, expected a higher one ({place})")
        }
        _ => error.to_string(),
    }
}

fn name(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another program".to_owned(), Holder::to_string)
}

/// The kind of clients on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Players, browsers and programs that use HTTP.
    Http,
    /// Programs that send lines.
    Tcp,
    /// Monitoring and operators.
    Operator,
    /// UDP subscribers.
    Udp,
}

impl Clients {
    fn words(self) -> &'static str {
        match self {
            Clients::Http => "",
            Clients::Tcp => " for TCP clients",
            Clients::Operator => " for the operator",
            Clients::Udp => " for UDP subscribers",
        }
    }

    /// Setting that gives the address.
    fn place(self) -> &'static str {
        match self {
            Clients::Http => "--http ADDR, or listen in [http]",
            Clients::Tcp => "--tcp ADDR, or listen in [tcp]",
            Clients::Operator => "admin in [http]",
            Clients::Udp => "--udp ADDR, or listen in [udp]",
        }
    }
}

/// Binds a socket; returns it with its address, whose port is the actual one even if 0 was
/// configured.
pub(super) async fn bind(
    address: &Endpoint,
    clients: Clients,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let resolved = resolve(address, clients)?;
    let refused = |error| refused(error, address, clients, Holder::of_tcp, resolved);
    let listener = TcpListener::bind(resolved).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// The address to bind.
///
/// # Errors
/// [`ListenError::Zone`].
pub(super) fn resolve(address: &Endpoint, clients: Clients) -> Result<SocketAddr, ListenError> {
    let resolved = interface::resolve(address);
    resolved.map_err(|reason| ListenError::Zone {
        address: address.clone(),
        clients,
        reason: Box::new(reason),
    })
}

/// Why the address, resolved, cannot be bound; `holder` finds who has it.
pub(super) fn refused(
    error: io::Error,
    address: &Endpoint,
    clients: Clients,
    holder: fn(SocketAddr) -> Option<Holder>,
    resolved: SocketAddr,
) -> ListenError {
    let address = address.clone();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ListenError::InUse { holder: holder(resolved).map(Box::new), address, clients }
        }
        _ => ListenError::Listen { address, clients, error },
    }
}

/// Configures a client's socket: sends at once, buffers little unsent data, and ends when the
/// client has vanished.
pub(super) fn prepare(stream: &TcpStream) {
    // Without any of these options the client is still served, but less well: a reading that comes
    // ten times a second must not wait for the next one, and data in the kernel's buffer is old
    // after a pause.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_notsent_lowat(PUSH_UNSENT_BYTES_MAX);
    let _ = socket.set_recv_buffer_size(CLIENT_UNREAD_BYTES_MAX);
    let probes = TcpKeepalive::new().with_time(PUSH_KEEPALIVE).with_interval(PUSH_KEEPALIVE);
    let _ = socket.set_tcp_keepalive(&probes);
    be_patient(stream, Duration::ZERO);
}

/// Sets how long to keep a client that acknowledges nothing. The kernel treats one that reads
/// nothing the same, so `patience` is the minimum for that, too.
pub(super) fn be_patient(stream: &TcpStream, patience: Duration) {
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(patience.max(CLIENT_GONE_MAX)));
}

/// Returns when a connection is broken; for a client that has closed its side, and may still
/// listen.
pub(super) async fn broken(stream: &TcpStream) {
    // It also returns on an error.
    let _ = stream.ready(Interest::ERROR).await;
}

/// Ends a connection after its last byte. What the client has sent meanwhile is read: unread data
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
