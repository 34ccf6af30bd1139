use super::{profiles::PROFILES, *};
use proptest::{collection::vec, prelude::*};

fn layout(text: &str) -> Layout {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

const SOURCE: &str = "192.0.2.7:4000";

fn source() -> SocketAddr {
    SOURCE.parse().unwrap()
}

/// The stream of a datagram.
fn stream(packet: &Packet<'_>) -> String {
    packet.id(source()).map_or(SOURCE.to_owned(), |id| id.to_string())
}

/// Number, step and stream that a profile reads from a datagram.
fn read(profile: &str, bytes: &[u8]) -> (u64, u64, String) {
    let layout = layout(profile);
    let packet = layout.read(bytes).unwrap_or_else(|reject| panic!("{profile}: {reject}"));
    assert!(packet.numbered());
    assert_eq!(packet.payload(), bytes);
    (packet.number(), packet.step(), stream(&packet))
}

/// Whether a profile sends a datagram on without a number.
fn passes(profile: &str, bytes: &[u8]) -> bool {
    layout(profile).read(bytes).unwrap_or_else(|reject| panic!("{profile}: {reject}")).passes()
}

fn modulus(profile: &str) -> Option<u64> {
    layout(profile).kinds.iter().find(|kind| kind.seq.is_some())?.space.modulus()
}

#[test]
fn profiles_are_valid_and_come_back_by_name() {
    for (name, grammar) in Layout::profiles() {
        assert_eq!(layout(name).to_string(), *name);
        assert_eq!(Layout { profile: None, ..layout(name) }, layout(grammar));
    }
    assert_eq!(Layout::profiles().len(), PROFILES.len());
}

#[test]
fn mavlink_heartbeats() {
    // start, length 9, number, system 1, component 190, message 0, payload, checksum
    let version_1 = hex("fe 09 4e 01 be 00 00000000 02 03 51 04 03 1c7f");
    assert_eq!(read("mavlink1", &version_1), (0x4e, 1, "192.0.2.7/01be".into()));
    // start, length 9, two flag bytes, number, system 1, component 190, message 0 (3 bytes),
    // payload, checksum
    let version_2 = hex("fd 09 00 00 2f 01 be 000000 00000000 02 03 51 04 03 1c7f");
    assert_eq!(read("mavlink2", &version_2), (0x2f, 1, "192.0.2.7/01be".into()));
    assert_eq!(layout("mavlink1").read(&version_2), Err(Reject::Foreign(Reason::Match)));
    assert_eq!(layout("mavlink2").read(&version_1), Err(Reject::Foreign(Reason::Match)));
    assert_eq!((modulus("mavlink1"), modulus("mavlink2")), (Some(256), Some(256)));
}

#[test]
fn sacn_universe() {
    // E1.31 root layer, 16 bytes of component id, framing layer with 64 bytes of source name, DMP
    // layer
    let root = "0010 0000 4153432d45312e3137000000 726e 00000004 000102030405060708090a0b0c0d0e0f";
    let framing = "7258 00000002".to_owned() + &"00".repeat(64) + "64 0000 c8 00 0102";
    let dmp = "720b 02 a1 0000 0001 0201".to_owned() + &"00".repeat(513);
    let bytes = hex(&(root.to_owned() + &framing + &dmp));
    assert_eq!(bytes.len(), 638);
    assert_eq!(read("sacn", &bytes), (0xc8, 1, "000102030405060708090a0b0c0d0e0f0102".into()));
}

#[test]
fn artnet_zero_is_not_numbered() {
    // "Art-Net\0", operation 0x5000, version 14, number, port, universe 0x0102 (little-endian),
    // length, data
    let mut bytes = hex("4172742d4e657400 0050 000e ff 00 0201 0002 ffff");
    assert_eq!(read("artnet", &bytes), (254, 1, "192.0.2.7/0102".into()));
    bytes[12] = 1;
    assert_eq!(read("artnet", &bytes), (0, 1, "192.0.2.7/0102".into()));
    bytes[12] = 0;
    let layout = layout("artnet");
    let packet = layout.read(&bytes).unwrap();
    assert!(!packet.numbered());
    assert_eq!((packet.number(), stream(&packet)), (0, "192.0.2.7/0102".into()));
    assert_eq!(modulus("artnet"), Some(255));
}

#[test]
fn lcm_is_numbered_per_sender() {
    // "LC02", number, channel "POSE\0", data
    let bytes = hex("4c433032 000003e8 504f534500 0123456789abcdef");
    assert_eq!(read("lcm", &bytes), (1000, 1, SOURCE.into()));
    assert_eq!(modulus("lcm"), Some(1 << 32));
}

#[test]
fn ccsds_space_packet() {
    // version 0, telemetry, secondary header, application 0x3a1; unsegmented, count 0x1234; length
    // 4 - 1
    let bytes = hex("0ba1 d234 0003 00000001");
    assert_eq!(read("ccsds", &bytes), (0x1234, 1, "192.0.2.7/03a1".into()));
    assert_eq!(modulus("ccsds"), Some(1 << 14));
}

#[test]
fn vita49_signal_data() {
    // signal data with stream id, trailer, UTC and real time, count 11, 7 words; stream id; times;
    // a sample
    let bytes = hex("146b 0007 cafe0001 69560c00 0000000000000000 00010002 00000000");
    assert_eq!(read("vita49", &bytes), (11, 1, "192.0.2.7/01cafe0001".into()));
    assert_eq!(modulus("vita49"), Some(16));
}

#[test]
fn moldudp64_steps_and_control_datagrams() {
    // session "0000000042", number, count of messages, messages of {length, data}
    let head = "30303030303030303432 0000000000001000".to_owned();
    let id = "30303030303030303432".to_owned();
    let three = hex(&(head.clone() + "0003 0001 41 0001 42 0002 4344"));
    assert_eq!(read("moldudp64", &three), (0x1000, 3, id.clone()));
    let heartbeat = hex(&(head.clone() + "0000"));
    assert_eq!(read("moldudp64", &heartbeat), (0x1000, 0, id.clone()));
    let end_of_session = hex(&(head + "ffff"));
    assert_eq!(read("moldudp64", &end_of_session), (0x1000, 0, id));
    assert_eq!(modulus("moldudp64"), None);
}

#[test]
fn flow_exports() {
    // version 9, 1 record, up time, seconds, number, source id, then a flow set
    let netflow = hex("0009 0001 000f4240 69560c00 00000457 00000021 0000000c 0100000100080004");
    assert_eq!(read("netflow9", &netflow), (0x457, 1, "192.0.2.7/00000021".into()));
    // version 5, IPv4, agent 192.0.2.1, sub-agent 3, number, up time, no samples
    let sflow = hex("00000005 00000001 c0000201 00000003 00000458 000f4240 00000000");
    assert_eq!(read("sflow5", &sflow), (0x458, 1, "c000020100000003".into()));
}

#[test]
fn ptp_sync() {
    // sync, version 2, 44 bytes, domain 0, two-step, correction, reserved, port identity, number,
    // control, interval
    let bytes = hex("00 02 002c 00 00 0200 0000000000000000 00000000 001b21fffe0a0b0c 0001 1f40 00 00
        000069560c00 00000000");
    assert_eq!(bytes.len(), 44);
    assert_eq!(read("ptp", &bytes), (8000, 1, "001b21fffe0a0b0c00010000".into()));
}

#[test]
fn what_has_no_number_passes() {
    let sacn = |root: u32, framing: u32| {
        let head = hex("0010 0000 4153432d45312e3137000000 726e");
        [&head[..], &root.to_be_bytes(), &[7; 16], &[0x70, 0x0b], &framing.to_be_bytes(), &[9, 0, 1, 0, 0]]
            .concat()
    };
    assert_eq!(read("sacn", &sacn(8, 1)), (9, 1, format!("{}080001", "07".repeat(16))));
    assert!(passes("sacn", &sacn(8, 2)));
    for operation in ["0052", "0020", "0021", "0060"] {
        assert!(passes("artnet", &hex(&format!("4172742d4e657400 {operation} 000e 0000"))), "{operation}");
    }
    let nzs = hex("4172742d4e657400 0051 000e 07 91 0201 0002 ffff");
    assert_eq!(read("artnet", &nzs), (6, 1, "192.0.2.7/01025100".into()));
    let idle = hex("0fff c000 0001 0000");
    assert!(passes("ccsds", &idle));
    let ptp = |kind: u8, action: u8| {
        let mut bytes = [&[kind, 2, 0, 54, 3][..], &[0; 49]].concat();
        (bytes[31], bytes[46]) = (8, action);
        bytes
    };
    for (kind, action) in [(13, 2), (13, 4), (4, 0), (15, 0)] {
        assert!(passes("ptp", &ptp(kind, action)), "{kind} {action}");
    }
    for kind in [0, 1, 2, 8, 11] {
        assert_eq!(read("ptp", &ptp(kind, 0)), (8, 1, format!("{}{kind:02x}03", "00".repeat(10))));
    }
    for (kind, action) in [(3, 0), (9, 0), (10, 0), (12, 0), (13, 0), (13, 1), (13, 3)] {
        let id = read("ptp", &ptp(kind, action)).2;
        assert!(
            id.starts_with(&format!("{}{kind:02x}03", "00".repeat(10))) && id.len() == 44,
            "{kind}: {id}"
        );
    }
    assert_eq!(layout("ptp").read(&[0, 1, 0, 44]), Err(Reject::Foreign(Reason::Match)));
    let version_10 = hex("000a 0010 69560c00 00000001 00000001");
    for profile in ["netflow9", "netflow5", "sflow5"] {
        assert_eq!(layout(profile).read(&version_10), Err(Reject::Foreign(Reason::Match)), "{profile}");
    }
}

#[test]
fn bundles_take_the_numbers_of_their_messages() {
    let v1 = |number: u8, component: u8| [0xfe, 2, number, 1, component, 0, 9, 9, 0, 0];
    let v2 = |number: u8, signed: u8| {
        let signature = [5; 13];
        let head = [0xfd, 1, signed, 0, number, 1, 190, 0, 0, 0, 7, 0xaa, 0xbb];
        [&head[..], if signed == 1 { &signature } else { &[] }].concat()
    };
    let own = "192.0.2.7/01be".to_owned();
    let row = [&v2(254, 1)[..], &v1(255, 190), &v2(0, 0), &v1(1, 190)].concat();
    assert_eq!(read("mavlink", &row), (254, 4, own.clone()));
    let damaged = [&row[..], &[0, 1, 2]].concat();
    assert_eq!(read("mavlink", &damaged), (254, 4, own.clone()));
    let cut = &row[..row.len() - 1];
    assert_eq!(read("mavlink", cut), (254, 4, own.clone()));

    let mixed = [v1(5, 190), v1(7, 3), v1(6, 190), v1(8, 3), v1(9, 190)].concat();
    assert_eq!(read("mavlink1", &mixed), (5, 2, own));
    let layout = layout("mavlink1");
    assert!(layout.read(&mixed).unwrap().mixed());
    let others = layout.others(&mixed, source()).into_iter();
    let others: Vec<_> = others.map(|run| (run.id.unwrap().to_string(), run.number, run.count)).collect();
    assert_eq!(others, [("192.0.2.7/0103".into(), 7, 2), ("192.0.2.7/01be".into(), 9, 1)]);

    let packet =
        |apid: u16, count: u16| [&apid.to_be_bytes()[..], &count.to_be_bytes(), &[0, 1, 8, 8]].concat();
    let idle = packet(0x07ff, 0);
    let row = [&idle[..], &packet(0x0864, 0xffff), &idle, &packet(0x0864, 0xc000)].concat();
    assert_eq!(read("ccsds", &row), (0x3fff, 2, "192.0.2.7/0064".into()));
    assert!(passes("ccsds", &[&idle[..], &idle].concat()));
    // a telecommand of the same application counts apart
    assert_eq!(read("ccsds", &packet(0x1864, 3)).2, "192.0.2.7/1064");
}

#[test]
fn steps_are_constant_or_computed() {
    let bytes = hex("00 00000041").into_iter().chain([0; 95]).collect::<Vec<u8>>();
    for (step, expected) in [
        ("10", 10),
        ("len", 100),
        ("len-20", 80),
        ("len-20/32", 3),
        ("len-20//32", 2),
        ("len-101", 0),
        ("u32be@1", 0x41),
        ("u32be@1/32", 3),
        ("u32be@1//32", 2),
        ("u32be@1-1/32", 2),
    ] {
        assert_eq!(read(&format!("seq=u8@0,step={step}"), &bytes).1, expected, "{step}");
    }
}

#[test]
fn senders_are_a_part_of_the_stream() {
    let packet = [7, 0xab];
    for (id, expected) in [
        ("", SOURCE),
        (",id=src", SOURCE),
        (",id=src,id=u8@1", "192.0.2.7:4000/ab"),
        (",id=ip", "192.0.2.7"),
        (",id=u8@1,id=ip", "192.0.2.7/ab"),
        (",id=u8@1", "ab"),
    ] {
        assert_eq!(read(&format!("seq=u8@0{id}"), &packet).2, expected, "{id}");
    }
    for (source, expected) in [
        ("[2001:db8::1]:9", "2001:db8::1/ab [2001:db8::1]:9/ab"),
        ("[::ffff:192.0.2.1]:9", "192.0.2.1/ab 192.0.2.1:9/ab"),
    ] {
        let text = ["ip", "src"].map(|sender| {
            let layout = layout(&format!("seq=u8@0,id=u8@1,id={sender}"));
            layout.read(&packet).unwrap().id(source.parse().unwrap()).unwrap().to_string()
        });
        assert_eq!(text.join(" "), expected);
    }
}

#[test]
fn types_and_masks() {
    let bytes = hex("00 0102030405060708 f3");
    for (text, number) in [
        ("seq=u8@9", 0xf3),
        ("seq=u8@9&0xf0", 0xf),
        ("seq=u16be@1", 0x0102),
        ("seq=u16le@1", 0x0201),
        ("seq=u24be@1", 0x01_0203),
        ("seq=u24le@1", 0x03_0201),
        ("seq=u32be@0x1", 0x0102_0304),
        ("seq=u32le@1", 0x0403_0201),
        ("seq=u64be@1", 0x0102_0304_0506_0708),
        ("seq=u64le@1", 0x0807_0605_0403_0201),
        ("seq=u16be@1&0x0ff0", 0x10),
        ("seq=u16be@1&4080", 0x10),
        ("seq=u16le@1&0xff00", 0x02),
        ("seq=u24be@1,wrap=66050..66060", 1),
    ] {
        assert_eq!(read(text, &bytes).0, number, "{text}");
    }
    let spaces = [("seq=u16be@1&0x0ff0", Some(256)), ("seq=u24be@0", Some(1 << 24)), ("seq=u64le@0", None)];
    for (text, expected) in spaces {
        assert_eq!(modulus(text), expected, "{text}");
    }
    assert_eq!(modulus("seq=u64be@0,wrap=0..0xffffffffffffffff"), None);
    assert_eq!(modulus("seq=u64be@0,wrap=1..0xffffffffffffffff"), Some(u64::MAX));
    assert_eq!(read("seq=u8@0,id=u16le@1,id=u8@9&0xf0,id=3B@2", &bytes).2, "02010f020304");
}

#[test]
fn numbers_outside_of_wrap_are_none() {
    let layout = layout("seq=u8@0,wrap=10..19");
    let numbers = [9, 10, 19, 20].map(|byte| {
        let bytes = [byte];
        let packet = layout.read(&bytes).unwrap();
        (packet.numbered(), packet.number())
    });
    assert_eq!(numbers, [(false, 0), (true, 0), (true, 9), (false, 0)]);
}

#[test]
fn times_are_microseconds() {
    let bytes = hex("00 0000000000001388");
    let time = |unit: &str| {
        let layout = layout(&format!("seq=u8@0,time=u64be@1:{unit}"));
        layout.read(&bytes).unwrap().timestamp()
    };
    let expected = [Some(5_000_000_000), Some(5_000_000), Some(5_000), Some(5)];
    assert_eq!(["s", "ms", "us", "ns"].map(time), expected);
    let layout_s = layout("seq=u8@0,time=u64be@1:s");
    assert_eq!(layout_s.read(&[0xff; 9]).unwrap().timestamp(), None, "beyond 64 bits");
    assert_eq!(layout("seq=u8@0").read(&bytes).unwrap().timestamp(), None);
}

#[test]
fn matches_must_all_hold() {
    let layout = layout("match=AB@0,match=\"C,@\"@2,match=u8@5&0xf0=0x4,seq=u8@6");
    assert_eq!(layout.read(b"ABC,@\x4f\x09").unwrap().number(), 9);
    for other in [&b"AXC,@\x4f\x09"[..], b"ABC,!\x4f\x09", b"ABC,@\x5f\x09", b"AX"] {
        assert_eq!(layout.read(other), Err(Reject::Foreign(Reason::Match)), "{other:?}");
    }
    // bytes that end within a text cannot be matched
    assert_eq!(layout.read(b"X"), Err(Reject::Corrupt(Reason::Truncated)));
}

#[test]
fn short_datagrams_are_corrupt() {
    let layout = layout("seq=u8@0,step=u16be@1,id=2B@3,time=u32be@5:ms,match=u8@9=7");
    let bytes = [1, 0, 2, 9, 9, 0, 0, 0, 4, 7];
    assert_eq!(layout.read(&bytes).unwrap().timestamp(), Some(4000));
    assert_eq!(layout.read(&[]), Err(Reject::Corrupt(Reason::Empty)));
    for len in 1..bytes.len() {
        assert_eq!(layout.read(&bytes[..len]), Err(Reject::Corrupt(Reason::Truncated)), "{len} bytes");
    }
}

#[test]
fn wrong_layouts_name_part_value_and_what_is_right() {
    for (text, part, value, expected) in [
        ("id=u8@0", "seq", "", "required"),
        ("", "", "", "a part"),
        ("seq=u8@0,", "", "", "a part"),
        ("seq=u8@0,foo=1", "foo", "1", "a part"),
        ("seq=u16@4", "seq", "u16@4", "followed by be or le"),
        ("seq=u8be@4", "seq", "u8be@4", "followed by be or le"),
        ("seq=u40be@4", "seq", "u40be@4", "followed by be or le"),
        ("seq=u8", "seq", "u8", "TYPE@OFFSET"),
        ("seq=u8@-1", "seq", "u8@-1", "an offset from 0 to 65506"),
        ("seq=u8@+1", "seq", "u8@+1", "an offset from 0 to 65506"),
        ("seq=u8@", "seq", "u8@", "an offset from 0 to 65506"),
        ("seq=u64be@65500", "seq", "u64be@65500", "an offset from 0 to 65499"),
        ("seq=u8@99999999999999999999", "seq", "u8@99999999999999999999", "an offset"),
        ("seq=u8@0&0", "seq", "u8@0&0", "a mask from 1 to 0xff"),
        ("seq=u8@0&0x100", "seq", "u8@0&0x100", "a mask from 1 to 0xff"),
        ("seq=u8@0&0x5", "seq", "u8@0&0x5", "adjacent bits"),
        ("seq=u8@0&0x3", "seq", "u8@0&0x3", ""),
        ("seq=u8@0&0x1", "seq", "u8@0&0x1", "at least 4 numbers, found 2"),
        ("seq=u8@0,seq=u8@1", "seq", "u8@1", "once"),
        ("seq=u8@0,wrap=1..256", "wrap", "1..256", "at most 255"),
        ("seq=u8@0,wrap=9..5", "wrap", "9..5", "LOW..HIGH"),
        ("seq=u8@0,wrap=1..3", "wrap", "1..3", "at least 4 numbers"),
        ("seq=u8@0,wrap=1-3", "wrap", "1-3", "LOW..HIGH"),
        ("seq=u8@0,step=u8@0&0x9", "step", "u8@0&0x9", "adjacent bits"),
        ("seq=u8@0,id=src,id=ip", "id", "ip", "one of id=ip and id=src"),
        ("seq=u8@0,id=src,id=src", "id", "src", "once"),
        ("seq=u8@0,id=ip,id=17B@1", "id", "17B@1", "16 of them the sender's"),
        ("seq=u8@0,pass", "pass", "", "no seq="),
        ("pass,step=1", "pass", "", "no step="),
        ("pass", "seq", "", "required"),
        ("pass=1,seq=u8@0", "pass", "1", "a part"),
        ("seq=u8@0 | ", "", "", "a part"),
        ("seq=u8@0 | match=u8@1=2", "seq", "", "required, or pass"),
        ("seq=u8@0,id=u8@1 | seq=u16be@0,id=u8@3", "seq", "u16be@0", "an id of another length"),
        ("seq=u8@0,step=0", "step", "0", "from 1 to 65507"),
        ("seq=u8@0,step=70000", "step", "70000", "from 1 to 65507"),
        ("seq=u8@0,step=len/0", "step", "len/0", "rounded up"),
        ("seq=u8@0,step=len-x", "step", "len-x", "rounded up"),
        ("seq=u8@0,step=u8@-1", "step", "u8@-1", "an offset"),
        ("seq=u8@0,step=3,end=2", "end", "2", "must be a field"),
        ("seq=u8@0,bundle=u8@1+x", "bundle", "u8@1+x", "a message's length"),
        ("seq=u8@0,bundle=8", "bundle", "8", "TYPE@OFFSET"),
        ("seq=u8@0,match=u8@0=5..3", "match", "u8@0=5..3", "the lower one first"),
        ("seq=u8@0,match=u8@0=5..256", "match", "u8@0=5..256", "within 0xff"),
        ("seq=u8@0,id=0B@1", "id", "0B@1", "1B to 32B"),
        ("seq=u8@0,id=33B@1", "id", "33B@1", "1B to 32B"),
        ("seq=u8@0,id=32B@1,id=u8@0", "id", "u8@0", "at most 32 bytes"),
        ("seq=u8@0,id=source", "id", "source", "NB@OFFSET"),
        ("seq=u8@0,match=u8@0", "match", "u8@0", "TYPE@OFFSET=VALUE"),
        ("seq=u8@0,match=u8@0=256", "match", "u8@0=256", "within 0xff"),
        ("seq=u8@0,match=u8@0=x", "match", "u8@0=x", "a number"),
        ("seq=u8@0,match=\"AB@0", "match", "\"AB@0", "TEXT@OFFSET"),
        ("seq=u8@0,match=@0", "match", "@0", "a text of 1 to 64"),
        ("seq=u8@0,match=AB@x", "match", "AB@x", "an offset"),
        ("seq=u8@0,time=u32be@1", "time", "u32be@1", "UNIT"),
        ("seq=u8@0,time=u32be@1:h", "time", "u32be@1:h", "UNIT"),
    ] {
        match text.parse::<Layout>() {
            Ok(_) => assert_eq!(expected, "", "{text}"),
            Err(error) => {
                assert_eq!((error.part.as_str(), error.value.as_str()), (part, value), "{text}: {error}");
                assert!(error.expected.contains(expected) && !expected.is_empty(), "{text}: {error}");
                assert!(error.to_string().contains(&format!("{part}={value}")), "{error}");
            }
        }
    }
    let many = "seq=u8@0".to_owned() + &",match=u8@0=1".repeat(9);
    assert!(many.parse::<Layout>().unwrap_err().expected.contains("at most 8"));
    let many = "seq=u8@0".to_owned() + &",id=u8@0".repeat(9);
    assert!(many.parse::<Layout>().unwrap_err().expected.contains("at most 8"));
}

#[test]
fn a_text_to_match_has_at_most_64_bytes() {
    let with = |len: usize| format!("match={}@0,seq=u8@64", "A".repeat(len));
    let datagram = [&[b'A'; 64][..], &[7]].concat();
    assert_eq!(layout(&with(64)).read(&datagram).unwrap().number(), 7);
    assert!(with(65).parse::<Layout>().unwrap_err().expected.contains("a text of 1 to 64 bytes"));
}

#[test]
fn spaces_and_quotes() {
    let spaced = layout(" seq=u8@9 , match = \" a, b\"@0 , id = src ");
    assert_eq!(spaced.to_string(), "match=\" a, b\"@0,seq=u8@9");
    assert_eq!(spaced.kinds[0].sender, Sender::Port);
    // a text that looks like a type stands in quotes
    assert_eq!(layout("match=\"u8\"@0,seq=u8@2").to_string(), "match=\"u8\"@0,seq=u8@2");
}

/// A field's text, its width, whether it is little-endian, and its mask.
fn any_field() -> impl Strategy<Value = (String, Field)> {
    let types = prop::sample::select(vec![
        ("u8", 1, false),
        ("u16be", 2, false),
        ("u16le", 2, true),
        ("u24be", 3, false),
        ("u24le", 3, true),
        ("u32be", 4, false),
        ("u32le", 4, true),
        ("u64be", 8, false),
        ("u64le", 8, true),
    ]);
    (types, 0usize..40, any::<(u8, u8)>()).prop_map(|((name, width, little_endian), offset, (low, len))| {
        let bits = 8 * width as u32;
        let low = u32::from(low) % (bits - 2);
        let len = 2 + u32::from(len) % (bits - low - 1);
        let mask = (u64::MAX >> (64 - len)) << low;
        let field = Field { offset, width, little_endian, mask };
        (format!("{name}@{offset}&{mask:#x}"), field)
    })
}

proptest! {
    #[test]
    fn what_is_written_into_a_field_is_read(
        (text, field) in any_field(),
        value in any::<u64>(),
        mut bytes in vec(any::<u8>(), 48),
    ) {
        // the model writes the masked bits and leaves the others
        let place = field.offset..field.offset + field.width;
        let mut old = [0; 8];
        if field.little_endian {
            old[..field.width].copy_from_slice(&bytes[place.clone()]);
        } else {
            old[8 - field.width..].copy_from_slice(&bytes[place.clone()]);
        }
        let old = if field.little_endian { u64::from_le_bytes(old) } else { u64::from_be_bytes(old) };
        let value = value & field.max();
        let new = old & !field.mask | value << field.mask.trailing_zeros();
        match field.little_endian {
            true => bytes[place].copy_from_slice(&new.to_le_bytes()[..field.width]),
            false => bytes[place].copy_from_slice(&new.to_be_bytes()[8 - field.width..]),
        }
        let layout = layout(&format!("seq={text},id={text},step={text},match={text}={value}"));
        let packet = layout.read(&bytes).unwrap();
        prop_assert_eq!(packet.number(), value);
        prop_assert_eq!(packet.step(), if value == field.max() { 0 } else { value });
        let id = packet.id(source()).unwrap();
        prop_assert_eq!(id.as_bytes(), &value.to_be_bytes()[8 - field.width..]);
        prop_assert_eq!(packet.space().modulus(), field.max().checked_add(1));
    }

    #[test]
    fn layouts_come_back_from_their_text(
        (seq, field) in any_field(),
        others in vec(any_field(), 3),
        text in "[ -!#-~]{1,20}",
        low in 0u64..3,
        (with_wrap, with_step, with_time, with_match, ids) in any::<(bool, bool, bool, bool, u8)>(),
        step in prop::sample::select(vec!["", ",step=10", ",step=len", ",step=len-12/160", ",step=u16le@1//32"]),
        rest in prop::sample::select(vec!["", ",id=ip", ",id=src", ",bundle=u8@3", ",bundle=u16be@3&0xff+12"]),
        others_kinds in prop::sample::select(vec!["", " | match=u8@0=3..9,pass", " | pass,id=3B@4,id=ip"]),
        unit in prop::sample::select(vec!["s", "ms", "us", "ns"]),
    ) {
        let mut grammar = format!("seq={seq}");
        if with_wrap && field.max() >= 8 { grammar += &format!(",wrap={low}..{}", field.max() - low) }
        if with_step { grammar += &format!(",step={}", others[0].0) } else { grammar += step }
        if with_time { grammar += &format!(",time={}:{unit}", others[1].0) }
        if with_match { grammar += &format!(",match=\"{text}\"@7,match={}=1", others[2].0) }
        (0..ids % 4).for_each(|i| grammar += &format!(",id={i}B@{i}").replace("=0B@0", "=u24le@0"));
        grammar = grammar + rest + others_kinds;
        let layout = layout(&grammar);
        prop_assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[a-z0-9=@&.,:|/+\"B-]{0,40}", parts in vec(
        prop::sample::select(vec!["seq", "id", "wrap", "match", "=", "@", "u8", "u64le", "0", "1", "&", "0x", ",", "..", "9", "\"", "B", ":s", " | ", "pass", "step", "len", "-", "/", "bundle", "+", "ip"]),
        0..14,
    )) {
        for text in [text, parts.concat()] {
            if let Ok(layout) = text.parse::<Layout>() {
                prop_assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
            }
        }
    }

    #[test]
    fn arbitrary_datagrams_never_panic(
        which in 0..PROFILES.len(),
        mut bytes in vec(any::<u8>(), 0..130),
        (with_match, kind) in any::<(bool, usize)>(),
    ) {
        let layout = layout(PROFILES[which].0);
        if with_match {
            let len = bytes.len();
            let kind = &layout.kinds[kind % layout.kinds.len()];
            for part in kind.matches.iter().filter(|part| part.end() <= len) {
                match part {
                    Match::Number(field, value, _) => {
                        let value = value << field.mask.trailing_zeros();
                        let value = if field.little_endian { value.swap_bytes() } else { value << (64 - 8 * field.width) };
                        bytes[field.offset..field.end()].copy_from_slice(&value.to_be_bytes()[..field.width]);
                    }
                    Match::Text(offset, text) => bytes[*offset..offset + text.len()].copy_from_slice(text.as_bytes()),
                }
            }
        }
        let result = layout.read(&bytes);
        prop_assert_eq!(layout.read(&bytes), result);
        match result {
            Ok(packet) => {
                prop_assert!(packet.space().modulus().is_none_or(|modulus| packet.number() < modulus));
                let runs = layout.others(&bytes, source());
                prop_assert!(packet.mixed() || runs.is_empty());
            }
            Err(Reject::Corrupt(Reason::Truncated)) => {
                prop_assert!(layout.kinds.iter().any(|kind| bytes.len() < kind.len_min));
            }
            Err(Reject::Corrupt(Reason::Empty)) => prop_assert!(bytes.is_empty()),
            Err(reject) => prop_assert_eq!(reject, Reject::Foreign(Reason::Match)),
        }
    }
}
