//! `sendmmsg` with UDP_SEGMENT: several datagrams of one size for one target are one message,
//! which the kernel splits (generic segmentation offload). Messages come from `channel::udp`.
#![allow(unsafe_code)] // system calls through libc; each block says why it is sound

use std::{
    io::{self, IoSlice},
    mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::SockAddr;

use super::zeroed_header;
use crate::limits::SEND_BATCH;

/// A message to one target: a datagram, or several of one size.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The target.
    pub to: &'a SockAddr,
    /// The bytes, in several parts.
    pub parts: &'a [IoSlice<'a>],
    /// Size of the datagrams into which the kernel splits the bytes; the last may be shorter.
    /// `None` means one datagram.
    pub segment: Option<u16>,
}

/// Result of [`SendBatch::send`].
#[derive(Debug)]
pub struct Sent {
    /// Messages that the kernel accepted, from the start of the list.
    pub count: usize,
    /// Why the next one failed; `None` if all were sent. The caller should skip that message and
    /// send the rest.
    pub error: Option<io::Error>,
}

/// Bytes of the control message with the size of the segments.
// SAFETY: CMSG_SPACE only computes a size.
const CONTROL_BYTES: usize = unsafe { libc::CMSG_SPACE(2) } as usize;

/// Memory aligned for the `cmsghdr` that the kernel reads.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Sends up to [`SEND_BATCH`] messages per system call, without blocking. All outputs of a thread
/// should share one.
pub struct SendBatch {
    headers: Vec<libc::mmsghdr>,
    controls: Vec<Control>,
}

// SAFETY: the pointers in `headers` are written and used within `send` only.
unsafe impl Send for SendBatch {}

impl Default for SendBatch {
    fn default() -> SendBatch {
        SendBatch::new()
    }
}

impl SendBatch {
    /// Creates the structures for one batch.
    pub fn new() -> SendBatch {
        SendBatch {
            headers: vec![zeroed_header(); SEND_BATCH],
            controls: vec![Control([0; CONTROL_BYTES]); SEND_BATCH],
        }
    }

    /// Sends the messages in order, up to the first that fails.
    pub fn send(&mut self, fd: BorrowedFd<'_>, messages: &[Message<'_>]) -> Sent {
        let mut count = 0;
        while count < messages.len() {
            let rest = &messages[count..];
            match self.call(fd, &rest[..rest.len().min(SEND_BATCH)]) {
                Ok(sent) => count += sent,
                Err(error) => return Sent { count, error: Some(error) },
            }
        }
        Sent { count, error: None }
    }

    /// Makes one system call with at most SEND_BATCH messages. After a failure within the batch,
    /// the kernel reports only how many were sent before it; the error is reported when the next
    /// call starts with the failed message.
    fn call(&mut self, fd: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
        for (i, message) in messages.iter().enumerate() {
            self.point(i, message);
        }
        loop {
            // SAFETY: the first `messages.len()` headers, at most SEND_BATCH, have just been
            // pointed to the messages' names, slices and bytes and to control memory of this
            // struct, all alive for this call; the kernel only reads them (the pointers are
            // mutable only by type), and writes `msg_len` in the headers.
            let sent = unsafe {
                libc::sendmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    messages.len() as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match usize::try_from(sent) {
                Ok(0) => return Err(io::ErrorKind::WouldBlock.into()), // undocumented; must not loop forever
                Ok(sent) => return Ok(sent),
                Err(_) => {}
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn point(&mut self, i: usize, message: &Message<'_>) {
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = message.to.as_ptr().cast_mut().cast();
        header.msg_namelen = message.to.len();
        // `IoSlice` has the layout of `iovec` on Unix (std's guarantee).
        header.msg_iov = message.parts.as_ptr().cast_mut().cast();
        header.msg_iovlen = message.parts.len() as _;
        (header.msg_control, header.msg_controllen) = match message.segment {
            Some(_) => (self.controls[i].0.as_mut_ptr().cast(), CONTROL_BYTES as _),
            None => (ptr::null_mut(), 0),
        };
        if let Some(segment) = message.segment {
            write_segment(header, segment);
        }
    }
}

/// Writes the control message UDP_SEGMENT (udp(7)) into the header's control memory.
fn write_segment(header: &mut libc::msghdr, segment: u16) {
    // SAFETY: `msg_control` was just pointed to CONTROL_BYTES of aligned memory, enough for one
    // message of 2 bytes, so CMSG_FIRSTHDR is not null and its data has space for a u16, which is
    // written unaligned.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(mem::size_of::<u16>() as _) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr, UdpSocket},
        os::fd::AsFd,
    };

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;
    use tidecast_testkit::sockets as testing;

    fn pair() -> (UdpSocket, UdpSocket, SockAddr) {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        setsockopt(&receiver, sockopt::RcvBuf, &(1 << 20)).unwrap();
        let address = receiver.local_addr().unwrap();
        (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), receiver, address.into())
    }

    #[test]
    fn a_bad_destination_is_reported_and_costs_no_other() {
        let (sender, receiver, to) = pair();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(); // EINVAL
        let datagrams: Vec<[u8; 1]> = (0..150u8).map(|i| [i]).collect();
        let parts: Vec<[IoSlice; 1]> = datagrams.iter().map(|d| [IoSlice::new(d)]).collect();
        let bad = [0, 70, 71, 149];
        let message =
            |(i, parts)| Message { to: if bad.contains(&i) { &nowhere } else { &to }, parts, segment: None };
        let messages: Vec<Message> = parts.iter().map(|p| &p[..]).enumerate().map(message).collect();
        let (mut batch, mut rest, mut stops) = (SendBatch::new(), &messages[..], Vec::new());
        while !rest.is_empty() {
            let sent = batch.send(sender.as_fd(), rest);
            rest = &rest[sent.count..];
            if let Some(error) = sent.error {
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
                stops.push(usize::from(rest[0].parts[0][0]));
                rest = &rest[1..];
            }
        }
        assert_eq!(stops, bad);
        let received = testing::payloads(&testing::receive(&receiver, 146));
        let expected: Vec<Vec<u8>> = (0..150).filter(|i| !bad.contains(i)).map(|i| vec![i as u8]).collect();
        assert_eq!(received, expected);
    }

    #[test]
    fn segments_arrive_as_datagrams_of_their_own() {
        let (sender, receiver, to) = pair();
        let datagrams: Vec<Vec<u8>> = (0..7u8).map(|i| vec![i; if i == 6 { 100 } else { 1316 }]).collect();
        let parts: Vec<IoSlice> = datagrams.iter().map(|d| IoSlice::new(d)).collect();
        let single = Message { to: &to, parts: &parts[..1], segment: None };
        let several = Message { to: &to, parts: &parts, segment: Some(1316) };
        let sent = SendBatch::new().send(sender.as_fd(), &[single, several, single]);
        assert!(sent.error.is_none() && sent.count == 3, "{sent:?}");
        let received = testing::payloads(&testing::receive(&receiver, 9));
        let expected = [&datagrams[..1], &datagrams[..], &datagrams[..1]].concat();
        assert_eq!(received, expected);
    }
}
