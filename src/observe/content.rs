//! Content of a channel: whether a browser can play it, or show its readings. Determined once from
//! its first packets.

use std::sync::Arc;

use tokio::time::timeout;

use crate::{
    channel::tap::{Batch, Event, Record},
    limits::LOOK_TIMEOUT,
    registry::Registry,
};

/// Length of a TS packet, and its first byte (ISO 13818-1).
const TS_PACKET: usize = 188;
const TS_SYNC: u8 = 0x47;

/// Kind of payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An MPEG transport stream.
    Ts,
    /// JSON texts: probably readings.
    Json,
    /// Other text.
    Text,
    /// Anything else.
    Binary,
}

impl Content {
    /// Name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Content::Ts => "mpeg-ts",
            Content::Json => "json",
            Content::Text => "text",
            Content::Binary => "binary",
        }
    }

    /// Kind of one payload; `None` for an empty one.
    pub fn of(payload: &[u8]) -> Option<Content> {
        let mut packets = payload.chunks(TS_PACKET);
        if payload.is_empty() {
            return None;
        }
        if payload.len() >= TS_PACKET && packets.all(|packet| packet[0] == TS_SYNC) {
            return Some(Content::Ts);
        }
        let Ok(text) = std::str::from_utf8(payload) else { return Some(Content::Binary) };
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            return Some(Content::Json);
        }
        let readable = |c: char| !c.is_control() || c.is_whitespace();
        Some(if text.chars().all(readable) { Content::Text } else { Content::Binary })
    }
}

/// Examines a channel's next packets. `None` if none came, or the channel does not exist.
pub(super) async fn look(registry: &Registry, channel: &str) -> Option<Content> {
    let mut reader = registry.look(channel).await?;
    let found = async {
        while let Some(batch) = reader.next().await {
            if let Some(content) = in_batch(&batch) {
                return Some(content);
            }
        }
        None
    };
    timeout(LOOK_TIMEOUT, found).await.ok().flatten()
}

fn in_batch(batch: &Arc<Batch>) -> Option<Content> {
    let content = |record: &Record| match &record.event {
        Event::Packet(packet) => Content::of(batch.payload(packet)),
        _ => None,
    };
    batch.records().iter().find_map(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_tell_what_they_are() {
        let mut ts = vec![0; 7 * TS_PACKET];
        ts.iter_mut().step_by(TS_PACKET).for_each(|byte| *byte = TS_SYNC);
        assert_eq!(Content::of(&ts), Some(Content::Ts));
        ts[TS_PACKET] = 0;
        assert_eq!(Content::of(&ts), Some(Content::Binary));
        assert_eq!(Content::of(br#"{"value":21.5}"#), Some(Content::Json));
        assert_eq!(Content::of(b"21.5"), Some(Content::Json));
        assert_eq!(Content::of(b"GGGG"), Some(Content::Text));
        assert_eq!(Content::of(&[0xff, 0]), Some(Content::Binary));
        assert_eq!(Content::of(b""), None);
    }
}
