//! Sources that change, mix and damage their formats, tested through the public interface, with
//! the duties of an owner.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    clock,
    limits::{IDENTIFY_CHANGE, IDENTIFY_DATAGRAMS, IDENTIFY_TIME},
};
use tidecast_wire::{native, rtcp, rtp, ts};

const MS: Duration = Duration::from_millis(1);

/// An owner that knows its RTP streams, as relay and probe do.
struct Owner {
    sources: Sources<Vec<u8>>,
    now: Instant,
    ssrcs: HashSet<[u8; 4]>,
    out: Vec<(SourceKind, Vec<u8>)>,
}

fn from(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn nobody(_: SocketAddr, _: u32) -> Alive {
    None
}

impl Owner {
    fn new(ts_only: bool) -> Owner {
        let sources = Sources::new(1, ts_only, 100);
        Owner { sources, now: clock::now(), ssrcs: HashSet::new(), out: Vec::new() }
    }

    fn take(&mut self, kind: SourceKind, bytes: Vec<u8>) {
        if kind == SourceKind::Rtp && rtp::Packet::parse(&bytes).is_ok() {
            self.ssrcs.extend(bytes[8..].first_chunk::<4>());
        }
        self.out.push((kind, bytes));
    }

    fn kin(&self, bytes: &[u8]) -> Kin {
        let known = bytes.get(8..12).is_some_and(|ssrc| self.ssrcs.contains(ssrc));
        if known { Kin::Named } else { Kin::Stranger }
    }

    fn push(&mut self, after: Duration, port: u16, bytes: &[u8]) {
        self.now += after;
        let (now, source, kin) = (self.now, from(port), self.kin(bytes));
        let fits = |kind| match kind {
            SourceKind::Rtp => rtp::Packet::parse(bytes).is_ok() && kin != Kin::Stranger,
            SourceKind::Native => native::Packet::parse(bytes).is_ok(),
            _ => true,
        };
        match self.sources.known(now, 0, source, bytes) {
            Some(kind) if fits(kind) => return self.take(kind, bytes.to_vec()),
            Some(_) => self.sources.withdraw(0, bytes),
            None => {}
        }
        let came = Came { now, leg: 0, source, kin, room: true };
        let pushed = self.sources.push(came, bytes.to_vec(), nobody);
        self.settled();
        if let Pushed::Is(kind, bytes) = pushed {
            self.take(kind, bytes);
        }
    }

    fn settled(&mut self) {
        while let Some(settled) = self.sources.settled() {
            self.take(settled.kind, settled.bytes);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.sources.expire(self.now, &nobody);
        self.settled();
    }

    /// Formats of the datagrams since the last call: n native, r RTP, t TS, - raw.
    fn said(&mut self) -> String {
        let letter = |kind| match kind {
            SourceKind::Native => 'n',
            SourceKind::Rtp => 'r',
            SourceKind::Ts => 't',
            SourceKind::Raw => '-',
        };
        self.out.drain(..).map(|(kind, _)| letter(kind)).collect()
    }

    /// Sends all datagrams, 10 ms apart; returns their formats.
    fn sends<'a>(&mut self, datagrams: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
        datagrams.into_iter().for_each(|datagram| self.push(10 * MS, 1, datagram));
        self.said()
    }
}

fn audio(ssrc: u32, sequence: u16) -> Vec<u8> {
    let (mut out, payload) = (Vec::new(), [sequence as u8; 160]);
    let timestamp = u32::from(sequence) * 160;
    rtp::Repr { marker: false, payload_type: 8, sequence, timestamp, ssrc, payload: &payload }.emit(&mut out);
    out
}

fn video(ssrc: u32, sequence: u16) -> Vec<u8> {
    let (mut out, payload) = (Vec::new(), packets(0, 7));
    let timestamp = u32::from(sequence) * 900;
    rtp::Repr { marker: false, payload_type: 33, sequence, timestamp, ssrc, payload: &payload }
        .emit(&mut out);
    out
}

fn reading(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let (stream, session, kind) = (4, 1, native::Kind::Data);
    native::Repr { kind, flags: 0, stream, session, sequence: number, timestamp: 0, payload: b"21.5" }
        .emit(&mut out);
    out
}

/// TS packets from position `from` of a stream; all their bytes except the sync bytes look like
/// RTP.
fn packets(from: usize, count: usize) -> Vec<u8> {
    (from * ts::PACKET..(from + count) * ts::PACKET)
        .map(|i| if i % ts::PACKET == 0 { ts::SYNC } else { 0x80 + (i * 7 % 0x40) as u8 })
        .collect()
}

/// A CBOR map with a timestamp and a value: a2 61 74 1a TIME 61 76 fb VALUE (RFC 8949).
fn cbor(i: u32) -> Vec<u8> {
    let value = 20.0 + f64::from(i) / 7.0;
    [
        &[0xa2, 0x61, b't', 0x1a],
        &(1_700_000_000 + i).to_be_bytes()[..],
        &[0x61, b'v', 0xfb],
        &value.to_be_bytes(),
    ]
    .concat()
}

fn json(i: u32) -> Vec<u8> {
    format!("{{\"t\":{i}}}").into_bytes()
}

fn damaged(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[0] ^= 0x40;
    bytes
}

#[test]
fn two_packets_make_an_rtp_source_and_ts_in_rtp_needs_one() {
    let mut owner = Owner::new(false);
    owner.push(MS, 1, &audio(9, 65_535));
    assert_eq!(owner.said(), "");
    assert_eq!(owner.sends(&[audio(9, 0), audio(9, 1)]), "rrr");
    owner.push(MS, 2, &video(7, 5));
    assert_eq!(owner.said(), "r");
    // RTCP counts as RTP, also as the first datagram of a source
    let mut report = Vec::new();
    rtcp::Repr::ReceiverReport { ssrc: 9, blocks: &[] }.emit(&mut report);
    owner.push(MS, 3, &report);
    assert_eq!(owner.said(), "r");
}

#[test]
fn a_lone_packet_waits_for_a_short_time_and_the_second_one_still_agrees_with_it() {
    let mut owner = Owner::new(false);
    owner.push(MS, 1, &audio(9, 700));
    owner.wait(IDENTIFY_TIME - MS);
    assert_eq!(owner.said(), "");
    owner.wait(MS);
    assert_eq!(owner.said(), "-");
    for sequence in 701..704 {
        owner.push(60_000 * MS, 1, &audio(9, sequence));
        assert_eq!(owner.said(), "r");
    }
}

#[test]
fn several_streams_of_one_source_are_rtp_and_what_stands_beside_them_is_told_as_rtp() {
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let mut owner = Owner::new(false);
    let all = [audio(1, 5), video(2, 900), audio(3, 77), audio(1, 6), stun.clone(), audio(3, 78), stun];
    assert_eq!(owner.sends(&all), "rrrrrrr");
    // another SSRC in mid-stream, among the old ones and replacing them
    assert_eq!(owner.sends(&[audio(4, 1), audio(1, 7), audio(5, 1), audio(5, 2)]), "rrrr");
    // keep-alives before the first packet do not belong to any media yet
    let keepalive = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 12]].concat();
    let mut owner = Owner::new(false);
    assert_eq!(owner.sends(&[keepalive, audio(1, 5), audio(1, 6)]), "-rr");
}

