//! Capture files: each fixture is identified with its format and FEC parameters, in every kind of
//! file.

use std::{fs, process::Command};

use serde_json::Value;

use super::{common, fixture, probe, probed};

/// Format, payload type, FEC (as L, D, rows), RTCP.
type Expected = (&'static str, Option<u64>, Option<(u64, u64, bool)>, bool);

#[test]
fn each_fixture_is_named_with_its_geometry() {
    let fixtures: [(&str, Expected); 5] = [
        ("ffmpeg-udp.pcap", ("MPEG-TS without RTP (not numbered)", None, None, false)),
        ("ffmpeg-rtp-h264.pcap", ("RTP", Some(96), None, true)),
        ("ffmpeg-rtp-fec.pcap", ("RTP with MPEG-TS", Some(33), Some((5, 5, true)), true)),
        ("gstreamer-rtp.pcap", ("RTP with MPEG-TS", Some(33), None, false)),
        ("gstreamer-rtp-fec.pcap", ("RTP", Some(96), Some((10, 4, true)), false)),
    ];
    for (name, (format, payload_type, matrix, rtcp)) in fixtures {
        let report = probed(&[&fixture(name)]);
        assert_eq!(report["format"], format, "{name}: {report}");
        assert_eq!(report["flows"][0]["payload_type"].as_u64(), payload_type, "{name}: {report}");
        assert_eq!(!report["rtcp"].is_null(), rtcp, "{name}: {report}");
        let fec = report["fec"].as_array().expect("a list");
        assert_eq!(fec.first().map(shape), matrix, "{name}: {report}");
        assert_eq!(report["numbers"]["lost"], 0, "{name}: {report}");
        assert_eq!(report["numbers"]["restarts"], 0, "{name}: {report}");
        assert_eq!(report["flows"].as_array().map(Vec::len), Some(1), "{name}: {report}");
        if format != "RTP" {
            assert_programme(name, &report["flows"][0]["ts"]);
        }
    }
}

fn shape(fec: &Value) -> (u64, u64, bool) {
    assert_eq!(fec["kind"], "st2022-1");
    (
        fec["columns"].as_u64().expect("L"),
        fec["rows"].as_u64().expect("D"),
        fec["row_fec"].as_bool().expect("rows or not"),
    )
}

/// All fixtures carry the same picture and tone.
fn assert_programme(name: &str, ts: &Value) {
    let pids = ts["pids"].as_array().unwrap_or_else(|| panic!("{name}: {ts}"));
    for expected in ["PAT", "PMT", "H.264 video", "AAC audio"] {
        assert!(pids.iter().any(|pid| pid["kind"] == expected), "{name}: {expected} in {ts}");
    }
    assert_eq!((&ts["continuity_errors"], &ts["misaligned"]), (&0.into(), &0.into()), "{name}: {ts}");
    let clocks: Vec<&Value> = pids.iter().map(|pid| &pid["pcr"]).filter(|pcr| !pcr.is_null()).collect();
    assert!(clocks.len() == 1 && clocks[0]["discontinuities"] == 0, "{name}: {ts}");
}

#[test]
fn the_golden_native_datagrams_are_named_with_their_block() {
    // native.hex as a capture, created by text2pcap of the Wireshark package from hexadecimal
    // lines
    if !common::have("text2pcap") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (hex, pcap) = (folder.path().join("native.txt"), folder.path().join("native.pcapng"));
    fs::write(&hex, hexdump(&fs::read_to_string(fixture("native.hex")).expect("the fixture")))
        .expect("written");
    let mut text2pcap = Command::new("text2pcap");
    text2pcap.args(["-q", "-u", "4000,5004", "-4", "10.0.0.7,239.1.1.1"]).args([&hex, &pcap]);
    let made = text2pcap.output().expect("text2pcap");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let report = probed(&[pcap.to_str().expect("a path")]);
    assert_eq!(report["format"], "native", "{report}");
    let block = &report["fec"][0];
    assert_eq!(
        (&block["kind"], &block["k"], &block["m"]),
        (&"native".into(), &3.into(), &2.into()),
        "{report}"
    );
}

/// Returns the datagrams of the fixture in the format of text2pcap: each line with its offset.
fn hexdump(text: &str) -> String {
    let mut out = String::new();
    let mut offset = 0;
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.starts_with('[') {
            offset = 0;
        } else if !code.is_empty() {
            out.push_str(&format!("{offset:06x} {code}\n"));
            offset += code.split_whitespace().count();
        }
    }
    out
}

