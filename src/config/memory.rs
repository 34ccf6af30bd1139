//! The maximum memory of a relay with a configuration: the maximum size of each kind of object,
//! times its maximum number. `docs/configuration.md` has the table for users; the tests verify
//! that it matches.

use super::{Channel, Config};
use crate::limits::{
    ADMIN_CONNECTIONS_MAX, CLIENT_BACKLOG_BYTES_MAX, CONNECTIONS_EXTRA, LAST_VALUES_BYTES_MAX, PAGES_MAX,
    PUSH_QUEUE_BYTES_MAX, RECORDING_QUEUE_BYTES_MAX, TAP_BYTES_MAX,
};
use tidecast_core::limits::HISTORY_BYTES_MAX;
use tidecast_net::address::Scheme;

/// The program with its page and its threads: 20 MiB after the start, and the memory that the
/// allocator keeps after a busy period.
const PROGRAM_BYTES: usize = 64 << 20;
/// A flow with a gap: 9.5 KiB on average among 16,384 of them.
const FLOW_BYTES: usize = 10 << 10;
/// A connection, with a request head of maximum size and the buffers of the HTTP library.
const CONNECTION_BYTES: usize = 64 << 10;
/// A client of the page: the message that is being built and the one that waits.
const PAGE_BYTES: usize = 1 << 20;

/// One kind of object that uses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its name, as in the documentation.
    pub what: &'static str,
    /// Maximum bytes of one of them.
    pub each: u64,
    /// Maximum number of them.
    pub count: u64,
}

impl Part {
    fn new(what: &'static str, each: usize, count: usize) -> Part {
        Part { what, each: each as u64, count: count as u64 }
    }

    /// Returns the maximum bytes of all of them.
    pub fn bytes(self) -> u64 {
        self.each.saturating_mul(self.count)
    }
}

impl Config {
    /// Returns the parts of the memory, without the groups on demand. The buffers of sockets in
    /// the kernel are not included.
    pub fn memory(&self) -> Vec<Part> {
        let served = self.http.is_some() || self.tcp.is_some();
        let players = self.http.as_ref().map_or(0, |http| http.clients_max);
        let programs = players + self.tcp.as_ref().map_or(0, |tcp| tcp.clients_max);
        let connections = match self.http {
            Some(_) => players + CONNECTIONS_EXTRA + ADMIN_CONNECTIONS_MAX,
            None => 0,
        };
        let udp = self.udp.as_ref().map_or(0, |udp| udp.clients_max);
        let mut parts = vec![
            Part::new("the program", PROGRAM_BYTES, 1),
            Part::new("a connection or subscriber", CONNECTION_BYTES, connections + programs - players + udp),
            Part::new("a client of messages that does not read", PUSH_QUEUE_BYTES_MAX, programs),
            Part::new("a page", PAGE_BYTES, if self.http.is_some() { PAGES_MAX } else { 0 }),
        ];
        for channel in &self.channels {
            self.add(&mut parts, channel, served);
        }
        parts
    }

    fn add(&self, parts: &mut Vec<Part>, channel: &Channel, served: bool) {
        let served = usize::from(served);
        let start = self.http.as_ref().map_or(0, |http| http.start_bytes_max);
        let rist = channel.outputs.iter().filter(|output| output.scheme == Scheme::Rist).count();
        parts.extend([
            Part::new("packets that wait", channel.limits.bytes_max, 1),
            Part::new("a flow", FLOW_BYTES, channel.limits.flows_max),
            Part::new("last values", LAST_VALUES_BYTES_MAX, served),
            Part::new("the start of a transport stream", start, 1),
            Part::new("chunks on their way", TAP_BYTES_MAX, 2 * served),
            Part::new("a stream that clients are behind", CLIENT_BACKLOG_BYTES_MAX, served),
            Part::new("what a rist:// output may send again", HISTORY_BYTES_MAX, rist),
            Part::new("a recording", RECORDING_QUEUE_BYTES_MAX, channel.recordings.len()),
        ]);
    }

