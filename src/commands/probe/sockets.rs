//! Sockets of `probe`: the port for media, and the ports beside it for FEC and RTCP.

use std::{
    net::SocketAddr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use crate::{limits::IMPAIR_BATCHES_MAX, probe::Role};
use tidecast_core::buffer::{Buffer, Pool};
use tidecast_core::limits::POOL_SLOTS;
use tidecast_net::{
    address::Input,
    clock::ClockPair,
    ingest::{Leg, State},
    interface::Interfaces,
    limits::{RECEIVE_BATCH, RECEIVE_BUFFER_BYTES},
    sys::ReceiveBatch,
};

/// All ports of a stream.
pub(super) struct Sockets {
    ports: Vec<(Role, Leg)>,
    batch: ReceiveBatch,
    pool: Pool,
    interfaces: Interfaces,
    /// Time of the last read, which limits the arrivals from below.
    floor: Instant,
}

impl Sockets {
    /// Joins all ports. It is an error if that for media cannot be joined; the others may be in
    /// use.
    pub(super) fn open(input: &Input, now: Instant) -> anyhow::Result<Sockets> {
        let mut interfaces = Interfaces::read(now);
        let mut ports = Vec::new();
        for role in Role::ALL {
            let Some(beside) = input.on_port_above(role.port_above()) else { continue };
            let mut leg = Leg::new(beside, RECEIVE_BUFFER_BYTES, now);
            let _ = leg.maintain(now, &mut interfaces); // the state tells the error
            match leg.state() {
                State::Waiting(reason) | State::Failed(reason) if role == Role::Media => {
                    bail!("{input}: {reason}")
                }
                State::Joined(_) => ports.push((role, leg)),
                other => tracing::info!("nothing is received from the port + {}: {other}", role.port_above()),
            }
        }
        let (batch, pool) = (ReceiveBatch::new(), Pool::new(POOL_SLOTS));
        Ok(Sockets { ports, batch, pool, interfaces, floor: now })
    }

    /// Waits for datagrams, at most until `until`, and passes them to `each`.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        until: Instant,
        mut each: impl FnMut(Instant, SocketAddr, Role, &[u8]),
    ) -> anyhow::Result<()> {
        self.wait(until.saturating_duration_since(now))?;
        let clocks = ClockPair::read();
        let mut came: Vec<(Instant, SocketAddr, Role, Buffer)> = Vec::new();
        for (role, leg) in &mut self.ports {
            let _ = leg.maintain(clocks.monotonic, &mut self.interfaces); // its state is read when nothing comes
            for _ in 0..IMPAIR_BATCHES_MAX {
                let sink = |at, source, bytes, _| came.push((at, source, *role, bytes));
                let read = leg.receive(&mut self.batch, &mut self.pool, clocks, self.floor, sink);
                if read.context("cannot receive")? < RECEIVE_BATCH {
                    break;
                }
            }
        }
        self.floor = clocks.monotonic;
        came.sort_by_key(|(at, ..)| *at); // stable, and each port is already in order
        for (at, source, role, bytes) in came {
            each(at, source, role, &bytes);
            self.pool.put(bytes);
        }
        Ok(())
    }

    fn wait(&self, patience: Duration) -> anyhow::Result<()> {
        let sockets = self.ports.iter().filter_map(|(_, leg)| leg.socket());
        let sockets: Vec<_> = sockets.collect();
        let mut fds: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        match ppoll(&mut fds, Some(TimeSpec::from_duration(patience)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for datagrams"),
        }
    }

    /// Datagrams that the kernel dropped on the media's port.
    pub(super) fn kernel_drops(&mut self) -> u64 {
        self.ports.iter_mut().for_each(|(_, leg)| leg.read_kernel_drops());
        self.ports
            .iter()
            .filter(|(role, _)| *role == Role::Media)
            .map(|(_, leg)| leg.counters().kernel_drops)
            .sum()
    }

    /// Interface on which the group was joined.
    pub(super) fn interface(&self) -> Option<String> {
        match self.ports.first().map(|(_, leg)| leg.state()) {
            Some(State::Joined(interface)) => interface.clone(),
            _ => None,
        }
    }
}
