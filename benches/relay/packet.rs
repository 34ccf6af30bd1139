//! The datagrams that are sent: RTP with seven TS packets, and native ones. Both contain a running
//! number at a position that receivers find without parsing, in the datagram and in the payload
//! alone. There is also an unmodified film, for programs that parse it.

use std::ops::Range;

use tidecast_wire::{native, rtp};

/// Payload of a media packet: seven TS packets.
pub(crate) const MEDIA_BYTES: usize = 7 * 188;
/// Bytes of an RTP header.
const RTP_HEADER: usize = 12;
/// Bytes of the first TS packet's header, which the number follows.
const TS_HEADER: usize = 4;
/// Position of the number in a media packet's payload.
pub(crate) const NUMBER_IN_PAYLOAD: Range<usize> = TS_HEADER..TS_HEADER + 8;

/// Format of a generator's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// RTP with [`MEDIA_BYTES`] of payload.
    Rtp,
    /// Native datagrams of `bytes` in total, of `flows` streams alternately.
    Native {
        /// Bytes of the datagram.
        bytes: usize,
        /// Number of stream ids.
        flows: u64,
    },
    /// The film of a file, [`MEDIA_BYTES`] at a time, without numbers.
    Film,
}

impl Format {
    /// Returns the bytes of each datagram.
    pub(crate) fn len(self) -> usize {
        match self {
            Format::Rtp => RTP_HEADER + MEDIA_BYTES,
            Format::Native { bytes, .. } => bytes,
            Format::Film => MEDIA_BYTES,
        }
    }

    /// Returns the position of the running number in the datagram.
    pub(crate) fn number(self) -> Range<usize> {
        let start = match self {
            Format::Rtp => RTP_HEADER + TS_HEADER,
            Format::Film => TS_HEADER,
            Format::Native { .. } => native::HEADER,
        };
        start..start + 8
    }
}

/// Creates the datagrams of one stream.
#[derive(Debug)]
pub(crate) struct Maker {
    format: Format,
    stream: u32,
    payload: Vec<u8>,
    datagram: Vec<u8>,
}

impl Maker {
    /// Creates a maker for stream number `stream`; `film` is the content of a film.
    pub(crate) fn new(format: Format, stream: u32, film: &[u8]) -> Maker {
        let payload = match format {
            Format::Rtp => media_payload(),
            Format::Film => film[..film.len() / MEDIA_BYTES * MEDIA_BYTES].to_vec(),
            Format::Native { bytes, .. } => vec![0x55; bytes - native::HEADER - native::TRAILER],
        };
        Maker { format, stream, payload, datagram: Vec::new() }
    }

    /// Returns datagram `number` of this stream.
    pub(crate) fn make(&mut self, number: u64) -> &[u8] {
        self.datagram.clear();
        match self.format {
            Format::Rtp => self.make_rtp(number),
            Format::Native { flows, .. } => self.make_native(number, flows),
            Format::Film => {
                let place = number as usize * MEDIA_BYTES % self.payload.len();
                self.datagram.extend_from_slice(&self.payload[place..place + MEDIA_BYTES]);
            }
        }
        &self.datagram
    }

    fn make_rtp(&mut self, number: u64) {
        self.payload[NUMBER_IN_PAYLOAD].copy_from_slice(&number.to_be_bytes());
        for (i, ts) in self.payload.chunks_exact_mut(188).enumerate() {
            ts[3] = 0x10 | (number * 7 + i as u64) as u8 & 0x0f;
        }
        rtp::Repr {
            marker: false,
            payload_type: rtp::PAYLOAD_TYPE_TS,
            sequence: number as u16,
            timestamp: (number * 118) as u32,
            ssrc: 0x7469_0000 + self.stream,
            payload: &self.payload,
        }
        .emit(&mut self.datagram);
    }

    fn make_native(&mut self, number: u64, flows: u64) {
        self.payload[..8].copy_from_slice(&number.to_be_bytes());
        native::Repr {
            kind: native::Kind::Data,
            flags: 0,
            stream: (number % flows) as u32,
            session: 1 + self.stream,
            sequence: number / flows,
            timestamp: 1 + number,
            payload: &self.payload,
        }
        .emit(&mut self.datagram);
    }
}

/// Returns seven TS packets of one elementary stream, whose continuity counters are set later.
fn media_payload() -> Vec<u8> {
    let mut payload = vec![0xff; MEDIA_BYTES];
    for ts in payload.chunks_exact_mut(188) {
        ts[..TS_HEADER].copy_from_slice(&[0x47, 0x01, 0x00, 0x10]);
    }
    payload
}

/// Returns the number at `place` of a datagram; `None` if the datagram is too short.
pub(crate) fn number(bytes: &[u8], place: Range<usize>) -> Option<u64> {
    bytes.get(place).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}