#[test]
fn readings_that_look_like_rtp_pass_in_order_and_wait_for_few_others() {
    let kinds: [fn(u32) -> Vec<u8>; 5] = [
        cbor,
        // MessagePack: {"s": "temp", "v": float}
        |i| [&b"\x82\xa1s\xa4temp\xa1v\xcb"[..], &(20.0 + f64::from(i) / 7.0).to_be_bytes()].concat(),
        // three big-endian floats, the first below 0
        |i| [-0.5 - f64::from(i) / 1000.0, f64::from(i), 2.5].iter().flat_map(|f| f.to_be_bytes()).collect(),
        // a counter of one byte, followed by noise
        |i| [&[i as u8][..], &(i.wrapping_mul(2_654_435_761)).to_be_bytes().repeat(6)].concat(),
        // a fixed header, a value that hardly changes, a time in ms, an id
        |i| {
            let value = 2150 + (i * 7 % 3) as u16 * 2;
            [&[0x80, 1][..], &value.to_be_bytes(), &(i * 1000).to_be_bytes(), &[0, 0, 0, 5]].concat()
        },
    ];
    for (kind, make) in kinds.iter().enumerate() {
        let mut owner = Owner::new(false);
        for i in 0..600 {
            owner.push(4 * MS, 1, &make(i));
            assert!(owner.sources.held() < IDENTIFY_DATAGRAMS, "{kind}: {} at {i}", owner.sources.held());
            assert!(i < 300 || owner.sources.held() == 0, "{kind}: settled");
        }
        owner.wait(IDENTIFY_TIME);
        let sent: Vec<_> = (0..600).map(|i| (SourceKind::Raw, make(i))).collect();
        assert_eq!(owner.out, sent, "{kind}");
    }
}

