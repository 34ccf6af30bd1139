//! Messages for programs: a packet, a gap, missed numbers, the start and the end of a flow; each
//! as one JSON object. [`super::frame`] has the binary form. `docs/programs.md` is the reference
//! for users.

use std::borrow::Cow;

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::channel::tap::Info;
use tidecast_core::relay::How;

/// Subject of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The stream's name.
    pub(super) stream: &'a str,
    /// The stream's place in the configuration, from 1.
    pub(super) id: u16,
    /// The flow's key.
    pub(super) flow: &'a str,
}

/// Numbers that a client does not receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u64,
    /// The last number.
    pub(super) to: u64,
    /// Packets that the relay had.
    pub(super) packets: u64,
    /// Numbers that the relay did not have.
    pub(super) lost: u64,
}

impl Range {
    /// A packet that the relay had. A control datagram has the number of the next packet.
    pub(super) fn packet(info: &Info) -> Range {
        Range { from: info.seq, to: info.seq.max(info.next().saturating_sub(1)), packets: 1, lost: 0 }
    }

    /// Packets that the relay had, of which only the numbers are known. Each took `span` numbers,
    /// like other packets of the flow.
    pub(super) fn packets(from: u64, end: u64, span: u16) -> Range {
        let packets = (end - from).div_ceil(u64::from(span).max(1));
        Range { from, to: end.saturating_sub(1), packets, lost: 0 }
    }

    /// Numbers that the relay did not have.
    pub(super) fn lost(from: u64, count: u64) -> Range {
        Range { from, to: from.saturating_add(count.saturating_sub(1)), packets: 0, lost: count }
    }

    /// Merges two ranges. They may overlap or be reversed, since a new run of the producer starts
    /// at any number.
    pub(super) fn and(self, other: Range) -> Range {
        Range {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            packets: self.packets + other.packets,
            lost: self.lost + other.lost,
        }
    }
}

/// A message for a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Message<'a> {
    /// A packet. `last`: the flow's last value, for a client that has just subscribed or
    /// reconnected.
    Packet { info: &'a Info, payload: &'a [u8], last: bool },
    /// Numbers that the relay has given up, so no client receives them.
    Lost(Range),
    /// Numbers that the relay had, but this client missed because it was behind.
    Missed(Range),
    /// A run of the producer starts, with a new numbering.
    Started,
    /// The flow has ended.
    Ended,
}

impl Message<'_> {
    /// Name of the message: the type in JSON, the event in server-sent events and Socket.IO.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Message::Packet { .. } => "packet",
            Message::Lost(_) => "lost",
            Message::Missed(_) => "missed",
            Message::Started => "started",
            Message::Ended => "ended",
        }
    }

    /// Appends it as one JSON object without a line break. `with_payload`: includes the payload.
    pub(super) fn json(&self, about: About<'_>, with_payload: bool, out: &mut Vec<u8>) {
        let object =
            Object { kind: self.kind(), stream: about.stream, flow: about.flow, ..Object::default() };
        let object = match *self {
            Message::Packet { info, payload, last } => {
                let payload = with_payload.then(|| Payload::of(payload));
                Object { last: last.then_some(true), ..object }.packet(info).payload(payload)
            }
            Message::Lost(Range { from, to, lost, .. }) => {
                Object { from: Some(from), to: Some(to), count: Some(lost), ..object }
            }
            Message::Missed(Range { from, to, packets, lost }) => {
                let (from, to) = (Some(from), Some(to));
                Object { from, to, packets: Some(packets), lost: Some(lost), ..object }
            }
            Message::Started | Message::Ended => object,
        };
        let _ = serde_json::to_writer(out, &object); // writing to a Vec cannot fail, and every field is valid JSON
    }
}

/// A message with its keys in the order in which they are written.
#[derive(Default, Serialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    stream: &'a str,
    flow: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
}

impl<'a> Object<'a> {
    fn packet(self, info: &Info) -> Object<'a> {
        let (how, by) = match info.how {
            How::Received => ("received", None),
            How::Fec => ("recovered", Some("fec")),
            How::Retransmission => ("recovered", Some("retransmission")),
        };
        let (seq, arrived) = (Some(info.seq), Some(info.arrived.as_micros() as u64));
        Object { seq, timestamp: info.timestamp, arrived, how: Some(how), by, ..self }
    }

    fn payload(self, payload: Option<Payload<'a>>) -> Object<'a> {
        Object { encoding: payload.as_ref().map(Payload::encoding), payload, ..self }
    }
}

