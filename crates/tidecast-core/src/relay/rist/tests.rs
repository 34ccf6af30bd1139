//! Answers to RTCP senders.

use super::*;
use crate::relay::{Asks, Config, Input};

fn relay() -> Relay {
    let asks = [Asks { rist: true, requests: true, shared: false }];
    Relay::new(Config { format: tidecast_wire::Format::Rtp, ..Config::default() }.for_legs(asks, 1))
}

/// A sender's report with an echo request.
fn echo(ssrc: u32, timestamp: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Repr::ReceiverReport { ssrc, blocks: &[] }.emit(&mut bytes);
    Repr::Cname { ssrc, cname: "sender" }.emit(&mut bytes);
    Repr::EchoRequest(Echo { ssrc, timestamp, delay: 0, padding: b"path" }).emit(&mut bytes);
    bytes
}

/// Timestamps of the echo responses sent to `to`.
fn answers(relay: &mut Relay, to: SocketAddr) -> Vec<u64> {
    let mut answers = Vec::new();
    loop {
        match relay.poll_output() {
            Output::Timeout(_) => return answers,
            Output::Transmit { leg: 0, from: Socket::Control, to: address, bytes } => {
                assert_eq!(address, to);
                let compound = Compound::parse(&bytes).expect("a compound");
                for packet in compound.packets() {
                    if let Packet::EchoResponse(echo) = packet.expect("a packet") {
                        assert_eq!((echo.delay, echo.padding), (0, &b"path"[..]));
                        answers.push(echo.timestamp);
                    }
                }
            }
            output => panic!("{output:?}"),
        }
    }
}

#[test]
fn an_echo_request_is_answered_with_its_time_stamp() {
    let (mut relay, now) = (relay(), crate::clock::now());
    let source = SocketAddr::from(([10, 0, 0, 1], 5001));
    let bytes = Buffer::from(&*echo(0x1234_5678, 77));
    relay.handle_input(Input::Control { now, leg: 0, source, bytes });
    assert_eq!(answers(&mut relay, source), [77]);
}

/// An attacker who forges requests must not make the relay flood the forged address with answers.
#[test]
fn answers_are_bounded() {
    let (mut relay, now) = (relay(), crate::clock::now());
    let source = SocketAddr::from(([10, 0, 0, 1], 5001));
    let most = (crate::limits::REQUEST_DATAGRAMS_PER_SECOND / 10.0) as u64;
    for timestamp in 0..2 * most {
        let bytes = Buffer::from(&*echo(0x1234_5678, timestamp));
        relay.handle_input(Input::Control { now, leg: 0, source, bytes });
    }
    assert_eq!(answers(&mut relay, source), (0..most).collect::<Vec<_>>());
}

#[test]
fn echo_requests_carry_their_time_and_keep_their_interval() {
    let epoch = crate::clock::now();
    let after = |millis: u64| epoch + Duration::from_millis(millis);
    let mut peer = Peer::new(0, SocketAddr::from(([10, 0, 0, 1], 5001)), 1, after(5));
    assert_eq!(peer.echo(epoch, after(5)), Some(5_000_000), "nanoseconds since the epoch");
    assert_eq!(peer.echo(epoch, after(204)), None);
    assert_eq!(peer.echo(epoch, after(205)), Some(205_000_000), "no answer yet: soon again");
    peer.round_trip.sample(Duration::from_millis(20));
    assert_eq!(peer.echo(epoch, after(405)), Some(405_000_000));
    assert_eq!(peer.echo(epoch, after(1_404)), None);
    assert_eq!(peer.echo(epoch, after(1_405)), Some(1_405_000_000));
}
