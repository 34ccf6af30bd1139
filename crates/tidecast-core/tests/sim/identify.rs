//! Tests that the format of a source is determined from several of its datagrams: all are
//! delivered in order, wait for few others, and the counters are consistent at all times.

use std::time::Duration;

use tidecast_core::relay::{Counters, PacketFormat};

use crate::{
    formats::{Numbered, native},
    harness::{Dice, MS, Repeat, Sim, seed, source},
};

/// Maximum time that a datagram waits for others.
const LONGEST: Duration = Duration::from_millis(500);

fn auto(format: &str) -> Sim {
    Sim::fixed(format, 100 * MS)
}

/// Sends all datagrams at this interval and waits. Returns the delivered payloads.
fn sends(sim: &mut Sim, pace: Duration, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let start = sim.elapsed();
    for (i, datagram) in datagrams.iter().enumerate() {
        sim.packet(start + pace * i as u32, datagram);
        sim.check_counters();
        assert!(sim.relay.held() <= 40, "{} wait", sim.relay.held());
    }
    sim.run_until(sim.elapsed() + 2000 * MS);
    assert_eq!(sim.relay.held(), 0);
    let out = sim.delivered(<[u8]>::to_vec);
    sim.events.clear();
    out.into_iter().map(|(_, payload)| payload).collect()
}

fn formats(sim: &Sim) -> Vec<PacketFormat> {
    sim.relay.flows().map(|flow| flow.format).collect()
}

/// Returns readings in formats whose first byte is 0x80 to 0xbf, as in RTP, or any byte.
fn readings(kind: u32, i: u32) -> Vec<u8> {
    let value = (20.0 + f64::from(i) / 7.0).to_be_bytes();
    let time = 1_700_000_000 + i;
    match kind {
        // CBOR (RFC 8949): a map of "t", a u32, and "v", a float; an array of a text, a u32 and a
        // float
        0 => [&b"\xa2at\x1a"[..], &time.to_be_bytes(), b"av\xfb", &value].concat(),
        1 => [&b"\x83dtemp\x1a"[..], &time.to_be_bytes(), b"\xfb", &value].concat(),
        // MessagePack: a map of "s", a text, and "v", a float; an array of three floats
        2 => [&b"\x82\xa1s\xa4temp\xa1v\xcb"[..], &value].concat(),
        3 => [&b"\x93\xcb"[..], &value, b"\xcb", &[0; 8], b"\xcb", &value].concat(),
        // big-endian floats below 0, of 8 and of 4 bytes
        4 => [-0.5 - f64::from(i) / 1000.0, f64::from(i), 2.5].iter().flat_map(|v| v.to_be_bytes()).collect(),
        5 => (0..40).flat_map(|j| (-0.001 * (i * 40 + j) as f32).to_be_bytes()).collect(),
        // a counter of one byte, and a text
        6 => [&[i as u8][..], &u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(4)]
            .concat(),
        _ => format!("{{\"time\":{time},\"value\":{i}}}").into_bytes(),
    }
}

#[test]
fn readings_come_out_as_they_were_sent_at_any_pace() {
    for kind in 0..8 {
        for pace in [Duration::ZERO, 4 * MS, 60_000 * MS] {
            let sent: Vec<_> =
                (0..if pace > 1000 * MS { 20 } else { 600 }).map(|i| readings(kind, i)).collect();
            let mut sim = auto("auto");
            assert!(sends(&mut sim, pace, &sent) == sent, "{kind} at {pace:?}");
            let Counters { delivered, media_received, corrupt, foreign, rejected, .. } = sim.check_counters();
            assert_eq!((delivered, media_received), (sent.len() as u64, sent.len() as u64));
            assert_eq!((corrupt, foreign, rejected), (0, 0, 0));
            assert_eq!(formats(&sim), [PacketFormat::Raw], "{kind} at {pace:?}");
        }
    }
}

#[test]
fn a_reading_of_a_slow_sensor_is_not_kept_until_the_next_one() {
    let mut sim = auto("auto");
    for minute in 0..10_u32 {
        let at = minute * 60_000 * MS;
        sim.packet(at, &readings(2, minute));
        sim.run_until(at + LONGEST);
        assert_eq!(sim.delivered(<[u8]>::to_vec).len(), minute as usize + 1);
    }
}

