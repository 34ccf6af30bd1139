//! Determines the format of each source of a probed group in the same way as a relay
//! ([`tidecast_core::identify`]).

use std::{net::SocketAddr, time::Instant};

use super::{Key, Probe};
use crate::limits::PROBE_FLOWS_MAX;
use tidecast_core::identify::{Alive, Came, Kin, Pushed, Settled, SourceKind, Sources};
use tidecast_wire::{Datagram, Format, Reason, Reject, native, rtp, ts};

/// Creates the state for determining formats, if the format is not configured.
pub(super) fn sources(format: &Format) -> Option<Box<Sources<Vec<u8>>>> {
    let ts_only = *format == Format::Ts;
    let needed = ts_only || *format == Format::Auto;
    needed.then(|| Box::new(Sources::new(1, ts_only, PROBE_FLOWS_MAX)))
}

impl Probe {
    /// Processes a non-empty datagram on the media's port.
    pub(super) fn identify(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        let Some(mut sources) = self.sources.take() else { return };
        match sources.known(now, 0, source, bytes) {
            Some(kind) if self.fits(kind, source, bytes) => {
                if let Ok(Datagram::Native(packet)) = parse(kind, bytes)
                    && !self.flows.contains_key(&Key::Native(packet.stream()))
                {
                    sources.began_native(now, 0, source, packet.stream());
                }
                self.settled(&mut sources);
                self.parsed(now, source, bytes, parse(kind, bytes));
            }
            known => {
                if known.is_some() {
                    sources.withdraw(0, bytes);
                }
                let came = Came { now, leg: 0, source, kin: self.kin(source, bytes), room: true };
                let pushed = sources.push(came, bytes.to_vec(), |source, stream| self.alive(source, stream));
                self.settled(&mut sources);
                if let Pushed::Is(kind, bytes) = pushed {
                    self.of_kind(now, source, kind, &bytes);
                }
            }
        }
        self.sources = Some(sources);
    }

    /// Decides the format of all datagrams that are still undecided, at the end.
    pub(super) fn settle_all(&mut self, now: Instant) {
        let Some(mut sources) = self.sources.take() else { return };
        sources.finish(now);
        self.settled(&mut sources);
        self.sources = Some(sources);
    }

    fn settled(&mut self, sources: &mut Sources<Vec<u8>>) {
        while let Some(Settled { arrived, source, kind, bytes, .. }) = sources.settled() {
            self.of_kind(arrived, source, kind, &bytes);
        }
    }

    fn of_kind(&mut self, now: Instant, source: SocketAddr, kind: SourceKind, bytes: &[u8]) {
        let datagram = match kind {
            SourceKind::Raw if self.format == Format::Ts => Err(Reject::Foreign(Reason::Format)),
            kind => parse(kind, bytes),
        };
        let damaged = matches!(datagram, Err(Reject::Foreign(Reason::Format)))
            && kind != SourceKind::Raw
            && self.kin(source, bytes) != Kin::Stranger;
        let datagram = if damaged { Err(Reject::Corrupt(Reason::Format)) } else { datagram };
        self.parsed(now, source, bytes, datagram);
    }

    /// Returns whether a datagram has the known format of its source and belongs to a known
    /// stream.
    fn fits(&self, kind: SourceKind, source: SocketAddr, bytes: &[u8]) -> bool {
        match parse(kind, bytes) {
            Ok(Datagram::Rtp(_)) => self.kin(source, bytes) != Kin::Stranger,
            parsed => parsed.is_ok(),
        }
    }

    /// Returns whether a datagram belongs to a known flow.
    fn kin(&self, source: SocketAddr, bytes: &[u8]) -> Kin {
        let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word));
        // RIST sets the lowest bit of the SSRC in retransmissions
        let rtp =
            |ssrc| [ssrc, ssrc & !1].iter().any(|ssrc| self.flows.contains_key(&Key::Rtp(*ssrc, source)));
        let native = |stream| self.alive(source, stream).is_some();
        if word(8).is_some_and(rtp) || word(4).is_some_and(native) { Kin::Named } else { Kin::Stranger }
    }

    fn alive(&self, source: SocketAddr, stream: u32) -> Alive {
        self.flows.get(&Key::Native(stream)).and_then(|flow| flow.alive(source))
    }
}

fn parse(kind: SourceKind, bytes: &[u8]) -> Result<Datagram<'_>, Reject> {
    Ok(match kind {
        SourceKind::Native => Datagram::Native(native::Packet::parse(bytes)?),
        SourceKind::Rtp => Datagram::Rtp(rtp::Packet::parse(bytes)?),
        SourceKind::Ts => Datagram::Ts(ts::Packet::of_stream(bytes)),
        SourceKind::Raw => Datagram::Raw(bytes),
    })
}
