//! Ports of a leg: for media, repair packets and RTCP. Each is a [`Leg`] with its own socket,
//! maintained independently; its datagrams are counted for the leg that it belongs to.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::state::{LegState, LegStatus};
use tidecast_core::{
    buffer::Buffer,
    relay::{Fec, Input, LegCounters, Socket},
};
use tidecast_net::address::{self, Scheme};
use tidecast_net::ingest::{Leg, State};
use tidecast_wire::{rtcp, st2022};

/// Purpose of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Media, and datagrams sent among it.
    Media,
    /// Repair packets, as configured.
    Repair,
    /// Repair packets, if there are any: the channel works without this port.
    PerhapsRepair,
    /// RTCP of a RIST sender, and our answers.
    Control,
    /// RTCP of another RTP sender, if there is any: the channel works without this port.
    Reports,
}

impl Role {
    /// The core's name for this socket, if the core sends from it.
    pub(super) fn socket(self) -> Option<Socket> {
        match self {
            Role::Media => Some(Socket::Media),
            Role::Control => Some(Socket::Control),
            Role::Repair | Role::PerhapsRepair | Role::Reports => None,
        }
    }

    /// Whether the channel needs this port.
    pub(super) fn is_needed(self) -> bool {
        !matches!(self, Role::PerhapsRepair | Role::Reports)
    }
}

/// One port of a channel.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) socket: Leg,
    /// Index of the leg.
    pub(super) leg: u8,
    pub(super) role: Role,
}

impl Port {
    /// All ports of a channel: those for media in the order of the legs, then the others.
    /// `reports`: legs with RTCP on the port above.
    pub(super) fn of_legs(
        inputs: Vec<address::Input>,
        fec: Fec,
        reports: &[usize],
        receive_buffer: usize,
        now: Instant,
    ) -> Vec<Port> {
        let port = |(leg, role, input): (usize, Role, address::Input)| Port {
            socket: Leg::new(input, receive_buffer, now),
            leg: leg as u8, // there are at most LEGS_MAX
            role,
        };
        let repairs: Vec<_> =
            inputs.iter().enumerate().flat_map(|(leg, input)| repairs(leg, input, fec)).collect();
        let control = |(leg, input): (usize, &address::Input)| {
            let role = match input.scheme {
                Scheme::Rist => Role::Control,
                _ if reports.contains(&leg) => Role::Reports,
                _ => return None,
            };
            Some((leg, role, input.on_port_above(rtcp::PORT_ABOVE)?))
        };
        let controls: Vec<_> = inputs.iter().enumerate().filter_map(control).collect();
        let media = inputs.into_iter().enumerate().map(|(leg, input)| (leg, Role::Media, input));
        media.chain(repairs).chain(controls).map(port).collect()
    }

    /// Turns a datagram from this port into an input of the core.
    #[inline]
    pub(super) fn input(leg: u8, role: Role, now: Instant, source: SocketAddr, bytes: Buffer) -> Input {
        match role {
            Role::Media => Input::Packet { now, leg, source, bytes },
            Role::Repair | Role::PerhapsRepair => Input::Repair { now, leg, source, bytes },
            Role::Control => Input::Control { now, leg, source, bytes },
            Role::Reports => Input::Report { now, leg, source, bytes },
        }
    }

    /// Why it cannot be opened, if waiting does not help (`failed`), or what it waits for.
    pub(super) fn trouble(&self, failed: bool) -> Option<String> {
        match self.socket.state() {
            State::Failed(reason) if failed => Some(format!("{}: {reason}", self.socket.input())),
            State::Waiting(reason) if !failed => Some(format!("{}: {reason}", self.socket.input())),
            _ => None,
        }
    }
}

/// Ports for repair packets beside an input.
fn repairs(
    leg: usize,
    input: &address::Input,
    fec: Fec,
) -> impl Iterator<Item = (usize, Role, address::Input)> {
    let role = match fec {
        Fec::St2022 => Some(Role::Repair),
        Fec::Auto if input.scheme.is_rtp() => Some(Role::PerhapsRepair),
        Fec::Auto | Fec::Off => None,
    };
    let inputs = st2022::PORTS_ABOVE.into_iter().filter_map(|offset| input.on_port_above(offset));
    let inputs: Vec<_> = inputs.collect();
    role.into_iter().flat_map(move |role| inputs.clone().into_iter().map(move |input| (leg, role, input)))
}

/// Times measured by the core on a leg.
#[derive(Debug, Clone, Copy)]
pub(super) struct LegTimes {
    /// Lag behind the first leg.
    pub(super) skew: Option<Duration>,
    /// Round trip to its producers.
    pub(super) round_trip: Option<Duration>,
}

