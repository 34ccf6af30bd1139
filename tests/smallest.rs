//! The smallest build, without the parts that a small router does not need: it serves groups on
//! demand, like udpxy.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tidecast_testkit::common::{PATIENCE, Running, free_port, get, group, native, sender};

/// Builds it in a separate folder, so that the program that other tests run stays unchanged;
/// unoptimised, to be quick.
fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smallest");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--locked", "--no-default-features"]);
    cargo.arg("--target-dir").arg(&folder);
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    let built = cargo.output().expect("cargo");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && !said.contains("generated"), "{said}");
    folder.join("debug/tidecast")
}

#[test]
fn the_smallest_build_plays_a_group_on_demand() {
    let program = build();
    let mut command = Command::new(&program);
    command.args(["serve", "--http", "127.0.0.1:0", "--if", "127.0.0.1", "--allow", "239.255.0.0/16"]);
    let mut running = Running::start(command);
    let http = running.http();
    let (group, port) = (group(), free_port());

    let mut player = TcpStream::connect(http).expect("connect");
    player.set_read_timeout(Some(PATIENCE)).expect("timeout");
    write!(player, "GET /udp/{group}:{port} HTTP/1.1\r\nHost: {http}\r\n\r\n").expect("write");
    let producer = thread::spawn(move || {
        for number in 0..200 {
            let payload = format!("reading {number}\n");
            sender().send_to(&native(7, 99, number, payload.as_bytes()), (group, port)).expect("send");
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut answer = String::new();
    while !answer.contains("reading 150\n") {
        let mut buffer = [0; 4096];
        let count = player.read(&mut buffer).expect("read");
        assert!(count > 0, "ended early: {answer}");
        answer += &String::from_utf8_lossy(&buffer[..count]);
    }
    producer.join().expect("no panic");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let readings: Vec<&str> = answer.lines().filter(|line| line.starts_with("reading ")).collect();
    assert!(readings.len() > 50, "{answer}");

    let (_, _, index) = get(http, "/");
    assert!(index.contains("/udp/[SOURCE@]GROUP:PORT") && !index.contains("socket.io"), "{index}");
    assert_eq!(get(http, "/socket.io/?EIO=4&transport=polling").0, 404);
    assert_eq!(get(http, "/favicon.ico").0, 404);
    let watch = Command::new(&program).args(["serve", "--watch"]).output().expect("runs");
    assert!(
        !watch.status.success() && String::from_utf8_lossy(&watch.stderr).contains("unexpected argument")
    );
    let probe = Command::new(&program).arg("probe").output().expect("runs");
    assert!(!probe.status.success() && String::from_utf8_lossy(&probe.stderr).contains("unrecognized"));
    running.stop();
}
