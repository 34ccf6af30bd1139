//! Profiles: layouts of well-known protocols. For each, which datagrams are numbered, how, and
//! which are sent on without numbers. `docs/formats.md` describes the same in words.

/// The profiles with their layouts. Among equally reliable matches, a guess takes the first one.
pub(super) const PROFILES: [(&str, &str); 16] = [
    (
        // One counter per system and component, whatever the version; signed messages have 13 bytes
        // more.
        "mavlink",
        "match=u8@0=0xFD,match=u8@2&0x01=1,seq=u8@4,id=ip,id=u8@5,id=u8@6,bundle=u8@1+25 | \
         match=u8@0=0xFD,seq=u8@4,id=ip,id=u8@5,id=u8@6,bundle=u8@1+12 | \
         match=u8@0=0xFE,seq=u8@2,id=ip,id=u8@3,id=u8@4,bundle=u8@1+8",
    ),
    ("mavlink1", "match=u8@0=0xFE,seq=u8@2,id=ip,id=u8@3,id=u8@4,bundle=u8@1+8"),
    (
        "mavlink2",
        "match=u8@0=0xFD,match=u8@2&0x01=1,seq=u8@4,id=ip,id=u8@5,id=u8@6,bundle=u8@1+25 | \
         match=u8@0=0xFD,seq=u8@4,id=ip,id=u8@5,id=u8@6,bundle=u8@1+12",
    ),
    (
        // E1.31: data; synchronization, which has a counter of its own; discovery has none.
        "sacn",
        "match=\"ASC-E1.17\"@4,match=u32be@18=4,match=u32be@40=2,seq=u8@111,id=16B@22,id=u16be@113 | \
         match=\"ASC-E1.17\"@4,match=u32be@18=8,match=u32be@40=1,seq=u8@44,id=16B@22,id=u8@21,id=u16be@45 | \
         match=\"ASC-E1.17\"@4,pass",
    ),
    (
        // ArtDmx, ArtNzs; all other operations have no number.
        "artnet",
        "match=\"Art-Net\"@0,match=u16le@8=0x5000,seq=u8@12,wrap=1..255,id=ip,id=u16le@14 | \
         match=\"Art-Net\"@0,match=u16le@8=0x5100,seq=u8@12,wrap=1..255,id=ip,id=u16le@14,id=u16le@8 | \
         match=\"Art-Net\"@0,pass",
    ),
    (
        // The fragments of a long message have its number.
        "lcm",
        "match=u32be@0=0x4c433032,seq=u32be@4,part=0/1,id=src | \
         match=u32be@0=0x4c433033,seq=u32be@4,part=u16be@16/u16be@18,id=src",
    ),
    (
        // Idle packets (APID 2047) are not counted; telemetry and telecommands have separate
        // counts.
        "ccsds",
        "match=u8@0&0xe0=0,match=u16be@0&0x07ff=0x7ff,pass,bundle=u16be@4+7 | \
         match=u8@0&0xe0=0,seq=u16be@2&0x3fff,id=ip,id=u16be@0&0x17ff,bundle=u16be@4+7",
    ),
    (
        // Data without a stream id; data and context with one; commands and their acknowledgements.
        "vita49",
        "match=u8@0&0xd0=0,seq=u8@1&0x0f,id=ip,id=u8@0&0xf0 | \
         match=u8@0&0xf0=1..5,seq=u8@1&0x0f,id=ip,id=u8@0&0xf0,id=u32be@4 | \
         match=u8@0&0xf0=6..7,seq=u8@1&0x0f,id=ip,id=u8@0&0xf4,id=u32be@4",
    ),
    ("moldudp64", "seq=u64be@10,step=u16be@18,id=10B@0"),
    ("netflow5", "match=u16be@0=5,seq=u32be@16,step=u16be@2,id=ip,id=u16be@20"),
    ("netflow9", "match=u16be@0=9,seq=u32be@12,id=ip,id=u32be@16"),
    (
        // The templates determine how many data records a message has.
        "ipfix",
        "match=u16be@0=10,seq=u32be@8,step=ipfix,id=ip,id=u32be@12",
    ),
    (
        // An agent's address is IPv4 or IPv6.
        "sflow5",
        "match=u32be@0=5,match=u32be@4=1,seq=u32be@16,id=4B@8,id=u32be@12 | \
         match=u32be@0=5,match=u32be@4=2,seq=u32be@28,id=16B@8,id=u32be@24 | \
         match=u32be@0=5,pass",
    ),
    (
        // IEEE 1588 section 7.3.7: numbers per port and message type. Responses copy the number of
        // their request, so their count depends on the requester; signaling and management count
        // per target, and their responses do not count.
        "ptp",
        "match=u8@1&0x0f=2,match=u8@0&0x0f=0..2,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=8,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=11,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=3,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4,id=10B@44 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=9..10,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4,id=10B@44 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=12,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4,id=10B@34 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=13,match=u8@46&0x0f=0..1,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4,id=10B@34 | \
         match=u8@1&0x0f=2,match=u8@0&0x0f=13,match=u8@46&0x0f=3,seq=u16be@30,id=10B@20,id=u8@0,id=u8@4,id=10B@34 | \
         match=u8@1&0x0f=2,pass",
    ),
    (
        // Version 0; data and padding count the bytes of a term, in steps of 32; a frame without
        // length announces the sender's position. Setup, status, NAK and others have no count.
        "aeron",
        "match=u8@4=0,match=u16le@6=0..1,seq=u32le@8&0xffffffe0,term=u32le@20,step=u32le@0/32,\
         id=ip,id=u32le@12,id=u32le@16,bundle=u32le@0%32 | \
         match=u8@4=0,match=u16le@6=2..0xffff,pass",
    ),
    (
        // ETSI TS 102 821: fragments of PFT, with addresses or without; AF packets that are not
        // fragmented.
        "edi",
        "match=\"PF\"@0,match=u16be@10&0xc000=3,seq=u16be@2,part=u24be@4/u24be@7,id=ip,id=u16be@0,id=u32be@14 | \
         match=\"PF\"@0,match=u16be@10&0xc000=1,seq=u16be@2,part=u24be@4/u24be@7,id=ip,id=u16be@0,id=u32be@12 | \
         match=\"PF\"@0,seq=u16be@2,part=u24be@4/u24be@7,id=ip,id=u16be@0 | \
         match=\"AF\"@0,seq=u16be@6,id=ip",
    ),
];

pub(crate) fn is_profile(name: &str) -> bool {
    PROFILES.iter().any(|(known, _)| *known == name)
}

pub(crate) fn profile_names() -> String {
    PROFILES.map(|(name, _)| name).join(", ")
}
