//! Finds the program that uses a port, for messages to users.

use std::{fmt, net::SocketAddr, path::PathBuf};

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
    /// Its arguments, with its own name first; empty if they cannot be read.
    pub arguments: Vec<String>,
    /// Its working directory.
    pub folder: Option<PathBuf>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// A socket, as the kernel lists it.
#[derive(Debug)]
struct Listed {
    bound: SocketAddr,
    inode: u64,
}

impl Holder {
    /// Returns the program that listens on this TCP address, so that it cannot be bound. `None`: no
    /// program does any more, or it belongs to another user, whose sockets only root sees.
    pub fn of_tcp(address: SocketAddr) -> Option<Holder> {
        let all = [tcp(), tcp6()].into_iter().flatten().flatten();
        let listening = all.filter(|entry| entry.state == TcpState::Listen);
        holder(listening.map(|entry| Listed { bound: entry.local_address, inode: entry.inode }), address)
    }

    /// Returns the program that uses this UDP address, so that it cannot be bound, with the same
    /// exceptions.
    pub fn of_udp(address: SocketAddr) -> Option<Holder> {
        let all = [udp(), udp6()].into_iter().flatten().flatten();
        holder(all.map(|entry| Listed { bound: entry.local_address, inode: entry.inode }), address)
    }

    /// Whether it is another process of this program.
    pub fn is_tidecast(&self) -> bool {
        is_tidecast(&self.name)
    }

    fn of(process: &Process) -> Option<Holder> {
        let name = process.stat().ok()?.comm;
        let (arguments, folder) = (process.cmdline().unwrap_or_default(), process.cwd().ok());
        Some(Holder { name, pid: process.pid, arguments, folder })
    }
}

/// What the packet path says of a port that others have; it does not look for their names.
const IN_USE: &str = " is in use by another program that does not share it";

/// Names the programs in a text that says that UDP ports are in use.
pub fn named(text: &str) -> String {
    let mut named = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(IN_USE) {
        let address = before.rsplit(' ').next().and_then(|address| address.parse().ok());
        named.push_str(before);
        match address.and_then(Holder::of_udp) {
            Some(holder) => named.push_str(&format!(" is in use by {holder}, which does not share it")),
            None => named.push_str(IN_USE),
        }
        rest = after;
    }
    named + rest
}

fn is_tidecast(name: &str) -> bool {
    Process::myself().and_then(|own| own.stat()).is_ok_and(|own| own.comm == name)
}

/// Whether a socket keeps others from binding the address.
fn stands_against(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let (bound_ip, wanted_ip) = (bound.ip().to_canonical(), wanted.ip().to_canonical());
    let any = bound_ip.is_unspecified() || wanted_ip.is_unspecified();
    bound.port() == wanted.port() && (any || bound_ip == wanted_ip)
}

/// The program with such a socket. Those of this program that are bound to a group are in nobody's
/// way: they share it.
fn holder(sockets: impl Iterator<Item = Listed>, wanted: SocketAddr) -> Option<Holder> {
    let sockets: Vec<Listed> = sockets.filter(|socket| stands_against(socket.bound, wanted)).collect();
    if sockets.is_empty() {
        return None;
    }
    all_processes().ok()?.flatten().find_map(|process| {
        let targets = process.fd().into_iter().flatten().flatten().map(|fd| fd.target);
        let mut own = targets.filter_map(|target| match target {
            FDTarget::Socket(inode) => sockets.iter().find(|socket| socket.inode == inode),
            _ => None,
        });
        let first = own.next()?;
        let holder = Holder::of(&process)?;
        let mut all = std::iter::once(first).chain(own);
        let shared = holder.is_tidecast() && all.all(|socket| socket.bound.ip().is_multicast());
        (!shared).then_some(holder)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    use super::*;

    fn is_own(holder: &Holder) -> bool {
        holder.is_tidecast()
            && holder.pid == std::process::id() as i32
            && holder.folder == std::env::current_dir().ok()
            && holder.arguments == std::env::args().collect::<Vec<_>>()
    }

    #[test]
    fn a_port_is_held_by_the_program_that_bound_it() {
        for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
            let tcp = TcpListener::bind(bound).expect("bind");
            let udp = UdpSocket::bind(bound).expect("bind");
            let wanted = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
            assert!(Holder::of_tcp(wanted(tcp_port)).is_some_and(|holder| is_own(&holder)), "{bound}");
            assert!(Holder::of_udp(wanted(udp_port)).is_some_and(|holder| is_own(&holder)), "{bound}");
            drop((tcp, udp));
            assert_eq!(Holder::of_tcp(wanted(tcp_port)), None);
        }
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], tcp.local_addr().unwrap().port()));
        assert_eq!(Holder::of_tcp(elsewhere), None);
    }

    #[test]
    fn a_group_that_is_shared_is_not_in_the_way() {
        let group = Ipv4Addr::new(239, 255, 77, 77);
        let shared = UdpSocket::bind((group, 0)).expect("bind");
        let wanted = shared.local_addr().unwrap();
        assert_eq!(Holder::of_udp(wanted), None);
        // This one is: it takes the port on every address.
        let port = wanted.port();
        drop(shared);
        let all = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind");
        let holder = Holder::of_udp(wanted).expect("this test");
        assert!(is_own(&holder));
        let error = tidecast_net::SocketError::PortInUse { address: wanted }.to_string();
        let expected = format!("a: {wanted} is in use by {holder}, which does not share it; b");
        assert_eq!(named(&format!("a: {error}; b")), expected);
        drop(all);
        assert_eq!(named(&format!("a: {error}; b")), format!("a: {error}; b"));
    }
}
