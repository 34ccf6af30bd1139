//! Parses the address of a stream that another relay sends on request,
//! `tidecast://HOST:PORT/NAME?token=TOKEN`, into a checked [`Remote`], and writes it back. A
//! [`Source`] is an argument of `recv`: an input, or such a stream.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

use super::{Endpoint, Input};
use crate::limits::{CHANNEL_NAME_BYTES_MAX, UDP_TOKEN_BYTES_MAX};

const SCHEME: &str = "tidecast://";

/// A stream to request from a relay over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The address on which the relay listens.
    pub relay: Endpoint,
    /// The stream's name.
    pub name: String,
    /// The token that the relay requires; empty if it requires none.
    pub token: String,
}

/// Error for text that is not such a stream; the message states the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The address with a port is missing.
    #[error(
        "address {0:?}: expected tidecast://ADDRESS:PORT/NAME with an IP address, such as tidecast://10.0.0.7:4023/cam"
    )]
    Address(String),
    /// The stream's name is missing or too long.
    #[error("stream {0:?}: expected its name, 1 to 64 bytes, as in tidecast://10.0.0.7:4023/cam")]
    Name(String),
    /// The option does not exist.
    #[error("option {0:?}: expected token, as in tidecast://10.0.0.7:4023/cam?token=secret")]
    Option(String),
    /// The token is empty or too long.
    #[error("token: expected 1 to 128 bytes of text")]
    Token,
}

impl FromStr for Remote {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Remote, RemoteError> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (address, name) = rest.split_once('/').unwrap_or((rest, ""));
        let relay = address.parse().ok().filter(|relay: &Endpoint| relay.address().port() != 0);
        let relay = relay.ok_or_else(|| RemoteError::Address(address.to_owned()))?;
        if !(1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(RemoteError::Name(name.to_owned()));
        }
        let mut token = String::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let Some(value) = option.strip_prefix("token=") else {
                return Err(RemoteError::Option(option.split('=').next().unwrap_or_default().to_owned()));
            };
            let value = percent_decode_str(value).decode_utf8().map_err(|_| RemoteError::Token)?;
            if !(1..=UDP_TOKEN_BYTES_MAX).contains(&value.len()) {
                return Err(RemoteError::Token);
            }
            token = value.into_owned();
        }
        Ok(Remote { relay, name: name.to_owned(), token })
    }
}

impl fmt::Display for Remote {
    /// Writes the address without the token, because it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.relay, self.name)
    }
}

/// A stream that can be received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Datagrams to a multicast group or a local port.
    Input(Input),
    /// A stream that a relay sends on request.
    Remote(Remote),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        if text.starts_with(SCHEME) {
            return text.parse().map(Source::Remote).map_err(|error: RemoteError| error.to_string());
        }
        text.parse().map(Source::Input).map_err(|error: super::AddressError| error.to_string())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Input(input) => input.fmt(f),
            Source::Remote(remote) => remote.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_have_a_relay_a_name_and_perhaps_a_token() {
        let remote: Remote = "tidecast://[::1]:4023/cam-1?token=a%20b".parse().unwrap();
        assert_eq!(
            (remote.relay.clone(), &*remote.name, &*remote.token),
            ("[::1]:4023".parse().unwrap(), "cam-1", "a b")
        );
        assert_eq!(remote.to_string(), "tidecast://[::1]:4023/cam-1");
        let zoned = "tidecast://[fe80::1%eth0]:4023/cam";
        assert_eq!(zoned.parse::<Remote>().map(|remote| remote.to_string()), Ok(zoned.to_owned()));
        assert!(matches!("udp://@239.1.1.1:5000".parse(), Ok(Source::Input(_))));
        for (text, expected) in [
            ("tidecast://relay:4023/cam", "address \"relay:4023\": expected tidecast://ADDRESS:PORT/NAME"),
            ("tidecast://10.0.0.7:0/cam", "address \"10.0.0.7:0\""),
            ("tidecast://10.0.0.7:4023", "stream \"\": expected its name"),
            ("tidecast://10.0.0.7:4023/cam?flow=1", "option \"flow\": expected token"),
            ("tidecast://10.0.0.7:4023/cam?token=", "token: expected 1 to 128 bytes"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
