use proptest::{collection::vec, prelude::*};

use super::*;
use crate::native::{ENCRYPTED, NativeError, Repair, RepairRepr, SEALED, TRAILER};

const DIGITS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const STREAM: u32 = 7;
const SESSION: u32 = 42;

fn key(id: u8) -> Key {
    format!("{id}:{DIGITS}").parse().expect("a key")
}

fn keys() -> SessionKeys {
    Keyring::new(vec![key(3)]).unwrap().session(3, STREAM, SESSION).unwrap()
}

fn repr(kind: Kind, payload: &[u8]) -> Repr<'_> {
    Repr { kind, flags: 0, stream: STREAM, session: SESSION, sequence: 9, timestamp: 1 << 40 | 5, payload }
}

fn sealed(repr: &Repr<'_>, encrypt: bool) -> Vec<u8> {
    let mut out = Vec::new();
    keys().seal(repr, encrypt, &mut out);
    out
}

/// Opens a datagram; returns its payload.
fn opened(keys: &SessionKeys, datagram: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::parse(datagram).ok()?;
    let mut plain = vec![0; if packet.is_encrypted() { packet.payload().len() } else { 0 }];
    let payload = packet.payload().to_vec();
    keys.open(&packet, datagram, &mut plain).then_some(if packet.is_encrypted() { plain } else { payload })
}

/// The same bytes with a checksum that fits them.
fn checked(datagram: &[u8]) -> Vec<u8> {
    let mut bytes = datagram[..datagram.len() - TRAILER].to_vec();
    native::emit_checksum(0, &mut bytes);
    bytes
}

/// A valid payload of each kind.
fn payload_of(kind: Kind) -> Vec<u8> {
    let mut payload = Vec::new();
    match kind {
        Kind::Repair => RepairRepr { k: 2, m: 1, index: 0, stride: 1, shard: &[5; 20] }.emit(&mut payload),
        Kind::Nack => native::NackRepr { ranges: &[(3, 2)] }.emit(&mut payload),
        Kind::Heartbeat | Kind::End => {}
        Kind::Data => payload.extend_from_slice(b"21.5 C"),
    }
    payload
}

const KINDS: [Kind; 5] = [Kind::Data, Kind::Repair, Kind::Heartbeat, Kind::End, Kind::Nack];

#[test]
fn every_kind_is_opened_and_only_data_is_encrypted() {
    for (kind, encrypt) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let payload = payload_of(kind);
        let datagram = sealed(&repr(kind, &payload), encrypt);
        assert_eq!(datagram.len(), HEADER + payload.len() + TAG + TRAILER);
        let packet = Packet::parse(&datagram).unwrap();
        let hides = encrypt && kind == Kind::Data;
        assert_eq!((packet.key_id(), packet.is_encrypted()), (Some(3), hides));
        assert_eq!(packet.payload() != payload, hides, "{kind:?}");
        assert_eq!(opened(&keys(), &datagram), Some(payload), "{kind:?}, encrypt {encrypt}");
    }
}

#[test]
fn any_other_bit_breaks_the_seal() {
    for (kind, encrypt) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let datagram = sealed(&repr(kind, &payload_of(kind)), encrypt);
        let flag = 8 * FLAGS + 7;
        for bit in (0..8 * (datagram.len() - TRAILER)).filter(|bit| *bit != flag) {
            let mut forged = datagram.clone();
            forged[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(opened(&keys(), &checked(&forged)), None, "{kind:?}, encrypt {encrypt}, bit {bit}");
        }
        let mut again = datagram.clone();
        again[flag / 8] ^= 1;
        assert!(opened(&keys(), &checked(&again)).is_some(), "a retransmission is the same packet");
        for len in HEADER..datagram.len() - 1 {
            assert_eq!(opened(&keys(), &checked(&datagram[..len + 1])), None, "{kind:?}, {len} bytes");
        }
    }
}

#[test]
fn keys_of_other_sessions_streams_and_ids_do_not_fit() {
    let datagram = sealed(&repr(Kind::Data, b"x"), true);
    let ring = Keyring::new(vec![key(3), key(4)]).unwrap();
    assert!(opened(&ring.session(3, STREAM, SESSION).unwrap(), &datagram).is_some());
    for (id, stream, session) in [(4, STREAM, SESSION), (3, STREAM + 1, SESSION), (3, STREAM, SESSION + 1)] {
        assert_eq!(opened(&ring.session(id, stream, session).unwrap(), &datagram), None);
    }
    assert!(ring.session(5, STREAM, SESSION).is_none());
    let unsealed = {
        let mut out = Vec::new();
        repr(Kind::Data, b"x").emit(&mut out);
        out
    };
    assert_eq!(opened(&keys(), &unsealed), None);
}

#[test]
fn a_key_of_one_stream_opens_that_stream_alone() {
    let one = key(3).for_stream(STREAM).unwrap();
    assert_eq!((one.id(), one.stream()), (3, Some(STREAM)));
    assert_eq!(one.secret_text().parse::<Key>(), Ok(one.clone()));
    let ring = Keyring::new(vec![one.clone()]).unwrap();
    let datagram = sealed(&repr(Kind::Data, b"x"), false);
    assert!(opened(&ring.session(3, STREAM, SESSION).unwrap(), &datagram).is_some());
    assert!(ring.session(3, STREAM + 1, SESSION).is_none());
    let wrong = KeyError::Stream { id: 3, expected: 8, actual: STREAM };
    assert_eq!(Sealer::new(&one, 8, SESSION, false).unwrap_err(), wrong);
    let mut by_sealer = Vec::new();
    Sealer::new(&one, STREAM, SESSION, false).unwrap().seal(&repr(Kind::Data, b"x"), &mut by_sealer);
    assert_eq!(by_sealer, datagram);
}

