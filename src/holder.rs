//! Finds the program that uses a port, for messages to users.

use std::{fmt, net::SocketAddr};

use procfs::{
    net::{TcpState, tcp, tcp6, udp, udp6},
    process::{FDTarget, Process, all_processes},
};

/// A program that uses a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name, of at most 15 bytes.
    pub name: String,
    /// Its process id.
    pub pid: i32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Holder {
    /// Returns the program that listens on this TCP address, so that it cannot be bound. `None`: no
    /// program does any more, or it belongs to another user, whose sockets only root sees.
    pub fn of_tcp(address: SocketAddr) -> Option<Holder> {
        let all = [tcp(), tcp6()].into_iter().flatten().flatten();
        let listening = all.filter(|entry| entry.state == TcpState::Listen);
        holder(listening.map(|entry| (entry.local_address, entry.inode)), address)
    }

    /// Returns the program that uses this UDP address, with the same exceptions.
    pub fn of_udp(address: SocketAddr) -> Option<Holder> {
        let all = [udp(), udp6()].into_iter().flatten().flatten();
        holder(all.map(|entry| (entry.local_address, entry.inode)), address)
    }

    /// Whether it is another process of this program.
    pub fn is_tidecast(&self) -> bool {
        Process::myself().and_then(|own| own.stat()).is_ok_and(|own| own.comm == self.name)
    }
}

fn holder(sockets: impl Iterator<Item = (SocketAddr, u64)>, wanted: SocketAddr) -> Option<Holder> {
    let stands_against = |bound: &SocketAddr| {
        let (bound_ip, wanted_ip) = (bound.ip().to_canonical(), wanted.ip().to_canonical());
        let any = bound_ip.is_unspecified() || wanted_ip.is_unspecified();
        bound.port() == wanted.port() && (any || bound_ip == wanted_ip)
    };
    let inodes: Vec<u64> =
        sockets.filter(|(bound, _)| stands_against(bound)).map(|(_, inode)| inode).collect();
    let has_one = |process: &Process| {
        let mut targets = process.fd().into_iter().flatten().flatten().map(|fd| fd.target);
        targets.any(|target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&inode)))
    };
    let process = all_processes().ok()?.flatten().find(has_one)?;
    Some(Holder { name: process.stat().ok()?.comm, pid: process.pid })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_port_is_held_by_the_program_that_bound_it() {
        let own = |holder: Holder| holder.is_tidecast() && holder.pid == std::process::id() as i32;
        for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
            let tcp = TcpListener::bind(bound).expect("bind");
            let udp = UdpSocket::bind(bound).expect("bind");
            let wanted = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
            assert!(Holder::of_tcp(wanted(tcp_port)).is_some_and(own), "{bound}");
            assert!(Holder::of_udp(wanted(udp_port)).is_some_and(own), "{bound}");
            drop((tcp, udp));
            assert_eq!(Holder::of_tcp(wanted(tcp_port)), None);
        }
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], tcp.local_addr().unwrap().port()));
        assert_eq!(Holder::of_tcp(elsewhere), None);
    }
}
