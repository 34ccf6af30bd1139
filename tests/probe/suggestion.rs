//! The settings that a probe suggests, applied to relays, recover the losses of the same bad link:
//! ten seeded cases.
//!
//! First sender -> impair -> probe; then sender -> relay that adds the FEC -> impair with the same
//! seed -> relay with the hold -> recv, all with the real programs. RTP passes three links, one
//! for each port.

use std::{io::Read, net::Ipv4Addr, process::Stdio, thread};

use serde_json::Value;

use super::{
    common::{Running, free_port, group, tidecast},
    probed,
};

/// Number of packets that must arrive completely in each case.
const PACKETS: &str = "1500";

/// The stream and the link of a case.
#[derive(Debug, Clone, Copy)]
struct Case {
    seed: u64,
    rtp: bool,
    link: &'static str,
}

const NATIVE: [&str; 2] = ["--loss 3% --burst 3", "--loss 5% --burst 1.5 --reorder 2% --distance 6"];
const RTP: [&str; 2] = ["--loss 1% --burst 1", "--loss 1% --burst 4 --burst-lengths fixed"];

fn cases() -> [Case; 10] {
    std::array::from_fn(|i| {
        let rtp = i % 2 == 1;
        let link = if rtp { RTP[i / 2 % 2] } else { NATIVE[i / 2 % 2] };
        Case { seed: 1000 + i as u64, rtp, link }
    })
}

/// An address on `lo`; the two higher ports that FEC uses are free, too, because each address has
/// a different group.
#[derive(Debug, Clone, Copy)]
struct Place(Ipv4Addr, u16);

impl Place {
    fn new() -> Place {
        Place(group(), free_port().min(65_000))
    }

    fn above(self, ports: u16) -> Place {
        Place(self.0, self.1 + ports)
    }

    fn output(self, scheme: &str, more: &str) -> String {
        format!("{scheme}://{}:{}?if=127.0.0.1{more}", self.0, self.1)
    }

    fn input(self, scheme: &str) -> String {
        format!("{scheme}://@{}:{}?if=127.0.0.1", self.0, self.1)
    }
}

impl Case {
    fn scheme(self) -> &'static str {
        if self.rtp { "rtp" } else { "udp" }
    }

    fn send(self, to: Place) -> Running {
        let output = to.output(self.scheme(), "");
        let file = super::fixture("test.ts");
        let flags: &[&str] = match self.rtp {
            true => &["--file", &file, "--loop", "--rate", "4M"],
            false => &["--sensor", "1", "--interval", "2500us"],
        };
        Running::start(tidecast([&["send"], flags, &[output.as_str()]].concat()))
    }

    fn impair(self, from: Place, to: Place) -> Running {
        let (from, to, seed) = (from.input("udp"), to.output("udp", ""), self.seed.to_string());
        let flags: Vec<&str> = self.link.split(' ').collect();
        let mut command =
            tidecast([&["impair", &from, "--to", &to, "--json", "--seed", &seed], &flags[..]].concat());
        command.stdout(Stdio::piped());
        let mut link = Running::start(command);
        link.wait_for_line("tidecast: ready");
        link
    }

    /// Returns the probe's suggestion after the link.
    fn suggestion(self) -> Value {
        let (near, far) = (Place::new(), Place::new());
        let _link = self.impair(near, far);
        let _sender = self.send(near);
        let report = probed(&[&far.input(self.scheme()), "--for", "5s"]);
        assert!(report["numbers"]["lost"].as_u64() > Some(3), "{self:?}: {report}");
        report["suggestion"].clone()
    }

    /// Returns how many packets stay lost with it, and how many media packets the links dropped.
    fn residual(self, suggestion: &Value) -> (u64, u64) {
        let word = |key: &str| suggestion[key].as_str().unwrap_or_else(|| panic!("{key} in {suggestion}"));
        let (source, near, far, end) = (Place::new(), Place::new(), Place::new(), Place::new());
        let scheme = self.scheme();
        let receiver = ["recv", &end.input(scheme), "--json", "--count", PACKETS, "--for", "20s"];
        let mut receiver = Running::tidecast(receiver);
        let fec = if self.rtp { word("relay_fec") } else { "off" };
        let behind = [
            "relay",
            &far.input(scheme),
            "--hold",
            word("hold"),
            "--fec",
            fec,
            "--to",
            &end.output(scheme, ""),
        ];
        let _behind = Running::tidecast(behind);
        let above: &[u16] = if self.rtp { &[0, 2, 4] } else { &[0] };
        let mut links: Vec<Running> =
            above.iter().map(|up| self.impair(near.above(*up), far.above(*up))).collect();
        let fec = format!("&fec={}", word("output_fec"));
        let _before = Running::tidecast(["relay", &source.input(scheme), "--to", &near.output(scheme, &fec)]);
        let _sender = self.send(source);
        assert!(receiver.wait().success(), "{self:?}");
        let said = receiver.stderr();
        let summary = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
        let summary: Value = serde_json::from_str(summary).expect("JSON");
        assert!(summary["delivered"].as_u64() >= PACKETS.parse().ok(), "{self:?}: {summary}");
        (summary["lost"].as_u64().expect("a count"), taken(&mut links[0]))
    }
}

/// Returns the number of media packets that a link dropped.
fn taken(link: &mut Running) -> u64 {
    link.stop();
    let mut text = String::new();
    link.child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    report["dropped"].as_u64().expect("a count")
}

#[test]
fn it_recovers_what_the_link_takes_in_nine_of_ten_cases() {
    let mut recovered = 0;
    for pair in cases().chunks(2) {
        let running: Vec<_> = pair
            .iter()
            .map(|&case| {
                thread::spawn(move || {
                    let suggestion = case.suggestion();
                    let (lost, taken) = case.residual(&suggestion);
                    println!("{case:?}: {suggestion}: {lost} lost of {taken} taken");
                    assert!(taken > 3, "{case:?}: the link took {taken}");
                    lost == 0
                })
            })
            .collect();
        recovered +=
            running.into_iter().map(|case| usize::from(case.join().expect("no panic"))).sum::<usize>();
    }
    assert!(recovered >= 9, "{recovered} of 10");
}