#[test]
fn kinds_never_share_a_tag_and_a_clock_tells_equal_sessions_apart() {
    let tag = |datagram: Vec<u8>| datagram[datagram.len() - TRAILER - TAG..][..TAG].to_vec();
    let tags: std::collections::BTreeSet<_> =
        KINDS.map(|kind| tag(sealed(&repr(kind, &[]), false))).into_iter().collect();
    assert_eq!(tags.len(), 5);
    let ciphertext = |timestamp| {
        let datagram = sealed(&Repr { timestamp, ..repr(Kind::Data, &[0; 16]) }, true);
        datagram[HEADER..][..16].to_vec()
    };
    assert_ne!(ciphertext(1), ciphertext(2), "another key stream");
    assert_eq!(ciphertext(1), ciphertext(1 | 1 << 32), "by the low half of the timestamp");
}

#[test]
fn the_nonce_holds_the_whole_number() {
    assert_eq!(
        nonce(0x0102_0304_0506_0708, 0xdead_0a0b_0c0d),
        [1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 0x0b, 0x0c, 0x0d]
    );
}

#[test]
fn keys_are_read_with_their_errors_and_never_shown() {
    let error = |text: &str| text.parse::<Key>().unwrap_err();
    assert_eq!(error("secret"), KeyError::Form);
    assert_eq!(error(&format!("a:{DIGITS}")), KeyError::Form);
    assert_eq!(error(&format!("1/x:{DIGITS}")), KeyError::Form);
    assert_eq!(error(&format!("16:{DIGITS}")), KeyError::Id { id: 16 });
    assert_eq!(error(&format!("1:{DIGITS}0")), KeyError::Length { id: 1, digits: 65 });
    assert_eq!(error("1:"), KeyError::Length { id: 1, digits: 0 });
    assert_eq!(error("1:00g0"), KeyError::Digit { id: 1, at: 3 });
    assert_eq!(Key::read_all("# nothing\n\n"), Err(KeyError::Missing));
    let text = format!("# the new one\n2:{DIGITS}\n\n 1/7:{DIGITS} \n");
    let read: Vec<_> = Key::read_all(&text).unwrap().iter().map(|key| (key.id(), key.stream())).collect();
    assert_eq!(read, [(2, None), (1, Some(7))]);
    assert!(!format!("{:?}", Keyring::new(vec![key(1)])).contains("0102"));
    assert!(!format!("{:?}", keys()).contains("0102"));
    let random = [Key::random(1).unwrap(), Key::random(1).unwrap()];
    assert_ne!(random[0], random[1]);
    assert_eq!(Key::random(16).unwrap_err(), KeyError::Id { id: 16 });
    assert!(Key::looks_like_one("3:zz") && Key::looks_like_one("3/7:") && !Key::looks_like_one("/etc/key"));
}

#[test]
fn a_keyring_tells_its_keys_apart() {
    assert_eq!(Keyring::new(vec![]), Err(KeyError::Missing));
    assert_eq!(Keyring::new(vec![key(1), key(1)]), Err(KeyError::Twice { id: 1 }));
    assert!(Keyring::new(vec![key(1), key(1).for_stream(7).unwrap(), key(2)]).is_ok());
    let many: Vec<Key> = (0..17).map(|stream| key(0).for_stream(stream).unwrap()).collect();
    assert_eq!(Keyring::new(many), Err(KeyError::TooMany { count: 17 }));
}

#[test]
fn a_tag_that_is_cut_is_truncated() {
    let datagram = sealed(&repr(Kind::Heartbeat, &[]), false);
    let error = Packet::parse(&checked(&datagram[..datagram.len() - 1])).unwrap_err();
    assert_eq!(error, NativeError::Truncated { expected: 48, actual: 47 });
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_and_repairs_carry_the_tag(
        (stream, session, sequence, timestamp) in any::<(u32, u32, u64, u64)>(),
        (encrypt, again) in any::<(bool, bool)>(),
        payload in vec(any::<u8>(), 0..2000),
    ) {
        let flags = if again { RETRANSMISSION } else { 0 };
        let repr = Repr { kind: Kind::Data, flags, stream, session, sequence, timestamp, payload: &payload };
        let sealer = Sealer::new(&key(15), stream, session, encrypt).unwrap();
        let mut datagram = Vec::new();
        sealer.seal(&repr, &mut datagram);
        let keys = Keyring::new(vec![key(15)]).unwrap().session(15, stream, session).unwrap();
        let found = opened(&keys, &datagram);
        prop_assert_eq!(found.as_ref(), Some(&payload));
        let packet = Packet::parse(&datagram).unwrap();
        prop_assert!(native::may_be_flags(packet.flags()));
        prop_assert_eq!(packet.flags() & (SEALED | ENCRYPTED) == SEALED | ENCRYPTED, encrypt);
        let mut emitted = Vec::new();
        packet.repr().emit(&mut emitted);
        prop_assert_eq!(&emitted, &datagram);
    }

    #[test]
    fn arbitrary_repairs_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let mut datagram = [&b"TC\x11\x32"[..], &bytes].concat();
        native::emit_checksum(0, &mut datagram);
        if let Ok(packet) = Packet::parse(&datagram) {
            prop_assert!(Repair::parse(packet.payload()).is_ok());
            prop_assert!(!keys().open(&packet, &datagram, &mut []));
        }
    }
}
