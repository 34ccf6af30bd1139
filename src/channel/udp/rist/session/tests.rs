use proptest::{collection::vec, prelude::*};

use super::*;
use tidecast_net::clock;
use tidecast_wire::rtcp::{self, Numbers};

const MS: Duration = Duration::from_millis(1);

fn session() -> Session {
    Session::new(Settings::default(), 0x1235, 7)
}

fn rtp(ssrc: u32, sequence: u16, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let payload = vec![sequence as u8; len];
    rtp::Repr { marker: false, payload_type: 33, sequence, timestamp: 3000, ssrc, payload: &payload }
        .emit(&mut out);
    out
}

/// Sends packets of 1,316 bytes of payload with these numbers.
fn send(session: &mut Session, now: Instant, ssrc: u32, numbers: impl IntoIterator<Item = u16>) {
    for number in numbers {
        session.media(&rtp(ssrc, number, 1316));
        session.sent(now);
    }
}

fn bytes_of(reprs: &[Repr<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    reprs.iter().for_each(|repr| repr.emit(&mut out));
    out
}

/// Retransmissions and replies of a session to a datagram.
fn say(session: &mut Session, now: Instant, datagram: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut again, mut reply) = (Vec::new(), Vec::new());
    session.handle(now, datagram, &mut again, &mut reply);
    (again, reply)
}

fn packets(bytes: &[u8]) -> Vec<rtcp::Packet<'_>> {
    Compound::parse(bytes).unwrap().packets().map(Result::unwrap).collect()
}

#[test]
fn media_gets_an_even_ssrc_and_is_sent_again_with_the_odd_one() {
    let (mut session, now) = (session(), clock::now());
    session.media(&rtp(0xabcd_ef01, 65_535, 10));
    session.media(&rtp(0xabcd_ef01, 0, 20));
    let out: Vec<_> = session.fresh().map(<[u8]>::to_vec).collect();
    assert_eq!(out, [rtp(0xabcd_ef00, 65_535, 10), rtp(0xabcd_ef00, 0, 20)]);
    session.sent(now);
    assert_eq!(session.fresh().count(), 0);
    let numbers = [Numbers { first: 65_534, more: 2 }];
    let asks = [
        Repr::RangeNack { media: 0xabcd_ef00, numbers: &numbers },
        Repr::GenericNack { sender: 1, media: 0xabcd_ef01, numbers: &numbers },
        Repr::GenericNack { sender: 1, media: 0xabcd_ee00, numbers: &numbers },
    ];
    for (repr, ahead) in asks.iter().zip([0, 5, 10]) {
        let (again, reply) = say(&mut session, now + ahead * MS, &bytes_of(&[*repr]));
        let expected = [rtp(0xabcd_ef01, 65_535, 10), rtp(0xabcd_ef01, 0, 20)];
        assert_eq!(again, if ahead < 10 { &expected[..] } else { &[] }, "{repr:?}");
        assert!(reply.is_empty());
    }
    let numbers = session.requests().numbers;
    assert_eq!((numbers.requested, numbers.resent, numbers.gone), (9, 4, 5));
}

#[test]
fn reports_say_what_was_sent_and_when() {
    let (mut session, start) = (session(), clock::now());
    let report = |session: &Session, after| {
        let mut out = Vec::new();
        session.report(start + after, Duration::from_millis(1_500), &mut out);
        out
    };
    let before = report(&session, MS);
    let [rtcp::Packet::ReceiverReport(empty), rtcp::Packet::Description(name)] = packets(&before)[..] else {
        panic!("{before:02x?}")
    };
    assert_eq!(
        (empty.ssrc, name.cnames().next()),
        (0x1234, Some((0x1234, &b"tidecast-0000000000000007"[..])))
    );
    assert!(!session.is_new());
    session.media(&rtp(9, 0, 0));
    assert!(session.is_new());
    let first = report(&session, MS);
    assert!(matches!(packets(&first)[..], [rtcp::Packet::ReceiverReport(empty), _] if empty.ssrc == 8));
    session.sent(start);
    assert!(!session.is_new());
    send(&mut session, start, 9, [1, 2, 3]);
    let after = report(&session, 20 * MS);
    let [rtcp::Packet::SenderReport(sent), rtcp::Packet::Description(name)] = packets(&after)[..] else {
        panic!("{after:02x?}")
    };
    assert_eq!((sent.ssrc, sent.packets, sent.octets), (8, 4, 3 * 1316));
    assert_eq!((sent.timestamp, sent.ntp), (3000 + 1800, (2_208_988_801 << 32) | 1 << 31));
    assert_eq!(name.cnames().next().map(|(ssrc, _)| ssrc), Some(8));
    assert!(after.starts_with(&[0x80, 0xc8, 0, 6]), "a sender report without blocks");
    let mut bye = Vec::new();
    session.bye(start, Duration::ZERO, &mut bye);
    assert!(matches!(packets(&bye)[..], [_, _, rtcp::Packet::Bye(bye)] if bye.sources().eq([8])));
}

