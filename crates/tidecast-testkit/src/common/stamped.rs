//! A UDP receiver that uses the kernel's arrival times, so that a late read does not look like a
//! late datagram, and that detects losses in its own socket.

use std::{
    io::IoSliceMut,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
};

use super::now;

/// A received datagram with the kernel's arrival time, since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub stamp: Duration,
    pub bytes: Vec<u8>,
}

/// A thread that receives all datagrams of a socket.
pub struct Collector {
    pub addr: SocketAddr,
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    datagrams: Arc<Mutex<Vec<Datagram>>>,
    reader: Option<JoinHandle<()>>,
}

impl Collector {
    /// Receives on a separate port of 127.0.0.1.
    pub fn unicast() -> Collector {
        Collector::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind"))
    }

    /// Receives on a socket that is already bound and joined.
    pub fn new(socket: UdpSocket) -> Collector {
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).expect("buffer");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("time stamps");
        let (stop, datagrams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let reader = {
            let (socket, stop, into) = (socket.try_clone().expect("clone"), stop.clone(), datagrams.clone());
            thread::spawn(move || {
                let mut memory = vec![0; 65_536];
                // Datagrams that are queued when the end is requested are still read.
                while let Some(datagram) = receive(&socket, &mut memory, stop.load(Ordering::Relaxed)) {
                    into.lock().expect("no panic").extend(datagram);
                }
            })
        };
        Collector {
            addr: socket.local_addr().expect("address"),
            socket,
            stop,
            datagrams,
            reader: Some(reader),
        }
    }

    /// Returns the number of datagrams received so far.
    pub fn count(&self) -> usize {
        self.datagrams.lock().expect("no panic").len()
    }

    /// Calls `look` with the datagrams received so far.
    pub fn with<T>(&self, look: impl FnOnce(&[Datagram]) -> T) -> T {
        look(&self.datagrams.lock().expect("no panic"))
    }

    /// Waits until this many datagrams have been received, at most `patience`.
    pub fn wait_for(&self, count: usize, patience: Duration) -> bool {
        let start = now();
        while self.count() < count {
            if start.elapsed() > patience {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Returns all received datagrams. Fails if the kernel dropped any at this socket, because
    /// that would be the test's own loss.
    pub fn finish(mut self) -> Vec<Datagram> {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.take().expect("once").join().expect("no panic");
        let drops = tidecast_net::sys::drops(self.socket.as_fd()).expect("drop count");
        assert_eq!(drops, 0, "the kernel dropped datagrams at the test's own socket");
        std::mem::take(&mut self.datagrams.lock().expect("no panic"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Receives one datagram. Returns `Some(None)` after a while without any, and `None` if there is
/// none and `last` is set.
fn receive(socket: &UdpSocket, memory: &mut [u8], last: bool) -> Option<Option<Datagram>> {
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut slices = [IoSliceMut::new(memory)];
    let flags = if last { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN) if last => return None,
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Some(None),
        Err(error) => panic!("recvmsg: {error}"),
    };
    let stamp = message.cmsgs().expect("whole control messages").find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    let (stamp, len) = (stamp.expect("a time stamp"), message.bytes);
    Some(Some(Datagram { stamp, bytes: memory[..len].to_vec() }))
}
