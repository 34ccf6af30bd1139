//! Turns payloads into datagrams: numbering, heartbeats, end of session, and FEC.
//!
//! Pure: no clock and no I/O. Payloads come from a user's program, a file or a sensor; datagrams
//! go to a `producer::socket::Sender` through the `out` function of each call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

use crate::block::Blocks;
use crate::limits::{BLOCK_CLOSE_AFTER, END_REPEATS, HEARTBEAT_INTERVAL};
use tidecast_wire::fec::{native::Fec, rs::Codes};
use tidecast_wire::limits::DATAGRAM_BYTES_MAX;
use tidecast_wire::native::{FLAGS, HEADER, Kind, Repair, RepairRepr, Repr, SourceShard, TAG, TRAILER};
use tidecast_wire::{rtp, seal::Sealer};

/// Why a payload cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It does not fit into a datagram, or into the repair packets that would protect it.
    #[error("payload of {actual} bytes, expected at most {expected}{}", if *.fec { " with FEC" } else { "" })]
    TooLarge {
        /// Bytes that fit.
        expected: usize,
        /// Bytes given.
        actual: usize,
        /// Whether FEC takes a part of the room.
        fec: bool,
    },
}

/// Numbers the payloads of one stream and makes native datagrams of them, with repair packets,
/// heartbeats and the end of the session.
#[derive(Debug)]
pub struct Encoder {
    stream: u32,
    session: u32,
    next: u64,
    blocks: Option<Blocks>,
    close_after: Duration,
    sealer: Option<Arc<Sealer>>,
    last_sent: Option<Instant>,
    /// Time and timestamp of the last payload, or of what followed it.
    clock: Option<(Instant, u64)>,
    repairs: u64,
    /// Reused memory for the datagram and for the repair payload.
    datagram: Vec<u8>,
    repair: Vec<u8>,
}

impl Encoder {
    /// The largest payload of a datagram without FEC, in bytes.
    pub const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER - TRAILER;
    /// The largest payload with FEC, in bytes: a repair packet must hold its shard.
    pub const PAYLOAD_BYTES_MAX_FEC: usize = Self::PAYLOAD_BYTES_MAX - Repair::HEADER - SourceShard::HEADER;

    /// Creates an encoder whose session starts at number 0.
    pub fn new(stream: u32, session: u32, fec: Option<Fec>) -> Encoder {
        Encoder::sharing(stream, session, fec, &Arc::default())
    }

    /// Like [`Encoder::new`], for many streams: shares the codes between them.
    pub fn sharing(stream: u32, session: u32, fec: Option<Fec>, codes: &Arc<Mutex<Codes>>) -> Encoder {
        Encoder {
            stream,
            session,
            next: 0,
            blocks: fec.map(|fec| Blocks::new(fec, Arc::clone(codes))),
            close_after: BLOCK_CLOSE_AFTER,
            sealer: None,
            last_sent: None,
            clock: None,
            repairs: 0,
            datagram: Vec::new(),
            repair: Vec::new(),
        }
    }

    /// Sets how long a packet may wait for its source block to fill (default
    /// [`BLOCK_CLOSE_AFTER`]). After that time the block is closed with fewer packets.
    pub fn close_after(self, close_after: Duration) -> Encoder {
        Encoder { close_after, ..self }
    }

    /// Seals all datagrams. The sealer must be one of this stream and session.
    pub fn sealed(self, sealer: Arc<Sealer>) -> Encoder {
        Encoder { sealer: Some(sealer), ..self }
    }

    /// The number that the next payload gets.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Repair packets made so far.
    pub fn repairs(&self) -> u64 {
        self.repairs
    }

    /// Makes a data packet of the payload, and the repair packets of the source block if it is now
    /// full. `timestamp_us` counts from the Unix epoch; 0 without a clock. Returns the packet's
    /// number.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]; nothing is sent and no number is used.
    pub fn push(
        &mut self,
        now: Instant,
        timestamp_us: u64,
        payload: &[u8],
        mut out: impl FnMut(&[u8]),
    ) -> Result<u64, EncodeError> {
        self.check(payload)?;
        let number = self.next;
        self.next += 1;
        self.last_sent = Some(now);
        self.clock = (timestamp_us != 0).then_some((now, timestamp_us));
        self.emit(Kind::Data, number, timestamp_us, payload, &mut out);
        if let Some(mut blocks) = self.blocks.take() {
            // As it was sent: a packet that is rebuilt comes back with its tag.
            let datagram = std::mem::take(&mut self.datagram);
            let sent = &datagram[HEADER..datagram.len() - TRAILER];
            let source = SourceShard { flags: datagram[FLAGS], timestamp: timestamp_us, payload: sent };
            blocks.push(now, number, &source, |first, repair| self.emit_repair(first, repair, &mut out));
            self.blocks = Some(blocks);
            self.datagram = datagram;
        }
        Ok(number)
    }

    /// Does what is due: closes blocks whose oldest packet has waited too long, and sends a
    /// heartbeat after each second of silence. The silence starts with the first call of this
    /// method or of [`Encoder::push`].
    pub fn poll(&mut self, now: Instant, mut out: impl FnMut(&[u8])) {
        if self.blocks.as_ref().is_some_and(|b| b.waited(now, self.close_after)) {
            self.close_blocks(&mut out);
            self.last_sent = Some(now);
        }
        let silent_since = *self.last_sent.get_or_insert(now);
        if now.saturating_duration_since(silent_since) >= HEARTBEAT_INTERVAL {
            let time = self.time_at(now);
            self.emit(Kind::Heartbeat, self.next, time, &[], &mut out);
            self.last_sent = Some(now);
        }
    }