#[test]
fn echoes_go_back() {
    let echo = Echo { ssrc: 8, timestamp: 0x1122_3344_5566_7788, delay: 9, padding: &[7; 4] };
    let asked = bytes_of(&[Repr::ReceiverReport { ssrc: 5, blocks: &[] }, Repr::EchoRequest(echo)]);
    let (again, reply) = say(&mut session(), clock::now(), &asked);
    assert!(again.is_empty());
    assert_eq!(packets(&reply), [rtcp::Packet::EchoResponse(Echo { delay: 0, ..echo })]);
}

#[test]
fn one_datagram_cannot_ask_for_everything() {
    let (mut session, now) = (session(), clock::now());
    send(&mut session, now, 8, 0..3000);
    let numbers = [Numbers { first: 0, more: u16::MAX }, Numbers { first: 0, more: 9 }];
    let (again, _) = say(&mut session, now, &bytes_of(&[Repr::RangeNack { media: 8, numbers: &numbers }]));
    let asked = session.requests().numbers;
    assert_eq!(asked.requested, 65_536 + 10);
    assert_eq!((again.len() as u64, asked.resent), (asked.resent, REQUEST_NUMBERS_MAX as u64));
    assert_eq!(asked.refused, 65_536 + 10 - REQUEST_NUMBERS_MAX as u64);
}

/// Receivers request everything, in every datagram: retransmissions stay within the share of the
/// media.
#[test]
fn a_flood_of_requests_is_held_to_the_share() {
    let (mut session, start) = (session(), clock::now());
    let (mut media, mut again) = (0, 0);
    for number in 0..2000u16 {
        let now = start + u32::from(number) * 5 * MS;
        send(&mut session, now, 8, [number]);
        media += 1328;
        for _ in 0..4 {
            let numbers = [Numbers { first: number.wrapping_sub(30), more: 30 }];
            let asks = bytes_of(&[Repr::RangeNack { media: 8, numbers: &numbers }]);
            again += say(&mut session, now, &asks).0.iter().map(Vec::len).sum::<usize>();
        }
    }
    let allowed = tidecast_core::limits::RETRANSMIT_BYTES_MIN as usize + media / 2;
    assert!((allowed - 2 * 1328..=allowed).contains(&again), "{again} bytes again, {allowed} allowed");
    let asked = session.requests().numbers;
    assert_eq!(asked.requested, asked.resent + asked.gone + asked.recent + asked.refused);
    assert_eq!((asked.requested, asked.resent_bytes as usize), (2000 * 4 * 31, again));
}

/// Reports of receivers, intact, damaged and forged; none of them affects the media.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let ask =
        (any::<bool>(), 0..4u32, vec((any::<u16>(), 0..70u16), 0..8)).prop_map(|(form, media, list)| {
            let numbers: Vec<_> =
                list.into_iter().map(|(first, more)| Numbers { first: first % 64, more }).collect();
            let nack = match form {
                true => Repr::RangeNack { media, numbers: &numbers },
                false => Repr::GenericNack { sender: 1, media, numbers: &numbers },
            };
            bytes_of(&[
                Repr::ReceiverReport { ssrc: 1, blocks: &[] },
                Repr::Cname { ssrc: 1, cname: "r" },
                nack,
            ])
        });
    let damaged = (ask.clone(), any::<prop::sample::Index>(), 1..=255u8).prop_map(|(mut bytes, at, flip)| {
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes
    });
    prop_oneof![ask, damaged, vec(any::<u8>(), 0..80)]
}

proptest! {
    #[test]
    fn whatever_receivers_say_the_media_stays_as_it_is(datagrams in vec(any_datagram(), 1..60)) {
        let (mut session, mut now) = (session(), clock::now());
        let mut malformed = 0;
        for (number, datagram) in datagrams.iter().enumerate() {
            let original = rtp(2, number as u16, 100);
            session.media(&original);
            prop_assert_eq!(session.fresh().collect::<Vec<_>>(), [&original[..]]);
            session.sent(now);
            let damaged = Compound::parse(datagram).is_ok_and(|all| all.packets().any(|packet| packet.is_err()));
            malformed += u64::from(Compound::parse(datagram).is_err() || damaged);
            for packet in say(&mut session, now, datagram).0 {
                let parsed = rtp::Packet::parse(&packet).unwrap();
                prop_assert_eq!((parsed.ssrc(), usize::from(parsed.sequence()) <= number), (3, true));
            }
            now += MS;
        }
        prop_assert_eq!(session.requests().malformed, malformed);
        let asked = session.requests().numbers;
        prop_assert_eq!(asked.requested, asked.resent + asked.gone + asked.recent + asked.refused);
    }
}
