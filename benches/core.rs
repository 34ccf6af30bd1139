//! What the core costs per packet, from the datagram to the delivery: parse, number, deduplicate, count.
//! `cargo bench --bench core`. The first line of each group copies the same bytes, as a reference: only ratios to it
//! mean anything on a shared machine.

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidecast::{
    buffer::Buffer,
    relay::{Config, Input, Output, Relay},
    wire::{native, rtp},
};

/// Packets per measured batch.
const PACKETS: u64 = 1000;

fn native_packet(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kind = native::Kind::Data;
    native::Repr { kind, flags: 0, stream: 1, session: 2, sequence: number, timestamp: number + 1, payload }
        .emit(&mut bytes);
    bytes
}

fn rtp_packet(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (sequence, timestamp) = (number as u16, number as u32 * 90);
    rtp::Repr { marker: false, payload_type: rtp::PAYLOAD_TYPE_TS, sequence, timestamp, ssrc: 7, payload }
        .emit(&mut bytes);
    bytes
}

/// A relay in mid-stream, and the next packets of its flow.
fn prepare(packet: fn(u64, &[u8]) -> Vec<u8>, size: usize, now: Instant) -> (Relay, Vec<Buffer>) {
    let payload = vec![0x47; size];
    let mut relay = Relay::new(Config::default());
    for number in 0..300 {
        let now = now + Duration::from_millis(number);
        push(&mut relay, Buffer::from(packet(number, &payload)), now);
    }
    let next = (300..300 + PACKETS).map(|number| Buffer::from(packet(number, &payload))).collect();
    (relay, next)
}

fn push(relay: &mut Relay, bytes: Buffer, now: Instant) {
    let source = SocketAddr::from(([127, 0, 0, 1], 5000));
    relay.handle_input(Input::Packet { now, leg: 0, source, bytes });
    loop {
        match relay.poll_output() {
            Output::Timeout(_) => break,
            output => drop(black_box(output)),
        }
    }
}

fn in_order(criterion: &mut Criterion) {
    let start = tidecast::clock::now();
    for size in [200, 1316] {
        let mut group = criterion.benchmark_group(format!("in order, {size} bytes"));
        group.throughput(Throughput::Elements(PACKETS));
        let source = vec![0x47_u8; size];
        let mut target = vec![0_u8; size];
        group.bench_function("copy of the payload", |bencher| {
            bencher.iter(|| {
                (0..PACKETS).for_each(|_| black_box(&mut target).copy_from_slice(black_box(&source)))
            });
        });
        for (name, packet) in [("native", native_packet as fn(u64, &[u8]) -> Vec<u8>), ("rtp", rtp_packet)] {
            group.bench_function(name, |bencher| {
                let setup = || prepare(packet, size, start);
                let run = |(mut relay, packets): (Relay, Vec<Buffer>)| {
                    for (i, bytes) in packets.into_iter().enumerate() {
                        push(&mut relay, bytes, start + Duration::from_millis(300 + i as u64));
                    }
                    relay
                };
                bencher.iter_batched(setup, run, BatchSize::LargeInput);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, in_order);
criterion_main!(benches);
