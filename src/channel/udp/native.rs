//! Native FEC for outputs that are configured for it: datagrams of native streams unchanged, with
//! the repair packets that [`Protector`] makes of them.

use std::{sync::Arc, time::Instant};

use tracing::warn;

use super::{Datagram, Owner, burst::Bursts};
use tidecast_core::protect::{Protector, Taken};
use tidecast_net::{address::Output, log_limiter::LogLimiter};
use tidecast_wire::{fec::native::Fec, native::Packet, seal::Keyring};

/// State of all outputs with the same native FEC.
#[derive(Debug)]
pub(super) struct Native {
    owner: Owner,
    fec: Fec,
    protector: Protector,
    /// Repair packets to send now, each after the datagram at this index.
    repairs: Vec<(usize, Vec<u8>)>,
    unprotected: u64,
    log: LogLimiter,
}

impl Native {
    /// One state for each block shape of these outputs.
    pub(super) fn of(outputs: &[Output], owner: &Owner, seal: Option<&Arc<Keyring>>) -> Vec<Native> {
        let mut natives: Vec<Native> = Vec::new();
        for fec in outputs.iter().filter_map(Output::native_fec) {
            if natives.iter().all(|native| native.fec != fec) {
                let protector = Protector::new(fec).sealed(seal.cloned());
                natives.push(Native {
                    owner: owner.clone(),
                    fec,
                    protector,
                    repairs: Vec::new(),
                    unprotected: 0,
                    log: LogLimiter::default(),
                });
            }
        }
        natives
    }

    pub(super) fn rekey(&mut self, keyring: Arc<Keyring>) {
        self.protector.rekey(keyring);
    }

    pub(super) fn fec(&self) -> Fec {
        self.fec
    }

    /// The datagrams, each followed by the repair packets that are due.
    pub(super) fn with_repairs<'a, 'd: 'a>(
        &'a mut self,
        now: Instant,
        datagrams: impl Iterator<Item = Datagram<'d>> + Clone,
        burst: usize,
    ) -> Bursts<'a> {
        self.repairs.clear();
        for (place, datagram) in datagrams.clone().enumerate() {
            self.protect(now, place, datagram.whole);
        }
        let mut bursts = Bursts::new(burst);
        let mut repairs = self.repairs.iter().peekable();
        for (place, datagram) in datagrams.enumerate() {
            bursts.push(datagram.whole);
            while let Some((_, repair)) = repairs.next_if(|(after, _)| *after == place) {
                bursts.push(repair);
            }
        }
        bursts
    }

    fn protect(&mut self, now: Instant, place: usize, datagram: &[u8]) {
        let repairs = &mut self.repairs;
        let problem = match Packet::parse(datagram) {
            Err(_) => "it is no native datagram",
            Ok(packet) => {
                match self.protector.media(now, &packet, |repair| repairs.push((place, repair.to_vec()))) {
                    Taken::Added => return,
                    Taken::TooLong => "its repair packets would be too long",
                    Taken::TooManyFlows => "too many streams are protected already",
                }
            }
        };
        self.unprotected += 1;
        if self.log.admits(now) {
            let (fec, count) = (self.fec, self.unprotected);
            warn!(
                channel = self.owner.as_deref(),
                "outputs with fec=rs:{fec}: sent a datagram without protection, because {problem}; {count} so far"
            );
        }
    }

    /// When repair packets are due without a datagram.
    pub(super) fn due(&self) -> Option<Instant> {
        self.protector.due()
    }

    /// Repair packets of blocks that have waited long enough.
    pub(super) fn overdue(&mut self, now: Instant, burst: usize) -> Bursts<'_> {
        self.repairs.clear();
        self.protector.poll(now, |repair| self.repairs.push((0, repair.to_vec())));
        self.only_repairs(burst)
    }

    /// Repair packets of all blocks, at the end.
    pub(super) fn last(&mut self, burst: usize) -> Bursts<'_> {
        self.repairs.clear();
        self.protector.finish(|repair| self.repairs.push((0, repair.to_vec())));
        self.only_repairs(burst)
    }

    fn only_repairs(&self, burst: usize) -> Bursts<'_> {
        let mut bursts = Bursts::new(burst);
        self.repairs.iter().for_each(|(_, repair)| bursts.push(repair));
        bursts
    }
}
