//! The processes that are measured, and what the kernel knows about them: processor time in
//! nanoseconds, of all their threads, resident memory, and what their sockets had to drop.

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

/// How long a process gets to end by itself.
const END_WAIT: Duration = Duration::from_secs(2);

/// What is measured: one process, or several that do one job together. They end with this value.
pub(crate) struct Processes {
    children: Vec<Child>,
    log: PathBuf,
}

impl Processes {
    /// Starts one process per command. What they say goes to `log`.
    pub(crate) fn start(commands: Vec<Command>, log: &Path) -> io::Result<Processes> {
        let mut processes = Processes { children: Vec::new(), log: log.to_owned() };
        let file = fs::File::create(log)?;
        for mut command in commands {
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);
            processes.children.push(command.spawn()?);
        }
        Ok(processes)
    }

    /// Processor time of all threads, those that have ended included, since the start.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for child in &self.children {
            let clock = clock_getcpuclockid(Pid::from_raw(child.id() as i32))?;
            total += Duration::from(clock.now()?);
        }
        Ok(total)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        self.children.iter().map(|child| resident(child.id())).sum()
    }

    /// Fails when one has ended, with what it said last.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}: {}", last_words(&self.log))));
            }
        }
        Ok(())
    }

    /// What they said, all of it.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &self.children {
            // One that has ended already is still ours until it is waited for: the id cannot be
            // another's.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        }
        let deadline = clock::now() + END_WAIT;
        for child in &mut self.children {
            while clock::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}

/// The end of a log, on one line.
fn last_words(log: &Path) -> String {
    let mut text = String::new();
    let _ = fs::File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(2).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Resident bytes of a process, counted page by page: `VmRSS` is up to some hundred KiB off.
fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no Rss in smaps_rollup"))
}

/// Datagrams that the kernel dropped because the sockets bound to these addresses were full,
/// whosever they are.
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

/// An address as /proc/net/udp shows it: the IP address as the machine's own number, then the port.
fn proc_name(address: &SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}
