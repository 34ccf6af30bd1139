//! Clients of a channel one by one: answers who listens, which totals cannot. Only the API and the
//! page show them, never the metrics, whose labels are bounded.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio_util::sync::CancellationToken;

use super::Transport;
use crate::limits::AGENT_BYTES_MAX;
use tidecast_net::clock;

/// Id of the next client. Ids are unique while the relay runs, so that an outdated list never names
/// another client.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Description of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Address and port; empty if unknown.
    pub address: String,
    /// The program's `User-Agent`.
    pub agent: Option<String>,
    /// Name of its token, if it has one.
    pub user: Option<Arc<str>>,
}

impl Who {
    /// A client at this address with this `User-Agent`, of which at most [`AGENT_BYTES_MAX`] are
    /// kept.
    pub fn new(address: Option<std::net::SocketAddr>, agent: Option<&str>) -> Who {
        let agent = agent.map(|agent| agent[..agent.floor_char_boundary(AGENT_BYTES_MAX)].to_owned());
        Who { address: address.map(|address| address.to_string()).unwrap_or_default(), agent, user: None }
    }
}

/// One connected client.
#[derive(Debug)]
pub struct Client {
    id: u64,
    /// Start, in milliseconds since the Unix epoch.
    since: u64,
    who: OnceLock<Who>,
    /// Cancelled when an operator disconnects the client.
    disconnection: OnceLock<CancellationToken>,
    packets: AtomicU64,
    bytes: AtomicU64,
    missed: AtomicU64,
}

/// State of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientState {
    /// Its id, unique while the relay runs.
    pub id: u64,
    /// How it is served.
    pub transport: Transport,
    /// Its description.
    pub who: Who,
    /// Start, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Packets passed to its connection.
    pub packets: u64,
    /// Payload bytes of these packets.
    pub bytes: u64,
    /// Packets that it missed because it was too slow.
    pub missed: u64,
}

impl Client {
    /// Sets the description. Only the first one counts.
    pub fn introduce(&self, who: Who) {
        let _ = self.who.set(who); // an error means that it was set before
    }

    /// Cancelled when an operator disconnects the client.
    pub fn disconnection(&self) -> CancellationToken {
        self.disconnection.get_or_init(CancellationToken::new).clone()
    }

    /// Cancels this token, too, when an operator disconnects the client. Only the first token
    /// counts: several subscriptions of one connection share it.
    pub fn disconnects(&self, connection: &CancellationToken) {
        if self.disconnection.get_or_init(|| connection.clone()).is_cancelled() {
            connection.cancel(); // it was disconnected before its connection was known
        }
    }

    pub(super) fn sent(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn lagged(&self, packets: u64) {
        self.missed.fetch_add(packets, Relaxed);
    }

    /// Its state at present.
    pub(in crate::registry) fn state(&self, transport: Transport) -> ClientState {
        ClientState {
            id: self.id,
            transport,
            who: self.who.get().cloned().unwrap_or_default(),
            since: self.since,
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            missed: self.missed.load(Relaxed),
        }
    }
}

/// The connected clients. Bounded by the listeners' `clients_max`.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<Table>);

#[derive(Debug, Default)]
struct Table(HashMap<u64, Arc<Client>>);

impl Clients {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Single insertions and removals, so a panic cannot leave it inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self) -> Arc<Client> {
        let client = Arc::new(Client {
            id: NEXT_ID.fetch_add(1, Relaxed),
            since: u64::try_from(clock::unix().as_millis()).unwrap_or(u64::MAX),
            who: OnceLock::new(),
            disconnection: OnceLock::new(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        });
        self.table().0.insert(client.id, client.clone());
        client
    }

    pub(super) fn leave(&self, client: &Client) {
        self.table().0.remove(&client.id);
    }

    /// Disconnects a client; returns what it was.
    pub(super) fn disconnect(&self, transport: Transport, id: u64) -> Option<ClientState> {
        let client = self.table().0.get(&id).cloned()?;
        client.disconnection().cancel();
        Some(client.state(transport))
    }

    pub(super) fn states(&self, transport: Transport) -> Vec<ClientState> {
        let clients: Vec<Arc<Client>> = self.table().0.values().cloned().collect();
        clients.iter().map(|client| client.state(transport)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_there_are_listed_with_what_they_got() {
        let clients = Clients::default();
        let (one, two) = (clients.join(), clients.join());
        one.introduce(Who::new(Some("127.0.0.1:9".parse().unwrap()), Some("VLC/3.0")));
        one.sent(3, 300);
        one.lagged(2);
        clients.leave(&two);
        let states = clients.states(Transport::Http);
        let [state] = &states[..] else { panic!("{states:?}") };
        assert_eq!((state.packets, state.bytes, state.missed), (3, 300, 2));
        assert_eq!(
            (state.who.address.as_str(), state.who.agent.as_deref()),
            ("127.0.0.1:9", Some("VLC/3.0"))
        );
    }

    #[test]
    fn a_client_is_disconnected_by_its_id_before_or_after_its_connection_is_known() {
        let clients = Clients::default();
        let (one, two, early) = (clients.join(), clients.join(), clients.join());
        let connection = CancellationToken::new();
        one.disconnects(&connection);
        two.disconnects(&connection);
        assert_eq!(clients.disconnect(Transport::Tcp, two.id).map(|state| state.id), Some(two.id));
        assert!(connection.is_cancelled() && one.disconnection().is_cancelled(), "one connection");
        assert!(!early.disconnection().is_cancelled());
        clients.disconnect(Transport::Tcp, early.id).unwrap();
        let late = CancellationToken::new();
        early.disconnects(&late);
        assert!(late.is_cancelled());
        clients.leave(&one);
        assert_eq!(clients.disconnect(Transport::Tcp, one.id), None, "it has gone");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "ä".repeat(AGENT_BYTES_MAX);
        let agent = Who::new(None, Some(&long)).agent.unwrap();
        assert!(agent.len() <= AGENT_BYTES_MAX && agent.chars().all(|c| c == 'ä'), "{agent}");
    }
}
