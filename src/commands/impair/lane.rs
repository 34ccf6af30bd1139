//! A port of the link: datagrams go from its leg to its outputs, and answers of receivers go back
//! to the last sender, from the leg's own port, unimpaired.

use std::{io, net::SocketAddr, os::fd::BorrowedFd, time::Instant};

use anyhow::bail;

use crate::{
    channel::udp::{Datagram, UdpOutputs},
    limits::IMPAIR_BATCHES_MAX,
};
use tidecast_core::buffer::{Buffer, Pool};
use tidecast_net::{
    address::{Input, Output, Scheme},
    clock::ClockPair,
    ingest::{Leg, State},
    interface::Interfaces,
    limits::{RECEIVE_BATCH, RECEIVE_BUFFER_BYTES},
    sys::{ReceiveBatch, SendBatch},
};
use tidecast_wire::rtcp;

/// Resources for receiving.
pub(super) struct Tools {
    pub(super) receives: ReceiveBatch,
    pub(super) pool: Pool,
    pub(super) interfaces: Interfaces,
    pub(super) sends: SendBatch,
}

/// An input port and its outputs.
pub(super) struct Lane {
    pub(super) leg: Leg,
    pub(super) outputs: UdpOutputs,
    /// The last sender.
    source: Option<SocketAddr>,
}

impl Lane {
    /// Opens the lane for media, and that for RTCP if both ends are `rist://`.
    pub(super) fn open(
        input: &Input,
        outputs: &[Output],
        now: Instant,
        interfaces: &mut Interfaces,
    ) -> anyhow::Result<(Lane, Option<Lane>)> {
        refuse_loops(input, outputs)?;
        let above = control(input, outputs)?;
        let media = Lane::new(input.clone(), outputs.iter().map(plain).collect(), now, interfaces)?;
        let control = above.map(|(input, outputs)| Lane::new(input, outputs, now, interfaces)).transpose()?;
        Ok((media, control))
    }

    fn new(
        input: Input,
        outputs: Vec<Output>,
        now: Instant,
        interfaces: &mut Interfaces,
    ) -> anyhow::Result<Lane> {
        let leg = open_input(input, now, interfaces)?;
        Ok(Lane { leg, outputs: open_outputs(outputs, now, interfaces)?, source: None })
    }

    /// The sockets to watch.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.leg.socket().into_iter().chain(self.outputs.sockets())
    }

    /// Receives waiting datagrams, up to a bound, and notes the sender.
    pub(super) fn receive(
        &mut self,
        tools: &mut Tools,
        clocks: ClockPair,
        floor: Instant,
        mut each: impl FnMut(Instant, Buffer),
    ) -> io::Result<()> {
        let Lane { leg, source, .. } = self;
        for _ in 0..IMPAIR_BATCHES_MAX {
            let (receives, pool) = (&mut tools.receives, &mut tools.pool);
            let read = leg.receive(receives, pool, clocks, floor, |arrived, from, bytes, _| {
                *source = Some(from);
                each(arrived, bytes);
            })?;
            if read < RECEIVE_BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Forwards waiting datagrams at once, up to a bound. Returns their count.
    pub(super) fn carry(&mut self, tools: &mut Tools, clocks: ClockPair, floor: Instant) -> io::Result<u64> {
        let mut came = Vec::new();
        self.receive(tools, clocks, floor, |_, bytes| came.push(bytes))?;
        let datagrams = came.iter().map(|bytes| Datagram::plain(bytes));
        self.outputs.send(clocks.monotonic, &mut tools.sends, &mut tools.interfaces, datagrams);
        let count = came.len() as u64;
        came.into_iter().for_each(|bytes| tools.pool.put(bytes));
        Ok(count)
    }

    /// Forwards answers of receivers at once, up to a bound. Returns the count of datagrams sent.
    pub(super) fn back(&mut self, tools: &mut Tools) -> u64 {
        let Some(source) = self.source else { return 0 };
        let mut returned = 0;
        for socket in self.outputs.sockets() {
            for _ in 0..IMPAIR_BATCHES_MAX {
                let mut came = Vec::new();
                let read = tools.receives.receive(socket, &mut tools.pool, |received| came.push(received));
                let whole = came.iter().filter(|received| !received.truncated);
                // A datagram that cannot be sent is lost, as on any path.
                returned +=
                    whole.filter(|received| self.leg.send(&received.bytes, source).is_ok()).count() as u64;
                came.into_iter().for_each(|received| tools.pool.put(received.bytes));
                // A socket with an error has no datagrams; it is reopened when its interface is
                // there.
                if !matches!(read, Ok(RECEIVE_BATCH)) {
                    break;
                }
            }
        }
        returned
    }
}

/// Refuses an output that would send to the input.
fn refuse_loops(input: &Input, outputs: &[Output]) -> anyhow::Result<()> {
    let same = |output: &&Output| output.target == input.socket_addr() && output.interface == input.interface;
    if let Some(output) = outputs.iter().find(same) {
        bail!(
            "{output} is the input too, so datagrams would come back for ever; expected another group or port"
        );
    }
    Ok(())
}

/// Input and outputs of RTCP: on the ports above the media, if both ends are `rist://`.
fn control(input: &Input, outputs: &[Output]) -> anyhow::Result<Option<(Input, Vec<Output>)>> {
    let is_rist = |scheme: Scheme| scheme == Scheme::Rist;
    let other = outputs.iter().find(|output| is_rist(output.scheme) != is_rist(input.scheme));
    if let Some(output) = other {
        bail!(
            "{input} to {output}: RTCP goes through the link beside the media; expected rist:// at both ends or at none"
        );
    }
    let above = |output: &Output| Some(Output { target: output.rtcp_addr()?, ..plain(output) });
    let input = input.on_port_above(rtcp::PORT_ABOVE).filter(|_| is_rist(input.scheme));
    Ok(input.map(|input| (input, outputs.iter().filter_map(above).collect())))
}

/// The output without its own functions: a link only forwards, and takes no part in the session.
fn plain(output: &Output) -> Output {
    match output.scheme {
        Scheme::Rist => Output { scheme: Scheme::Udp, buffer: None, share: None, ..output.clone() },
        Scheme::Udp | Scheme::Rtp => output.clone(),
    }
}

/// Opens the input. A tool that is started by hand does not wait for an interface: it reports the
/// error.
fn open_input(input: Input, now: Instant, interfaces: &mut Interfaces) -> anyhow::Result<Leg> {
    let mut leg = Leg::new(input, RECEIVE_BUFFER_BYTES, now);
    let _ = leg.maintain(now, interfaces); // the state tells the error
    match leg.state() {
        State::Joined(_) => Ok(leg),
        State::Waiting(reason) | State::Failed(reason) => bail!("{}: {reason}", leg.input()),
        State::Left => bail!("{}: left", leg.input()),
    }
}

/// Opens the outputs for single datagrams, since each is sent at its own time.
fn open_outputs(
    outputs: Vec<Output>,
    now: Instant,
    interfaces: &mut Interfaces,
) -> anyhow::Result<UdpOutputs> {
    let outputs = UdpOutputs::new(outputs, None, 1, now, interfaces);
    if let Some((output, fault)) = outputs.iter().find_map(|(output, fault)| Some((output, fault?))) {
        bail!("{}: {fault}", output.output());
    }
    Ok(outputs)
}
