//! Examples of refused datagrams, at most one per reason and second, to tell users what the
//! datagrams probably are. Costs nothing while none is refused, and little in a flood.

use std::{net::SocketAddr, time::Instant};

use super::Relay;
use crate::limits::{REFUSED_LOOK, REFUSED_SOURCES_MAX};
use tidecast_wire::{Looks, Reject};

/// A refused datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it looks like.
    pub looks: Looks,
    /// Recent source addresses of such datagrams, the latest last; at most `REFUSED_SOURCES_MAX`.
    pub sources: Vec<SocketAddr>,
    /// When it came.
    pub at: Instant,
    /// It came to a port beside the media's: for repair packets or RTCP.
    pub beside: bool,
}

impl Relay {
    /// Counts a useless datagram on a port beside the media's, and keeps an example.
    pub(super) fn refuse_beside(&mut self, reject: Reject, now: Instant, source: SocketAddr, bytes: &[u8]) {
        self.reject(reject);
        let reason = reject.reason().as_str();
        self.look_at(reason, now, source, bytes);
        if let Some(refused) = self.refused.get_mut(reason) {
            refused.beside = true;
        }
    }

    /// Keeps an example of a datagram that was refused for this reason.
    pub(super) fn look_at(&mut self, reason: &'static str, now: Instant, source: SocketAddr, bytes: &[u8]) {
        let refused = self.refused.entry(reason).or_insert_with(|| Refused {
            looks: Looks::of(bytes),
            sources: vec![source],
            at: now,
            beside: false,
        });
        refused.beside = false;
        if now.saturating_duration_since(refused.at) < REFUSED_LOOK {
            return;
        }
        (refused.looks, refused.at) = (Looks::of(bytes), now);
        refused.sources.retain(|known| *known != source);
        if refused.sources.len() >= REFUSED_SOURCES_MAX {
            refused.sources.remove(0);
        }
        refused.sources.push(source);
    }

    /// Adds another address to the example.
    pub(super) fn look_also_at(&mut self, reason: &'static str, source: SocketAddr) {
        if let Some(refused) = self.refused.get_mut(reason)
            && !refused.sources.contains(&source)
        {
            refused.sources.truncate(REFUSED_SOURCES_MAX - 1);
            refused.sources.insert(0, source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay::{Config, Input};
    use tidecast_wire::Format;

    #[test]
    fn one_of_each_reason_is_kept_and_looked_at_once_a_second() {
        let mut relay = Relay::new(Config { format: Format::Native, ..Config::default() });
        let start = crate::clock::now();
        let sources = ["10.0.0.5:1", "10.0.0.6:1", "10.0.0.7:1"].map(|source| source.parse().unwrap());
        let mut send = |source: usize, after: u64, bytes: &[u8]| {
            let now = start + Duration::from_millis(after);
            relay.handle_input(Input::Packet { now, leg: 0, source: sources[source], bytes: bytes.into() });
            relay.refused().clone()
        };
        let rtp = [&[0x80, 33][..], &[0; 20]].concat();
        let kept = send(0, 0, &rtp);
        assert_eq!((kept["format"].looks, &kept["format"].sources[..]), (Looks::Rtp, &sources[..1]));
        assert_eq!(send(1, 10, b"something"), kept, "within a second");
        let kept = send(1, 1000, b"something");
        assert_eq!((kept["format"].looks, &kept["format"].sources[..]), (Looks::Other, &sources[..2]));
        assert_eq!(send(2, 2000, &rtp)["format"].sources, sources[1..], "two at most");
        assert_eq!(send(2, 2000, b"").len(), 2, "another reason");
    }
}
