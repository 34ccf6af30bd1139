//! Reads a capture file ([`crate::capture`]) for `probe`: all datagrams that have a time, and
//! their destinations.

use std::{collections::HashMap, net::SocketAddr, path::Path};

use anyhow::{anyhow, bail};

use crate::{
    capture::{Capture, CaptureError, Datagram},
    limits::CAPTURE_DESTINATIONS_MAX,
};

/// Passes each UDP datagram to `each`, in the order of the file. Skips packets that are not UDP,
/// that are cut short or fragments of a larger datagram, and those without a time, which reveal
/// nothing about rates.
///
/// # Errors
/// The file cannot be read, is not a capture, is damaged, or contains no packet of a known link
/// type.
pub(super) fn read(path: &Path, mut each: impl FnMut(&Datagram)) -> anyhow::Result<()> {
    let name = path.display();
    let mut capture = Capture::open(path).map_err(|error| unreadable(path, error))?;
    let (mut any, mut unknown) = (false, None);
    loop {
        match capture.next_datagram() {
            Ok(Some(datagram)) => {
                any = true;
                if datagram.timed {
                    each(&datagram);
                }
            }
            Ok(None) => break,
            Err(CaptureError::Cut { .. }) => {
                tracing::warn!("{name} ends in the middle of a packet");
                break;
            }
            Err(error @ CaptureError::Linktype { .. }) => unknown = unknown.or(Some(error)),
            Err(error) => return Err(unreadable(path, error)),
        }
    }
    match unknown {
        Some(error) if !any => bail!("{name}: {error}"),
        _ => Ok(()),
    }
}

fn unreadable(path: &Path, error: CaptureError) -> anyhow::Error {
    let name = path.display();
    let foreign = |what| anyhow!("{name}: not a capture file (expected pcap or pcapng): {what}");
    match error {
        CaptureError::Io(error) => anyhow!(error).context(format!("cannot read {name}")),
        CaptureError::Foreign { what } => foreign(what),
        // the header is incomplete
        CaptureError::Cut { .. } => foreign("it ends too early"),
        CaptureError::Corrupt { packets, what } => anyhow!("{name}: damaged after packet {packets}: {what}"),
        error => anyhow!("{name}: {error}"),
    }
}

/// All destinations with their counts of datagrams, in descending order.
pub(super) fn destinations(path: &Path) -> anyhow::Result<Vec<(SocketAddr, u64)>> {
    let mut counts: HashMap<SocketAddr, u64> = HashMap::new();
    read(path, |datagram| {
        if counts.len() < CAPTURE_DESTINATIONS_MAX || counts.contains_key(&datagram.destination) {
            *counts.entry(datagram.destination).or_default() += 1;
        }
    })?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(destination, count)| (std::cmp::Reverse(*count), *destination));
    Ok(counts)
}
