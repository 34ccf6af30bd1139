//! SMPTE ST 2022-1 for outputs that are configured for it: repair packets of the RTP stream that
//! they send, on separate outputs to the ports beside it.

use std::time::Instant;

use super::{Datagram, Owner, UdpOutput, UdpOutputs};
use crate::limits::ST2022_PAUSE;
use tidecast_net::{SocketError, address::Output, interface::Interfaces, sys::SendBatch};
use tidecast_wire::{
    fec::matrix::{self, Encoder, Shape},
    st2022::Axis,
};

/// Repair streams of all outputs with the same matrix: they send the same media.
#[derive(Debug)]
pub(super) struct Protection {
    encoder: Encoder,
    /// When the last media packet came, if the encoder still holds unprotected packets.
    last: Option<Instant>,
    /// Repair packets to send now.
    repairs: Vec<matrix::Datagram>,
    columns: UdpOutputs,
    rows: UdpOutputs,
}

impl Protection {
    /// Sets the class of service of repair packets to that of the received datagrams, for outputs
    /// that keep it.
    pub(super) fn keep_dscp(&mut self, dscp: u8) {
        self.columns.keep_dscp(dscp);
        self.rows.keep_dscp(dscp);
    }

    /// One state for each matrix of these outputs.
    pub(super) fn of(
        outputs: &[Output],
        owner: &Owner,
        burst: usize,
        now: Instant,
        interfaces: &mut Interfaces,
    ) -> Vec<Protection> {
        let mut shapes: Vec<Shape> = Vec::new();
        for shape in outputs.iter().filter_map(Output::st2022) {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        let mut open = |shape: Shape, axis: Axis| {
            let wanted = outputs.iter().filter(|output| output.st2022() == Some(shape));
            let repairs = wanted.filter_map(|output| output.repair_output(axis)).collect();
            UdpOutputs::new(repairs, owner.clone(), burst, now, interfaces)
        };
        let protection = |shape| Protection {
            // RFC 3550: sequence numbers start at random.
            encoder: Encoder::new(shape, rand::random(), rand::random()),
            last: None,
            repairs: Vec::new(),
            columns: open(shape, Axis::Column),
            rows: open(shape, Axis::Row),
        };
        shapes.into_iter().map(protection).collect()
    }

    /// Sends the repair packets that are due after these datagrams. Of several RTP streams, the
    /// one that a player follows is protected, because a matrix holds only one.
    pub(super) fn send<'a>(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        interfaces: &mut Interfaces,
        datagrams: impl Iterator<Item = Datagram<'a>>,
    ) {
        for datagram in datagrams.filter(|datagram| datagram.followed) {
            for packet in datagram.rtp.packets() {
                // A packet without a place in the matrix stays unprotected.
                let _ = self.encoder.media(packet, &mut self.repairs);
                self.last = Some(now);
            }
        }
        self.send_repairs(now, batch, interfaces);
    }

    /// When the media have paused for so long that the repair packets for their last packets are
    /// due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last.map(|last| last + ST2022_PAUSE)
    }

    /// Sends the repair packets for the last packets before a pause.
    pub(super) fn pause(&mut self, now: Instant, batch: &mut SendBatch, interfaces: &mut Interfaces) {
        self.encoder.pause(&mut self.repairs);
        self.last = None;
        self.send_repairs(now, batch, interfaces);
    }

    /// Sends the repair packets for the last packets of the media.
    pub(super) fn finish(&mut self, now: Instant, batch: &mut SendBatch, interfaces: &mut Interfaces) {
        self.encoder.flush(&mut self.repairs);
        self.last = None;
        self.send_repairs(now, batch, interfaces);
    }

    /// Not generic, because sending would instantiate itself recursively.
    fn send_repairs(&mut self, now: Instant, batch: &mut SendBatch, interfaces: &mut Interfaces) {
        for (axis, outputs) in [(Axis::Column, &mut self.columns), (Axis::Row, &mut self.rows)] {
            let repairs = self.repairs.iter().filter(|repair| repair.axis == axis);
            let datagrams = repairs.map(|repair| Datagram::plain(&repair.bytes));
            outputs.send(now, batch, interfaces, datagrams);
        }
        self.repairs.clear();
    }

    /// Outputs of the repair packets.
    pub(super) fn outputs(&self) -> Vec<(&UdpOutput, Option<&SocketError>)> {
        self.columns.list().into_iter().chain(self.rows.list()).collect()
    }
}
