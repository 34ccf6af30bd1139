//! Kernel timestamps: a thread that records when each number arrived at two sockets, to determine
//! the time between them.

use std::{
    io,
    ops::Range,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::Socket;

use crate::{packet, socket, sys::Slots};

const PAUSE: Duration = Duration::from_millis(10);
const HEAD_BYTES: usize = 64;
const BATCH: usize = 64;

/// A running thread.
pub(crate) struct Stamps {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<[Vec<u64>; 2]>>,
}

impl Stamps {
    /// Starts to record the arrivals at two sockets.
    pub(crate) fn start(sockets: [Socket; 2], number: Range<usize>) -> io::Result<Stamps> {
        for socket in &sockets {
            socket::stamp(socket)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread =
            thread::Builder::new().name("stamps".into()).spawn(move || note(&sockets, number, &flag))?;
        Ok(Stamps { stop, thread })
    }

    /// Ends it. Returns, for the numbers from `floor` on, how many nanoseconds later each arrived
    /// at the second socket than at the first, sorted, and how many numbers did not arrive at the
    /// second one.
    pub(crate) fn stop(self, floor: u64) -> io::Result<(Vec<u64>, u64)> {
        self.stop.store(true, Relaxed);
        let noted = self.thread.join().map_err(|_| io::Error::other("the stamps' thread panicked"))??;
        let [first, second] = &noted;
        let (mut delays, mut missing) = (Vec::new(), 0);
        for (number, start) in first.iter().enumerate().skip(floor as usize).filter(|(_, start)| **start != 0)
        {
            match second.get(number) {
                Some(end) if *end != 0 => delays.push(end.saturating_sub(*start)),
                _ => missing += 1,
            }
        }
        delays.sort_unstable();
        Ok((delays, missing))
    }
}

fn note(sockets: &[Socket; 2], number: Range<usize>, stop: &AtomicBool) -> io::Result<[Vec<u64>; 2]> {
    let mut noted = [Vec::new(), Vec::new()];
    let mut slots = Slots::new(BATCH, HEAD_BYTES);
    loop {
        let last = stop.load(Relaxed);
        for (socket, noted) in sockets.iter().zip(&mut noted) {
            while drain(socket, &mut slots, number.clone(), noted)? == BATCH {}
        }
        if last {
            return Ok(noted);
        }
        thread::sleep(PAUSE);
    }
}

fn drain(socket: &Socket, slots: &mut Slots, place: Range<usize>, noted: &mut Vec<u64>) -> io::Result<usize> {
    let count = slots.receive_stamped(socket.as_fd(), 0..BATCH)?;
    for slot in 0..count {
        let number = packet::number(slots.bytes(slot), place.clone());
        let (Some(number), Some(stamp)) = (number, slots.stamp(slot)) else { continue };
        if noted.len() <= number as usize {
            noted.resize(number as usize + 1024, 0);
        }
        noted[number as usize] = stamp;
    }
    Ok(count)
}