#[test]
fn a_transport_stream_may_be_cut_anywhere() {
    // packets whose other bytes look like the start of RTP packets everywhere
    for (packet, at) in [(188, 0), (192, 4), (204, 0)] {
        let byte = |i: usize| if i % packet == at { 0x47 } else { 0x80 + (i * 7 % 64) as u8 };
        let stream: Vec<u8> = (0..packet * 700).map(byte).collect();
        for size in [1472, 1316, 1024, 500] {
            for format in ["auto", "ts"] {
                let sent: Vec<_> = stream[77..].chunks(size).map(<[u8]>::to_vec).collect();
                let mut sim = auto(format);
                assert!(sends(&mut sim, 4 * MS, &sent) == sent, "{packet} in {size}, {format}");
                assert_eq!(formats(&sim), [PacketFormat::Ts], "{packet} in {size}, {format}");
            }
        }
    }
}

#[test]
fn damage_is_counted_and_goes_on_as_nothing_else() {
    for numbered in [Numbered::Rtp, Numbered::Native] {
        let mut sim = auto("auto");
        let good: Vec<_> = (0..500).map(|i| numbered.datagram(9, i, i)).collect();
        let mut sent = good.clone();
        for place in (7..500).step_by(20) {
            sent[place][0] ^= 0x40;
        }
        let out = sends(&mut sim, 4 * MS, &sent);
        assert_eq!(out.len(), 475, "{numbered:?}");
        let counters = sim.check_counters();
        assert_eq!((counters.corrupt, counters.lost, sim.relay.flow_count()), (25, 25, 1), "{numbered:?}");
    }
}

#[test]
fn rtp_that_is_slow_changes_its_source_or_shares_its_port() {
    let rtp = |ssrc: u32, number: u16| Numbered::Rtp.datagram(ssrc, number.into(), number.into());
    // one packet per minute: the first is passed on unchanged, because nothing confirms it
    let mut sim = auto("auto");
    let sent: Vec<_> = (65_530..65_540_u32).map(|number| rtp(4, number as u16)).collect();
    let out = sends(&mut sim, 60_000 * MS, &sent);
    assert_eq!((out.len(), &out[0], out[1].len()), (10, &sent[0], 8));
    // two streams and reports on one port; one of the streams is replaced in the middle
    let mut sim = auto("auto");
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7].to_vec();
    let mut sent = vec![report.clone()];
    for number in 0..200 {
        let audio = if number < 100 { 12 } else { 14 };
        sent.extend([rtp(10, number), rtp(audio, 5000 + number)]);
    }
    sent.push(report);
    let out = sends(&mut sim, 5 * MS, &sent);
    let counters = sim.check_counters();
    assert_eq!((out.len(), counters.foreign, counters.rejected), (400, 2, 0), "{counters:?}");
    // the producer returns from another port
    sim.packet_from(sim.elapsed() + MS, 0, source(2), &rtp(10, 200));
    sim.run_until(sim.elapsed() + 10 * MS);
    assert_eq!(sim.delivered(<[u8]>::to_vec).len(), 1, "at once: its number follows");
}

/// Datagrams of all kinds from several sources at once, damaged and lost in transit. All that
/// arrive are delivered or counted.
#[test]
fn any_mixture_adds_up() {
    let seed = seed(11);
    let _repeat = Repeat(seed);
    let mut dice = Dice::new(seed);
    for _ in 0..30 {
        // For packets that have waited for their format, that time also counts when a gap among
        // them is closed.
        let mut sim = Sim::fixed(if dice.hits(0.8) { "auto" } else { "ts" }, 1200 * MS);
        sim.hold_max += 1000 * MS;
        let mut kinds: Vec<u64> = (0..6).map(|_| dice.below(11)).collect();
        for i in 0..2000_u32 {
            let from = dice.below(6) as usize;
            if dice.below(400) == 0 {
                kinds[from] = dice.below(11);
            }
            let mut bytes = match kinds[from] {
                kind @ 0..8 => readings(kind as u32, i),
                8 => Numbered::Rtp.datagram(from as u32, i.into(), i.into()),
                9 => native(tidecast_wire::native::Kind::Data, from as u32, 1, i.into(), 0, b"x"),
                _ => (0..1472)
                    .map(|j| if (i as usize * 1472 + j).is_multiple_of(188) { 0x47 } else { 0x91 })
                    .collect(),
            };
            if dice.below(20) == 0 {
                let place = dice.below(bytes.len() as u64) as usize;
                bytes[place] ^= 1 << dice.below(8);
            }
            let at = sim.elapsed() + Duration::from_micros(dice.below(4000));
            sim.packet_from(at, 0, source(from as u8), &bytes);
            sim.check_counters();
        }
        sim.run_until(sim.elapsed() + 3000 * MS);
        sim.finish();
        sim.check_counters();
        assert_eq!((sim.relay.held(), sim.relay.bytes_held()), (0, 0));
    }
}
