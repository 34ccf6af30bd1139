//! Selection of one flow of a channel: `flow=KEY`, in any notation of the key that
//! `/api/v1/streams` shows.

use std::net::{IpAddr, SocketAddr};

use crate::limits::FLOW_KEY_BYTES_MAX;
use tidecast_wire::{Format, custom::Sender};

/// A selected flow. It need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowWanted {
    text: String,
    /// The keys that it may mean: a stream id is shown in decimal, an SSRC in hexadecimal digits.
    keys: Vec<String>,
}

impl FlowWanted {
    /// Parses the text: a decimal number; a hexadecimal one with `0x`, with letters, or of eight
    /// digits; an address and port; or an id as displayed.
    ///
    /// # Errors
    /// A message that states the error and the expected form.
    pub fn parse(text: &str) -> Result<FlowWanted, String> {
        if !(1..=FLOW_KEY_BYTES_MAX).contains(&text.len()) {
            return Err(format!(
                "flow of {} bytes: expected a key of 1 to {FLOW_KEY_BYTES_MAX} bytes, as /api/v1/streams lists them",
                text.len()
            ));
        }
        let mut keys = vec![text.to_owned()];
        let mut add = |key: String| {
            if !keys.contains(&key) {
                keys.push(key);
            }
        };
        for number in numbers(text) {
            add(number.to_string());
            add(format!("{number:#010x}"));
        }
        if let Some(digits) = hex_digits(text) {
            add(digits.to_ascii_lowercase()); // of a custom id
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            add(address.to_string());
        }
        if let Some(key) = sender_key(text) {
            add(key);
        }
        Ok(FlowWanted { text: text.to_owned(), keys })
    }

    /// Checks whether a flow of the format can have such a key.
    ///
    /// # Errors
    /// A message that states the expected form.
    pub fn check(&self, format: &Format) -> Result<(), String> {
        let number = || !numbers(&self.text).is_empty();
        let address = || self.text.parse::<SocketAddr>().is_ok();
        let (fits, expected) = match format {
            Format::Rtp => (number(), "an SSRC such as 0x00023c58 or 146520"),
            Format::Native => (number(), "a stream id from 0 to 4294967295, such as 7"),
            Format::Ts | Format::Raw => (address(), "a source such as 10.0.0.5:5000"),
            Format::Auto => (
                number() || address(),
                "an SSRC such as 0x00023c58 or 146520, a stream id such as 7, or a source such as 10.0.0.5:5000",
            ),
            Format::Custom(layout) => {
                let forms = layout.id_forms();
                let fits = |(sender, fields): &(Sender, bool)| has_form(&self.text, *sender, *fields);
                let expected = forms.first().map_or("", |(sender, fields)| form(*sender, *fields));
                (forms.iter().any(fits), expected)
            }
        };
        let text = &self.text;
        if fits {
            return Ok(());
        }
        Err(format!("flow={text:?}: expected {expected}, as /api/v1/streams lists them"))
    }

    /// Whether this key is selected.
    #[inline]
    pub fn is(&self, key: &str) -> bool {
        self.keys.iter().any(|wanted| wanted == key)
    }
}

/// The key of a flow that contains the sender's address, in the flow's notation: `10.0.0.5`,
/// `10.0.0.5/0a1b`.
fn sender_key(text: &str) -> Option<String> {
    let (sender, fields) = text.split_once('/').unwrap_or((text, ""));
    let ip = sender.parse::<IpAddr>().map(|ip| ip.to_string());
    let sender = ip.or_else(|_| sender.parse::<SocketAddr>().map(|address| address.to_string())).ok()?;
    match hex_digits(fields) {
        Some(digits) => Some(format!("{sender}/{}", digits.to_ascii_lowercase())),
        None => (!text.contains('/')).then_some(sender),
    }
}

/// Whether a key contains this part of the sender's address, and further fields or not.
fn has_form(text: &str, sender: Sender, fields: bool) -> bool {
    let (before, behind) = match sender {
        Sender::Any => return hex_digits(text).is_some(),
        _ => text.split_once('/').map_or((text, None), |(before, behind)| (before, Some(behind))),
    };
    let known = match sender {
        Sender::Host => before.parse::<IpAddr>().is_ok(),
        _ => before.parse::<SocketAddr>().is_ok(),
    };
    known && fields == behind.is_some() && behind.is_none_or(|digits| hex_digits(digits).is_some())
}

/// Example of such a key.
fn form(sender: Sender, fields: bool) -> &'static str {
    match (sender, fields) {
        (Sender::Any, _) => "the digits of an id such as 0a1b",
        (Sender::Host, false) => "a sender such as 10.0.0.5",
        (Sender::Host, true) => "a sender and an id such as 10.0.0.5/0a1b",
        (Sender::Port, false) => "a source such as 10.0.0.5:5000",
        (Sender::Port, true) => "a source and an id such as 10.0.0.5:5000/0a1b",
    }
}