/// State of a leg for display: the state of its worst required port, and the counters of all its
/// ports. `ports` starts with the port for media.
pub(super) fn leg_state<'a>(
    media: &Leg,
    ports: impl Iterator<Item = &'a Port> + Clone,
    counters: LegCounters,
    LegTimes { skew, round_trip }: LegTimes,
) -> LegState {
    let needed = ports.clone().filter(|port| port.role.is_needed());
    let state = |port: &'a Port| port.socket.state();
    let worst = needed.map(state).find(|state| !matches!(state, State::Joined(_))).unwrap_or(media.state());
    let (state, detail) = match worst {
        State::Joined(interface) => (LegStatus::Joined, interface.clone()),
        State::Waiting(reason) => (LegStatus::Waiting, Some(reason.clone())),
        State::Failed(reason) => (LegStatus::Failed, Some(reason.clone())),
        State::Left => (LegStatus::Left, None),
    };
    let buffer = media.receive_buffer();
    LegState {
        address: media.input().to_string(),
        state,
        detail,
        counters,
        skew_seconds: skew.map(|skew| skew.as_secs_f64()),
        kernel_drops: ports.clone().map(|port| port.socket.counters().kernel_drops).sum(),
        truncated: ports.clone().map(|port| port.socket.counters().truncated).sum(),
        round_trip_seconds: round_trip.map(|trip| trip.as_secs_f64()),
        unsent: ports.map(|port| port.socket.counters().unsent).sum(),
        fault: media.fault().map(str::to_owned),
        receive_buffer_requested: buffer.map_or(0, |buffer| buffer.requested),
        receive_buffer_granted: buffer.map_or(0, |buffer| buffer.granted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_net::{clock, limits::RECEIVE_BUFFER_BYTES};

    fn ports(inputs: &[&str], fec: Fec) -> Vec<(u8, Role, String)> {
        let inputs = inputs.iter().map(|input| input.parse().unwrap()).collect();
        let ports = Port::of_legs(inputs, fec, &[], RECEIVE_BUFFER_BYTES, clock::now());
        ports.into_iter().map(|port| (port.leg, port.role, port.socket.input().to_string())).collect()
    }

    #[test]
    fn rtcp_of_rist_comes_above_the_media_on_the_same_path() {
        let inputs = ["rist://10.0.0.5@232.1.1.1:5000?if=eth1", "rtp://@:6000", "rist://@10.0.0.1:7000"];
        let media = [0, 1, 2].map(|leg| (leg, Role::Media, inputs[usize::from(leg)].to_owned()));
        let control =
            |leg: u8, from: &str, to: &str| (leg, Role::Control, inputs[usize::from(leg)].replace(from, to));
        let controls = [control(0, ":5000", ":5001"), control(2, ":7000", ":7001")];
        assert_eq!(ports(&inputs, Fec::Off), [&media[..], &controls].concat());
        let repairs = |ports: Vec<(u8, Role, String)>| {
            ports
                .into_iter()
                .filter(|port| port.1 == Role::PerhapsRepair)
                .map(|port| port.2)
                .collect::<Vec<_>>()
        };
        let beside = repairs(ports(&inputs[..1], Fec::Auto));
        assert_eq!(
            beside,
            ["5002", "5004"].map(|port| inputs[0].replace("5000", port)),
            "none of them is RTCP's"
        );
    }

    #[test]
    fn what_comes_to_a_port_is_what_the_port_is_for() {
        let (now, source) = (clock::now(), "10.0.0.5:5001".parse().unwrap());
        let input = |role| Port::input(1, role, now, source, Buffer::from(&b"bytes"[..]));
        assert!(matches!(input(Role::Media), Input::Packet { leg: 1, .. }));
        assert!(matches!(input(Role::Repair), Input::Repair { leg: 1, .. }));
        assert!(matches!(input(Role::PerhapsRepair), Input::Repair { leg: 1, .. }));
        assert!(matches!(input(Role::Control), Input::Control { leg: 1, .. }));
        let sends = |role: Role| role.socket();
        assert_eq!(sends(Role::Control), Some(Socket::Control), "reports and requests leave from there");
        assert_eq!((sends(Role::Media), sends(Role::Repair)), (Some(Socket::Media), None));
    }

    #[test]
    fn repair_ports_stand_beside_the_media_on_the_same_path() {
        let inputs = ["rtp://10.0.0.5@232.1.1.1:5000?if=eth1", "udp://@:6000"];
        let media = [(0, Role::Media, inputs[0].to_owned()), (1, Role::Media, inputs[1].to_owned())];
        assert_eq!(ports(&inputs, Fec::Off), media);
        let beside = |role| ["5002", "5004"].map(|port| (0, role, inputs[0].replace("5000", port))).to_vec();
        let auto = [&media[..], &beside(Role::PerhapsRepair)].concat();
        assert_eq!(ports(&inputs, Fec::Auto), auto, "udp:// may be anything");
        let second = ["udp://@:6002", "udp://@:6004"].map(|input| (1, Role::Repair, input.to_owned()));
        let all = [&media[..], &beside(Role::Repair), &second].concat();
        assert_eq!(ports(&inputs, Fec::St2022), all);
        let last = ["rtp://@239.1.1.1:65533"];
        assert_eq!(ports(&last, Fec::Auto).len(), 2, "no port is beyond 65535");
    }
}