    /// Returns the sum of [`Config::memory`], in bytes.
    pub fn memory_max(&self) -> u64 {
        self.memory().into_iter().map(Part::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../docs/configuration.md");

    fn memory_section() -> &'static str {
        DOCS.split("\n## Memory\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section")
    }

    fn size(text: &str) -> u64 {
        let bytes = tidecast_net::units::bytes(&text.replace(' ', ""));
        bytes.unwrap_or_else(|error| panic!("{text}: {error}")) as u64
    }

    /// Each part has a row in the table with the size of one of them.
    #[test]
    fn the_table_of_the_reference_is_that_of_the_limits() {
        let text = "[tcp]\nlisten = \"127.0.0.1:1\"\n[udp]\nlisten = \"127.0.0.1:2\"\n[[channel]]\nname = \"a\"\n\
                    input = \"udp://@239.1.1.1:5000\"\noutput = [\"rist://10.0.0.7:5000\", \"pcapng:/var/lib/a\"]";
        let parts = text.parse::<Config>().unwrap().memory();
        assert!(parts.iter().all(|part| part.count > 0), "{parts:?}");
        for Part { what, each, .. } in &parts {
            let start = format!("| {what} | ");
            let row = memory_section().lines().find_map(|line| line.strip_prefix(&start));
            let row = row.unwrap_or_else(|| panic!("no row {start:?}"));
            assert_eq!(size(row.split(" | ").next().unwrap()), *each, "{what}");
        }
        let rows = memory_section().lines().filter(|line| line.starts_with("| ")).count();
        assert_eq!(rows, parts.len() + 1, "and no other rows");
    }

    /// The sums in the documentation are those of their configurations.
    #[test]
    fn the_sums_of_the_reference_are_the_real_ones() {
        let examples: Vec<&str> = memory_section().split("```toml\n").skip(1).collect();
        assert_eq!(examples.len(), 1);
        for example in examples {
            let (config, rest) = example.split_once("```").unwrap();
            let said = rest.split("at most ").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
            let mebibytes = config.parse::<Config>().unwrap().memory_max().div_ceil(1 << 20);
            assert_eq!(said, format!("{mebibytes} MiB"), "{config}");
        }
        let mebibytes = Config::default_memory_max().div_ceil(1 << 20);
        assert!(memory_section().contains(&format!("without channels {mebibytes} MiB")), "{mebibytes}");
    }

    impl Config {
        fn default_memory_max() -> u64 {
            super::super::SAMPLE.parse::<Config>().unwrap().memory_max()
        }
    }

    /// Returns the value of a key of the unit file or of the compose file.
    fn said(text: &str, key: &str) -> String {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        let value = line.and_then(|line| line.split('#').next());
        value.unwrap_or_else(|| panic!("no {key}")).trim().to_owned()
    }

    /// With the supplied configuration, the limits of neither stop a relay that uses its maximum,
    /// with some groups on demand.
    #[test]
    fn the_limits_of_the_unit_and_of_compose_leave_room() {
        let group = "[[channel]]\nname = \"a\"\ninput = \"udp://@239.1.1.1:5000\"".parse::<Config>().unwrap();
        let group = group.memory_max() - Config::default_memory_max();
        let unit = include_str!("../../deploy/tidecast.service");
        let compose = include_str!("../../deploy/compose.yml");
        let gibibytes = said(unit, "MemoryMax=");
        assert_eq!(gibibytes.to_lowercase(), said(compose, "mem_limit: "));
        let max = gibibytes.strip_suffix('G').unwrap().parse::<u64>().unwrap() << 30;
        assert!(max >= Config::default_memory_max() + 2 * group, "{max}");
        assert_eq!(said(unit, "TasksMax="), said(compose, "pids_limit: "));
        // Threads of the packet path, of tokio, of its pool, and of ffmpeg for pictures.
        let tasks = said(unit, "TasksMax=").parse::<u64>().unwrap();
        assert!(tasks >= crate::limits::THREADS_MAX + 4 + 64 + 2 * 16, "{tasks}");
    }
}
