//! All UDP outputs of one channel, unicast and multicast.
//!
//! The packet path passes deliveries, which are sent in bursts and without blocking. A datagram
//! that cannot be sent is counted by reason and dropped. Outputs that differ only in their target
//! share a socket (`socket_group`).

use std::{os::fd::BorrowedFd, sync::Arc, time::Instant};

use socket2::Domain;

use super::rtp::Made;
use tidecast_core::relay::Beside;
use tidecast_net::{
    SocketError,
    address::{Dscp, Interface, Output, Scheme},
    interface::Interfaces,
    sys::SendBatch,
};
use tidecast_wire::seal::Keyring;

mod burst;
mod native;
mod output;
mod protection;
mod rist;
mod socket;
mod socket_group;

use burst::Bursts;
use native::Native;
pub use output::{Counters, Owner, UdpOutput};
use protection::Protection;
use rist::Rist;
pub use rist::Tools;
pub use socket::Sender;
use socket_group::{UdpSocketGroup, Unsent};

/// A datagram to send on.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The whole datagram.
    pub whole: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// How RTP outputs send it.
    pub rtp: Rtp<'a>,
    /// Whether a player's output gets it.
    pub followed: bool,
}

/// How RTP outputs send a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rtp<'a> {
    /// As the RTP packet that it is.
    Packet(&'a [u8]),
    /// RTP packets made of its TS packets, none or several (see [`crate::channel::rtp`]).
    Made(Made<'a>),
    /// TS packets of a flow that no player follows.
    Unfollowed,
    /// It cannot be sent as RTP.
    Not,
}

impl<'a> Rtp<'a> {
    /// The packets to send.
    pub fn packets(self) -> impl Iterator<Item = &'a [u8]> {
        let (packet, made) = match self {
            Rtp::Packet(packet) => (Some(packet), None),
            Rtp::Made(made) => (None, Some(made)),
            Rtp::Unfollowed | Rtp::Not => (None, None),
        };
        packet.into_iter().chain(made.into_iter().flat_map(Made::packets))
    }
}

impl<'a> Datagram<'a> {
    /// A datagram that every output sends unchanged.
    pub fn plain(whole: &'a [u8]) -> Datagram<'a> {
        Datagram { whole, payload: whole, rtp: Rtp::Packet(whole), followed: true }
    }
}

/// Which part of a datagram an output sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// The whole datagram.
    Whole,
    /// The RTP packet.
    Rtp,
    /// The payload, if it is for a player.
    Payload,
    /// The whole datagram, with native FEC of the shape at this index.
    Native(usize),
}

impl View {
    /// Views without repair packets.
    const PLAIN: [View; 3] = [View::Whole, View::Rtp, View::Payload];

    fn of(output: &Output, natives: &[Native]) -> View {
        if let Some(fec) = output.native_fec() {
            let place = natives.iter().position(|native| native.fec() == fec);
            return place.map_or(View::Whole, View::Native);
        }
        match (output.scheme, output.payload) {
            (_, true) => View::Payload,
            (Scheme::Rtp | Scheme::Rist, false) => View::Rtp,
            (Scheme::Udp, false) => View::Whole,
        }
    }
}

/// Properties that outputs must share to use one socket.
#[derive(Debug, PartialEq)]
struct GroupKey {
    view: View,
    domain: Domain,
    class_d: bool,
    interface: Option<Interface>,
    ttl: Option<u8>,
    multicast_loop: Option<bool>,
    dscp: Option<Dscp>,
}

impl GroupKey {
    fn of(output: &Output, natives: &[Native]) -> GroupKey {
        GroupKey {
            view: View::of(output, natives),
            domain: Domain::for_address(output.target),
            class_d: output.is_class_d(),
            interface: output.interface.clone(),
            ttl: output.ttl,
            multicast_loop: output.multicast_loop,
            dscp: output.dscp,
        }
    }
}

/// The UDP outputs of one channel.
#[derive(Debug)]
pub struct UdpOutputs {
    groups: Vec<(View, UdpSocketGroup)>,
    rists: Vec<Rist>,
    protections: Vec<Protection>,
    natives: Vec<Native>,
    count: usize,
    burst: usize,
}

impl UdpOutputs {
    /// Opens the sockets. If that fails, [`UdpOutputs::iter`] reports why, and it is tried again
    /// while sending. At most `burst` datagrams are sent to a target at once; 1 for single ones
    /// only.
    pub fn new(
        outputs: Vec<Output>,
        owner: Owner,
        burst: usize,
        now: Instant,
        interfaces: &mut Interfaces,
    ) -> UdpOutputs {
        UdpOutputs::sealed(outputs, owner, None, burst, now, interfaces)
    }

