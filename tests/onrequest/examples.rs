//! The subscribers in docs/examples, run as a reader would run them.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::{
    common::{metric, native, sender, until},
    relay,
};

use tidecast_testkit::examples::{compiled, python};

/// Checks that it subscribes, receives whole datagrams in order, unsubscribes, and prints the
/// reason of a refusal.
fn check(command: impl Fn() -> Command) {
    let (mut running, group, port, udp) = relay(&["--tick", "0"]);
    let http = running.http();
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let stop = stop.clone();
        thread::spawn(move || {
            let socket = sender();
            for number in 0.. {
                if stop.load(Relaxed) {
                    return;
                }
                let reading = format!("reading {number}");
                socket.send_to(&native(7, 99, number, reading.as_bytes()), (group, port)).expect("send");
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let (host, udp_port) = (udp.ip().to_string(), udp.port().to_string());
    let mut child = command()
        .args([&host, &udp_port, "cam", "40"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok).collect();
    assert!(child.wait().expect("ends").success());
    stop.store(true, Relaxed);
    producer.join().expect("no panic");
    assert_eq!(lines.len(), 40);
    let numbers = lines.iter().map(|line| {
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).expect("hexadecimal");
        let bytes: Vec<u8> = (0..line.len()).step_by(2).map(byte).collect();
        tidecast_wire::native::Packet::parse(&bytes).expect("a whole datagram").sequence()
    });
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    until("the subscriber to have left", || {
        (metric(http, &["tidecast_subscribers{", "\"udp\""]) == 0.0).then_some(())
    });
    let refused = command().args([&host, &udp_port, "nothing"]).output().expect("runs");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("refused: there is no such stream"), "{text}");
    running.stop();
}

#[test]
fn the_python_subscriber_gets_the_stream() {
    check(|| python("subscriber"));
}

#[test]
fn the_c_subscriber_compiles_without_warnings_and_gets_the_stream() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled("subscriber", directory.path());
    check(|| Command::new(&program));
}
