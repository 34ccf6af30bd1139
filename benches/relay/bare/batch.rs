//! The minimum cost of forwarding: one thread, `recvmmsg` in place, and one `sendmmsg` per turn
//! that covers all packets of all streams to all targets, from the memory into which they were
//! received. Under load it sleeps for a tick between turns; otherwise it blocks until the next
//! packet.

use std::{io, net::SocketAddrV4, ops::Range, os::fd::AsFd, thread, time::Duration};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use super::Stream;
use crate::{
    socket,
    sys::{Burst, Sender, Slots},
};

/// Maximum packets per turn: a tick of 5 ms at 200,000 packets/s. Further packets wait in the
/// sockets for the next turn.
const SLOTS: usize = 1024;
/// Maximum bytes of one message.
const MESSAGE_BYTES_MAX: usize = 65_507;
/// Segments that every kernel with UDP_SEGMENT accepts.
const SEGMENTS_MAX: usize = 64;
/// Packets per `recvmmsg`.
const BATCH: usize = 64;
const EVENTS: usize = 256;
/// After a turn with more packets than this, it sleeps before the next one.
const QUIET_PACKETS: usize = 2;

/// Forwards until it is killed.
pub(super) fn run(streams: &[Stream], tick: Duration, burst: usize, slot: usize) -> anyhow::Result<()> {
    let mut path = Path::new(streams, burst, slot)?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    loop {
        let ready = match path.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            ready => ready?,
        };
        let count = path.turn(&events[..ready])?;
        if count > QUIET_PACKETS && count < SLOTS && !tick.is_zero() {
            thread::sleep(tick);
        }
    }
}

struct Path {
    epoll: Epoll,
    inputs: Vec<(Socket, Range<usize>)>,
    output: Socket,
    slots: Slots,
    sender: Sender,
    bursts: Vec<Burst>,
    burst: usize,
}

impl Path {
    fn new(streams: &[Stream], burst: usize, slot: usize) -> io::Result<Path> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (mut inputs, mut targets): (Vec<_>, Vec<SocketAddrV4>) = (Vec::new(), Vec::new());
        for stream in streams {
            let socket = socket::join(stream.group)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, inputs.len() as u64))?;
            let first = targets.len();
            targets.extend_from_slice(&stream.targets);
            inputs.push((socket, first..targets.len()));
        }
        Ok(Path {
            epoll,
            inputs,
            output: socket::sender()?,
            slots: Slots::new(SLOTS, slot),
            sender: Sender::new(&targets),
            bursts: Vec::new(),
            burst: burst.clamp(1, SEGMENTS_MAX),
        })
    }

    /// Receives from the sockets that are ready, and sends all packets on. Returns their number.
    fn turn(&mut self, ready: &[EpollEvent]) -> io::Result<usize> {
        let mut filled = 0;
        self.bursts.clear();
        for event in ready {
            filled = self.receive(event.data() as usize, filled)?;
        }
        self.sender.send(self.output.as_fd(), &self.slots, &self.bursts);
        Ok(filled)
    }

    /// Receives from one socket as many packets as fit, starting at slot `filled`. Returns the
    /// first free slot.
    fn receive(&mut self, input: usize, mut filled: usize) -> io::Result<usize> {
        let start = filled;
        while filled < SLOTS {
            let end = SLOTS.min(filled + BATCH);
            let count = self.slots.receive(self.inputs[input].0.as_fd(), filled..end)?;
            filled += count;
            if filled < end {
                break;
            }
        }
        self.cut(start..filled, self.inputs[input].1.clone());
        Ok(filled)
    }

    /// Splits the packets of one stream into bursts of equal packet sizes.
    fn cut(&mut self, slots: Range<usize>, targets: Range<usize>) {
        let mut start = slots.start;
        for slot in slots.clone() {
            let len = self.slots.len(start);
            let full = slot - start == self.burst || (slot - start + 1) * len > MESSAGE_BYTES_MAX;
            if full || self.slots.len(slot) != len {
                self.bursts.push(Burst { slots: start..slot, targets: targets.clone() });
                start = slot;
            }
        }
        if start < slots.end {
            self.bursts.push(Burst { slots: start..slots.end, targets });
        }
    }
}
