//! The files of fixtures/ and the parsers: golden datagrams that were computed by an independent
//! program, and captures of real senders.

use tidecast_testkit::capture;

use std::{collections::BTreeMap, fs, path::PathBuf};

use tidecast_wire::{
    self as wire, Datagram, Format,
    fec::rs::Codes,
    native::{self, Kind, Nack, Repair, RepairRepr, Repr, SourceShard},
    rtp,
    seal::{Key, Keyring, Sealer},
    ts,
};

use capture::to_port;

const GOLDEN_TIME: u64 = 1_700_000_000_000_000;

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", name].iter().collect()
}

// --- Golden native datagrams ---------------------------------------------------------------------

/// Returns the datagrams of native.hex by name.
fn golden() -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(path("native.hex")).unwrap();
    let mut datagrams = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if let Some(heading) = code.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name = heading.to_owned();
            continue;
        }
        let bytes = code.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
        if !code.is_empty() {
            datagrams.entry(name.clone()).or_insert_with(Vec::new).extend(bytes);
        }
    }
    datagrams
}

fn native(bytes: &[u8]) -> native::Packet<'_> {
    match wire::parse(&Format::Auto, bytes) {
        Ok(Datagram::Native(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

fn emitted(repr: &Repr<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    repr.emit(&mut bytes);
    assert_eq!(bytes.len(), repr.len());
    bytes
}

/// Returns a datagram for this program's encoder, with the fields that most golden datagrams
/// share.
fn ours(kind: Kind, sequence: u64, timestamp: u64, payload: &[u8]) -> Repr<'_> {
    Repr { kind, flags: 0, stream: 42, session: 0xC0FF_EE01, sequence, timestamp, payload }
}

#[test]
fn every_golden_datagram_parses_and_no_damaged_one_does() {
    let golden = golden();
    assert_eq!(golden.len(), 21);
    for (name, bytes) in &golden {
        let packet = native(bytes);
        assert_eq!(&emitted(&packet.repr()), bytes, "{name}");
        for byte in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 0x10;
            let result = wire::parse(&Format::Native, &damaged);
            assert!(result.is_err(), "{name} with byte {byte} damaged: {result:?}");
        }
    }
}

#[test]
fn we_emit_the_golden_datagrams_of_each_kind() {
    let golden = golden();
    let largest = Repr {
        kind: Kind::Data,
        flags: native::RETRANSMISSION,
        stream: u32::MAX,
        session: u32::MAX,
        sequence: u64::MAX,
        timestamp: u64::MAX,
        payload: b"x",
    };
    assert_eq!(emitted(&ours(Kind::Data, 7, GOLDEN_TIME, b"21.5 C")), golden["data-text"]);
    assert_eq!(emitted(&ours(Kind::Data, 0, 0, b"")), golden["data-empty"]);
    assert_eq!(emitted(&largest), golden["data-largest-numbers"]);
    assert!(native(&golden["data-largest-numbers"]).is_retransmission());
    assert_eq!(emitted(&ours(Kind::Heartbeat, 8, GOLDEN_TIME + 1_000_000, b"")), golden["heartbeat"]);
    assert_eq!(emitted(&ours(Kind::End, 8, GOLDEN_TIME + 2_000_000, b"")), golden["end"]);
    let nack = native(&golden["nack"]);
    assert_eq!(nack.kind(), Kind::Nack);
    let ranges: Vec<_> = Nack::parse(nack.payload()).unwrap().iter().collect();
    assert_eq!(ranges, [(3, 3), (9, 1)]);
}

/// Returns the source shards of the golden block, and its repair packets.
fn golden_block(golden: &BTreeMap<String, Vec<u8>>) -> (Vec<Vec<u8>>, Vec<native::Packet<'_>>) {
    let repairs: Vec<_> = (0..2).map(|i| native(&golden[&format!("block-repair-{i}")])).collect();
    let len = Repair::parse(repairs[0].payload()).unwrap().shard().len();
    let shard = |i: usize| {
        let packet = native(&golden[&format!("block-data-{i}")]);
        let mut shard = Vec::new();
        SourceShard { flags: packet.flags(), timestamp: packet.timestamp(), payload: packet.payload() }
            .emit(len, &mut shard);
        shard
    };
    ((0..3).map(shard).collect(), repairs)
}

#[test]
fn our_code_computes_the_golden_repair_packets() {
    let golden = golden();
    let (sources, _) = golden_block(&golden);
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let mut parity = vec![Vec::new(); 2];
    Codes::new().encode(3, 2, &sources, &mut parity).unwrap();
    for (index, shard) in parity.iter().enumerate() {
        let mut payload = Vec::new();
        RepairRepr { k: 3, m: 2, index: index as u8, stride: 1, shard }.emit(&mut payload);
        let repair = ours(Kind::Repair, 100, GOLDEN_TIME + 3000, &payload);
        assert_eq!(emitted(&repair), golden[&format!("block-repair-{index}")]);
    }
}

#[test]
fn any_three_of_the_golden_block_give_back_its_packets() {
    let golden = golden();
    let (sources, repairs) = golden_block(&golden);
    let parity = repairs.iter().map(|packet| Repair::parse(packet.payload()).unwrap().shard().to_vec());
    let all: Vec<Vec<u8>> = sources.iter().cloned().chain(parity).collect();
    for (first, second) in (0..5).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let mut shards: Vec<Option<Vec<u8>>> = all.iter().cloned().map(Some).collect();
        (shards[first], shards[second]) = (None, None);
        Codes::new().rebuild(3, 2, &mut shards).unwrap();
        for (i, shard) in shards[..3].iter().enumerate() {
            let shard = SourceShard::parse(shard.as_ref().unwrap()).unwrap();
            let data = native(&golden[&format!("block-data-{i}")]);
            assert_eq!((shard.payload, shard.timestamp), (data.payload(), data.timestamp()));
        }
    }
}