    /// When to call [`Encoder::poll`] next; `None` before the first packet or poll.
    pub fn next_deadline(&self) -> Option<Instant> {
        let close = self.blocks.as_ref().and_then(Blocks::oldest).map(|oldest| oldest + self.close_after);
        let heartbeat = self.last_sent.map(|sent| sent + HEARTBEAT_INTERVAL);
        close.into_iter().chain(heartbeat).min()
    }

    /// Ends the session: closes all blocks and sends the end of session three times. Returns the
    /// count of repair packets in the session.
    pub fn finish(mut self, mut out: impl FnMut(&[u8])) -> u64 {
        self.close_blocks(&mut out);
        let time = self.last_sent.map_or(0, |sent| self.time_at(sent));
        for _ in 0..END_REPEATS {
            self.emit(Kind::End, self.next, time, &[], &mut out);
        }
        self.repairs
    }

    /// Timestamp of a heartbeat, or of the end; it rises. Only that of a sealed one matters: by it
    /// a receiver tells a new one from one that somebody else sends again.
    fn time_at(&mut self, now: Instant) -> u64 {
        let Some((at, time)) = self.clock.filter(|_| self.sealer.is_some()) else { return 0 };
        let later = time + 1 + now.saturating_duration_since(at).as_micros() as u64;
        self.clock = Some((now, later));
        later
    }

    /// Maximum payload for this encoder, in bytes.
    pub fn payload_bytes_max(&self) -> usize {
        let (fec, sealed) = (self.blocks.is_some(), self.sealer.is_some());
        let most = if fec { Self::PAYLOAD_BYTES_MAX_FEC } else { Self::PAYLOAD_BYTES_MAX };
        // A repair packet has its own tag, and the tags of its packets.
        most - TAG * usize::from(sealed) * (1 + usize::from(fec))
    }

    fn check(&self, payload: &[u8]) -> Result<(), EncodeError> {
        let (expected, actual) = (self.payload_bytes_max(), payload.len());
        let fec = self.blocks.is_some();
        if actual > expected { Err(EncodeError::TooLarge { expected, actual, fec }) } else { Ok(()) }
    }

    fn close_blocks(&mut self, out: &mut impl FnMut(&[u8])) {
        if let Some(mut blocks) = self.blocks.take() {
            blocks.close_all(|first, repair| self.emit_repair(first, repair, out));
            self.blocks = Some(blocks);
        }
    }

    fn emit_repair(&mut self, first: u64, repair: &RepairRepr<'_>, out: &mut impl FnMut(&[u8])) {
        let mut payload = std::mem::take(&mut self.repair);
        payload.clear();
        repair.emit(&mut payload);
        self.emit(Kind::Repair, first, 0, &payload, out);
        self.repair = payload;
        self.repairs += 1;
    }

    fn emit(
        &mut self,
        kind: Kind,
        sequence: u64,
        timestamp: u64,
        payload: &[u8],
        out: &mut impl FnMut(&[u8]),
    ) {
        let Encoder { stream, session, .. } = *self;
        self.datagram.clear();
        let repr = Repr { kind, flags: 0, stream, session, sequence, timestamp, payload };
        match &self.sealer {
            Some(sealer) => sealer.seal(&repr, &mut self.datagram),
            None => repr.emit(&mut self.datagram),
        }
        out(&self.datagram);
    }
}

/// Numbers payloads and makes RTP packets of them (RFC 3550), for receivers that do not know the
/// native format.
#[derive(Debug)]
pub struct RtpEncoder {
    ssrc: u32,
    sequence: u16,
    /// Start of the media clock (random, RFC 3550 section 5.1).
    clock_start: u32,
    payload_type: u8,
    datagram: Vec<u8>,
}

impl RtpEncoder {
    /// Maximum payload, in bytes.
    pub const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - rtp::HEADER;
    /// Clock rate of all payload types made here (RFC 2250 section 2).
    pub const CLOCK_HZ: u64 = rtp::CLOCK_HZ_TS;

    /// Creates an encoder with an SSRC and a first number derived from `seed`. Payload type 33 is
    /// a transport stream ([`rtp::PAYLOAD_TYPE_TS`]); 96 to 127 are dynamic.
    pub fn new(seed: u64, payload_type: u8) -> RtpEncoder {
        let mut random = Pcg32::seed_from_u64(seed);
        RtpEncoder {
            ssrc: random.random(),
            sequence: random.random(),
            clock_start: random.random(),
            payload_type,
            datagram: Vec::new(),
        }
    }

    /// Sets the SSRC instead of a random one.
    pub fn with_ssrc(self, ssrc: u32) -> RtpEncoder {
        RtpEncoder { ssrc, ..self }
    }

    /// The synchronization source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Makes a packet of the payload; `at` is its time since the start of the media.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]; nothing is sent and no number is used.
    pub fn push(
        &mut self,
        at: Duration,
        payload: &[u8],
        out: impl FnOnce(&[u8]),
    ) -> Result<u16, EncodeError> {
        let (expected, actual) = (Self::PAYLOAD_BYTES_MAX, payload.len());
        if actual > expected {
            return Err(EncodeError::TooLarge { expected, actual, fec: false });
        }
        let ticks = at.as_nanos() * u128::from(Self::CLOCK_HZ) / 1_000_000_000;
        let timestamp = self.clock_start.wrapping_add(ticks as u32); // modulo 2^32, as the wire has it
        let RtpEncoder { ssrc, sequence, payload_type, .. } = *self;
        self.datagram.clear();
        rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc, payload }
            .emit(&mut self.datagram);
        out(&self.datagram);
        self.sequence = sequence.wrapping_add(1);
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests;
