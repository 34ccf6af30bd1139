//! Helpers for the tests of the real binary: starting it and waiting until it is ready, free ports
//! and groups, plain HTTP, and other programs that may not be installed.
pub mod namespace;
pub mod prometheus;
pub mod stamped;

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub use crate::clock::now;
use tidecast_wire::native;

/// Longer than any step takes on a busy machine; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a port that is currently unused for UDP and TCP, also by other tests of this process.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// Returns the first, even port of `count` consecutive unused ports. They are below the range from
/// which the kernel assigns ports, so that the kernel assigns none of them before the test uses
/// it.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    loop {
        let taken = NEXT.fetch_add(u32::from(count.next_multiple_of(2)), Ordering::Relaxed);
        // Test programs that run at the same time start at different places.
        let place = (std::process::id().wrapping_mul(62).wrapping_add(taken) % (PORTS - 64)) & !1;
        let first = (FIRST + place) as u16;
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// Returns a group that no other test uses at the same time: from the process id and a counter, in
/// 239.255.0.0/16.
pub fn group() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [high, low] = [n / 255 % 256, n % 255 + 1]; // neighbours differ, and none ends in 0
    Ipv4Addr::new(239, 255, high as u8, low as u8)
}

/// Returns the path of the program that Cargo built beside the tests.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().find(|folder| folder.join("tidecast").is_file());
    folder.unwrap_or_else(|| panic!("no tidecast above {}", test.display())).join("tidecast")
}

/// Returns the command `tidecast ARGS`, not started.
pub fn tidecast<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    command
}

/// A running program, whose standard error is collected line by line. Killed when dropped.
pub struct Running {
    pub child: Child,
    name: String,
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        command.stdin(Stdio::null());
        Running::spawn(command)
    }

    /// Starts a program with a pipe to its standard input.
    pub fn start_with_input(mut command: Command) -> Running {
        command.stdin(Stdio::piped());
        Running::spawn(command)
    }

    fn spawn(mut command: Command) -> Running {
        let name = format!("{command:?}");
        command.stderr(Stdio::piped());
        // The summary of `recv --json` on standard output is collected among the lines of the log.
        let args: Vec<&OsStr> = command.get_args().collect();
        let summary = ["recv", "--json"].iter().all(|word| args.iter().any(|arg| arg == word));
        if summary {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let stdout = child.stdout.take_if(|_| summary).map(BufReader::new);
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let into = lines.clone();
        let reader = thread::spawn(move || {
            let push = |line: Vec<u8>| {
                into.lock().expect("no panic").push_back(String::from_utf8_lossy(&line).into_owned());
            };
            // Both outputs are read at the same time, so that a long summary does not wait for the
            // end of the log.
            thread::scope(|scope| {
                scope.spawn(|| {
                    let stdout = stdout.into_iter().flat_map(|stdout| stdout.split(b'\n'));
                    stdout.map_while(Result::ok).for_each(push);
                });
                stderr.split(b'\n').map_while(Result::ok).for_each(push);
            });
        });
        Running { child, name, lines, reader: Some(reader) }
    }

    /// Starts `tidecast ARGS` and waits for its ready line.
    pub fn tidecast<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Running {
        let mut running = Running::start(tidecast(args));
        running.wait_for_line("tidecast: ready");
        running
    }

    /// Returns the text written to standard error so far.
    pub fn stderr(&self) -> String {
        self.lines.lock().expect("no panic").iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let start = now();
        loop {
            let ended = self.child.try_wait().expect("wait");
            if let Some(reader) = self.reader.take_if(|_| ended.is_some()) {
                reader.join().expect("no panic"); // the whole output
            }
            if let Some(line) = self.lines.lock().expect("no panic").iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "{}: no {text:?} ({ended:?}), standard error:\n{}",
                self.name,
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the address of its HTTP server, once it is ready.
    pub fn http(&mut self) -> SocketAddr {
        let ready = self.wait_for_line("tidecast: ready");
        let address = ready.split("http://").nth(1).and_then(|rest| rest.split([' ', ';']).next());
        address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address: {ready}"))
    }

    /// Returns the number of its threads whose names start with `prefix`.
    pub fn threads_named(&self, prefix: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        tasks.flatten().filter_map(name).filter(|name| name.starts_with(prefix)).count()
    }

    pub fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill").success());
    }

    /// Waits for the end, at most [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let start = now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                if let Some(reader) = self.reader.take() {
                    reader.join().expect("no panic");
                }
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{}: does not end:\n{}", self.name, self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Requests an orderly end with SIGINT, waits for it, and returns all of standard error.
    pub fn stop(&mut self) -> String {
        self.signal("INT");
        let status = self.wait();
        assert!(status.success(), "{}: {status}:\n{}", self.name, self.stderr());
        self.stderr()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- standard error of {}:\n{}", self.name, self.stderr());
        }
    }
}

