//! Sends the film at its pace to two groups at once, as a transport stream and as RTP with ST
//! 2022-1 repair packets, and leaves out one media datagram, the same of both.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use tidecast_net::clock;
use tidecast_wire::{
    fec::matrix::{Datagram, Encoder, Shape},
    rtp,
    st2022::Axis,
};

use super::film::{Film, RATE};
use crate::common;

/// The payload type of MPEG-TS (RFC 3551).
const PAYLOAD_TYPE: u8 = 33;

/// Offset of the port of MPEG-TS alone from that of RTP, beyond those of repair packets and RTCP.
const TS_ABOVE: u16 = 6;

/// Destinations of the film.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// MPEG-TS alone.
    pub ts: SocketAddrV4,
    /// RTP; columns go to the port + 2, rows to + 4.
    pub rtp: SocketAddrV4,
}

impl Place {
    /// Returns groups and ports that nothing else uses. The ports are below those that the kernel
    /// assigns to sockets without a requested port: GStreamer binds to all addresses, which such a
    /// socket would prevent.
    pub fn free() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let free = |port: u16| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        let rtp = common::until("an even port with free neighbours", || {
            let n = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let port = 20_000 + (n % 1000) as u16 * 10;
            (port..=port + TS_ABOVE).all(free).then_some(port)
        });
        Place {
            ts: SocketAddrV4::new(common::group(), rtp + TS_ABOVE),
            rtp: SocketAddrV4::new(common::group(), rtp),
        }
    }
}

/// Sends all of it but one datagram. Returns the start time.
pub fn send(film: &Film, place: Place, lost: Option<usize>) -> Instant {
    let socket = common::sender();
    let to = |group: SocketAddrV4, bytes: &[u8]| socket.send_to(bytes, group).expect("send");
    let mut encoder = Encoder::new(Shape::new(5, 5, true).expect("a matrix"), 100, 200);
    let begun = clock::now();
    for (number, payload) in film.datagrams().enumerate() {
        let due = Duration::from_secs_f64(number as f64 * payload.len() as f64 * 8.0 / RATE);
        thread::sleep(due.saturating_sub(clock::now().saturating_duration_since(begun)));
        let packet = packet(number, due, payload);
        if lost != Some(number) {
            to(place.ts, payload);
            to(place.rtp, &packet);
        }
        let mut repairs = Vec::new();
        encoder.media(&packet, &mut repairs);
        for Datagram { axis, bytes } in repairs {
            let above = if axis == Axis::Column { 2 } else { 4 };
            to(SocketAddrV4::new(*place.rtp.ip(), place.rtp.port() + above), &bytes);
        }
    }
    begun
}

fn packet(number: usize, due: Duration, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    rtp::Repr {
        marker: false,
        payload_type: PAYLOAD_TYPE,
        sequence: number as u16,
        timestamp: (due.as_secs_f64() * 90_000.0) as u32,
        ssrc: 0x7c7c_7c7c,
        payload,
    }
    .emit(&mut packet);
    packet
}