// --- Sealed datagrams ----------------------------------------------------------------------------

/// Key 5 of the golden datagrams.
fn golden_key() -> Key {
    let digits: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    format!("5:{digits}").parse().unwrap()
}

/// Opens a golden datagram, whoever made it; returns its payload.
fn opened(datagram: &[u8]) -> Vec<u8> {
    let packet = native(datagram);
    let keys = Keyring::new(vec![golden_key()]).unwrap();
    let keys = keys.session(packet.key_id().unwrap(), packet.stream(), packet.session()).unwrap();
    let mut plain = packet.payload().to_vec();
    assert!(keys.open(&packet, datagram, &mut plain), "the tag is right");
    plain
}

#[test]
fn golden_seals_are_opened_and_made() {
    let golden = golden();
    let sealed = |encrypt: bool, repr: Repr<'_>| {
        let sealer = Sealer::new(&golden_key(), repr.stream, repr.session, encrypt).unwrap();
        let mut out = Vec::new();
        sealer.seal(&repr, &mut out);
        out
    };
    let again = |repr| Repr { flags: native::RETRANSMISSION, ..repr };
    let reading = ours(Kind::Data, 7, GOLDEN_TIME, b"21.5 C");
    let nack = native(&golden["nack"]);
    let cases = [
        ("sealed-data", false, reading),
        ("sealed-data-encrypted", true, reading),
        ("sealed-data-again", true, again(reading)),
        ("sealed-data-empty", true, ours(Kind::Data, 0, 0, b"")),
        ("sealed-heartbeat", true, ours(Kind::Heartbeat, 8, GOLDEN_TIME + 1_000_000, b"")),
        ("sealed-end", false, ours(Kind::End, 8, GOLDEN_TIME + 2_000_000, b"")),
        ("sealed-nack", false, ours(Kind::Nack, 0, 0, nack.payload())),
        ("sealed-block-data-0", true, ours(Kind::Data, 100, GOLDEN_TIME, b"first")),
        ("sealed-block-data-1", true, ours(Kind::Data, 101, GOLDEN_TIME + 1000, b"the longer of the two")),
    ];
    for (name, encrypt, repr) in cases {
        assert_eq!(opened(&golden[name]), repr.payload, "{name}");
        assert_eq!(sealed(encrypt, repr), golden[name], "{name}");
    }
}

#[test]
fn a_golden_repair_packet_rebuilds_a_sealed_packet_with_its_tag() {
    let golden = golden();
    let data = [0, 1].map(|i| native(&golden[&format!("sealed-block-data-{i}")]));
    opened(&golden["sealed-block-repair"]);
    let repair = Repair::parse(native(&golden["sealed-block-repair"]).payload()).unwrap();
    let mut kept = Vec::new();
    SourceShard::of(&data[0]).emit(repair.shard().len(), &mut kept);
    let mut shards = [Some(kept), None, Some(repair.shard().to_vec())];
    Codes::new().rebuild(2, 1, &mut shards).unwrap();
    let rebuilt = SourceShard::parse(shards[1].as_ref().unwrap()).unwrap();
    let SourceShard { flags, timestamp, payload } = rebuilt;
    let datagram = emitted(&Repr { flags, ..ours(Kind::Data, 101, timestamp, payload) });
    assert_eq!(datagram, golden["sealed-block-data-1"]);
    assert_eq!(opened(&datagram), b"the longer of the two");
}

// --- Captures ------------------------------------------------------------------------------------

