//! Keep-alives to the service manager are sent while every packet thread responds, and stop when
//! one does not.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::common::{Running, now, tidecast, until};

/// A service manager as the program sees it: a socket, and a maximum time without keep-alives.
struct Manager {
    socket: UnixDatagram,
    limit: Duration,
}

impl Manager {
    fn new(folder: &Path, limit: Duration) -> Manager {
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        Manager { socket, limit }
    }

    fn start(&self, folder: &Path, watchdog: bool) -> Running {
        let config = folder.join("relay.toml");
        fs::write(&config, "threads = 2\nhttp.listen = \"127.0.0.1:0\"\n").unwrap();
        let mut command = tidecast(["serve", "-c", config.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", folder.join("notify"));
        if watchdog {
            command.env("WATCHDOG_USEC", self.limit.as_micros().to_string());
        }
        let mut running = Running::start(command);
        running.wait_for_line("tidecast: ready");
        running
    }

    /// Returns the next message, if one arrives soon.
    fn message(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).trim().to_owned())
    }

    fn wait_for(&self, message: &str) {
        until(message, || (self.message()? == message).then_some(()));
    }

    /// Returns whether a keep-alive arrives within this time.
    fn is_alive(&self, within: Duration) -> bool {
        let start: Instant = now();
        while start.elapsed() < within {
            if self.message().is_some_and(|message| message == "WATCHDOG=1") {
                return true;
            }
        }
        false
    }

    /// Discards all messages so far.
    fn forget(&self) {
        while self.message().is_some() {}
    }
}

/// Returns the thread of a process with this name.
fn thread(running: &Running, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap();
    let named = tasks
        .flatten()
        .find(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    Pid::from_raw(named.expect(name).file_name().to_str().unwrap().parse().unwrap())
}

#[test]
fn keep_alives_stay_out_while_a_packet_thread_is_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path(), Duration::from_millis(600));
    let mut relay = manager.start(folder.path(), true);
    manager.wait_for("READY=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    // A debugger stops one thread while the others continue.
    let stuck = thread(&relay, "packets-1");
    ptrace::attach(stuck).unwrap();
    waitpid(stuck, Some(WaitPidFlag::__WALL)).unwrap();
    relay.wait_for_line("packet threads have not answered");
    manager.forget();
    assert!(!manager.is_alive(3 * manager.limit), "a relay with a stuck packet thread says that all is well");
    ptrace::detach(stuck, None).unwrap();
    manager.wait_for("WATCHDOG=1");
    assert!(relay.stderr().contains("threads=[1]"), "{}", relay.stderr());
    relay.signal("TERM");
    manager.wait_for("STOPPING=1");
    assert!(relay.wait().success());
}

#[test]
fn without_a_watchdog_there_are_no_keep_alives() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path(), Duration::from_millis(100));
    let mut relay = manager.start(folder.path(), false);
    manager.wait_for("READY=1");
    assert!(!manager.is_alive(5 * manager.limit));
    relay.stop();
}
