//! Clients of a channel one by one: answers who listens, which totals cannot. Only the API and the
//! page show them, never the metrics, whose labels are bounded.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::Transport;
use crate::limits::AGENT_BYTES_MAX;
use tidecast_net::clock;

/// Description of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Address and port; empty if unknown.
    pub address: String,
    /// The program's `User-Agent`.
    pub agent: Option<String>,
}

impl Who {
    /// A client at this address with this `User-Agent`, of which at most [`AGENT_BYTES_MAX`] are
    /// kept.
    pub fn new(address: Option<std::net::SocketAddr>, agent: Option<&str>) -> Who {
        let agent = agent.map(|agent| agent[..agent.floor_char_boundary(AGENT_BYTES_MAX)].to_owned());
        Who { address: address.map(|address| address.to_string()).unwrap_or_default(), agent }
    }
}

/// One connected client.
#[derive(Debug)]
pub struct Client {
    id: u64,
    /// Start, in milliseconds since the Unix epoch.
    since: u64,
    who: OnceLock<Who>,
    packets: AtomicU64,
    bytes: AtomicU64,
    missed: AtomicU64,
}

/// State of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientState {
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

    pub(super) fn sent(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn lagged(&self, packets: u64) {
        self.missed.fetch_add(packets, Relaxed);
    }

    fn state(&self, transport: Transport) -> ClientState {
        ClientState {
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
struct Table {
    next_id: u64,
    clients: HashMap<u64, Arc<Client>>,
}

impl Clients {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Single insertions and removals, so a panic cannot leave it inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self) -> Arc<Client> {
        let mut table = self.table();
        let client = Arc::new(Client {
            id: table.next_id,
            since: u64::try_from(clock::unix().as_millis()).unwrap_or(u64::MAX),
            who: OnceLock::new(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        });
        table.next_id += 1;
        table.clients.insert(client.id, client.clone());
        client
    }

    pub(super) fn leave(&self, client: &Client) {
        self.table().clients.remove(&client.id);
    }

    pub(super) fn states(&self, transport: Transport) -> Vec<ClientState> {
        let clients: Vec<Arc<Client>> = self.table().clients.values().cloned().collect();
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
    fn a_long_name_is_cut_between_characters() {
        let long = "ä".repeat(AGENT_BYTES_MAX);
        let agent = Who::new(None, Some(&long)).agent.unwrap();
        assert!(agent.len() <= AGENT_BYTES_MAX && agent.chars().all(|c| c == 'ä'), "{agent}");
    }
}