fn rtp(bytes: &[u8]) -> rtp::Packet<'_> {
    match wire::parse(&Format::Auto, bytes) {
        Ok(Datagram::Rtp(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

/// Checks that all packets are of one source and type, numbered without a gap, and gives back the
/// joined payloads.
fn one_rtp_stream(datagrams: &[Vec<u8>], payload_type: u8) -> Vec<u8> {
    let first = rtp(&datagrams[0]);
    let mut expected = first.sequence();
    let mut payloads = Vec::new();
    for bytes in datagrams {
        let packet = rtp(bytes);
        assert_eq!(packet.sequence(), expected);
        assert_eq!((packet.ssrc(), packet.payload_type()), (first.ssrc(), payload_type));
        assert_eq!(packet.payload(), &bytes[packet.payload_range()]);
        payloads.extend_from_slice(packet.payload());
        expected = expected.wrapping_add(1);
    }
    payloads
}

/// Checks that the bytes are a transport stream without a gap.
fn one_transport_stream(bytes: &[u8]) {
    assert!(ts::looks_like(bytes));
    assert_eq!(bytes.len() % ts::PACKET, 0);
    assert_eq!(ts::Continuity::default().check(bytes), 0);
}

#[test]
fn ffmpeg_udp_is_a_transport_stream_in_pieces_of_up_to_seven() {
    let datagrams = to_port("ffmpeg-udp.pcap", 5004);
    assert!(datagrams.len() > 100);
    for bytes in &datagrams {
        assert!(bytes.len() <= 7 * ts::PACKET);
        assert!(matches!(wire::parse(&Format::Auto, bytes), Ok(Datagram::Ts(_))));
    }
    let sizes: std::collections::BTreeSet<_> = datagrams.iter().map(Vec::len).collect();
    assert!(sizes.len() > 1, "shorter ones among them: {sizes:?}");
    one_transport_stream(&datagrams.concat());
}

#[test]
fn ffmpeg_h264_is_rtp_across_the_wrap_with_a_marker_per_picture() {
    let datagrams = to_port("ffmpeg-rtp-h264.pcap", 5004);
    one_rtp_stream(&datagrams, 96);
    assert_eq!(rtp(&datagrams[0]).sequence(), 65500);
    assert!(rtp(datagrams.last().unwrap()).sequence() < 65500, "wrapped");
    let marked = datagrams.iter().filter(|bytes| rtp(bytes).marker()).count();
    let times: std::collections::BTreeSet<_> = datagrams.iter().map(|bytes| rtp(bytes).timestamp()).collect();
    assert_eq!(marked, times.len(), "one marker per picture");
    assert!(marked >= 49, "two seconds at 25 a second: {marked}");
}

#[test]
fn gstreamer_is_rtp_across_the_wrap() {
    let datagrams = to_port("gstreamer-rtp.pcap", 5004);
    let payloads = one_rtp_stream(&datagrams, rtp::PAYLOAD_TYPE_TS);
    assert_eq!(rtp(&datagrams[0]).sequence(), 65500);
    assert!(rtp(datagrams.last().unwrap()).sequence() < 65500, "wrapped");
    one_transport_stream(&payloads);
    let film = fs::read(path("test.ts")).unwrap();
    // At the end of the file tsparse pads its last block with a null packet.
    let len = payloads.len() - 14 * ts::PACKET;
    assert!(payloads[..len] == film[..len], "carried unchanged");
}

#[test]
fn ffmpeg_fec_repairs_what_the_capture_holds() {
    let media = to_port("ffmpeg-rtp-fec.pcap", 5004);
    one_transport_stream(&one_rtp_stream(&media, rtp::PAYLOAD_TYPE_TS));
    let by_number: BTreeMap<u16, &Vec<u8>> =
        media.iter().map(|bytes| (rtp(bytes).sequence(), bytes)).collect();
    // SMPTE ST 2022-1: columns on port + 2 (offset L, NA = D), rows on port + 4 (offset 1, NA = L).
    for (port, offset, na) in [(5006, 5, 5), (5008, 1, 5)] {
        let repairs = to_port("ffmpeg-rtp-fec.pcap", port);
        assert!(repairs.len() >= 15, "port {port}: {}", repairs.len());
        one_rtp_stream(&repairs, 96);
        for bytes in &repairs {
            assert_eq!((bytes[25], bytes[26]), (offset, na));
            let base = u16::from_be_bytes([bytes[12], bytes[13]]);
            let mut left = bytes[28..].to_vec();
            for j in 0..u16::from(na) {
                let protected = by_number[&base.wrapping_add(j * u16::from(offset))];
                left.iter_mut().zip(&protected[12..]).for_each(|(sum, byte)| *sum ^= byte);
            }
            assert!(left.iter().all(|byte| *byte == 0), "port {port}: XOR of base {base} is not 0");
        }
    }
}

// --- The film ------------------------------------------------------------------------------------

#[test]
fn the_film_has_a_steady_clock() {
    let film = fs::read(path("test.ts")).unwrap();
    assert!(film.len() < 600_000);
    one_transport_stream(&film);
    let clocks: Vec<(usize, ts::Pcr)> = film
        .as_chunks::<{ ts::PACKET }>()
        .0
        .iter()
        .enumerate()
        .filter_map(|(i, packet)| Some((i * ts::PACKET, ts::pcr(packet)?)))
        .collect();
    assert!(clocks.len() > 100, "only {} clock references", clocks.len());
    for pair in clocks.windows(2) {
        let [(at, before), (next_at, after)] = pair else { unreachable!() };
        let seconds = (after.ticks - before.ticks) as f64 / ts::Pcr::HZ as f64;
        let bits = (next_at - at) as f64 * 8.0;
        assert_eq!(before.pid, after.pid);
        assert!(seconds < 0.1, "{seconds} s between clock references");
        assert!((bits / seconds - 600_000.0).abs() < 1000.0, "{} bit/s", bits / seconds);
    }
}
