use super::*;
use proptest::{collection::vec, prelude::*};

const FORMATS: [&str; 7] = ["auto", "native", "rtp", "ts", "raw", "mavlink2", "seq=u16be@4,id=u32be@0"];

fn format(text: &str) -> Format {
    text.parse().unwrap()
}

fn native(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kind = native::Kind::Data;
    native::Repr { kind, flags: 0, stream: 1, session: 2, sequence: 3, timestamp: 4, payload }
        .emit(&mut bytes);
    bytes
}

fn rtp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    rtp::Repr { marker: false, payload_type: 33, sequence: 7, timestamp: 8, ssrc: 9, payload }
        .emit(&mut bytes);
    bytes
}

fn ts() -> Vec<u8> {
    [ts::SYNC; 2 * ts::PACKET].to_vec()
}

/// Result of parsing a datagram, as a word.
fn verdict(format: &Format, bytes: &[u8]) -> &'static str {
    match parse(format, bytes) {
        Ok(Datagram::Native(_)) => "native",
        Ok(Datagram::Rtp(_)) => "rtp",
        Ok(Datagram::Ts(_)) => "ts",
        Ok(Datagram::Custom(_)) => "custom",
        Ok(Datagram::Raw(_)) => "raw",
        Err(Reject::Corrupt(_)) => "corrupt",
        Err(Reject::Foreign(_)) => "foreign",
    }
}

#[test]
fn every_format_against_every_datagram() {
    let (native, rtp, ts) = (native(b"reading"), rtp(b"media"), ts());
    let rtcp = [0x80, 200, 0, 6, 0, 0, 0, 1];
    let mut damaged = native.clone();
    damaged[30] ^= 1;
    let mut version_2 = native.clone();
    version_2[2] = 0x20;
    let other = b"some text";
    // columns: auto, native, rtp, ts, raw
    let table: [(&[u8], [&str; 5]); 13] = [
        (&native, ["native", "native", "foreign", "foreign", "raw"]),
        (&damaged, ["corrupt", "corrupt", "foreign", "foreign", "raw"]),
        (&native[..20], ["corrupt", "corrupt", "foreign", "foreign", "raw"]),
        (&version_2, ["foreign", "foreign", "foreign", "foreign", "raw"]),
        (b"TX", ["raw", "foreign", "foreign", "foreign", "raw"]),
        (b"T", ["raw", "foreign", "foreign", "foreign", "raw"]),
        (&rtp, ["rtp", "foreign", "rtp", "foreign", "raw"]),
        (&rtp[..11], ["corrupt", "foreign", "corrupt", "foreign", "raw"]),
        (&rtcp, ["foreign", "foreign", "foreign", "foreign", "raw"]),
        (&ts, ["ts", "foreign", "foreign", "ts", "raw"]),
        (&ts[1..], ["raw", "foreign", "foreign", "foreign", "raw"]),
        (other, ["raw", "foreign", "foreign", "foreign", "raw"]),
        (b"", ["corrupt"; 5]),
    ];
    for (bytes, expected) in table {
        let verdicts: Vec<_> = FORMATS[..5].iter().map(|name| verdict(&format(name), bytes)).collect();
        assert_eq!(verdicts, expected, "{bytes:02x?}");
    }
    assert_eq!(verdict(&format("seq=u16be@4"), other), "custom");
    assert_eq!(parse(&format("seq=u16be@4"), b""), Err(Reject::Corrupt(Reason::Empty)));
}