/// Calls `ask` repeatedly until it returns a value, and returns that; fails after [`PATIENCE`].
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the sum of a relay's samples whose name and labels contain all of `parts`.
pub fn metric(http: SocketAddr, parts: &[&str]) -> f64 {
    let (status, _, text) = get(http, "/metrics");
    assert_eq!(status, 200, "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let wanted = samples.filter(|line| parts.iter().all(|part| line.contains(part)));
    wanted.map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")).sum()
}

/// Waits until this many HTTP clients receive a stream.
pub fn until_clients(http: SocketAddr, count: u64) {
    until("all HTTP clients", || {
        (metric(http, &["tidecast_subscribers{", "transport=\"http\""]) == count as f64).then_some(())
    });
}

/// Returns a UDP socket that sends to groups on `lo`.
pub fn sender() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bind");
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("interface");
    socket.set_multicast_ttl_v4(0).expect("ttl");
    socket.into()
}

/// Returns a UDP socket that has joined a group on `lo`, with a large buffer and a short read
/// timeout.
pub fn joined(group: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("socket");
    socket.set_reuse_address(true).expect("reuse");
    socket.bind(&SocketAddr::from((group, port)).into()).expect("bind");
    socket.set_multicast_all_v4(false).expect("multicast all");
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("join");
    socket.set_recv_buffer_size(4 << 20).expect("buffer");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
    socket.into()
}

/// Returns a native data packet.
pub fn native(stream: u32, session: u32, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (kind, timestamp) = (native::Kind::Data, tidecast_net::clock::unix_micros());
    native::Repr { kind, flags: 0, stream, session, sequence, timestamp, payload }.emit(&mut out);
    out
}

/// Returns the whole response to `GET path`: status, head and body. For responses that end.
pub fn get(http: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(http).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, head.to_owned(), if chunked { unchunk(body) } else { body.to_owned() })
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        whole.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap_or("");
        if size == 0 {
            break;
        }
    }
    whole
}

/// Returns whether another program is installed. If all are required (`TIDECAST_REQUIRE_PEERS=1`,
/// which `tests/run` sets), a missing one is a failure; otherwise a message says that the test is
/// skipped.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    skip_unless(found, &format!("{program} is not installed"))
}

/// Returns whether an npm package is installed beside the tests by `npm ci --prefix tests`, which
/// `tests/run` does.
pub fn have_npm(package: &str) -> bool {
    let folder = format!("{}/../../tests/node_modules/{package}", env!("CARGO_MANIFEST_DIR"));
    let found = std::path::Path::new(&folder).is_dir();
    skip_unless(found, &format!("the npm package {package} is not installed (npm ci --prefix tests)"))
}

/// Returns whether a Python package is installed.
pub fn have_python(package: &str) -> bool {
    let import = Command::new("python3").args(["-c", &format!("import {package}")]).output();
    let found = import.is_ok_and(|output| output.status.success());
    skip_unless(found, &format!("the Python package {package} is not installed"))
}

/// Returns whether a C header of the system is installed.
pub fn have_header(name: &str) -> bool {
    let found = std::path::Path::new("/usr/include").join(name).is_file();
    skip_unless(found, &format!("the header {name} is not installed"))
}

/// Returns whether this test may create network namespaces. Root privileges cannot be provided by
/// `tests/run`, so for other users a message says that the test is skipped.
pub fn is_root() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    if !root {
        skipped("needs root for network namespaces");
    }
    root
}

fn skip_unless(met: bool, why: &str) -> bool {
    if !met {
        assert!(std::env::var_os("TIDECAST_REQUIRE_PEERS").is_none(), "{why}");
        skipped(why);
    }
    met
}

/// Prints the message even if the output of passing tests is hidden.
fn skipped(why: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {why}"); // the reader may be gone
}
