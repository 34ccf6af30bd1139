//! Tests that outputs without a packet keep their place among the packets that wait for their
//! release time.

use super::*;
use crate::relay::{FlowId, PacketFormat};

fn pacer(now: Instant) -> Pacer {
    Pacer::new(Delay::default(), Duration::from_millis(50), Arc::default(), now)
}

fn answer() -> Output {
    Output::Unnumbered { flow: FlowId(7) }
}

fn packet(seq: u64, arrived: Instant) -> PacedPacket {
    let format = PacketFormat::Raw;
    let packet = Packet { bytes: vec![0; 8].into(), payload: 0..8, timestamp: None, arrived, format };
    PacedPacket { seq, span: 1, how: How::Received, packet }
}

#[test]
fn an_answer_is_given_back_at_once_if_nothing_waits() {
    let now = crate::clock::now();
    let mut pacer = pacer(now);
    assert!(matches!(pacer.follow(answer(), now), Some(Output::Unnumbered { flow: FlowId(7) })));
    assert!(pacer.is_empty());
}

#[test]
fn an_answer_keeps_its_place_behind_the_packets_that_wait() {
    let now = crate::clock::now();
    let mut pacer = pacer(now);
    pacer.push(packet(1, now), Duration::ZERO, now);
    assert!(pacer.follow(answer(), now).is_none());
    let later = now + Duration::from_secs(5);
    assert!(matches!(pacer.pop(later), Some((PacedItem::Packet(PacedPacket { seq: 1, .. }), _))));
    assert!(matches!(pacer.pop(later), Some((PacedItem::Other(Output::Unnumbered { .. }), _))));
    assert!(pacer.pop(later).is_none());
}

/// The other flow's packets go first, even if this flow has none waiting.
#[test]
fn an_answer_waits_for_the_flow_before() {
    let now = crate::clock::now();
    let mut pacer = pacer(now);
    let floor = now + Duration::from_millis(300);
    pacer.not_before(floor);
    assert!(pacer.follow(answer(), now).is_none());
    assert!(pacer.pop(floor - Duration::from_millis(1)).is_none());
    assert!(matches!(pacer.pop(floor), Some((PacedItem::Other(Output::Unnumbered { .. }), _))));
}
