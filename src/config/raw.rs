//! What was typed, not yet understood: every value as text or number with its place.
//!
//! Made by [`super::file`] from TOML and by [`super::flags`] from the command line; goes to [`super::validate`].

use std::fmt;

/// Where something was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A flag or argument of the command line, as `--help` writes it.
    Flag(&'static str),
    /// A key of the file, such as `channel[1].hold`, and the name of the channel it belongs to.
    Key { line: Option<usize>, key: String, channel: Option<String> },
    /// The file as a whole, or a line that is no TOML.
    File { line: Option<usize> },
}

impl Place {
    /// The line in the file, from 1.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Place::Key { line, .. } | Place::File { line } => *line,
            Place::Flag(_) => None,
        }
    }
}

/// A value as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Text; every flag's value, and every TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// Anything else, as it stands in the file, such as `true`.
    Other(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Integer(number) => number.fmt(f),
            Value::Other(source) => f.write_str(source),
        }
    }
}

/// A value and where it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// The whole configuration as typed.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) tick: Option<Field>,
    pub(super) threads: Option<Field>,
    pub(super) burst: Option<Field>,
    pub(super) http: RawHttp,
    pub(super) tcp: RawTcp,
    pub(super) udp: RawUdp,
    pub(super) shares: RawShares,
    pub(super) channels: Vec<RawChannel>,
}

/// `[http]`
#[derive(Debug, Default)]
pub(super) struct RawHttp {
    pub(super) listen: Option<Field>,
    pub(super) allow: Option<Vec<Field>>,
    pub(super) clients_max: Option<Field>,
    pub(super) linger: Option<Field>,
    pub(super) header_timeout: Option<Field>,
    pub(super) idle_timeout: Option<Field>,
    pub(super) chunk: Option<Field>,
    pub(super) lag_max: Option<Field>,
    pub(super) start_bytes_max: Option<Field>,
    pub(super) list_clients: Option<Field>,
    pub(super) interface: Option<Field>,
    pub(super) fec: Option<Field>,
    pub(super) rejoin: Option<Field>,
    pub(super) playlist: Option<Field>,
    pub(super) origins: Option<Vec<Field>>,
    pub(super) admin: Option<Field>,
    pub(super) trusted_proxies: Option<Vec<Field>>,
    pub(super) base: Option<Field>,
    pub(super) hosts: Option<Vec<Field>>,
}

/// `[tcp]`
#[derive(Debug, Default)]
pub(super) struct RawTcp {
    pub(super) listen: Option<Field>,
    pub(super) clients_max: Option<Field>,
}

/// `[udp]`
#[derive(Debug, Default)]
pub(super) struct RawUdp {
    pub(super) listen: Option<Field>,
    pub(super) token: Option<Field>,
    pub(super) clients_max: Option<Field>,
    pub(super) lease: Option<Field>,
}

/// `[shares]`
#[derive(Debug, Default)]
pub(super) struct RawShares {
    pub(super) connections: Option<Field>,
    pub(super) streams: Option<Field>,
    pub(super) groups: Option<Field>,
    pub(super) pages: Option<Field>,
    pub(super) tcp: Option<Field>,
    pub(super) udp: Option<Field>,
    pub(super) flows: Option<Field>,
}

/// One `[[channel]]`
#[derive(Debug)]
pub(super) struct RawChannel {
    /// The place of a key of this channel that was not given.
    pub(super) place: Place,
    pub(super) name: Option<Field>,
    pub(super) input: Option<Vec<Field>>,
    pub(super) output: Option<Vec<Field>>,
    pub(super) format: Option<Field>,
    pub(super) sdp: Option<Field>,
    pub(super) rtpmap: Option<Vec<Field>>,
    pub(super) fec: Option<Field>,
    pub(super) retransmission: Option<Field>,
    pub(super) hold: Option<Field>,
    pub(super) hold_min: Option<Field>,
    pub(super) hold_max: Option<Field>,
    pub(super) release: Option<Field>,
    pub(super) release_delay: Option<Field>,
    pub(super) failover: Option<Field>,
    pub(super) tick: Option<Field>,
    pub(super) rejoin: Option<Field>,
    pub(super) sap: Option<Field>,
    pub(super) receive_buffer: Option<Field>,
    /// `tvg_id`, `tvg_name`, `tvg_logo`, `group_title` and `number`.
    pub(super) m3u: [Option<Field>; 5],
    pub(super) flows_max: Option<Field>,
    pub(super) bytes_max: Option<Field>,
    pub(super) window_max: Option<Field>,
    pub(super) flow_idle: Option<Field>,
}
