//! All faults at the same time, as the channels of one relay, with every kind of tick and several
//! packet threads. Only content and counters are compared, which delays of the machine must not
//! affect.

use std::{
    fmt::Write as _,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    INTERVAL,
    case::{Case, FAULTS, Fault, Script, Wire},
    common::{self, Running, stamped::Collector},
};

struct Channel {
    case: Case,
    script: Script,
    to: (std::net::Ipv4Addr, u16),
    sender: UdpSocket,
    output: Collector,
}

impl Channel {
    fn new(case: Case) -> Channel {
        let to = (common::group(), common::free_port());
        Channel { case, script: case.script(), to, sender: common::sender(), output: Collector::unicast() }
    }

    fn configuration(&self, index: usize) -> String {
        let (scheme, format) = self.case.input();
        let ((group, port), output) = (self.to, self.output.addr);
        format!(
            "[[channel]]\nname = \"c{index}\"\ninput = \"{scheme}://@{group}:{port}?if=127.0.0.1\"\n\
             format = \"{format}\"\nhold = \"150ms\"\noutput = \"udp://{output}\"\n"
        )
    }

    /// Compares the relay's counters with the script.
    fn counted(&self, state: &Value) -> Result<(), String> {
        let script = &self.script;
        for (key, expected) in [
            ("/legs/0/kernel_drops", 0), // first: it would explain the others
            ("/counters/media_received", script.steps.len() as u64),
            ("/counters/delivered", script.expected.len() as u64),
            ("/counters/lost", script.dropped),
            ("/counters/duplicate", script.duplicates),
            ("/counters/rejected", script.forged),
            ("/counters/late", 0),
            ("/counters/corrupt", 0),
            ("/counters/foreign", 0),
            ("/outputs/0/packets", script.expected.len() as u64),
        ] {
            let counted = state.pointer(key);
            if counted.and_then(Value::as_u64) != Some(expected) {
                return Err(format!("{}: {key} is {counted:?}, expected {expected}", self.case));
            }
        }
        Ok(())
    }

    /// Compares the output with the script.
    fn came_out(self) -> Result<(), String> {
        let received = self.output.finish();
        let bytes: Vec<&[u8]> = received.iter().map(|datagram| &*datagram.bytes).collect();
        match self.script.difference(&bytes) {
            Some(wrong) => Err(format!("{}: {wrong}", self.case)),
            None => Ok(()),
        }
    }
}

fn channels(tick: &'static str) -> Vec<Channel> {
    let mut channels = Vec::new();
    for wire in [Wire::Rtp, Wire::Native, Wire::Custom] {
        for fault in FAULTS {
            if wire == Wire::Custom && matches!(fault, Fault::NewRun(_)) {
                continue; // the format has no sessions
            }
            channels.push(Channel::new(Case { wire, fault, tick, start: 65_536 - 300 }));
        }
    }
    channels
}

/// Sends one packet of each channel every [`INTERVAL`].
fn send(channels: &[Channel]) {
    let steps = channels.iter().map(|channel| channel.script.steps.len()).max().unwrap_or(0);
    let start = common::now();
    for step in 0..steps {
        for channel in channels {
            if let Some(datagram) = channel.script.steps.get(step) {
                channel.sender.send_to(datagram, channel.to).expect("sent");
            }
        }
        let due = start + INTERVAL * (step as u32 + 1);
        thread::sleep(due.saturating_duration_since(common::now()));
    }
}

fn all_faults_together(tick: &'static str, threads: usize) {
    let channels = channels(tick);
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("relay.toml");
    let mut text =
        format!("tick = \"{tick}\"\nthreads = {threads}\n[http]\nlisten = \"127.0.0.1:0\"\nallow = []\n");
    for (index, channel) in channels.iter().enumerate() {
        write!(text, "{}", channel.configuration(index)).expect("a string");
    }
    std::fs::write(&file, text).expect("written");
    let mut relay = Running::tidecast(["serve", "-c", &file.display().to_string()]);
    let http = relay.http();
    let busy = relay.threads_named("packets-");
    assert_eq!(busy, threads, "packet threads");

    send(&channels);
    for channel in &channels {
        channel.output.wait_for(channel.script.expected.len(), Duration::from_secs(2));
    }
    let mut failures = miscounts(http, &channels);
    let said = relay.stop();
    failures.extend(channels.into_iter().filter_map(|channel| channel.came_out().err()));
    assert!(failures.is_empty(), "{} failed:\n{}\nrelay:\n{said}", failures.len(), failures.join("\n"));
}

/// Returns the counters that are not as expected. Packets that are still under probation at the
/// end are counted only after a while.
fn miscounts(http: SocketAddr, channels: &[Channel]) -> Vec<String> {
    let start = common::now();
    loop {
        let (status, _, body) = common::get(http, "/api/v1/streams");
        assert_eq!(status, 200);
        let mut state: Value = serde_json::from_str(&body).expect("JSON");
        let states: Vec<Value> = serde_json::from_value(state["channels"].take()).expect("a list");
        assert_eq!(states.len(), channels.len());
        let counted = channels.iter().zip(&states).map(|(channel, state)| channel.counted(state));
        let failures: Vec<String> = counted.filter_map(Result::err).collect();
        if failures.is_empty() || start.elapsed() > Duration::from_secs(3) {
            return failures;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_a_tick_on_three_threads() {
    all_faults_together("0", 3);
}

#[test]
fn with_a_short_tick_on_one_thread() {
    all_faults_together("1ms", 1);
}

#[test]
fn with_the_usual_tick_on_four_threads() {
    all_faults_together("5ms", 4);
}

#[test]
fn with_the_longest_tick_on_two_threads() {
    all_faults_together("100ms", 2);
}
