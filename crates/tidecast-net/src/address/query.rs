//! The `?key=value&...` part of an address: parses it into checked options, and writes options
//! back.

use std::{fmt, time::Duration};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{AddressError, Dscp, Interface, OutputFec, OutputRtcp, number};
use tidecast_core::limits::{HISTORY_MAX, HISTORY_MIN, RETRANSMIT_SHARE_MAX};
use tidecast_wire::fec::matrix::Shape;

const KEYS_OF_INPUT: &[&str] = &["if"];
const KEYS_OF_OUTPUT: &[&str] = &["if", "ttl", "loop", "payload", "fec", "buffer", "share", "rtcp", "dscp"];
/// Names that other programs use for the same options, so that a pasted URL gets a useful hint.
const ALIASES: &[(&str, &str)] = &[
    ("localaddr", "if"),
    ("miface", "if"),
    ("iface", "if"),
    ("interface", "if"),
    ("multicast-iface", "if"),
    ("hops", "ttl"),
    ("tos", "dscp"),
    ("buffer_size", "buffer"),
    ("latency", "buffer"),
];
/// Characters of an interface's name that must be escaped in a URL.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'#').add(b'?').add(b'+');

/// The options of an address; an absent option is `None`.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) interface: Option<Interface>,
    pub(super) ttl: Option<u8>,
    pub(super) multicast_loop: Option<bool>,
    pub(super) payload: Option<bool>,
    pub(super) fec: Option<OutputFec>,
    pub(super) buffer: Option<Duration>,
    pub(super) share: Option<u8>,
    pub(super) rtcp: Option<OutputRtcp>,
    pub(super) dscp: Option<Dscp>,
}

impl Query {
    pub(super) fn of_input(text: &str) -> Result<Query, AddressError> {
        Query::parse(text, KEYS_OF_INPUT)
    }

    pub(super) fn of_output(text: &str) -> Result<Query, AddressError> {
        Query::parse(text, KEYS_OF_OUTPUT)
    }

    fn parse(text: &str, known: &'static [&'static str]) -> Result<Query, AddressError> {
        let mut query = Query::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !known.contains(&key) {
                return Err(unknown(key, known));
            }
            let raw = value;
            let value = percent_decode_str(value).decode_utf8_lossy();
            let repeated = match key {
                "if" => {
                    // The zone of an address may be unescaped: two hexadecimal letters after its
                    // percent sign are then no escape.
                    let zoned = raw.parse().ok().filter(|one| matches!(one, Interface::Zoned(..)));
                    query.interface.replace(zoned.map_or_else(|| value.parse(), Ok)?).is_some()
                }
                "ttl" => query.ttl.replace(parse_ttl(&value)?).is_some(),
                "loop" => query.multicast_loop.replace(parse_switch("loop", &value)?).is_some(),
                "fec" => query.fec.replace(parse_fec(&value)?).is_some(),
                "buffer" => query.buffer.replace(parse_buffer(&value)?).is_some(),
                "dscp" => query.dscp.replace(parse_dscp(&value)?).is_some(),
                "rtcp" => query.rtcp.replace(parse_rtcp(&value)?).is_some(),
                "share" => query.share.replace(parse_share(&value)?).is_some(),
                _ => query.payload.replace(parse_switch("payload", &value)?).is_some(),
            };
            if repeated {
                return Err(AddressError::RepeatedOption(key.to_owned()));
            }
        }
        Ok(query)
    }
}

fn unknown(key: &str, known: &'static [&'static str]) -> AddressError {
    if KEYS_OF_OUTPUT.contains(&key) {
        return AddressError::OptionOfOutput(key.to_owned());
    }
    let alias = ALIASES.iter().find(|(name, own)| *name == key && known.contains(own)).map(|(_, own)| *own);
    let nearest = alias.unwrap_or_else(|| nearest(key, known));
    AddressError::UnknownOption { key: key.to_owned(), nearest, known: known.join(", ") }
}

/// Returns the known word that is most similar to `word` (the first one if several are equally
/// similar).
fn nearest(word: &str, known: &'static [&'static str]) -> &'static str {
    known
        .iter()
        .min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
        .copied()
        .unwrap_or_default()
}

fn parse_ttl(value: &str) -> Result<u8, AddressError> {
    number(value).ok_or_else(|| AddressError::OptionValue {
        key: "ttl",
        value: value.to_owned(),
        expected: "0 to 255",
    })
}

