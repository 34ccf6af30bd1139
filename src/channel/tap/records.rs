//! Records: everything that happens in a channel's streams, packet by packet, for readers that
//! need more than the payload: programs, browsers, recordings. One tap per channel carries all
//! flows; its readers select.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Piece, Tap};
use tidecast_core::relay::{Delivery, How, PacketFormat};

/// Name of a flow outside of the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowName {
    /// Stream id, SSRC, id or source address, as text; accepted by `?flow=`.
    pub key: String,
    /// Source address of the session's first packet.
    pub source: SocketAddr,
}

/// An event in a flow.
#[derive(Debug, Clone)]
pub struct Record {
    /// The flow.
    pub flow: Arc<FlowName>,
    /// The event.
    pub event: Event,
}

/// Events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A packet was delivered.
    Packet(Info),
    /// These numbers were given up.
    Lost {
        /// The first lost number.
        from: u64,
        /// Count of lost numbers.
        count: u64,
    },
    /// A run of the producer starts, with a new numbering.
    Started,
    /// The flow was removed, or its producer has announced its end.
    Ended,
}

/// Description of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The packet's extended number: it never wraps.
    pub seq: u64,
    /// Count of numbers that it takes, from `seq` on; zero for a control datagram.
    pub span: u16,
    /// How it was obtained.
    pub how: How,
    /// Its format.
    pub format: PacketFormat,
    /// Microseconds since the Unix epoch on the producer's clock, if the format has them.
    pub timestamp: Option<u64>,
    /// When it arrived or was recovered, since the Unix epoch.
    pub arrived: Duration,
    /// Whether a player's output gets it.
    pub followed: bool,
    pub(super) datagram: Range<u32>,
    pub(super) payload: Range<u32>,
}

impl Info {
    /// The number after it.
    pub fn next(&self) -> u64 {
        self.seq.saturating_add(u64::from(self.span))
    }

    /// Description of a packet whose bytes are elsewhere.
    #[cfg(test)]
    pub(crate) fn new(
        seq: u64,
        how: How,
        format: PacketFormat,
        timestamp: Option<u64>,
        arrived: Duration,
        followed: bool,
    ) -> Info {
        Info { seq, span: 1, how, format, timestamp, arrived, followed, datagram: 0..0, payload: 0..0 }
    }
}

/// Records of some time, in order.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Record>,
    /// The datagrams, concatenated.
    bytes: Vec<u8>,
    packets: u32,
    first: u64,
}

impl Batch {
    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The payload of a packet of this batch.
    pub fn payload(&self, packet: &Info) -> &[u8] {
        &self.bytes[packet.payload.start as usize..packet.payload.end as usize]
    }

    /// The whole datagram of a packet of this batch.
    pub fn datagram(&self, packet: &Info) -> &[u8] {
        &self.bytes[packet.datagram.start as usize..packet.datagram.end as usize]
    }

    /// Adds a packet of which only the payload is known.
    pub(super) fn payload_only(&mut self, flow: &Arc<FlowName>, mut info: Info, payload: &[u8]) {
        let start = self.bytes.len() as u32; // pieces are far smaller
        self.bytes.extend_from_slice(payload);
        let all = start..self.bytes.len() as u32;
        (info.datagram, info.payload) = (all.clone(), all);
        self.records.push(Record { flow: flow.clone(), event: Event::Packet(info) });
        self.packets += 1;
    }

    fn packet(&mut self, flow: &Arc<FlowName>, delivery: &Delivery, followed: bool, arrived: Duration) {
        let packet = &delivery.packet;
        let start = self.bytes.len() as u32; // pieces are far smaller
        self.bytes.extend_from_slice(&packet.bytes);
        let info = Info {
            seq: delivery.seq,
            span: delivery.span,
            how: delivery.how,
            format: packet.format,
            timestamp: packet.timestamp,
            arrived,
            followed,
            datagram: start..start + packet.datagram().len() as u32,
            payload: start + packet.payload.start..start + packet.payload.end,
        };
        self.records.push(Record { flow: flow.clone(), event: Event::Packet(info) });
        self.packets += 1;
    }
}

impl Piece for Batch {
    fn bytes(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<Record>()
    }

    fn packets(&self) -> u32 {
        self.packets
    }

    fn first(&self) -> u64 {
        self.first
    }

    fn following(&self, spent: Option<Batch>) -> Batch {
        let Batch { mut records, mut bytes, .. } = spent.unwrap_or_default();
        records.clear();
        bytes.clear();
        Batch { records, bytes, packets: 0, first: self.end() }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl Tap<Batch> {
    /// Adds a packet that arrived at this time since the Unix epoch.
    pub fn packet(
        &mut self,
        flow: &Arc<FlowName>,
        delivery: &Delivery,
        followed: bool,
        arrived: Duration,
        now: Instant,
    ) {
        self.add(delivery.packet.bytes.len(), now, |batch| batch.packet(flow, delivery, followed, arrived));
    }

    /// Adds another event.
    pub fn event(&mut self, flow: Arc<FlowName>, event: Event, now: Instant) {
        self.add(0, now, |batch| batch.records.push(Record { flow, event }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tap::Select;
    use tidecast_core::{
        buffer::Buffer,
        relay::{FlowId, Packet},
    };
    use tidecast_net::clock;

    fn delivery(seq: u64, arrived: Instant) -> Delivery {
        let bytes = vec![0, 0, seq as u8, seq as u8 + 1];
        let packet = Packet {
            payload: 2..4,
            bytes: Buffer::from(bytes),
            timestamp: Some(seq),
            arrived,
            format: PacketFormat::Custom,
        };
        Delivery { flow: FlowId(0), seq, span: 1, how: How::Received, packet }
    }

    #[test]
    fn batches_tell_what_happened_in_order() {
        let now = clock::now();
        let flow = Arc::new(FlowName { key: "7".to_owned(), source: "10.0.0.1:5000".parse().unwrap() });
        let mut tap: Tap<Batch> = Tap::new(Select::Auto, Duration::ZERO);
        let mut reader = tap.reader();
        tap.event(flow.clone(), Event::Started, now);
        tap.packet(&flow, &delivery(1, now), true, Duration::from_secs(5), now);
        tap.event(flow.clone(), Event::Lost { from: 2, count: 3 }, now);
        tap.packet(&flow, &delivery(5, now), false, Duration::from_secs(6), now);
        tap.turn(now, true);
        let batch = reader.try_next().unwrap();
        let told: Vec<_> = batch.records().iter().map(|record| &record.event).collect();
        let [Event::Started, Event::Packet(one), Event::Lost { from: 2, count: 3 }, Event::Packet(five)] =
            told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((batch.payload(one), batch.datagram(five)), (&[1, 2][..], &[0, 0, 5, 6][..]));
        assert_eq!((one.seq, one.followed, five.followed, five.arrived.as_secs()), (1, true, false, 6));
        assert_eq!((batch.packets(), batch.first()), (2, 0));
        tap.event(flow, Event::Ended, now);
        tap.turn(now, true);
        assert_eq!(reader.try_next().unwrap().first(), 2);
    }
}
