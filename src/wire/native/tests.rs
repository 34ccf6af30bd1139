use super::*;

#[test]
fn emit_and_parse() {
    let repr = Repr {
        kind: Kind::Data,
        flags: RETRANSMISSION,
        stream: 1,
        session: 2,
        sequence: 3,
        timestamp: 4,
        payload: b"x",
    };
    let mut bytes = Vec::new();
    repr.emit(&mut bytes);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.repr(), repr);
    assert_eq!(&bytes[packet.payload_range()], b"x");
}
