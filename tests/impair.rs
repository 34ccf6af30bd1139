//! `tidecast impair` as a user runs it.

use std::{
    io::{BufRead, BufReader, Read},
    net::UdpSocket,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tidecast_net::clock;

const TIDECAST: &str = env!("CARGO_BIN_EXE_tidecast");

/// Starts `impair` between two ports of `lo`, sends it 200 datagrams 1 ms apart, ends it with
/// `signal` and returns its output.
fn figures(signal: Signal, flags: &str) -> serde_json::Value {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let input = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // free again at once
    let mut impair = Command::new(TIDECAST)
        .args(["impair", &format!("udp://@{input}"), "--to"])
        .arg(format!("udp://{}", receiver.local_addr().unwrap()))
        .args(flags.split(' '))
        .arg("--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(impair.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("tidecast: ready")), "it ended before it was ready");

    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for i in 0..200_u8 {
        sender.send_to(&[i], input).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = clock::now();
    kill(Pid::from_raw(impair.id() as i32), signal).unwrap();
    let mut text = String::new();
    impair.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(impair.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?} to end", asked.elapsed());

    receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let arrived = std::iter::from_fn(|| receiver.recv(&mut [0; 16]).ok()).count();
    let figures: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(figures["received"], 200, "{figures}");
    assert_eq!(figures["forwarded"], arrived, "{figures}");
    figures
}

#[test]
fn signals_end_it_with_exact_figures_which_follow_from_the_seed() {
    let flags = "--loss 20% --burst 2 --duplicate 10% --seed";
    let figures = |signal, seed| figures(signal, &format!("{flags} {seed}"));
    let (first, again) = (figures(Signal::SIGINT, "7"), figures(Signal::SIGTERM, "7"));
    for name in ["dropped", "dropped_media", "duplicated", "reordered"] {
        assert_eq!(first[name], again[name], "{name}");
    }
    assert!(first["dropped"].as_u64() > Some(10), "{first}");
    let other = figures(Signal::SIGTERM, "8");
    assert_ne!((&first["dropped"], &first["duplicated"]), (&other["dropped"], &other["duplicated"]));
}

#[test]
fn every_model_can_be_asked_for_and_the_figures_stay_exact() {
    let flags = "--loss 10% --burst 4 --burst-lengths fixed --late 10% --late-by 30ms --jitter 3ms \
                 --distribution pareto --overtake --outage 20ms --outage-from 50ms --outage-every 100ms --seed 3";
    let figures = figures(Signal::SIGTERM, flags);
    let count = |name: &str| figures[name].as_u64().unwrap();
    // 200 datagrams slightly more than a millisecond apart: there are at least two outages, which
    // drop at most a fifth of them.
    assert!((10..60).contains(&count("cut")), "{figures}");
    assert!(count("dropped") > count("cut") && count("reordered") > 10, "{figures}");
    assert_eq!(count("dropped_media"), count("dropped"), "{figures}");
    assert_eq!(count("reordered_media"), count("reordered"), "there is one flow: {figures}");
}

#[test]
fn wrong_values_are_usage_errors_in_one_line() {
    for (flags, expected) in [
        ("--loss lots", "expected"),
        ("--distance 0", "expected a whole number from 1 to 10000"),
        ("--burst 0.5", "expected a number of at least 1"),
        ("--burst 2.5 --burst-lengths fixed", "burst is 2.5, expected a whole number of packets"),
        ("--burst-lengths any", "[possible values: geometric, fixed]"),
        ("--late 2%", "--late-by <DURATION>"),
        ("--late-by 20ms", "--late <PERCENT>"),
        ("--late 2% --late-by 2m", "late_by is 120s, expected at most 60s"),
        ("--jitter 5ms --distribution normal", "[possible values: uniform, pareto]"),
        ("--distribution pareto", "--jitter <DURATION>"),
        ("--overtake", "--jitter <DURATION>"),
        ("--outage-from 5s", "--outage <DURATION>"),
        (
            "--outage 5s --outage-every 5s",
            "an outage comes every 5s, expected more than the 5s that it lasts",
        ),
    ] {
        let output = Command::new(TIDECAST)
            .args(["impair", "udp://@127.0.0.1:9", "--to", "udp://127.0.0.1:10"])
            .args(flags.split(' '))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
