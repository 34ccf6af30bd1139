//! The formats of `send`, behind one interface.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Failure, usage};
use crate::cli::{self, SendFormat, Source};
use crate::commands::key::first;
use tidecast_core::encode::{EncodeError, Encoder, RtpEncoder};
use tidecast_core::limits::{BLOCK_CLOSE_AFTER, BLOCK_CLOSE_AFTER_PACED};
use tidecast_net::clock;
use tidecast_producer::Fec;
use tidecast_wire::fec::rs::Codes;
use tidecast_wire::limits::DATAGRAM_BYTES_MAX;
use tidecast_wire::rtp::PAYLOAD_TYPE_TS;
use tidecast_wire::seal::{Key, Sealer};

/// Payload type of everything except a transport stream: the first dynamic one (RFC 3551 section
/// 3).
const PAYLOAD_TYPE_FREE: u8 = 96;

/// Name of a format on the command line.
pub(super) fn name(format: SendFormat) -> &'static str {
    match format {
        SendFormat::Native => "native",
        SendFormat::Rtp => "rtp",
        SendFormat::Ts => "ts",
        SendFormat::Raw => "raw",
    }
}

/// How native datagrams are sealed.
#[derive(Debug)]
struct Seal {
    key: Key,
    encrypt: bool,
}

/// Creates the carriers of one run: one for a file, one for each sensor.
#[derive(Debug)]
pub(super) struct Carriers {
    format: SendFormat,
    fec: Option<Fec>,
    seal: Option<Seal>,
    stream: Option<u32>,
    /// Session of the native format; seeds everything else.
    session: u32,
    codes: Arc<Mutex<Codes>>,
    close_after: Duration,
    payload_bytes: usize,
}

impl Carriers {
    /// # Errors
    /// [`Failure::Usage`] when the datagrams would be too large.
    pub(super) fn new(args: &cli::Send, format: SendFormat) -> Result<Carriers, Failure> {
        let session = args.session.unwrap_or_else(rand::random);
        let (fec, stream) = (args.fec, args.stream);
        let close_after = match args.source() {
            Source::Sensors(_) => BLOCK_CLOSE_AFTER,
            Source::File(_) | Source::Capture(_) | Source::Stdin => BLOCK_CLOSE_AFTER_PACED,
        };
        let seal = args.seal.as_deref().map(first).transpose()?;
        let seal = seal.map(|key| Seal { key, encrypt: args.encrypt });
        Ok(Carriers {
            format,
            fec,
            seal,
            stream,
            session,
            codes: Arc::default(),
            close_after,
            payload_bytes: args.size,
        })
    }

    /// Session of the native format; `None` for other formats.
    pub(super) fn session(&self) -> Option<u32> {
        (self.format == SendFormat::Native).then_some(self.session)
    }

    /// Seed for everything that is the same in each run of this session.
    pub(super) fn seed(&self) -> u64 {
        self.session.into()
    }

    fn sealer(&self, stream: u32) -> Result<Option<Arc<Sealer>>, Failure> {
        let Some(Seal { key, encrypt }) = &self.seal else { return Ok(None) };
        let sealer = Sealer::new(key, stream, self.session, *encrypt);
        sealer.map(|sealer| Some(Arc::new(sealer))).map_err(|error| usage(format!("--seal: {error}")))
    }

    /// What requests for packets must be sealed with.
    pub(super) fn key(&self) -> Option<Key> {
        self.seal.as_ref().map(|seal| seal.key.clone())
    }

    /// The carrier of the stream with this index.
    ///
    /// # Errors
    /// [`Failure::Usage`] when stream ids run out, or when the requested size does not fit the
    /// format.
    pub(super) fn carrier(&self, index: u32, transport_stream: bool) -> Result<Carrier, Failure> {
        let start = self.stream.unwrap_or(1);
        let id = start.checked_add(index).ok_or_else(|| {
            usage(format!("--stream {start}: expected one that leaves room for {index} more"))
        })?;
        let carrier = match self.format {
            SendFormat::Native => {
                let encoder = Encoder::sharing(id, self.session, self.fec, &self.codes);
                let encoder = encoder.close_after(self.close_after);
                match self.sealer(id)? {
                    Some(sealer) => Carrier::Native(encoder.sealed(sealer)),
                    None => Carrier::Native(encoder),
                }
            }
            SendFormat::Rtp => {
                let payload_type = if transport_stream { PAYLOAD_TYPE_TS } else { PAYLOAD_TYPE_FREE };
                let rtp = RtpEncoder::new(self.seed() << 32 | u64::from(index), payload_type);
                Carrier::Rtp(if self.stream.is_some() { rtp.with_ssrc(id) } else { rtp })
            }
            SendFormat::Ts | SendFormat::Raw => Carrier::Bare,
        };
        let (expected, actual) = (carrier.payload_bytes_max(), self.payload_bytes);
        if actual > expected {
            let name = name(self.format);
            return Err(usage(format!("--size {actual}: expected at most {expected} in {name} datagrams")));
        }
        Ok(carrier)
    }
}

/// Makes one stream's datagrams.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Native datagrams.
    Native(Encoder),
    /// RTP packets.
    Rtp(RtpEncoder),
    /// The payload is the datagram.
    Bare,
}

impl Carrier {
    /// Sends a payload; `at` is its time since the start of the media.
    pub(super) fn push(
        &mut self,
        now: Instant,
        at: Duration,
        payload: &[u8],
        mut out: impl FnMut(&[u8]),
    ) -> Result<(), EncodeError> {
        match self {
            Carrier::Native(encoder) => encoder.push(now, clock::unix_micros(), payload, out).map(drop),
            Carrier::Rtp(encoder) => encoder.push(at, payload, out).map(drop),
            Carrier::Bare => {
                out(payload);
                Ok(())
            }
        }
    }

    /// Sends datagrams that are due between payloads.
    pub(super) fn poll(&mut self, now: Instant, out: impl FnMut(&[u8])) {
        if let Carrier::Native(encoder) = self {
            encoder.poll(now, out);
        }
    }

    /// When to poll next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Carrier::Native(encoder) => encoder.next_deadline(),
            Carrier::Rtp(_) | Carrier::Bare => None,
        }
    }

    /// Ends the stream; returns the count of its repair packets.
    pub(super) fn finish(self, out: impl FnMut(&[u8])) -> u64 {
        match self {
            Carrier::Native(encoder) => encoder.finish(out),
            Carrier::Rtp(_) | Carrier::Bare => 0,
        }
    }

    fn payload_bytes_max(&self) -> usize {
        match self {
            Carrier::Native(encoder) => encoder.payload_bytes_max(),
            Carrier::Rtp(_) => RtpEncoder::PAYLOAD_BYTES_MAX,
            Carrier::Bare => DATAGRAM_BYTES_MAX,
        }
    }
}
