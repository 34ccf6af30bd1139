//! Standard error or standard output that is not read: packets are forwarded, the process ends on
//! request, and missing lines are counted and reported.

use tidecast_testkit::common;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use common::{PATIENCE, free_port, get, group, native, sender, tidecast, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Killed when dropped.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Causes log lines like a stranger could: joins a group and leaves it.
fn join(http: SocketAddr, number: u32) {
    let group = Ipv4Addr::from(u32::from(Ipv4Addr::new(239, 254, 0, 1)) + number);
    let mut stream = TcpStream::connect(http).expect("connect");
    write!(stream, "GET /udp/{group}:5000 HTTP/1.1\r\nHost: {http}\r\n\r\n").expect("write");
    let _ = stream.read(&mut [0; 12]);
}

fn dropped(http: SocketAddr) -> u64 {
    let text = get(http, "/metrics").2;
    let value = text.lines().find_map(|line| line.strip_prefix("tidecast_log_lines_dropped_total "));
    value.expect("the metric").parse().expect("a number")
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (group, port) = (group(), free_port());
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let output = UdpSocket::bind("127.0.0.1:0").expect("bind");
    output.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let to = output.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidecast.toml");
    let config = format!(
        "[http]\nlisten = \"{http}\"\ninterface = \"127.0.0.1\"\nlinger = \"0s\"\n\
         [[channel]]\nname = \"a\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\noutput = \"udp://{to}\"\n"
    );
    std::fs::write(&file, config).expect("write");
    let mut command = tidecast(["serve", "-c", file.to_str().expect("text")]);
    command.env("TIDECAST_LOG", "debug").stderr(Stdio::piped());
    let mut relay = Relay(command.spawn().expect("start"));
    until("the server", || TcpStream::connect(http).ok());
    let (socket, mut number) = (sender(), 0);
    until("dropped lines", || {
        for _ in 0..200 {
            join(http, number);
            socket.send_to(&native(7, 1, number.into(), b"x"), (group, port)).expect("send");
            output.recv(&mut [0; 100]).expect("every packet, though nobody reads the log");
            number += 1;
        }
        (dropped(http) > 0).then_some(())
    });
    // The reader resumes, and gets a report of the missing lines.
    let mut stderr = relay.0.stderr.take().expect("piped");
    let (sent, said) = mpsc::channel();
    thread::spawn(move || {
        let (mut bytes, mut text) = (vec![0; 1 << 16], String::new());
        while let Ok(read @ 1..) = stderr.read(&mut bytes) {
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            if text.contains("lines are missing here") {
                break;
            }
        }
        let _ = sent.send(text);
        // From here on the output is not read again.
        thread::sleep(PATIENCE);
    });
    let text = until("the line that says so", || {
        join(http, 0);
        said.recv_timeout(Duration::from_millis(10)).ok()
    });
    let told = text.lines().find(|line| line.contains("lines are missing here"));
    assert!(told.is_some_and(|line| line.contains(" WARN ")), "{told:?}");
    let before = dropped(http);
    until("a full pipe", || {
        (0..100).for_each(|number| join(http, number));
        (dropped(http) > before).then_some(())
    });
    let process = Pid::from_raw(i32::try_from(relay.0.id()).expect("a process id"));
    kill(process, Signal::SIGTERM).expect("a signal");
    let status = until("the end", || relay.0.try_wait().expect("wait"));
    assert!(status.success(), "{status}");
}

#[test]
fn recv_ends_although_nobody_reads_what_it_writes() {
    let (group, port) = (group(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let mut command = tidecast(["recv", &input, "-o", "-", "--for", "1s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recv = Relay(command.spawn().expect("start"));
    let _unread = recv.0.stdout.take();
    let (socket, mut number) = (sender(), 0);
    // More data than some pipes can hold.
    let status = until("the end", || {
        socket.send_to(&native(7, 1, number, &[7; 8192]), (group, port)).expect("send");
        number += 1;
        recv.0.try_wait().expect("wait")
    });
    let mut said = String::new();
    recv.0.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("lost 0 ") && said.contains("packets were not written"), "{said}");
}

#[test]
fn every_line_is_an_object_where_programs_read_it() {
    let command = tidecast(["serve", "--http", "127.0.0.1:0", "--if", "127.0.0.1", "--log-format", "json"]);
    let mut relay = common::Running::start(command);
    relay.wait_for_line("tidecast: ready");
    relay.stop();
    let text = relay.stderr();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert!(lines.len() > 1, "{text}");
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["fields"]["message"].is_string(), "{line}");
        assert_eq!(line["level"], "INFO", "{line}");
    }
}
