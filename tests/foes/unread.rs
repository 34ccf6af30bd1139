//! Clients that do not read the data that they requested.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::rig::Scene;

/// Waits until the attack is over.
fn wait(over: &AtomicBool) {
    while !over.load(Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a request over HTTP, and reads only the beginning of the response.
fn ask(scene: &Scene, path: &str, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(scene.http).expect("connect");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", scene.http).expect("write");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    assert!([&b"200"[..], b"101"].contains(&&first[9..]), "{path}: {}", first.escape_ascii());
    stream
}

#[test]
fn streams_that_nobody_reads() {
    let scene = Scene::start("", "", "");
    // All clients share the memory of waiting data: 8 MiB, and the memory of the encoders.
    let outcome = scene.attack("unread streams", 16 << 10, |over| {
        let _streams: Vec<_> = (0..60).map(|_| ask(&scene, "/streams/feed", "")).collect();
        wait(over);
    });
    println!("{} KiB more", outcome.most - outcome.before);
    let lagged = scene.metric(&["tidecast_output_dropped_packets_total{", "\"http\"", "reason=\"lag\""]);
    println!("{lagged} packets dropped for them, {} clients", scene.metric(&["tidecast_subscribers{"]));
}
