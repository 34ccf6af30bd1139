//! Sends IGMP membership reports (RFC 3376) on its own, for networks without a querier, in which a
//! snooping switch would otherwise remove the port from the group. The kernel sends reports only
//! when a group is joined and in reply to queries.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{interface::Found, sys};

/// Destination of version 3 reports: all IGMPv3 routers.
const ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const REPORT_V2: u8 = 0x16;
const REPORT_V3: u8 = 0x22;
/// Record types (section 4.2.12): the current state, as in the reply to a query.
const IS_INCLUDE: u8 = 1;
const IS_EXCLUDE: u8 = 2;
/// TOS for internetwork control, as in the kernel's own reports.
const TOS: u32 = 0xc0;

/// Reports that the group is received on this interface, from one source or from all.
///
/// # Errors
/// Raw sockets are not permitted (CAP_NET_RAW), or the interface accepts no packets.
pub(super) fn report(on: &Found, group: Ipv4Addr, source: Option<Ipv4Addr>) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_IGMP)))?;
    socket.bind_device(Some(on.name.as_bytes()))?;
    sys::set_multicast_interface_v4(socket.as_fd(), on.index, Ipv4Addr::UNSPECIFIED)?;
    sys::set_router_alert(socket.as_fd())?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_tos_v4(TOS)?;
    let versions = std::fs::read_to_string("/proc/net/igmp").unwrap_or_default();
    let (to, bytes) = match is_old(&versions, &on.name) {
        true => (group, message(&[REPORT_V2, 0, 0, 0], &group.octets())),
        false => (ROUTERS, message(&[REPORT_V3, 0, 0, 0, 0, 0, 0, 1], &record(group, source))),
    };
    socket.send_to(&bytes, &SocketAddr::from((to, 0)).into()).map(drop)
}

fn record(group: Ipv4Addr, source: Option<Ipv4Addr>) -> Vec<u8> {
    let kind = if source.is_some() { IS_INCLUDE } else { IS_EXCLUDE };
    let mut record = vec![kind, 0, 0, u8::from(source.is_some())];
    record.extend(group.octets());
    record.extend(source.iter().flat_map(Ipv4Addr::octets));
    record
}

/// Builds a message with its checksum.
fn message(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = [head, body].concat();
    let sum: u32 =
        bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Returns whether the kernel uses an older IGMP version on the interface, because it is
/// configured so or a querier uses it: `/proc/net/igmp` has a line `INDEX DEVICE : COUNT V2` for
/// each interface.
fn is_old(versions: &str, interface: &str) -> bool {
    let lines = versions.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut words =
        lines.filter(|words| words.get(1).is_some_and(|name| name.trim_end_matches(':') == interface));
    words.next().is_some_and(|words| words.last().is_some_and(|version| matches!(*version, "V1" | "V2")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reports equal the kernel's replies to a query, byte for byte.
    #[test]
    fn reports_are_as_the_kernel_makes_them() {
        let (group, source) = (Ipv4Addr::new(239, 7, 7, 7), Ipv4Addr::new(10, 0, 0, 5));
        let head = [REPORT_V3, 0, 0, 0, 0, 0, 0, 1];
        let all = message(&head, &record(group, None));
        assert_eq!(all, [0x22, 0, 0xe5, 0xef, 0, 0, 0, 1, 2, 0, 0, 0, 239, 7, 7, 7]);
        let one = message(&head, &record(group, Some(source)));
        assert_eq!(one[8..], [1, 0, 0, 1, 239, 7, 7, 7, 10, 0, 0, 5]);
        for bytes in [all, one, message(&[REPORT_V2, 0, 0, 0], &group.octets())] {
            let sum: u32 = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{bytes:?}");
        }
    }

    #[test]
    fn the_kernel_says_which_version_it_speaks() {
        let table = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                     1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                     12\teth0      :     2      V2\n\t\t\t\t070707EF     1 0:00000000\t\t0\n\
                     13\tlong_name_of_15:     2      V1\n";
        assert!(!is_old(table, "lo") && is_old(table, "eth0") && !is_old(table, "eth1"));
        assert!(is_old(table, "long_name_of_15"));
    }
}