/// 0x47 begins a TS packet, too; where it is no more than a letter, nothing has to be remembered.
#[test]
fn a_source_that_shows_no_format_is_not_examined_for_ever() {
    let mut owner = Owner::new(false);
    assert!(owner.sources.is_empty());
    for _ in 0..2 * IDENTIFY_DATAGRAMS {
        owner.push(MS, 1, b"G: 21.5 degrees");
    }
    assert!(!owner.sources.is_empty());
    assert_eq!(owner.sources.known(owner.now, 0, from(1), b"21.5 degrees"), Some(SourceKind::Raw));
}

#[test]
fn a_transport_stream_is_told_wherever_it_was_cut() {
    let bytes = packets(0, 200);
    for size in [1472, 1316, 1328, 700, 512, 188, 100] {
        for skip in [0, 3, 188, 190, 333] {
            let mut owner = Owner::new(false);
            let pieces: Vec<_> = bytes[skip..].chunks(size).map(<[u8]>::to_vec).collect();
            let said = owner.sends(&pieces);
            assert_eq!(owner.sources.held(), 0);
            assert_eq!(said.len(), pieces.len(), "{size} {skip}: {said}");
            assert!(said.trim_start_matches('-').chars().all(|kind| kind == 't'), "{size} {skip}: {said}");
            let unknown = said.chars().take_while(|kind| *kind == '-').count();
            assert!(unknown * size < 6 * ts::PACKET && (unknown == 0 || size < 512), "{size} {skip}: {said}");
            // a loss, a damaged sync byte and a damaged datagram do not change the format
            let mut later: Vec<_> = pieces.iter().skip(3).take(8).cloned().collect();
            later[2] = damaged(&later[2]);
            later[4] = vec![0x80; size];
            assert_eq!(owner.sends(&later).replace('-', "t"), "tttttttt", "{size} {skip}");
        }
    }
}

#[test]
fn only_transport_streams() {
    let bytes = packets(0, 100);
    let mut owner = Owner::new(true);
    let pieces: Vec<_> = bytes[50..].chunks(1472).map(<[u8]>::to_vec).collect();
    assert!(owner.sends(&pieces).chars().all(|kind| kind == 't'));
    // here raw means foreign
    let mut owner = Owner::new(true);
    let rtp: Vec<_> = (0..20).map(|i| video(1, i)).collect();
    assert_eq!(owner.sends(&rtp), "-".repeat(20));
    let whole: Vec<_> = (0..20).map(|i| packets(i, 1)).collect();
    assert_eq!(owner.sends(&whole), "t".repeat(20));
    // a source of whole packets sends a datagram that is none; it may start to cut them elsewhere
    let text = b"hello".to_vec();
    let among: Vec<_> = whole.iter().flat_map(|packet| [text.clone(), packet.clone()]).collect();
    assert_eq!(owner.sends(&among), "-t".repeat(20));
    assert_eq!(owner.sends(&pieces), format!("--{}", "t".repeat(pieces.len() - 2)));
}

