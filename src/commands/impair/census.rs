//! Counts the fates of datagrams by kind and flow: what a relay behind the link should have seen.
//!
//! The link impairs all datagrams alike, while a relay's loss counter covers only media packets,
//! and its reordering counter covers packets within a flow. These counts can be compared with
//! both.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::Serialize;

use crate::limits::IMPAIR_FLOWS_MAX;
use tidecast_link::Fate;
use tidecast_wire::{self as wire, Datagram, Format, native};

/// Kind of a datagram. Unreadable ones count as media, as in the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketKind {
    Media,
    Repair,
    Control,
}

/// Identifies a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FlowKey {
    /// A native stream id.
    Native(u32),
    /// An RTP synchronisation source.
    Rtp(u32),
    /// Unknown, or beyond [`IMPAIR_FLOWS_MAX`] flows.
    Other,
}

/// Position of a datagram in the census.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    flow: FlowKey,
    kind: PacketKind,
    /// Count of datagrams of its flow and kind that entered before it.
    order: u64,
}

/// Counts of one kind of datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    /// Came out after a later one of the same flow and kind; second copies are not counted.
    pub(super) reordered: u64,
    /// Order of the last one that came out, to recognize its second copy, which follows
    /// immediately.
    last_out: Option<u64>,
    out_next: u64,
}

/// Counts of one flow, or of all flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds([Tally; 3]);

/// Counts of one flow.
#[derive(Debug, Clone, Serialize)]
pub struct FlowReport {
    /// `native ID`, `rtp SSRC`, or `other`.
    pub flow: String,
    /// Counts by kind.
    #[serde(flatten)]
    pub kinds: Kinds,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Census {
    flows: HashMap<FlowKey, Kinds>,
}

impl Census {
    /// A datagram enters the link.
    pub(super) fn enters(&mut self, bytes: &[u8]) -> Tag {
        let (flow, kind) = classify(bytes);
        let known = self.flows.len() < IMPAIR_FLOWS_MAX || self.flows.contains_key(&flow);
        let flow = if known { flow } else { FlowKey::Other };
        let tally = self.flows.entry(flow).or_default().tally(kind);
        tally.received += 1;
        Tag { flow, kind, order: tally.received - 1 }
    }

    /// Counts the link's decision.
    pub(super) fn decided(&mut self, tag: Tag, fate: Fate) {
        let tally = self.tally(tag);
        match fate {
            Fate::Dropped => tally.dropped += 1,
            Fate::Duplicated => tally.duplicated += 1,
            Fate::Passed => {}
        }
    }

    /// A datagram leaves the link.
    pub(super) fn leaves(&mut self, tag: Tag) {
        let tally = self.tally(tag);
        let second_copy = tally.last_out.replace(tag.order) == Some(tag.order);
        tally.reordered += u64::from(tag.order < tally.out_next && !second_copy);
        tally.out_next = tally.out_next.max(tag.order + 1);
    }

    fn tally(&mut self, tag: Tag) -> &mut Tally {
        self.flows.entry(tag.flow).or_default().tally(tag.kind)
    }

    /// All flows together.
    pub(super) fn totals(&self) -> Kinds {
        let mut totals = Kinds::default();
        for kinds in self.flows.values() {
            for (total, tally) in totals.0.iter_mut().zip(&kinds.0) {
                total.received += tally.received;
                total.dropped += tally.dropped;
                total.duplicated += tally.duplicated;
                total.reordered += tally.reordered;
            }
        }
        totals
    }

    /// Each flow, sorted by kind of flow and number.
    pub(super) fn flows(&self) -> Vec<FlowReport> {
        let sorted: BTreeMap<FlowKey, Kinds> = self.flows.iter().map(|(key, kinds)| (*key, *kinds)).collect();
        sorted.into_iter().map(|(key, kinds)| FlowReport { flow: key.to_string(), kinds }).collect()
    }
}

impl Kinds {
    /// Media packets: received and dropped.
    pub fn media(&self) -> (u64, u64) {
        let media = self.0[PacketKind::Media as usize];
        (media.received, media.dropped)
    }

    fn tally(&mut self, kind: PacketKind) -> &mut Tally {
        &mut self.0[kind as usize]
    }

