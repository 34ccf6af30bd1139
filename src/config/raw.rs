//! The configuration as typed, not yet interpreted: every value as text or number with its place.
//!
//! Created by [`super::file`] from TOML and by [`crate::commands`] from the command line;
//! interpreted by [`super::validate`].

use std::fmt;

/// Place where a value was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingPlace {
    /// A flag or argument of the command line, as `--help` writes it.
    Flag(&'static str),
    /// A key of the file, such as `channel[1].hold`, and the name of the channel it belongs to.
    Key { line: Option<usize>, key: String, channel: Option<String> },
    /// The file as a whole, or a line that is not TOML.
    File { line: Option<usize> },
}

impl SettingPlace {
    /// Returns the line in the file, from 1.
    pub(crate) fn line(&self) -> Option<usize> {
        match self {
            SettingPlace::Key { line, .. } | SettingPlace::File { line } => *line,
            SettingPlace::Flag(_) => None,
        }
    }
}

/// A value as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Text; every flag's value, and every TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// Any other value, as written in the file, such as `true`.
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

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) place: SettingPlace,
    pub(crate) value: Value,
}

/// The whole configuration as typed.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) tick: Option<Field>,
    pub(crate) threads: Option<Field>,
    pub(crate) burst: Option<Field>,
    pub(crate) http: RawHttp,
    pub(crate) tcp: RawTcp,
    pub(crate) udp: RawUdp,
    pub(crate) shares: RawShares,
    pub(crate) access: RawAccess,
    pub(crate) jwt: Option<RawJwt>,
    pub(crate) tokens: Vec<RawToken>,
    pub(crate) channels: Vec<RawChannel>,
}

/// `[http]`
#[derive(Debug, Default)]
pub(crate) struct RawHttp {
    pub(crate) listen: Option<Field>,
    pub(crate) allow: Option<Vec<Field>>,
    pub(crate) clients_max: Option<Field>,
    pub(crate) linger: Option<Field>,
    pub(crate) header_timeout: Option<Field>,
    pub(crate) idle_timeout: Option<Field>,
    pub(crate) chunk: Option<Field>,
    pub(crate) lag_max: Option<Field>,
    pub(crate) start_bytes_max: Option<Field>,
    pub(crate) list_clients: Option<Field>,
    pub(crate) control: Option<Field>,
    pub(crate) interface: Option<Field>,
    pub(crate) fec: Option<Field>,
    pub(crate) rejoin: Option<Field>,
    pub(crate) playlist: Option<Field>,
    pub(crate) origins: Option<Vec<Field>>,
    pub(crate) admin: Option<Field>,
    pub(crate) trusted_proxies: Option<Vec<Field>>,
    pub(crate) base: Option<Field>,
    pub(crate) hosts: Option<Vec<Field>>,
}

/// `[tcp]`
#[derive(Debug, Default)]
pub(crate) struct RawTcp {
    pub(crate) listen: Option<Field>,
    pub(crate) clients_max: Option<Field>,
}

/// `[udp]`
#[derive(Debug, Default)]
pub(crate) struct RawUdp {
    pub(crate) listen: Option<Field>,
    pub(crate) clients_max: Option<Field>,
    pub(crate) lease: Option<Field>,
}

/// `[shares]`
#[derive(Debug, Default)]
pub(crate) struct RawShares {
    pub(crate) connections: Option<Field>,
    pub(crate) streams: Option<Field>,
    pub(crate) groups: Option<Field>,
    pub(crate) pages: Option<Field>,
    pub(crate) tcp: Option<Field>,
    pub(crate) udp: Option<Field>,
    pub(crate) flows: Option<Field>,
}

/// `[access]`
#[derive(Debug, Default)]
pub(crate) struct RawAccess {
    pub(crate) anonymous: Option<Vec<Field>>,
    pub(crate) link_key: Option<Field>,
    pub(crate) link_valid: Option<Field>,
    pub(crate) audit: Option<Field>,
}

/// `[jwt]`
#[derive(Debug)]
pub(crate) struct RawJwt {
    /// The place to report for keys that are absent.
    pub(crate) place: SettingPlace,
    pub(crate) jwks: Option<Field>,
    pub(crate) issuer: Option<Field>,
    pub(crate) audience: Option<Field>,
    pub(crate) roles_claim: Option<Field>,
}

/// One `[[token]]`
#[derive(Debug)]
pub(crate) struct RawToken {
    /// The place to report for keys of this token that are absent.
    pub(crate) place: SettingPlace,
    pub(crate) name: Option<Field>,
    pub(crate) sha256: Option<Field>,
    pub(crate) roles: Option<Vec<Field>>,
    pub(crate) channels: Option<Vec<Field>>,
    pub(crate) groups: Option<Vec<Field>>,
    pub(crate) expires: Option<Field>,
}

/// One `[[channel]]`
#[derive(Debug)]
pub(crate) struct RawChannel {
    /// The place to report for keys of this channel that are absent.
    pub(crate) place: SettingPlace,
    pub(crate) name: Option<Field>,
    pub(crate) input: Option<Vec<Field>>,
    pub(crate) output: Option<Vec<Field>>,
    pub(crate) format: Option<Field>,
    pub(crate) sdp: Option<Field>,
    pub(crate) rtpmap: Option<Vec<Field>>,
    pub(crate) fec: Option<Field>,
    pub(crate) retransmission: Option<Field>,
    pub(crate) seal: Option<Field>,
    pub(crate) seal_keys: Option<Vec<Field>>,
    pub(crate) hold: Option<Field>,
    pub(crate) hold_min: Option<Field>,
    pub(crate) hold_max: Option<Field>,
    pub(crate) release: Option<Field>,
    pub(crate) release_delay: Option<Field>,
    pub(crate) failover: Option<Field>,
    pub(crate) tick: Option<Field>,
    pub(crate) rejoin: Option<Field>,
    pub(crate) sap: Option<Field>,
    pub(crate) receive_buffer: Option<Field>,
    /// `tvg_id`, `tvg_name`, `tvg_logo`, `group_title` and `number`.
    pub(crate) m3u: [Option<Field>; 5],
    pub(crate) flows_max: Option<Field>,
    pub(crate) bytes_max: Option<Field>,
    pub(crate) window_max: Option<Field>,
    pub(crate) flow_idle: Option<Field>,
}
