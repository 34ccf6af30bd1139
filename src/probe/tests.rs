//! Tests of the whole probe with generated datagrams; tests with real captures are in tests/probe.

use std::time::Duration;

use super::*;
use tidecast_net::clock;

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let timestamp = u32::from(sequence) * 90;
    let repr = rtp::Repr { marker: false, payload_type: 96, sequence, timestamp, ssrc, payload: &[7; 100] };
    repr.emit(&mut bytes);
    bytes
}

fn source(port: u16) -> SocketAddr {
    ([10, 0, 0, 7], port).into()
}

#[test]
fn a_thousand_flows_are_followed_and_told_apart() {
    let start = clock::now();
    let mut probe = Probe::new(Format::Rtp);
    for round in 0..50u16 {
        for flow in (0..1000u32).filter(|flow| !(flow % 100 == 7 && round == 20)) {
            let at = start + Duration::from_micros(u64::from(round) * 20_000 + u64::from(flow));
            probe.push(at, source(5000), Role::Media, &rtp(flow * 2, round));
        }
    }
    let report = probe.final_report(start + Duration::from_secs(2), "rtp://@239.1.1.1:5000");
    assert_eq!((report.flows.len(), report.numbers.expected, report.numbers.lost), (1000, 50_000, 10));
    assert_eq!(report.flows.iter().filter(|f| f.numbers.as_ref().is_some_and(|n| n.lost == 1)).count(), 10);
    assert_eq!((report.format.as_str(), report.unfollowed), ("RTP", 0));
}

#[test]
fn flows_beyond_the_bound_are_counted_in_all() {
    let start = clock::now();
    let mut probe = Probe::new(Format::Rtp);
    for flow in 0..PROBE_FLOWS_MAX as u32 + 50 {
        probe.push(start, source(5000), Role::Media, &rtp(flow * 2, 1));
    }
    let report = probe.report(start, "rtp://@239.1.1.1:5000");
    assert_eq!((report.flows.len(), report.unfollowed), (PROBE_FLOWS_MAX, 50));
}

#[test]
fn rist_retransmissions_do_not_hide_a_loss() {
    let start = clock::now();
    let mut probe = Probe::new(Format::Auto);
    for sequence in (0..100).filter(|sequence| *sequence != 50) {
        probe.push(
            start + Duration::from_millis(sequence.into()),
            source(5000),
            Role::Media,
            &rtp(8, sequence),
        );
    }
    probe.push(start + Duration::from_millis(200), source(5000), Role::Media, &rtp(9, 50));
    let report = probe.report(start + Duration::from_secs(1), "rist://@239.1.1.1:5000");
    assert_eq!((report.flows.len(), report.numbers.lost, report.numbers.retransmitted), (1, 1, 1));
}

#[test]
fn what_is_no_known_format_is_said_and_guessed() {
    let start = clock::now();
    let mut probe = Probe::new(Format::Auto);
    for i in 0..50u16 {
        let bytes = [&[1, 2, 3][..], &i.to_be_bytes(), &[(i * 97 % 251) as u8; 20]].concat();
        probe.push(start, source(5000), Role::Media, &bytes);
    }
    let report = probe.final_report(start, "udp://@239.1.1.1:5000");
    assert_eq!((report.format.as_str(), report.corrupt), ("unnumbered", 0));
    assert_eq!(report.format_guess.as_deref(), Some("seq=u16be@3"));
    assert_eq!(report.suggestion, None);
    assert!(report.to_string().contains("look like --format seq=u16be@3"), "{report}");
    // datagrams of a source with another known format are not damaged, whatever bytes they start
    // with
    probe.push(start, source(5000), Role::Media, b"TC\x10\x00 a reading that begins like a native datagram");
    let report = probe.final_report(start, "udp://@239.1.1.1:5000");
    assert_eq!((report.corrupt, report.flows[0].packets), (0, 51));
}

/// Formats are decided per source as in a relay, see `tidecast_core::identify`.
#[test]
fn formats_belong_to_sources() {
    let start = clock::now();
    let report = |datagrams: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut probe = Probe::new(Format::Auto);
        for (i, datagram) in datagrams.enumerate() {
            probe.push(start + Duration::from_millis(5 * i as u64), source(5000), Role::Media, &datagram);
        }
        probe.final_report(start + Duration::from_secs(2), "udp://@239.1.1.1:5000")
    };
    // a transport stream cut at an arbitrary position, whose bytes resemble RTP
    let stream: Vec<u8> = (0..188 * 700).map(|i| if i % 188 == 0 { 0x47 } else { 0x80 }).collect();
    let seen = report(&mut stream[100..].chunks(1472).map(<[u8]>::to_vec));
    assert_eq!(seen.format, "MPEG-TS without RTP (not numbered)");
    assert_eq!((seen.flows.len(), seen.corrupt, seen.foreign), (1, 0, 0));
    // MessagePack
    let seen = report(&mut (0..90u8).map(|i| [&b"\x82\xa1s\xa4temp\xa1v\xcb"[..], &[i; 8]].concat()));
    assert_eq!((seen.format.as_str(), seen.flows.len(), seen.flows[0].packets), ("unnumbered", 1, 90));
    // RTP with damaged first bytes, and a source that is silent after its first packet
    let damaged = |i: u16| if i % 10 == 5 { 0x00 } else { 0x80 };
    let seen = report(&mut (0..90u16).map(|i| [&[damaged(i)], &rtp(8, i)[1..]].concat()));
    assert_eq!((seen.format.as_str(), seen.numbers.lost, seen.corrupt), ("RTP", 9, 9));
    let seen = report(&mut std::iter::once(rtp(8, 7)));
    assert_eq!((seen.format.as_str(), seen.flows[0].packets), ("unnumbered", 1));
}

#[test]
fn what_is_of_another_format_is_said_to_look_like_its_own() {
    let start = clock::now();
    let mut probe = Probe::new(Format::Native);
    (0..3).for_each(|number| probe.push(start, source(5000), Role::Media, &rtp(1, number)));
    let report = probe.report(start, "udp://@239.1.1.1:5000");
    assert_eq!((report.foreign, report.refused_format), (3, Some("rtp")));
    let text = report.to_string();
    assert!(text.contains("what is damaged or of another format looks like --format rtp"), "{text}");
}
