use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    channel::tap::{Begin, Select, Tap, TapReader},
    limits::START_CHUNK_BYTES,
};
use tidecast_net::clock;
use tidecast_testkit::ts::{AUDIO, H264, VIDEO, packet, picture, tables};
use tidecast_wire::ts::PACKET;

const DELAY: Duration = Duration::from_millis(20);

fn tap(bytes_max: usize) -> Tap {
    Tap::new(Select::Auto, DELAY).with_start(bytes_max, true)
}

fn bytes(chunks: impl IntoIterator<Item = Arc<Chunk>>) -> Vec<u8> {
    chunks.into_iter().flat_map(|chunk| chunk.bytes.clone()).collect()
}

fn rest(reader: &mut TapReader) -> Vec<u8> {
    bytes(std::iter::from_fn(|| reader.try_next()))
}

/// A part of a stream.
#[derive(Clone, Copy, Debug)]
enum Part {
    Tables,
    /// A random access point, with the indicator or recognized by its content.
    Key {
        indicated: bool,
    },
    Other,
    /// With the indicator.
    Audio,
}

/// A packet of a stream; if it reveals a random access point, how many packets earlier that
/// picture started.
type Told = ([u8; PACKET], Option<usize>);

fn packets(part: Part, counter: u8) -> Vec<Told> {
    let told = |starts, indicated, payload: &[u8], told| (packet(VIDEO, starts, indicated, payload), told);
    match part {
        Part::Tables => tables(counter, 0x1b).into_iter().map(|packet| (packet, None)).collect(),
        Part::Key { indicated: true } => {
            vec![
                told(true, true, &[0, 0, 1, 0xe0, counter], Some(0)),
                told(false, false, &[counter; 90], None),
            ]
        }
        Part::Key { indicated: false } => {
            let picture = picture(H264, true);
            vec![told(true, false, &picture[..18], None), told(false, false, &picture[18..], Some(1))]
        }
        Part::Other => {
            vec![told(true, false, &picture(H264, false), None), told(false, false, &[counter; 100], None)]
        }
        Part::Audio => vec![(packet(AUDIO, true, true, &[0, 0, 1, 0xc0, counter]), None)],
    }
}

/// Where a player must start among these packets, and the tables that apply there.
fn expected(sent: &[Told]) -> (Vec<u8>, Option<usize>) {
    let told = sent.iter().enumerate().rev().find_map(|(at, (_, told))| Some((at, at - (*told)?)));
    let (known, begin) = told.map_or((sent.len(), None), |(at, begin)| (at, Some(begin)));
    let is_table = |packet: &[u8; PACKET], pid: u8| packet[1] & 0x1f == pid && packet[2] == 0;
    let last = |pid| {
        let table = sent[..known].iter().rev().find(|(packet, _)| is_table(packet, pid));
        table.map_or(Vec::new(), |(packet, _)| packet.to_vec())
    };
    ([last(0), last(0x10)].concat(), begin)
}

/// Sends packets as datagrams of up to seven; `at_once`: sends the open chunk at the end.
fn send(tap: &mut Tap, sent: &[Told], turns: &[bool], at_once: bool, start: Instant) -> Instant {
    let mut now = start;
    for (n, datagram) in sent.chunks(7).enumerate() {
        let payload: Vec<u8> = datagram.iter().flat_map(|(packet, _)| *packet).collect();
        tap.push(&payload, now);
        now += DELAY / 3;
        if turns[n % turns.len()] {
            tap.turn(now, false);
        }
    }
    if at_once {
        tap.turn(now, true);
    }
    now
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        2 => Just(Part::Tables),
        1 => any::<bool>().prop_map(|indicated| Part::Key { indicated }),
        6 => Just(Part::Other),
        4 => Just(Part::Audio),
    ]
}