    /// The counts with the names of their kinds.
    pub(super) fn named(&self) -> [(&'static str, &Tally); 3] {
        let [media, repair, control] = &self.0;
        [("media", media), ("repair", repair), ("control", control)]
    }
}

/// `received_media`, `dropped_media` and so on.
impl Serialize for Kinds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = |(kind, tally): (&str, &Tally)| {
            [
                (format!("received_{kind}"), tally.received),
                (format!("dropped_{kind}"), tally.dropped),
                (format!("duplicated_{kind}"), tally.duplicated),
                (format!("reordered_{kind}"), tally.reordered),
            ]
        };
        serializer.collect_map(self.named().into_iter().flat_map(counts))
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlowKey::Native(stream) => write!(f, "native {stream}"),
            FlowKey::Rtp(ssrc) => write!(f, "rtp {ssrc:#010x}"),
            FlowKey::Other => f.write_str("other"),
        }
    }
}

fn classify(bytes: &[u8]) -> (FlowKey, PacketKind) {
    match wire::parse(&Format::Auto, bytes) {
        Ok(Datagram::Native(packet)) => (FlowKey::Native(packet.stream()), kind_of(&packet)),
        Ok(Datagram::Rtp(packet)) => (FlowKey::Rtp(packet.ssrc()), PacketKind::Media),
        _ => (FlowKey::Other, PacketKind::Media),
    }
}

fn kind_of(packet: &native::Packet<'_>) -> PacketKind {
    match packet.kind() {
        native::Kind::Data => PacketKind::Media,
        native::Kind::Repair if native::Repair::parse(packet.payload()).is_ok() => PacketKind::Repair,
        native::Kind::Repair => PacketKind::Media,
        native::Kind::Heartbeat | native::Kind::End | native::Kind::Nack => PacketKind::Control,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(kind: native::Kind, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        native::Repr { kind, flags: 0, stream, session: 1, sequence: 0, timestamp: 0, payload }
            .emit(&mut bytes);
        bytes
    }

    #[test]
    fn datagrams_are_told_apart() {
        let mut repair = Vec::new();
        native::RepairRepr { k: 3, m: 1, index: 0, stride: 1, shard: &[0; 20] }.emit(&mut repair);
        let mut damaged = native(native::Kind::Heartbeat, 7, b"");
        damaged[9] ^= 1;
        let rtp = [0x80, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3];
        let cases: [(&[u8], FlowKey, PacketKind); 8] = [
            (&native(native::Kind::Data, 7, b"x"), FlowKey::Native(7), PacketKind::Media),
            (&native(native::Kind::Repair, 7, &repair), FlowKey::Native(7), PacketKind::Repair),
            (&native(native::Kind::Heartbeat, 7, b""), FlowKey::Native(7), PacketKind::Control),
            (&native(native::Kind::End, 8, b""), FlowKey::Native(8), PacketKind::Control),
            (&damaged, FlowKey::Other, PacketKind::Media),
            (&rtp, FlowKey::Rtp(9), PacketKind::Media),
            (b"text", FlowKey::Other, PacketKind::Media),
            (b"", FlowKey::Other, PacketKind::Media),
        ];
        for (bytes, flow, kind) in cases {
            assert_eq!(classify(bytes), (flow, kind), "{bytes:?}");
        }
    }

    #[test]
    fn reordering_counts_within_a_flow_and_copies_do_not() {
        let mut census = Census::default();
        let data = |stream| native(native::Kind::Data, stream, b"x");
        let [a0, b0, a1, a2] = [1, 2, 1, 1].map(|stream| census.enters(&data(stream)));
        census.decided(a2, Fate::Duplicated);
        // Only packets of the other flow overtake b0; a packet of its own flow overtakes a0.
        for tag in [a1, b0, a0, a0, a2, a2] {
            census.leaves(tag);
        }
        let flows = census.flows();
        let reordered: Vec<_> = flows.iter().map(|f| (f.flow.as_str(), f.kinds.0[0].reordered)).collect();
        assert_eq!(reordered, [("native 1", 1), ("native 2", 0)]);
        let json = serde_json::to_value(census.totals()).unwrap();
        assert_eq!((&json["received_media"], &json["duplicated_media"]), (&4.into(), &1.into()));
        assert_eq!((&json["reordered_media"], &json["dropped_control"]), (&1.into(), &0.into()));
    }

    #[test]
    fn flows_are_bounded() {
        let mut census = Census::default();
        for stream in 0..IMPAIR_FLOWS_MAX as u32 + 100 {
            census.enters(&native(native::Kind::Data, stream, b""));
        }
        census.enters(&native(native::Kind::Data, 0, b""));
        assert_eq!(census.flows.len(), IMPAIR_FLOWS_MAX + 1);
        assert_eq!(census.flows[&FlowKey::Other].0[0].received, 100);
        assert_eq!(census.flows[&FlowKey::Native(0)].0[0].received, 2);
    }
}