#[test]
fn damage_does_not_change_what_a_source_is() {
    let mut owner = Owner::new(false);
    let rtp: Vec<_> = (0..40).map(|i| audio(9, i)).collect();
    let some = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
        all.iter().enumerate().map(|(i, d)| if i % 5 == 3 { damaged(d) } else { d.clone() }).collect()
    };
    assert_eq!(owner.sends(&some(&rtp)), "r".repeat(40));
    // even its stream is unreadable: it waits until the source continues
    owner.push(10 * MS, 1, &[0xff; 100]);
    assert_eq!(owner.said(), "");
    assert_eq!(owner.sends(&[audio(9, 40)]), "rr");

    let mut owner = Owner::new(false);
    owner.sources.began_native(owner.now, 0, from(1), 4);
    assert_eq!(owner.sends(&[reading(0), reading(1)]), "nn");
    let mut flipped = reading(2);
    flipped[20] ^= 1;
    assert_eq!(owner.sends(&[flipped.clone(), reading(3)]), "nn", "as native: it is corrupt");
    assert_eq!(Owner::new(false).sends(&[flipped]), "n", "also as the first one of a source");
    assert_eq!(Owner::new(false).sends(&[b"TCP is something else".to_vec()]), "-");
}

#[test]
fn a_few_native_datagrams_do_not_change_what_a_source_is() {
    let (mut sources, now) = (Sources::new(1, false, 10), clock::now());
    // Returns what the source is after so many native datagrams and an RTP packet.
    let mut after = |natives: u8, sequence| {
        (0..natives).for_each(|_| sources.began_native(now, 0, from(1), 4));
        let came = Came { now, leg: 0, source: from(1), kin: Kin::Named, room: true };
        sources.push(came, audio(9, sequence), nobody);
        while sources.settled().is_some() {}
        sources.known(now, 0, from(1), &audio(9, 9))
    };
    (0..5).for_each(|sequence| _ = after(0, sequence));
    for sequence in 5..8 {
        assert_eq!(after(IDENTIFY_CHANGE - 1, sequence), Some(SourceKind::Rtp));
    }
    assert_eq!(after(IDENTIFY_CHANGE, 8), None, "one RTP packet may be damaged");
}

/// Native datagrams do not pass here, so the owner says whether their stream goes on.
#[test]
fn a_native_source_stays_native_as_long_as_its_stream_goes_on() {
    for alive in [true, false] {
        let mut sources = Sources::new(1, false, 10);
        let start = clock::now();
        sources.began_native(start, 0, from(1), 4);
        let now = start + 60_000 * MS;
        let natives = move |_, stream| (alive && stream == 4).then_some((now - MS, 5_000));
        let came = Came { now, leg: 0, source: from(1), kin: Kin::Stranger, room: true };
        let pushed = sources.push(came, vec![0xff; 100], natives);
        assert_eq!(matches!(pushed, Pushed::Waits), alive, "it waits for the next native one: {pushed:?}");
    }
}

#[test]
fn a_source_that_begins_anew_with_another_format_loses_nothing() {
    let rtp = |from: u16| -> Vec<_> { (from..from + 40).map(|i| audio(u32::from(from), i)).collect() };
    let in_rtp: Vec<_> = (0..40).map(|i| video(77, i)).collect();
    let whole: Vec<_> = (0..40).map(|i| packets(7 * i, 7)).collect();
    let cut: Vec<_> = packets(5, 400)[99..].chunks(1472).take(40).map(<[u8]>::to_vec).collect();
    let readings: Vec<_> = (0..40).map(cbor).collect();
    let texts: Vec<_> = (0..40).map(json).collect();
    let natives: Vec<_> = (0..40).map(reading).collect();
    let all = [rtp(100), whole, in_rtp, cut, readings, rtp(200), texts, natives];
    let letters = ['r', 't', 'r', 't', '-', 'r', '-', 'n'];
    for pause in [10 * MS, 5000 * MS] {
        for (old, old_letter) in all.iter().zip(letters) {
            for (new, letter) in all.iter().zip(letters).filter(|(new, _)| *new != old) {
                let mut owner = Owner::new(false);
                owner.sends(old);
                owner.now += pause;
                let mut said = owner.sends(new);
                owner.wait(2000 * MS);
                said += &owner.said();
                assert_eq!(said.len(), 40, "{old_letter} {letter} {pause:?}: {said}");
                // datagrams that looked like the old format for a while passed as that, and were
                // not dropped
                let late = said.chars().take_while(|kind| *kind != letter).collect::<String>();
                assert!(!late.contains(['r', 'n']), "{old_letter} {letter} {pause:?}: {said}");
                // short datagrams contradict a transport stream only weakly
                let most = if old_letter == 't' { 30 } else { 8 };
                assert!(late.len() <= most, "{old_letter} {letter} {pause:?}: {said}");
                assert!(said.ends_with(&letter.to_string().repeat(10)), "{old_letter} {letter}: {said}");
            }
        }
    }
}

