//! The last value of each flow of a channel, for later subscribers: a reading that is sent once a
//! minute would otherwise be missing for a minute. Media have none, since a part of a picture is
//! useless.
//!
//! Kept on the packet path if programs are served at all. It costs one copy per flow and turn.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::records::{Batch, FlowName, Info};
use crate::limits::LAST_VALUES_BYTES_MAX;
use tidecast_core::follow::Follow;
use tidecast_core::relay::{Delivery, FlowId};

/// The values.
#[derive(Debug, Default)]
pub struct LastValues {
    flows: HashMap<FlowId, Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    info: Info,
    payload: Vec<u8>,
}

impl LastValues {
    /// Keeps the newest value of each flow from a turn's deliveries; `arrived` gives the arrival
    /// since the Unix epoch.
    pub fn keep<'a>(
        &mut self,
        deliveries: impl Iterator<Item = &'a Delivery>,
        arrived: impl Fn(&Delivery) -> Duration,
    ) {
        let mut deliveries =
            deliveries.filter(|delivery| !Follow::concerns(delivery.packet.format)).peekable();
        while let Some(delivery) = deliveries.next() {
            // If the turn has deliveries of one flow in a row, only the last one is kept.
            if deliveries.peek().is_none_or(|next| next.flow != delivery.flow) {
                self.put(delivery, arrived(delivery));
            }
        }
    }

    fn put(&mut self, delivery: &Delivery, arrived: Duration) {
        let payload = delivery.packet.payload();
        let info = Info {
            seq: delivery.seq,
            span: delivery.span,
            how: delivery.how,
            format: delivery.packet.format,
            timestamp: delivery.packet.timestamp,
            arrived,
            followed: true,
            datagram: 0..0,
            payload: 0..0,
        };
        if let Some(kept) = self.flows.get_mut(&delivery.flow) {
            let bytes = self.bytes - kept.payload.len() + payload.len();
            if bytes <= LAST_VALUES_BYTES_MAX {
                self.bytes = bytes;
                kept.info = info;
                kept.payload.clear();
                kept.payload.extend_from_slice(payload);
                return;
            }
            // An old value would be worse than none.
            self.forget(delivery.flow);
        } else if self.bytes + payload.len() <= LAST_VALUES_BYTES_MAX {
            self.bytes += payload.len();
            self.flows.insert(delivery.flow, Kept { info, payload: payload.to_vec() });
        }
    }

    /// The flow was removed; its id may be reused.
    pub fn forget(&mut self, flow: FlowId) {
        if let Some(kept) = self.flows.remove(&flow) {
            self.bytes -= kept.payload.len();
        }
    }

    /// All values.
    pub fn batch(&self, names: &HashMap<FlowId, Arc<FlowName>>) -> Batch {
        let mut batch = Batch::default();
        for (flow, kept) in &self.flows {
            if let Some(name) = names.get(flow) {
                batch.payload_only(name, kept.info.clone(), &kept.payload);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tap::Event;
    use tidecast_core::{
        buffer::Buffer,
        relay::{How, Packet, PacketFormat},
    };
    use tidecast_net::clock;

    fn delivery(flow: u32, seq: u64, payload: &[u8], format: PacketFormat) -> Delivery {
        let (bytes, arrived) = (Buffer::from(payload.to_vec()), clock::now());
        let packet = Packet { payload: 0..payload.len() as u32, bytes, timestamp: None, arrived, format };
        Delivery { flow: FlowId(flow), seq, span: 1, how: How::Received, packet }
    }

    fn told(last: &LastValues) -> Vec<(String, u64, Vec<u8>)> {
        let name =
            |flow: u32| Arc::new(FlowName { key: flow.to_string(), source: "10.0.0.1:1".parse().unwrap() });
        let batch = last.batch(&(0..4).map(|flow| (FlowId(flow), name(flow))).collect());
        let mut told: Vec<_> = batch
            .records()
            .iter()
            .map(|record| match &record.event {
                Event::Packet(info) => (record.flow.key.clone(), info.seq, batch.payload(info).to_vec()),
                other => panic!("{other:?}"),
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn the_newest_of_each_flow_is_kept_until_it_is_gone() {
        let mut last = LastValues::default();
        let custom = |flow, seq, payload: &[u8]| delivery(flow, seq, payload, PacketFormat::Custom);
        let turn = [custom(1, 1, b"a"), custom(1, 2, b"bb"), custom(2, 7, b"c"), custom(1, 3, b"ddd")];
        last.keep(turn.iter(), |_| Duration::ZERO);
        assert_eq!(told(&last), [("1".into(), 3, b"ddd".to_vec()), ("2".into(), 7, b"c".to_vec())]);
        last.keep([custom(2, 8, b"")].iter(), |_| Duration::ZERO);
        last.forget(FlowId(1));
        assert_eq!((told(&last), last.bytes), (vec![("2".into(), 8, Vec::new())], 0));
    }

    #[test]
    fn media_are_not_kept_and_memory_is_bounded() {
        let mut last = LastValues::default();
        last.keep(
            [delivery(1, 1, b"a", PacketFormat::Rtp), delivery(2, 1, b"a", PacketFormat::Ts)].iter(),
            |_| Duration::ZERO,
        );
        assert_eq!(told(&last), []);
        let large = vec![0; LAST_VALUES_BYTES_MAX];
        last.keep(
            [delivery(1, 1, &large, PacketFormat::Raw), delivery(2, 1, b"a", PacketFormat::Raw)].iter(),
            |_| Duration::ZERO,
        );
        assert_eq!((last.bytes, last.flows.len()), (LAST_VALUES_BYTES_MAX, 1));
        last.keep(
            [delivery(1, 2, b"b", PacketFormat::Raw), delivery(2, 2, &large, PacketFormat::Raw)].iter(),
            |_| Duration::ZERO,
        );
        assert_eq!(told(&last), [("1".into(), 2, b"b".to_vec())]);
    }
}
