use std::time::Duration;

use super::{super::Select, *};
use crate::limits::CHUNK_EARLY_MAX;

const DELAY: Duration = Duration::from_millis(20);

fn tap() -> Tap {
    Tap::new(Select::Auto, DELAY)
}

#[test]
fn a_packet_after_a_pause_goes_at_once_and_a_stream_in_chunks() {
    let now = tidecast_net::clock::now();
    let mut tap = tap();
    let mut reader = tap.reader();
    tap.push(b"a", now);
    tap.turn(now, false);
    assert_eq!(reader.try_next().unwrap().bytes, b"a");
    tap.push(b"b", now + DELAY / 4);
    tap.push(b"c", now + DELAY / 2);
    tap.turn(now + DELAY / 2, false);
    assert_eq!(reader.try_next(), None);
    assert_eq!(tap.due(), Some(now + DELAY));
    tap.turn(now + DELAY, false);
    assert_eq!(reader.try_next().unwrap().packets, 2);
    tap.push(b"d", now + DELAY);
    tap.turn(now + DELAY, true);
    assert_eq!(reader.try_next().unwrap().bytes, b"d");
    drop(reader);
    assert!(tap.is_idle());
}

#[test]
fn below_one_packet_a_delay_each_goes_at_once() {
    let start = tidecast_net::clock::now();
    let mut tap = tap();
    let mut reader = tap.reader();
    for n in 0..10 {
        let now = start + (DELAY + Duration::from_millis(1)) * n;
        tap.push(&[n as u8], now);
        assert_eq!(tap.due(), Some(now));
        tap.turn(now, false);
        assert_eq!(reader.try_next().unwrap().bytes, [n as u8]);
    }
}

/// With a turn every 5 ms and the packets of 40 Mbit/s: one chunk per `delay`, at most one turn
/// off.
#[test]
fn a_stream_makes_one_chunk_per_delay_at_any_rate() {
    let start = tidecast_net::clock::now();
    for (delay, chunks) in [(0, 200), (20, 50), (50, 20), (100, 10)] {
        let mut tap = Tap::new(Select::Auto, Duration::from_millis(delay));
        let mut reader = tap.reader();
        for turn in 0..200 {
            let now = start + Duration::from_millis(5) * turn;
            for _ in 0..19 {
                tap.push(&[0; 1316], now);
            }
            tap.turn(now, false);
        }
        tap.turn(start + Duration::from_secs(1), true);
        let sizes: Vec<u32> = std::iter::from_fn(|| reader.try_next()).map(|chunk| chunk.packets).collect();
        assert_eq!(sizes.iter().sum::<u32>(), 200 * 19);
        assert!((chunks..=chunks + 1).contains(&sizes.len()), "{delay}: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 19 * (delay as u32 / 5).max(1)), "{delay}: {sizes:?}");
    }
}

#[test]
fn chunks_that_are_due_almost_together_leave_together() {
    let start = tidecast_net::clock::now();
    let (mut one, mut other) = (tap(), tap());
    let (mut first, mut second) = (one.reader(), other.reader());
    let later = CHUNK_EARLY_MAX;
    for (tap, at) in [(&mut one, start), (&mut other, start + later)] {
        tap.push(b"a", at);
        tap.turn(at, false);
        tap.push(b"b", start + DELAY / 2);
    }
    for tap in [&mut one, &mut other] {
        tap.turn(start + DELAY, false);
        tap.push(b"c", start + DELAY);
    }
    assert_eq!(
        [&mut first, &mut second].map(|reader| std::iter::from_fn(|| reader.try_next()).count()),
        [2, 2]
    );
    assert_eq!(one.due(), other.due());
}

#[test]
fn chunks_are_bounded_in_bytes() {
    let now = tidecast_net::clock::now();
    let mut tap = tap();
    let mut reader = tap.reader();
    tap.push(&vec![0; CHUNK_BYTES_MAX], now);
    tap.push(b"c", now);
    assert_eq!(reader.try_next().unwrap().bytes.len(), CHUNK_BYTES_MAX);
}

#[test]
fn packets_are_numbered_over_what_nobody_read() {
    let now = tidecast_net::clock::now();
    let mut tap = tap();
    for n in 0..3 {
        tap.push(&[n], now);
        tap.turn(now, true);
    }
    tap.push(&[3], now);
    let mut reader = tap.reader();
    tap.push(&[4], now);
    tap.turn(now, true);
    let chunk = reader.try_next().unwrap();
    assert_eq!((&*chunk.bytes, chunk.first, chunk.end(), reader.number()), (&[3, 4][..], 3, 5, 3));
}

#[test]
fn memory_is_used_again_when_nobody_reads_it_any_more() {
    let now = tidecast_net::clock::now();
    let mut tap = tap();
    let mut reader = tap.reader();
    let mut send = |length: usize| {
        tap.push(&vec![7; length], now);
        tap.turn(now, true);
        reader.try_next().unwrap()
    };
    let place = |chunk: &Chunk| chunk.bytes.as_ptr();
    let kept = send(100);
    let second = place(&send(100));
    let chunk = send(1);
    let third = place(&chunk);
    assert!(third != place(&kept) && third != second);
    drop(chunk);
    let chunk = send(1);
    assert_eq!((place(&chunk), chunk.bytes.capacity()), (second, 100));
    assert_eq!((&*chunk.bytes, &*kept.bytes), (&[7][..], &[7; 100][..]));
    drop(chunk);
    assert_eq!(place(&send(1)), third);
}