#[test]
fn made_up_sources_push_out_nobody_and_what_waits_is_bounded() {
    let mut owner = Owner::new(false);
    for i in 0..3 {
        owner.push(MS, 1, &audio(1, i));
    }
    for port in 1000..3000 {
        owner.push(MS / 100, port, &cbor(port.into()));
        assert!(owner.sources.len() <= 100);
    }
    let waiting = owner.sources.held();
    assert!(waiting <= 100, "{waiting}");
    owner.said();
    owner.push(MS, 1, &audio(1, 3));
    assert_eq!(owner.said(), "r", "at once: it is known");
    owner.wait(IDENTIFY_TIME);
    assert_eq!(owner.sources.held(), 0);
    assert_eq!(owner.said().len(), waiting);
}

proptest! {
    #[test]
    fn whatever_is_sent_comes_out_once_and_in_order(
        datagrams in vec(
            prop_oneof![
                vec(any::<u8>(), 1..40),
                (0x80u8..0xc0, vec(any::<u8>(), 11..60)).prop_map(|(first, rest)| [&[first], &rest[..]].concat()),
                (0u32..3, 0u16..20).prop_map(|(ssrc, number)| audio(ssrc, number)),
                (0u64..9).prop_map(reading),
                (0usize..9, 0usize..800).prop_map(|(at, len)| packets(at, 8)[len..].to_vec()),
                (0usize..9).prop_map(|at| packets(at, 1)),
                Just(b"TC".to_vec()),
                Just(b"TC\x10\0 damaged".to_vec()),
                any::<u32>().prop_map(json),
            ],
            1..120,
        ),
        pauses in vec(prop_oneof![8 => Just(5u32), 1 => 0u32..3000], 120),
        ts_only in any::<bool>(),
    ) {
        let mut owner = Owner::new(ts_only);
        let mut held = 0;
        for (datagram, pause) in datagrams.iter().zip(pauses) {
            owner.wait(MS * pause);
            owner.push(Duration::ZERO, 1, datagram);
            prop_assert!(owner.sources.held() <= (held + 1).min(IDENTIFY_DATAGRAMS));
            held = owner.sources.held();
            prop_assert_eq!(owner.sources.due().is_some() || held == 0, true);
        }
        owner.sources.finish(owner.now);
        owner.settled();
        // a datagram that shows its format by itself need not wait for others
        let alone = |kind: SourceKind, bytes: &[u8]| {
            kind == SourceKind::Native || kind == SourceKind::Rtp || kind == SourceKind::Ts && bytes.len() <= 204
        };
        let mut out: Vec<_> = owner.out.iter().map(|(_, bytes)| bytes.clone()).collect();
        let passed = |kinds: &[(SourceKind, Vec<u8>)]| -> Vec<Vec<u8>> {
            kinds.iter().filter(|(kind, bytes)| !alone(*kind, bytes)).map(|(_, bytes)| bytes.clone()).collect()
        };
        let others = passed(&owner.out);
        let mut rest = datagrams.iter();
        prop_assert!(others.iter().all(|bytes| rest.any(|sent| sent == bytes)), "out of order");
        let mut sent = datagrams.clone();
        out.sort();
        sent.sort();
        prop_assert_eq!(out, sent);
    }
}
