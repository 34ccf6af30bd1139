//! Timer that wakes an epoll at a deadline. A time-out of `epoll_wait` would set and cancel a
//! timer for every packet. This timer is set only when a deadline comes nearer, so packets that
//! come first do not touch it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

/// A timer to watch with an epoll.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    /// When it goes off; not later than requested.
    at: Option<Instant>,
}

impl Alarm {
    /// Creates an alarm that is off.
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, at: None })
    }

    /// Makes sure that it goes off at `due`, or earlier: a caller that is woken too early calls
    /// again.
    pub(super) fn ensure(&mut self, due: Instant, now: Instant) {
        if self.at.is_some_and(|at| at <= due) {
            return;
        }
        let left = TimeSpec::from_duration(due.saturating_duration_since(now));
        // Zero would disarm it.
        let left = left.max(TimeSpec::new(0, 1));
        match self.timer.set(Expiration::OneShot(left), TimerSetTimeFlags::empty()) {
            Ok(()) => self.at = Some(due),
            Err(error) => panic!("timerfd_settime: {error}"), // a wrong argument: a bug
        }
    }

    /// Resets the alarm after it has gone off.
    pub(super) fn rang(&mut self) {
        // The epoll stays ready until the timer is read.
        if let Err(error) = self.timer.wait()
            && error != Errno::EAGAIN
        {
            panic!("timerfd: {error}"); // a descriptor that is no timer: a bug
        }
        self.at = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tidecast_net::clock;
    use tidecast_testkit::sockets::{PATIENCE, wait_readable};

    #[test]
    fn goes_off_for_the_nearest_deadline_and_once() {
        let (mut alarm, now) = (Alarm::new().unwrap(), clock::now());
        alarm.ensure(now + PATIENCE * 10, now);
        alarm.ensure(now + Duration::from_millis(20), now);
        alarm.ensure(now + PATIENCE * 20, now);
        assert!(wait_readable(alarm.as_fd(), PATIENCE));
        assert!(clock::now() >= now + Duration::from_millis(20));
        alarm.rang();
        assert!(!wait_readable(alarm.as_fd(), Duration::from_millis(30)));
        alarm.ensure(now, clock::now());
        assert!(wait_readable(alarm.as_fd(), PATIENCE), "a deadline that has passed");
    }
}