#[test]
fn reasons() {
    let reason = |name: &str, bytes: &[u8]| parse(&format(name), bytes).unwrap_err();
    let mut padded = rtp(&[0]);
    padded[0] |= 0x20;
    let sealed = |kind: u8, payload: &[u8]| {
        let mut bytes = native(payload);
        bytes[2] = 0x10 | kind;
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let mut damaged = native(b"");
    damaged[4] ^= 1;
    for (reject, expected) in [
        (reason("raw", b""), "corrupt: empty"),
        (reason("native", b"TC"), "corrupt: truncated"),
        (reason("rtp", &[0x80]), "corrupt: truncated"),
        (reason("auto", &damaged), "corrupt: checksum"),
        (reason("auto", &padded), "corrupt: padding"),
        (reason("auto", &sealed(1, &[0; 30])), "corrupt: repair"),
        (reason("auto", &sealed(4, &[0; 3])), "corrupt: nack"),
        (reason("auto", &sealed(9, b"")), "foreign: kind"),
        (reason("auto", b"TC\x20"), "foreign: version"),
        (reason("rtp", &[0x81, 205]), "foreign: rtcp"),
        (reason("rtp", &ts()), "foreign: format"),
        (reason("native", &ts()), "foreign: format"),
        (reason("ts", &rtp(b"")), "foreign: format"),
        (reason("mavlink2", &ts()), "foreign: match"),
        (reason("mavlink2", &[0xfd]), "corrupt: truncated"),
    ] {
        assert_eq!(reject.to_string(), expected);
    }
}

#[test]
fn formats_come_back_from_their_names() {
    for name in FORMATS.iter().copied().chain(custom::Layout::profiles().iter().map(|(name, _)| *name)) {
        let parsed = format(name);
        assert_eq!(format(&parsed.to_string()), parsed);
    }
    for name in &FORMATS[..6] {
        assert_eq!(format(name).to_string(), *name);
    }
    assert_eq!(format(" rtp "), Format::Rtp);
    assert_eq!(Format::default(), Format::Auto);
}

#[test]
fn unknown_formats_are_named() {
    let error = "mavlin".parse::<Format>().unwrap_err().to_string();
    assert!(
        error.contains("\"mavlin\"") && error.contains("mavlink2") && error.contains("native"),
        "{error}"
    );
    let error = "seq=u16@4".parse::<Format>().unwrap_err().to_string();
    assert!(error.contains("seq=u16@4") && error.contains("be or le"), "{error}");
}

/// Bytes that pass the first checks of some format.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let starts = vec![
        vec![],
        vec![0x80],
        vec![0xb1, 0x21],
        vec![0x54],
        vec![0x54, 0x43, 0x10, 0],
        vec![0x54, 0x43, 0x11, 0],
        vec![0x54, 0x43, 0x12, 2],
        vec![0x54, 0x43, 0x14, 0],
        vec![0x47],
        vec![0xfd],
    ];
    let rest = prop_oneof![vec(any::<u8>(), 0..80), vec(0u8..3, 0..80), vec(any::<u8>(), 374..378)];
    (prop::sample::select(starts), rest, any::<bool>()).prop_map(|(start, rest, sealed)| {
        let mut bytes = [start, rest].concat();
        if bytes.first() == Some(&0x47) {
            bytes.iter_mut().step_by(ts::PACKET).for_each(|byte| *byte = ts::SYNC);
        }
        if sealed {
            let crc = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
        }
        bytes
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_get_one_stable_verdict(bytes in any_datagram()) {
        for name in FORMATS {
            let format = format(name);
            let result = parse(&format, &bytes);
            let copy = bytes.clone();
            prop_assert_eq!(parse(&format, &copy), result.clone());
            match result {
                Ok(Datagram::Native(packet)) => {
                    prop_assert_eq!(&bytes[packet.payload_range()], packet.payload());
                }
                Ok(Datagram::Rtp(packet)) => prop_assert_eq!(&bytes[packet.payload_range()], packet.payload()),
                Ok(Datagram::Ts(packet)) => prop_assert_eq!(packet.payload(), &bytes[..]),
                Ok(Datagram::Custom(packet)) => prop_assert_eq!(packet.payload(), &bytes[..]),
                Ok(Datagram::Raw(payload)) => prop_assert_eq!(payload, &bytes[..]),
                Err(reject) => prop_assert!(!reject.reason().as_str().is_empty()),
            }
        }
    }

    #[test]
    fn auto_is_the_named_format_or_raw(bytes in any_datagram()) {
        let auto = parse(&Format::Auto, &bytes);
        let named = match bytes[..] {
            [0x54, 0x43, ..] => Format::Native,
            [0x80..=0xbf, ..] => Format::Rtp,
            [0x47, ..] if ts::looks_like(&bytes) => Format::Ts,
            _ => Format::Raw,
        };
        prop_assert_eq!(auto, parse(&named, &bytes));
    }
}