proptest! {
    /// The transition: tables, then the stream from the picture to its end, byte for byte,
    /// regardless of earlier readers.
    #[test]
    fn a_player_gets_the_tables_and_then_the_stream_from_the_last_picture_on(
        parts in vec(part(), 1..200),
        at in 0.0..1.0f64,
        turns in vec(any::<bool>(), 1..9),
        watched in any::<bool>(),
        at_once in any::<bool>(),
    ) {
        let stream: Vec<Told> =
            parts.iter().enumerate().flat_map(|(n, part)| packets(*part, n as u8 & 15)).collect();
        // a player starts between datagrams
        let place = ((stream.len() as f64 * at) as usize / 7 * 7).min(stream.len());
        let (sent, follows) = stream.split_at(place);
        let mut tap = tap(1 << 20);
        let watcher = watched.then(|| tap.reader_from(Begin::Live, clock::now()));
        // Pictures are not recognized before the video stream is known.
        let known = stream.iter().position(|(packet, _)| packet[1] & 0x1f == 0x10).unwrap_or(stream.len());
        let sent: Vec<Told> = sent.iter().enumerate()
            .map(|(at, (packet, told))| (*packet, told.filter(|back| at >= known + back))).collect();
        let now = send(&mut tap, &sent, &turns, at_once, clock::now());
        let mut player = tap.reader_from(Begin::Picture, now);
        let mut live = tap.reader_from(Begin::Live, now);
        let (tables, begin) = expected(&sent);
        send(&mut tap, follows, &turns, false, now);
        tap.turn(now + DELAY * 1000, true);
        let first = player.take_start();
        // every packet has its number exactly once
        for (one, next) in first.iter().zip(first.iter().skip(1)) {
            prop_assert_eq!(one.end(), next.first);
        }
        prop_assert!(first.last().is_none_or(|chunk| chunk.end() == player.number()));
        let all = [bytes(first), rest(&mut player)].concat();
        let flat: Vec<u8> = stream[begin.unwrap_or(place)..].iter().flat_map(|(packet, _)| *packet).collect();
        prop_assert_eq!(all, [tables, flat].concat());
        let flat: Vec<u8> = follows.iter().flat_map(|(packet, _)| *packet).collect();
        prop_assert_eq!((live.take_start().len(), rest(&mut live)), (0, flat));
        if let Some(mut watcher) = watcher {
            let flat: Vec<u8> = stream.iter().flat_map(|(packet, _)| *packet).collect();
            prop_assert_eq!(rest(&mut watcher), flat);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_comes_again_with_the_next_picture(
        pictures in vec(1usize..400, 1..12),
        bytes_max in 10_000usize..200_000,
    ) {
        let mut tap = tap(bytes_max);
        let now = clock::now();
        send(&mut tap, &packets(Part::Tables, 0), &[false], false, now);
        for others in pictures {
            send(&mut tap, &packets(Part::Key { indicated: true }, 0), &[false], false, now);
            let mut sent = 2 * PACKET;
            for _ in 0..others {
                send(&mut tap, &packets(Part::Other, 0), &[false], false, now);
                sent += 2 * PACKET;
                let start = tap.start.as_ref().unwrap();
                prop_assert!(start.bytes <= bytes_max + START_CHUNK_BYTES);
                prop_assert_eq!(start.point.is_some(), sent <= bytes_max);
            }
            let given = bytes(tap.reader_from(Begin::Picture, now).take_start()).len();
            prop_assert_eq!(given, 2 * PACKET + if sent <= bytes_max { sent } else { 0 });
        }
    }
}

#[test]
fn radio_and_what_is_no_transport_stream_begin_at_once_and_nothing_is_kept() {
    let now = clock::now();
    let mut tap = tap(1 << 20);
    for n in 0..200u8 {
        tap.push(&[n; 1000], now);
    }
    let mut reader = tap.reader_from(Begin::Picture, now);
    assert!(tap.open.bytes.is_empty() && reader.take_start().is_empty());
    assert_eq!((reader.number(), rest(&mut reader)), (0, Vec::new()));
    drop(reader);
    let radio: Vec<Told> = tables(0, 0x0f).into_iter().map(|packet| (packet, None)).collect();
    send(&mut tap, &radio, &[true], false, now);
    send(&mut tap, &packets(Part::Audio, 0).repeat(50), &[true], false, now);
    let mut reader = tap.reader_from(Begin::Picture, now);
    assert_eq!(bytes(reader.take_start()), tables(0, 0x0f).as_flattened());
    assert!(tap.start.as_ref().unwrap().kept.is_empty());
    assert!(!tap.is_idle(), "it stays");
}

#[test]
fn pictures_of_long_ago_are_not_shown() {
    let now = clock::now();
    let mut tap = tap(1 << 20);
    send(&mut tap, &packets(Part::Tables, 0), &[true], false, now);
    send(&mut tap, &packets(Part::Key { indicated: true }, 0), &[true], false, now);
    let given = |tap: &mut Tap, now| bytes(tap.reader_from(Begin::Picture, now).take_start()).len();
    assert_eq!(given(&mut tap, now + START_STALE), 4 * PACKET);
    assert_eq!(given(&mut tap, now + START_STALE * 2), 2 * PACKET);
}

#[test]
fn with_another_video_stream_what_was_kept_goes() {
    let now = clock::now();
    let mut tap = tap(1 << 20);
    send(&mut tap, &packets(Part::Tables, 0), &[true], false, now);
    send(&mut tap, &packets(Part::Key { indicated: true }, 0), &[true], false, now);
    let hevc: Vec<Told> = tables(1, 0x24).into_iter().map(|packet| (packet, None)).collect();
    send(&mut tap, &hevc, &[true], false, now);
    let mut reader = tap.reader_from(Begin::Picture, now);
    assert_eq!(bytes(reader.take_start()), tables(1, 0x24).as_flattened());
}

#[test]
fn a_standing_tap_without_readers_wakes_nobody() {
    let now = clock::now();
    let mut tap = tap(1 << 20);
    send(&mut tap, &packets(Part::Tables, 0), &[true], false, now);
    send(&mut tap, &packets(Part::Key { indicated: true }, 0), &[true], false, now);
    assert_eq!(tap.due(), None);
    let _reader = tap.reader_from(Begin::Live, now);
    tap.push(b"a", now);
    assert!(tap.due().is_some());
}

/// The picture may start in one datagram and end in another, and packets may have more than 188
/// bytes: a player gets whole packets of one size.
#[test]
fn a_player_begins_with_a_whole_packet_however_the_stream_is_cut() {
    let parts =
        [Part::Tables, Part::Other, Part::Audio, Part::Key { indicated: false }, Part::Other, Part::Audio];
    for unit in Unit::ALL {
        for size in [1472, 1000, 300, 100, 7 * unit.bytes()] {
            let (mut stream, mut places) = (Vec::new(), Vec::new());
            for (n, part) in parts.iter().cycle().take(60).enumerate() {
                if matches!(part, Part::Key { .. }) {
                    places.push(stream.len());
                }
                for (packet, _) in packets(*part, n as u8 & 15) {
                    unit.wrap(&[packet], [1, 2, 3, n as u8], &mut stream);
                }
            }
            let (mut tap, mut now) = (tap(1 << 20), clock::now());
            for payload in stream.chunks(size) {
                tap.push_stream(payload, now);
                now += DELAY / 3;
                tap.turn(now, false);
            }
            let given = bytes(tap.reader_from(Begin::Picture, now).take_start());
            let begin = places[places.len() - 1];
            let tables = 2 * unit.bytes();
            assert_eq!(given.len(), tables + stream.len() - begin, "{unit:?} in {size}");
            assert!(given[tables..] == stream[begin..], "{unit:?} in {size}");
            assert_eq!(Unit::of_whole(&given), Some(unit), "{unit:?} in {size}");
        }
    }
}