fn parse_switch(key: &'static str, value: &str) -> Result<bool, AddressError> {
    match value {
        "1" | "true" | "on" | "yes" => Ok(true),
        "0" | "false" | "off" | "no" => Ok(false),
        _ => Err(AddressError::OptionValue { key, value: value.to_owned(), expected: "0 or 1" }),
    }
}

fn parse_buffer(value: &str) -> Result<Duration, AddressError> {
    let buffer = humantime::parse_duration(value).ok();
    buffer.filter(|buffer| (HISTORY_MIN..=HISTORY_MAX).contains(buffer)).ok_or_else(|| {
        AddressError::OptionValue {
            key: "buffer",
            value: value.to_owned(),
            expected: "a duration from 10ms to 30s, such as 1s",
        }
    })
}

fn parse_dscp(value: &str) -> Result<Dscp, AddressError> {
    value.parse().map_err(|()| AddressError::OptionValue {
        key: "dscp",
        value: value.to_owned(),
        expected: "0 to 63, a name such as EF, AF41 or CS5, or keep (as the datagrams came in)",
    })
}

fn parse_rtcp(value: &str) -> Result<OutputRtcp, AddressError> {
    match value {
        "above" => Ok(OutputRtcp::Above),
        "mux" => Ok(OutputRtcp::Muxed),
        "if-muxed" => Ok(OutputRtcp::IfMuxed),
        "off" => Ok(OutputRtcp::Off),
        _ => Err(AddressError::OptionValue {
            key: "rtcp",
            value: value.to_owned(),
            expected: "above (to the port + 1), mux (to the media's port), if-muxed or off",
        }),
    }
}

fn parse_share(value: &str) -> Result<u8, AddressError> {
    number(value).filter(|share| (1..=RETRANSMIT_SHARE_MAX).contains(share)).ok_or_else(|| {
        AddressError::OptionValue {
            key: "share",
            value: value.to_owned(),
            expected: "1 to 100 (percent of the media)",
        }
    })
}

/// Parses `st2022-1:L,D`, `st2022-1:L,D,columns`, `rs:K,M` or `rs:K,M,STRIDE`.
fn parse_fec(value: &str) -> Result<OutputFec, AddressError> {
    let refused = |expected| AddressError::OptionValue { key: "fec", value: value.to_owned(), expected };
    if let Some(shape) = value.strip_prefix("rs:") {
        let expected = "rs:K,M or rs:K,M,STRIDE such as rs:10,2 or rs:20,4,4: data packets, repair packets \
                        (together at most 255), stride (1 to 255)";
        return shape.parse().map(OutputFec::Native).map_err(|_| refused(expected));
    }
    let cut = || {
        let shape = value.strip_prefix("st2022-1:")?;
        let (shape, rows) = shape.strip_suffix(",columns").map_or((shape, true), |shape| (shape, false));
        let (columns, rows_of_matrix) = shape.split_once(',')?;
        Some((number(columns)?, number(rows_of_matrix)?, rows))
    };
    let expected = "st2022-1:L,D such as st2022-1:10,10, or st2022-1:L,D,columns without row FEC; or rs:K,M such as \
                    rs:10,2 for native datagrams";
    let (columns, rows, row_fec) = cut().ok_or_else(|| refused(expected))?;
    Ok(OutputFec::St2022(Shape::new(columns, rows, row_fec)?))
}

/// Writes `mark` followed by `fec=...`.
pub(super) fn write_fec(f: &mut fmt::Formatter<'_>, mark: char, fec: &OutputFec) -> fmt::Result {
    match fec {
        OutputFec::Native(shape) => write!(f, "{mark}fec=rs:{shape}"),
        OutputFec::St2022(shape) => {
            let columns_only = if shape.row_fec() { "" } else { ",columns" };
            write!(f, "{mark}fec=st2022-1:{},{}{columns_only}", shape.columns(), shape.rows())
        }
    }
}

/// Writes `mark` followed by `if=...`, or nothing if there is no interface.
pub(super) fn write_interface(
    f: &mut fmt::Formatter<'_>,
    mark: char,
    interface: &Option<Interface>,
) -> fmt::Result {
    match interface {
        None => Ok(()),
        Some(Interface::Addr(address)) => write!(f, "{mark}if={address}"),
        Some(Interface::Zoned(address, name)) => {
            write!(f, "{mark}if={address}%25{}", utf8_percent_encode(name, ESCAPED))
        }
        Some(Interface::Name(name)) => write!(f, "{mark}if={}", utf8_percent_encode(name, ESCAPED)),
    }
}
