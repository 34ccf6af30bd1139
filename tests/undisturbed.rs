//! A working channel is not affected by other activity: groups that are joined and left, clients
//! that connect and disconnect, on its own thread and on another. Nothing of its stream is
//! missing, skipped as too late, or out of order.

use tidecast_testkit::common;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use common::{Running, stamped::Collector};

const PACKETS: u64 = 6_000;
const INTERVAL: Duration = Duration::from_micros(500);

/// Requests a stream, reads a little of it if there is anything, and disconnects.
fn visit(http: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(http).expect("connected");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: relay\r\n\r\n").expect("asked");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
    let mut head = [0; 512];
    let read = stream.read(&mut head).unwrap_or(0);
    assert!(read == 0 || head.starts_with(b"HTTP/1.0 200"), "{path}: {}", String::from_utf8_lossy(&head));
}

fn send(to: (Ipv4Addr, u16)) {
    let sender = common::sender();
    let start = common::now();
    for number in 0..PACKETS {
        sender.send_to(&common::native(1, 1, number, &number.to_be_bytes()), to).expect("sent");
        let due = start + INTERVAL * (number as u32 + 1);
        thread::sleep(due.saturating_duration_since(common::now()));
    }
}

fn nothing_is_missing(threads: usize) {
    let (to, output) = ((common::group(), common::free_port()), Collector::unicast());
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("relay.toml");
    let text = format!(
        "threads = {threads}\n[http]\nlisten = \"127.0.0.1:0\"\nlinger = \"0\"\ninterface = \"127.0.0.1\"\n\
         [[channel]]\nname = \"steady\"\ninput = \"udp://@{}:{}?if=127.0.0.1\"\nformat = \"native\"\n\
         hold = \"500ms\"\noutput = \"udp://{}\"\n",
        to.0, to.1, output.addr
    );
    std::fs::write(&file, text).expect("written");
    let mut relay = Running::tidecast(["serve", "-c", &file.display().to_string()]);
    let http = relay.http();
    let (over, groups) = (AtomicBool::new(false), common::free_port());
    thread::scope(|scope| {
        for visitor in 0..3 {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    match visitor {
                        0 => visit(http, "/streams/steady"),
                        1 => visit(http, &format!("/udp/{}:{groups}", common::group())),
                        _ => drop(common::get(http, "/metrics")),
                    }
                }
            });
        }
        send(to);
        output.wait_for(PACKETS as usize, Duration::from_secs(2));
        over.store(true, Ordering::Relaxed);
    });
    let said = relay.stop();
    let received = output.finish();
    let numbers: Vec<u64> = received
        .iter()
        .map(|datagram| u64::from_be_bytes(datagram.bytes[28..36].try_into().expect("a number")))
        .collect();
    assert!(numbers.iter().copied().eq(0..PACKETS), "{} of {PACKETS} came\n{said}", numbers.len());
}

#[test]
fn on_the_thread_that_everybody_shares() {
    nothing_is_missing(1);
}

#[test]
fn with_the_others_on_another_thread() {
    nothing_is_missing(2);
}
