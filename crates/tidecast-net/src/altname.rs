//! Looks up alternative names of interfaces (`ip link property add dev eth0 altname wan`), which
//! `getifaddrs` does not list, by a request to the kernel over rtnetlink (RTM_GETLINK with
//! IFLA_ALT_IFNAME, since Linux 5.5). Used by [`super::interface`].

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// Bytes of a netlink header, and also of the `ifinfomsg` that follows it.
const HEADER: usize = 16;
/// `RTM_GETLINK`; below it the reply `RTM_NEWLINK`.
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `IFLA_ALT_IFNAME`.
const ALTERNATIVE_NAME: u16 = 53;

/// Returns the index of the interface that has this alternative (or ordinary) name.
pub(super) fn index(name: &str) -> Option<u32> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &request(name), &kernel, MsgFlags::empty()).ok()?;
    // The kernel replies within the call; the part of the reply that does not fit is not needed.
    let mut answer = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    index_in(answer.get(..length)?)
}

fn request(name: &str) -> Vec<u8> {
    let attribute = 4 + name.len() + 1; // a zero byte terminates the name
    let length = (2 * HEADER + attribute).next_multiple_of(4);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes()); // names are short
    bytes.extend([GET_LINK, REQUEST].map(u16::to_ne_bytes).as_flattened());
    bytes.resize(2 * HEADER, 0); // sequence, port, and an empty `ifinfomsg`
    bytes.extend([attribute as u16, ALTERNATIVE_NAME].map(u16::to_ne_bytes).as_flattened());
    bytes.extend(name.as_bytes());
    bytes.resize(length, 0);
    bytes
}

fn index_in(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let index = u32::from_ne_bytes(answer.get(HEADER + 4..HEADER + 8)?.try_into().ok()?);
    (kind == NEW_LINK && index != 0).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_first_names_and_no_others() {
        assert_eq!(index("lo"), nix::net::if_::if_nametoindex("lo").ok());
        assert_eq!((index("nosuch0"), index(""), index(&"x".repeat(127))), (None, None, None));
    }
}
