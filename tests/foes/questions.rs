//! Clients that repeatedly send requests whose responses are expensive.

use std::{
    io::{Read, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::{
    rig::{Scene, give_way},
    talkers::connect,
};

/// Number of connections with requests at the same time.
const ASKING: usize = 32;
/// Number of flows of the requested channel.
const FLOWS: u32 = 4000;

/// Requests this path and reads the responses, over many connections at once, until the end.
/// Returns how many bytes were received.
fn ask(scene: &Scene, path: &str, over: &AtomicBool) -> u64 {
    let bytes = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..ASKING {
            scope.spawn(|| {
                give_way();
                let question = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", scene.http);
                let mut memory = vec![0; 64 << 10];
                let mut stream = connect(scene.http);
                stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
                while !over.load(Relaxed) {
                    if stream.write_all(question.as_bytes()).is_err() {
                        stream = connect(scene.http); // the connection was refused, or closed
                        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
                    }
                    if let Ok(count) = stream.read(&mut memory) {
                        bytes.fetch_add(count as u64, Relaxed);
                    }
                }
            });
        }
    });
    bytes.into_inner()
}

fn questions(path: &str, bound: u64) {
    let scene = Scene::start("", "", "");
    scene.fill_sensors(FLOWS);
    scene.attack(path, bound, |over| {
        let bytes = ask(&scene, path, over);
        assert!(bytes > 0, "{path}: nobody was answered");
        println!("{path}: {bytes} bytes of answers");
    });
}

#[test]
fn readiness_of_a_channel_with_many_flows() {
    questions("/readyz", 16 << 10);
}

#[test]
fn metrics_of_a_channel_with_many_flows() {
    questions("/metrics", 16 << 10);
}

/// Responses in transit may use 64 MiB.
#[test]
fn states_with_all_their_flows() {
    questions("/api/v1/streams?flows=10000", 80 << 10);
}