/// Possible meanings of an SSRC or stream id; eight decimal digits may be either.
fn numbers(text: &str) -> Vec<u32> {
    let prefixed = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let hex = hex_digits(text).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let decimal = text.parse().ok().filter(|_| is_decimal);
    match (prefixed, is_decimal) {
        (Some(_), _) | (None, false) => hex.into_iter().collect(),
        (None, true) if text.len() == 8 => decimal.into_iter().chain(hex).collect(),
        (None, true) => decimal.into_iter().collect(),
    }
}

/// The digits of a hexadecimal number, without its prefix.
fn hex_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> FlowWanted {
        FlowWanted::parse(text).unwrap()
    }

    #[test]
    fn every_notation_of_an_ssrc_is_the_flow() {
        for text in
            ["146520", "0x23c58", "0X23C58", "00023c58", "00023C58", "23c58", "0x00023c58", "000146520"]
        {
            assert!(wanted(text).is("0x00023c58"), "{text}");
            assert!(!wanted(text).is("0x00023c59"), "{text}");
            wanted(text).check(&Format::Rtp).unwrap();
            wanted(text).check(&Format::Auto).unwrap();
        }
        // eight digits may be either
        assert!(wanted("12345678").is("0x12345678") && wanted("12345678").is("0x00bc614e"));
        assert!(!wanted("1234567").is("0x01234567"));
        assert!(wanted("4294967295").is("0xffffffff") && wanted("deadbeef").is("0xdeadbeef"));
    }

    #[test]
    fn other_keys_are_what_they_were() {
        assert!(wanted("7").is("7") && wanted("0x7").is("7") && !wanted("7").is("77"));
        assert!(wanted("10.0.0.5:5000").is("10.0.0.5:5000"));
        assert!(wanted("[FE80:0::1]:5000").is("[fe80::1]:5000"));
        assert!(wanted("0x0A1B").is("0a1b") && wanted("0a1b").is("0a1b"));
        assert!(wanted("10.0.0.5/0A1B").is("10.0.0.5/0a1b") && wanted("FE80:0::1").is("fe80::1"));
        assert!(wanted("[FE80:0::1]:5/0xA1").is("[fe80::1]:5/a1"));
        wanted("10.0.0.5/0a1b").check(&"mavlink".parse().unwrap()).unwrap();
        // datagrams of `pass` have no id, so their flow's key is the source
        wanted("10.0.0.5:6454").check(&"artnet".parse().unwrap()).unwrap();
    }

    #[test]
    fn what_can_be_no_key_is_refused_with_what_would_be_right() {
        let custom = |text: &str| text.parse::<Format>().unwrap();
        for (format, text, expected) in [
            (Format::Rtp, "cam", "an SSRC such as 0x00023c58 or 146520"),
            (Format::Rtp, "4294967296", "an SSRC"),
            (Format::Rtp, "0x123456789", "an SSRC"),
            (Format::Rtp, "-1", "an SSRC"),
            (Format::Rtp, "0x", "an SSRC"),
            (Format::Native, "seven", "a stream id from 0 to 4294967295"),
            (Format::Ts, "7", "a source such as 10.0.0.5:5000"),
            (Format::Auto, "seven", "or a source such as 10.0.0.5:5000"),
            (custom("seq=u16be@4,id=u32be@0"), "seven", "the digits of an id"),
            (custom("seq=u16be@4"), "7", "a source such as"),
            (custom("mavlink"), "0101", "a sender and an id such as 10.0.0.5/0a1b"),
            (custom("mavlink"), "10.0.0.5", "a sender and an id"),
            (custom("mavlink"), "10.0.0.5/x", "a sender and an id"),
            (custom("mavlink"), "10.0.0.5/", "a sender and an id"),
            (custom("seq=u8@0,id=ip"), "10.0.0.5/01", "a sender such as 10.0.0.5"),
        ] {
            let error = wanted(text).check(&format).unwrap_err();
            assert!(
                error.starts_with(&format!("flow={text:?}: expected ")) && error.contains(expected),
                "{error}"
            );
        }
        assert!(FlowWanted::parse("").unwrap_err().contains("expected a key of 1 to"));
        assert!(FlowWanted::parse(&"1".repeat(1000)).unwrap_err().contains("flow of 1000 bytes"));
        wanted("10.0.0.5:5000").check(&Format::Ts).unwrap();
        wanted("00000007").check(&custom("seq=u16be@4,id=u32be@0")).unwrap();
    }
}