    /// Like [`UdpOutputs::new`], for sealed streams: their repair packets are sealed with the same
    /// keys.
    pub fn sealed(
        outputs: Vec<Output>,
        owner: Owner,
        seal: Option<Arc<Keyring>>,
        burst: usize,
        now: Instant,
        interfaces: &mut Interfaces,
    ) -> UdpOutputs {
        let count = outputs.len();
        let protections = Protection::of(&outputs, &owner, burst, now, interfaces);
        let natives = Native::of(&outputs, &owner, seal.as_ref());
        let mut keys: Vec<(GroupKey, Vec<UdpOutput>)> = Vec::new();
        let mut rists = Vec::new();
        for (place, output) in outputs.into_iter().enumerate() {
            if let Some(rist) = Rist::of(&output, &owner, place, burst.max(1), now) {
                rists.push(rist);
                continue;
            }
            let key = GroupKey::of(&output, &natives);
            let output = UdpOutput::new(output, place, owner.clone());
            match keys.iter_mut().find(|(there, _)| *there == key) {
                Some((_, outputs)) => outputs.push(output),
                None => keys.push((key, vec![output])),
            }
        }
        let groups =
            keys.into_iter().map(|(key, outputs)| (key.view, UdpSocketGroup::new(outputs, now))).collect();
        let mut outputs = UdpOutputs { groups, rists, protections, natives, count, burst: burst.max(1) };
        outputs.check(now, interfaces);
        outputs.rists.iter_mut().for_each(|rist| rist.check(now, interfaces));
        outputs
    }

    /// Exchanges the keys for repair packets.
    pub fn rekey(&mut self, keyring: &Arc<Keyring>) {
        self.natives.iter_mut().for_each(|native| native.rekey(keyring.clone()));
    }

    /// Maintains the sockets that are due.
    fn check(&mut self, now: Instant, interfaces: &mut Interfaces) {
        let mut index = 0;
        while let Some((view, group)) = self.groups.get_mut(index) {
            let view = *view;
            let others = group.check(now, interfaces);
            if !others.is_empty() {
                self.groups.push((view, UdpSocketGroup::new(others, now)));
            }
            index += 1;
        }
    }

    /// Sends the datagrams in order to every output. A datagram that cannot be sent is counted and
    /// skipped; the others are still sent.
    pub fn send<'a>(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        interfaces: &mut Interfaces,
        datagrams: impl Iterator<Item = Datagram<'a>> + Clone,
    ) {
        if self.groups.is_empty() && self.rists.is_empty() {
            return;
        }
        self.check(now, interfaces);
        let burst = self.burst;
        let natives =
            self.natives.iter_mut().map(|native| native.with_repairs(now, datagrams.clone(), burst));
        let natives: Vec<Bursts<'_>> = natives.collect();
        let mut views = [const { None }; View::PLAIN.len()];
        // Groups that are added meanwhile have already sent.
        for index in 0..self.groups.len() {
            let (view, group) = &mut self.groups[index];
            let bursts = if let View::Native(place) = view {
                &natives[*place]
            } else {
                let place = View::PLAIN.iter().position(|plain| plain == view).unwrap_or(0);
                let (bursts, not_rtp) =
                    views[place].get_or_insert_with(|| seen_by(*view, datagrams.clone(), burst));
                group.not_rtp(*not_rtp, now);
                &*bursts
            };
            let rest = group.send(now, batch, bursts);
            scatter(&mut self.groups, index, rest, (now, batch, interfaces, bursts));
        }
        drop(natives);
        for rist in &mut self.rists {
            rist.send(now, batch, datagrams.clone());
        }
        for protection in &mut self.protections {
            protection.send(now, batch, interfaces, datagrams.clone());
        }
    }

    /// Sets the class of service of further datagrams to that of the received ones, for outputs
    /// that keep it.
    pub fn keep_dscp(&mut self, dscp: u8) {
        self.groups.iter_mut().for_each(|(_, group)| group.keep_dscp(dscp));
        self.rists.iter_mut().for_each(|rist| rist.keep_dscp(dscp));
        self.protections.iter_mut().for_each(|protection| protection.keep_dscp(dscp));
    }

    /// Sends RTCP of the streams' senders beside them. A report that cannot be sent is dropped:
    /// another one follows.
    pub fn report(&mut self, now: Instant, beside: Beside, bytes: &[u8]) {
        let plain = self.groups.iter_mut().filter(|(view, _)| matches!(view, View::Whole | View::Rtp));
        plain.for_each(|(_, group)| group.report(now, beside, bytes));
    }

    /// When [`UdpOutputs::maintain`] and [`UdpOutputs::poll`] have something to do without a
    /// delivery.
    pub fn due(&self) -> Option<Instant> {
        let natives = self.natives.iter().filter_map(Native::due);
        let protections = self.protections.iter().filter_map(Protection::due);
        protections.chain(natives).chain(self.rists.iter().map(Rist::due)).min()
    }

    /// Maintains the sockets that receivers answer to. Calls `opened` with the index and the
    /// socket of each new one; [`UdpOutputs::receive`] reads it when it is ready.
    pub fn maintain(
        &mut self,
        now: Instant,
        interfaces: &mut Interfaces,
        mut opened: impl FnMut(usize, BorrowedFd<'_>),
    ) {
        for (index, rist) in self.rists.iter_mut().enumerate() {
            rist.maintain(now, interfaces, |socket, fd| opened(index * rist::SOCKETS + socket, fd));
        }
    }

    /// Sends repair packets that do not wait for more media, and reports to the receivers, if they
    /// are due.
    pub fn poll(&mut self, now: Instant, batch: &mut SendBatch, interfaces: &mut Interfaces) {
        let paused = |protection: &&mut Protection| protection.due().is_some_and(|due| due <= now);
        for protection in self.protections.iter_mut().filter(paused) {
            protection.pause(now, batch, interfaces);
        }
        self.send_native_repairs(now, batch, interfaces, |native, burst| native.overdue(now, burst));
        self.rists.iter_mut().for_each(|rist| rist.report(now, batch));
    }

    /// Takes a batch of datagrams from a socket, and answers them. Returns their count.
    pub fn receive(&mut self, place: usize, now: Instant, tools: &mut Tools<'_>) -> usize {
        let rist = self.rists.get_mut(place / rist::SOCKETS);
        rist.map_or(0, |rist| rist.receive(place % rist::SOCKETS, now, tools))
    }

    /// Sockets of outputs that expect no answers. Datagrams that arrive there are useless to the
    /// outputs, but the caller may use them.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.groups.iter().filter_map(|(_, group)| group.socket())
    }

    /// Ends the outputs: sends the remaining repair packets, and tells the receivers that the
    /// stream ends.
    pub fn finish(&mut self, now: Instant, batch: &mut SendBatch, interfaces: &mut Interfaces) {
        for protection in &mut self.protections {
            protection.finish(now, batch, interfaces);
        }
        self.send_native_repairs(now, batch, interfaces, Native::last);
        self.rists.iter_mut().for_each(|rist| rist.finish(now, batch));
    }

    /// Sends repair packets alone.
    fn send_native_repairs(
        &mut self,
        now: Instant,
        batch: &mut SendBatch,
        interfaces: &mut Interfaces,
        repairs: impl Fn(&mut Native, usize) -> Bursts<'_>,
    ) {
        for (place, native) in self.natives.iter_mut().enumerate() {
            let bursts = repairs(native, self.burst);
            for index in 0..self.groups.len() {
                let (view, group) = &mut self.groups[index];
                if *view == View::Native(place) {
                    let rest = group.send(now, batch, &bursts);
                    scatter(&mut self.groups, index, rest, (now, batch, interfaces, &bursts));
                }
            }
        }
    }

    /// The outputs in configured order, each with the reason if it has no socket; then those of
    /// their repair packets.
    pub fn iter(&self) -> impl Iterator<Item = (&UdpOutput, Option<&SocketError>)> {
        self.list().into_iter()
    }

    fn list(&self) -> Vec<(&UdpOutput, Option<&SocketError>)> {
        let mut all: Vec<Option<(&UdpOutput, Option<&SocketError>)>> = vec![None; self.count];
        for (_, group) in &self.groups {
            for target in group.targets() {
                all[target.place] = Some((target, group.fault()));
            }
        }
        for (output, fault) in self.rists.iter().map(Rist::output) {
            all[output.place] = Some((output, fault));
        }
        let repairs = self.protections.iter().flat_map(Protection::outputs);
        all.into_iter().flatten().chain(repairs).collect()
    }
}