#[test]
fn losses_of_a_capture_are_found_and_a_threshold_tells_scripts() {
    // two single packets and three consecutive ones are cut out of the file
    let whole = fs::read(fixture("gstreamer-rtp.pcap")).expect("the fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let lossy = folder.path().join("lossy.pcap");
    let (mut bytes, mut at, mut number, mut cut) = (whole[..24].to_vec(), 24, 0, 0);
    while at < whole.len() {
        let length = u32::from_le_bytes(whole[at + 8..at + 12].try_into().expect("four")) as usize;
        let lost = number % 50 == 20 || (81..84).contains(&number);
        (number, cut) = (number + 1, cut + u64::from(lost));
        if !lost {
            bytes.extend_from_slice(&whole[at..at + 16 + length]);
        }
        at += 16 + length;
    }
    fs::write(&lossy, bytes).expect("written");
    let path = lossy.to_str().expect("a path");
    let report = probed(&[path]);
    assert!(cut > 4, "{cut} were cut out");
    assert_eq!(report["numbers"]["lost"], cut, "{report}");
    assert_eq!(report["numbers"]["longest_loss"], 3, "{report}");
    assert!(
        report["suggestion"]["output_fec"].as_str().is_some_and(|fec| fec.starts_with("st2022-1:")),
        "{report}"
    );
    assert!(report["flows"][0]["ts"]["continuity_errors"].as_u64() > Some(0), "{report}");

    let output = probe(&[path, "--max-loss", "0.1%"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("suggestion: hold") && text.contains("3 in a row"), "{text}");
    assert_eq!(probe(&[path, "--max-loss", "50%"]).status.code(), Some(0));
}

#[test]
fn a_capture_that_is_cut_short_is_reported_as_far_as_it_goes() {
    let whole = fs::read(fixture("gstreamer-rtp.pcap")).expect("the fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let cut = folder.path().join("cut.pcap");
    fs::write(&cut, &whole[..whole.len() - 1]).expect("written");
    let (all, rest) = (probed(&[&fixture("gstreamer-rtp.pcap")]), probed(&[cut.to_str().expect("a path")]));
    let packets = |report: &Value| report["packets"].as_u64().expect("a number");
    assert_eq!(packets(&rest), packets(&all) - 1, "{rest}");
    assert!(packets(&rest) > 0);
}

#[test]
fn files_that_are_no_captures_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.pcap");
    fs::write(&text, "this is no capture file, whatever it is called").expect("written");
    let empty = folder.path().join("empty.pcap");
    fs::write(&empty, "").expect("written");
    let mut bytes = fs::read(fixture("ffmpeg-udp.pcap")).expect("the fixture");
    bytes[20] = 105;
    let foreign = folder.path().join("wireless.pcap");
    fs::write(&foreign, bytes).expect("written");
    for (path, expected) in [
        (text.to_str().expect("a path"), "not a capture file (expected pcap or pcapng): unknown header"),
        (empty.to_str().expect("a path"), "not a capture file (expected pcap or pcapng): it is empty"),
        (
            foreign.to_str().expect("a path"),
            "wireless.pcap: packet 1 is of link type 105, expected Ethernet (1)",
        ),
        ("/no/such/file.pcapng", "cannot read /no/such/file.pcapng: No such file"),
    ] {
        let output = probe(&[path]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let other = probe(&[&fixture("ffmpeg-udp.pcap"), "--destination", "239.9.9.9:9"]);
    assert!(
        String::from_utf8_lossy(&other.stderr).contains("no datagram to 239.9.9.9:9 is in it"),
        "{other:?}"
    );
}