/// A payload in JSON: unchanged if it is JSON, as text if it is UTF-8, otherwise as base64 (RFC
/// 4648, section 4).
enum Payload<'a> {
    Json(Cow<'a, RawValue>),
    Text(&'a str),
    Base64(&'a [u8]),
}

impl<'a> Payload<'a> {
    fn of(bytes: &'a [u8]) -> Payload<'a> {
        let Ok(text) = std::str::from_utf8(bytes) else { return Payload::Base64(bytes) };
        let Ok(json) = serde_json::from_str::<&RawValue>(text) else { return Payload::Text(text) };
        if !json.get().contains(['\n', '\r']) {
            return Payload::Json(Cow::Borrowed(json));
        }
        // A line break within JSON equals a space; it is replaced, because messages end with one.
        let one_line = json.get().replace(['\n', '\r'], " ");
        RawValue::from_string(one_line).map_or(Payload::Text(text), |json| Payload::Json(Cow::Owned(json)))
    }

    fn encoding(&self) -> &'static str {
        match self {
            Payload::Json(_) => "json",
            Payload::Text(_) => "text",
            Payload::Base64(_) => "base64",
        }
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Payload::Json(json) => json.serialize(serializer),
            Payload::Text(text) => serializer.serialize_str(text),
            Payload::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use tidecast_core::relay::PacketFormat;

    const ABOUT: About<'_> = About { stream: "s", id: 1, flow: "7\"" };

    fn told(message: Message<'_>) -> Value {
        let mut out = Vec::new();
        message.json(ABOUT, true, &mut out);
        assert!(!out.contains(&b'\n'), "{out:?}");
        serde_json::from_slice(&out).unwrap()
    }

    fn packet(payload: &[u8], how: How) -> Value {
        let info = Info::new(9, how, PacketFormat::Native, Some(5), Duration::from_micros(6), true);
        told(Message::Packet { info: &info, payload, last: how != How::Received })
    }

    #[test]
    fn payloads_are_json_text_or_base64() {
        let expected = json!({ "type": "packet", "stream": "s", "flow": "7\"", "seq": 9, "timestamp": 5, "arrived": 6,
            "how": "received", "encoding": "json", "payload": { "a": [1, 2.50] } });
        assert_eq!(packet(b" {\"a\": [1,\r\n2.50]}\n", How::Received), expected);
        for (payload, encoding, value) in [
            (&b"21.5"[..], "json", json!(21.5)),
            (b"warm\n", "text", json!("warm\n")),
            (b"{\"a\":", "text", json!("{\"a\":")),
            (b"", "text", json!("")),
            (&[0xff, 0, 1], "base64", json!("/wAB")),
        ] {
            let told = packet(payload, How::Fec);
            assert_eq!((&told["encoding"], &told["payload"]), (&json!(encoding), &value));
            assert_eq!(
                (&told["how"], &told["by"], &told["last"]),
                (&json!("recovered"), &json!("fec"), &json!(true))
            );
        }
    }

    #[test]
    fn gaps_name_their_ends() {
        let lost = told(Message::Lost(Range::lost(5, 3)));
        assert_eq!(
            (&lost["type"], &lost["from"], &lost["to"], &lost["count"]),
            (&json!("lost"), &json!(5), &json!(7), &json!(3))
        );
        let info = |seq| Info::new(seq, How::Received, PacketFormat::Custom, None, Duration::ZERO, true);
        let (four, eight) = (Range::packet(&info(4)), Range::packet(&info(8)));
        let missed = told(Message::Missed(four.and(Range::lost(5, 3)).and(eight)));
        let expected = json!({ "type": "missed", "stream": "s", "flow": "7\"", "from": 4, "to": 8, "packets": 2, "lost": 3 });
        assert_eq!(missed, expected);
        let mut twenty = info(41);
        twenty.span = 20;
        assert_eq!(Range::packet(&twenty), Range { from: 41, to: 60, packets: 1, lost: 0 });
        assert_eq!(Range::packets(1, 41, 20), Range { from: 1, to: 40, packets: 2, lost: 0 });
        assert_eq!(told(Message::Started), json!({ "type": "started", "stream": "s", "flow": "7\"" }));
    }
}