/// Replaces a full socket by one socket per target, if some datagrams were not sent.
fn scatter(
    groups: &mut Vec<(View, UdpSocketGroup)>,
    index: usize,
    rest: Option<Unsent>,
    (now, batch, interfaces, bursts): (Instant, &mut SendBatch, &mut Interfaces, &Bursts<'_>),
) {
    let Some(rest) = rest else { return };
    let (view, full) = groups.remove(index);
    let alone = full.scatter(now, batch, interfaces, bursts, &rest);
    for (place, group) in alone.into_iter().enumerate() {
        // The targets have sent all their datagrams: one replaces the group, and the others are
        // inserted behind the groups that have still to send.
        let at = if place == 0 { index } else { groups.len() };
        groups.insert(at, (view, group));
    }
}

/// The datagrams as an output with this view sends them, and the count of those that are neither
/// RTP nor TS packets.
fn seen_by<'a>(view: View, datagrams: impl Iterator<Item = Datagram<'a>>, burst: usize) -> (Bursts<'a>, u64) {
    let mut bursts = Bursts::new(burst);
    let mut not_rtp = 0;
    for datagram in datagrams {
        match (view, datagram.rtp) {
            (View::Rtp, rtp @ (Rtp::Packet(_) | Rtp::Made(_))) => {
                rtp.packets().for_each(|packet| bursts.push(packet))
            }
            (View::Rtp, Rtp::Not) => not_rtp += 1,
            (View::Whole | View::Native(_), _) => bursts.push(datagram.whole),
            // An RTP packet without a payload is a keep-alive, not an empty datagram.
            (View::Payload, Rtp::Packet(_)) if datagram.payload.is_empty() => {}
            (View::Payload, _) if datagram.followed => bursts.push(datagram.payload),
            (View::Payload, _) | (View::Rtp, Rtp::Unfollowed) => {}
        }
    }
    (bursts, not_rtp)
}

#[cfg(test)]
mod tests;
