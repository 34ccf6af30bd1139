//! The measured processes, with the kernel's figures about them: processor time of all their
//! threads in nanoseconds, resident memory, and drops of their sockets.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read},
    net::SocketAddrV4,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    time::clock_getcpuclockid,
    unistd::Pid,
};
use tidecast_net::clock;

/// How long a process may take to end after SIGTERM.
const END_WAIT: Duration = Duration::from_secs(2);

/// The measured object: one process, or several that do one job together. They end when this value
/// is dropped.
pub(crate) struct Processes {
    children: Vec<Child>,
    log: PathBuf,
}

impl Processes {
    /// Starts one process per command. Their output goes to `log`.
    pub(crate) fn start(commands: Vec<Command>, log: &Path) -> io::Result<Processes> {
        let mut processes = Processes { children: Vec::new(), log: log.to_owned() };
        let file = fs::File::create(log)?;
        for mut command in commands {
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);
            processes.children.push(command.spawn()?);
        }
        Ok(processes)
    }

    /// Returns the processor time of all threads since the start, including those that have ended.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for child in &self.children {
            let clock = clock_getcpuclockid(Pid::from_raw(child.id() as i32))?;
            total += Duration::from(clock.now()?);
        }
        Ok(total)
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        self.children.iter().map(|child| resident(child.id())).sum()
    }

    /// Fails if one has ended, with the end of its output.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}: {}", last_words(&self.log))));
            }
        }
        Ok(())
    }

    /// Returns all of their output.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &self.children {
            // A process that has ended remains a child until it is waited for, so the id cannot
            // belong to another one.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        }
        let deadline = clock::now() + END_WAIT;
        for child in &mut self.children {
            while clock::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill(); // it may have ended already
            let _ = child.wait();
        }
    }
}

/// Returns the end of a log, on one line.
fn last_words(log: &Path) -> String {
    let mut text = String::new();
    let _ = fs::File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(2).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Returns the resident bytes of a process, counted page by page: `VmRSS` deviates by up to some
/// hundred KiB.
fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no Rss in smaps_rollup"))
}

/// Returns the datagrams that the kernel dropped because the sockets bound to these addresses were
/// full, for sockets of any process.
pub(crate) fn input_drops(addresses: &[SocketAddrV4]) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/udp")?;
    let names: HashSet<String> = addresses.iter().map(proc_name).collect();
    let of_these = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let known = names.contains(words.next()?);
        let drops = words.last()?.parse::<u64>().ok()?;
        known.then_some(drops)
    });
    Ok(of_these.sum())
}

/// Returns an address as in /proc/net/udp: the IP address as a number in native byte order, then
/// the port.
fn proc_name(address: &SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}
