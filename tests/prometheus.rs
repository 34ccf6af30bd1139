//! A real Prometheus scrapes a relay after bad links: its figures are consistent, and equal those
//! of the links.

use tidecast_testkit::common;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use common::{Running, free_port, get, group, have, metric, prometheus::Prometheus, sender, until};
use tidecast_link::{Impairments, Link};
use tidecast_net::clock;

/// Number of media packets per channel.
const PACKETS: u64 = 2400;
const LOSS: u32 = 3;
const REORDER: u32 = 4;
const DISTANCE: u32 = 6;
const DUPLICATE: u32 = 2;

/// A bad link to one channel of the relay.
struct BadLink {
    name: &'static str,
    from: (Ipv4Addr, u16),
    running: Running,
}

impl BadLink {
    fn start(name: &'static str, to: (Ipv4Addr, u16), seed: u64) -> BadLink {
        let from = (group(), free_port());
        let mut impair = common::tidecast([
            "impair",
            &format!("udp://@{}:{}?if=127.0.0.1", from.0, from.1),
            "--to",
            &format!("udp://{}:{}?ttl=0&if=127.0.0.1", to.0, to.1),
        ]);
        for (option, percent) in [("--loss", LOSS), ("--reorder", REORDER), ("--duplicate", DUPLICATE)] {
            impair.args([option, &format!("{percent}%")]);
        }
        impair.args(["--distance", &DISTANCE.to_string(), "--seed", &seed.to_string(), "--json"]);
        impair.stdout(Stdio::piped());
        let mut running = Running::start(impair);
        running.wait_for_line("tidecast: ready");
        BadLink { name, from, running }
    }

    /// Starts sensors that send to it.
    fn sensors(&self, options: &[&str]) -> Running {
        let mut send = common::tidecast(["send", "--sensor", "3", "--interval", "3ms"]);
        send.args(["--count", &PACKETS.to_string()]).args(options);
        send.arg(format!("udp://{}:{}?ttl=0&if=127.0.0.1", self.from.0, self.from.1));
        Running::start(send)
    }

    /// Ends the link. Returns its figures.
    fn figures(&mut self) -> serde_json::Value {
        self.running.stop();
        let mut text = String::new();
        self.running.child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
        let figures: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let elsewhere = (&figures["kernel_drops"], &figures["overflowed"], &figures["outputs"][0]["dropped"]);
        assert_eq!(
            elsewhere,
            (&0.into(), &0.into(), &0.into()),
            "{}: losses that are not the link's",
            self.name
        );
        figures
    }
}

/// Returns a seed whose link passes the first packets and the last one in order: RTP packets that
/// are lost before the first received one or after the last cannot be detected.
fn seed_with_both_ends() -> u64 {
    let share = |percent| f64::from(percent) / 100.0;
    let impairments = Impairments {
        loss: share(LOSS),
        reorder: share(REORDER),
        distance: DISTANCE,
        duplicate: share(DUPLICATE),
        ..Impairments::default()
    };
    let passes = |seed: &u64| {
        let (now, mut link) = (clock::now(), Link::new(impairments, *seed));
        for number in 0..PACKETS {
            link.push(now, number);
        }
        let out: Vec<u64> = std::iter::from_fn(|| link.pop(now)).collect();
        out.starts_with(&[0, 1, 2, 3, 4, 5]) && out.last() == Some(&(PACKETS - 1))
    };
    (1..).find(passes).expect("most seeds do")
}

/// Sends RTP across the wrap of its numbers, a packet per millisecond.
fn send_rtp(to: (Ipv4Addr, u16)) {
    let socket = sender();
    for number in 0..PACKETS {
        let mut packet = vec![0x80, 96];
        packet.extend((64_000 + number as u32).to_be_bytes()[2..].iter());
        packet.extend((number as u32 * 90).to_be_bytes());
        packet.extend(0x7C0F_FEE0_u32.to_be_bytes());
        packet.extend([number as u8; 100]);
        socket.send_to(&packet, to).expect("send");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the value of an expression per channel.
fn ask(prometheus: &Prometheus, expression: &str) -> BTreeMap<String, f64> {
    let value = |result: &serde_json::Value| result["value"][1].as_str()?.parse().ok();
    let results = prometheus.query(expression);
    results
        .iter()
        .map(|result| {
            let channel = result["metric"]["channel"].as_str().unwrap_or_default();
            (channel.to_owned(), value(result).expect("a number"))
        })
        .collect()
}

/// Returns the sum of a metric's series per channel.
fn sum(prometheus: &Prometheus, series: &str) -> BTreeMap<String, f64> {
    ask(prometheus, &format!("sum by (channel) ({series})"))
}

/// A channel's counters in Prometheus.
struct Counted {
    delivered: u64,
    lost: u64,
    recovered: u64,
    reordered: u64,
    duplicates: u64,
    late: u64,
}

#[test]
fn what_prometheus_knows_adds_up_and_agrees_with_what_the_links_did() {
    if !have("prometheus") || !have("promtool") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let channels = [("native", 7), ("fec", 8), ("rtp", seed_with_both_ends())];
    let mut text = format!("[http]\nlisten = \"{http}\"\n");
    let inputs = channels.map(|_| (group(), free_port()));
    for ((name, _), (group, port)) in channels.iter().zip(&inputs) {
        text += &format!(
            "[[channel]]\nname = \"{name}\"\nhold = \"2s\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n"
        );
    }
    let config = folder.path().join("relay.toml");
    fs::write(&config, text).expect("write");
    let mut relay = Running::tidecast(["serve".as_ref(), "-c".as_ref(), config.as_os_str()]);
    let prometheus = Prometheus::start(&[http]);
    let mut links: Vec<BadLink> =
        channels.iter().zip(inputs).map(|((name, seed), to)| BadLink::start(name, to, *seed)).collect();

    let senders = [links[0].sensors(&["--stream", "1"]), links[1].sensors(&["--fec", "10,2"])];
    send_rtp(links[2].from);
    for mut sender in senders {
        assert!(sender.wait().success(), "{}", sender.stderr());
    }
    for (name, _) in channels {
        let channel = format!("channel=\"{name}\"");
        until(&format!("all numbers of {name}"), || {
            let expected = metric(http, &["tidecast_numbers_expected_total{", &channel]);
            let held = metric(http, &["tidecast_packets_held{", &channel]);
            (expected == PACKETS as f64 && held == 0.0).then_some(())
        });
    }
    // A late copy may still arrive until the links' own end, so Prometheus is queried after it.
    let figures: Vec<serde_json::Value> = links.iter_mut().map(BadLink::figures).collect();
    let forwarded: u64 = figures.iter().map(|figures| figures["forwarded"].as_u64().expect("a count")).sum();
    let received = until("everything that was forwarded in Prometheus", || {
        let received = ask(&prometheus, "sum(tidecast_packets_received_total)").remove("")?;
        (received >= forwarded as f64).then_some(received)
    });
    assert_eq!(received, forwarded as f64);

    promtool_has_nothing_to_say(&get(http, "/metrics").2);
    let zero: BTreeMap<String, f64> = channels.map(|(name, _)| (name.to_owned(), 0.0)).into();
    assert_eq!(sum(&prometheus, "tidecast_kernel_drops_total"), zero, "this machine was too slow");
    for identity in IDENTITIES {
        assert_eq!(ask(&prometheus, identity), zero, "{identity}");
    }
    for (link, figures) in links.iter().zip(&figures) {
        let sum = |series: &str| sum(&prometheus, series).get(link.name).copied().unwrap_or(0.0) as u64;
        let of_link = |name: &str| figures[name].as_u64().expect("a count");
        let counted = Counted {
            delivered: sum("tidecast_packets_delivered_total"),
            lost: sum("tidecast_packets_lost_total"),
            recovered: sum("tidecast_packets_recovered_total"),
            reordered: sum("tidecast_packets_reordered_total"),
            duplicates: sum("tidecast_packets_discarded_total{reason=\"duplicate\"}"),
            late: sum("tidecast_packets_discarded_total{reason=\"late\"}"),
        };
        assert_eq!(of_link("received_media"), PACKETS, "{}: {figures}", link.name);
        for kind in ["media", "repair", "control"] {
            let copies =
                [format!("received_{kind}"), format!("duplicated_{kind}"), format!("dropped_{kind}")];
            let [received, duplicated, dropped] = copies.map(|name| of_link(&name));
            let came = sum(&format!("tidecast_packets_received_total{{kind=\"{kind}\"}}"));
            assert_eq!(came, received + duplicated - dropped, "{} {kind}: {figures}", link.name);
        }
        assert!(of_link("dropped_media") > 20 && of_link("reordered_media") > 20, "{figures}");
        agrees(link.name, &counted, of_link);
    }
    relay.stop();
}

/// Both are 0 per channel at all times; the second only if all packets are numbered.
const IDENTITIES: [&str; 2] = [
    "sum by (channel) (tidecast_packets_received_total{kind=\"media\"}) \
     + sum by (channel) (tidecast_packets_recovered_total) \
     - sum by (channel) (tidecast_packets_delivered_total) \
     - sum by (channel) (tidecast_packets_discarded_total) \
     - sum by (channel) (tidecast_packets_held)",
    "sum by (channel) (tidecast_numbers_expected_total) \
     - sum by (channel) (tidecast_packets_delivered_total) \
     - sum by (channel) (tidecast_packets_lost_total)",
];

/// Compares the relay's counters with the link's.
fn agrees(name: &str, counted: &Counted, of_link: impl Fn(&str) -> u64) {
    let Counted { delivered, lost, recovered, reordered, duplicates, late } = *counted;
    let dropped = of_link("dropped_media");
    let link_reordered = of_link("reordered_media");
    assert_eq!(delivered + lost, PACKETS, "{name}");
    // Packets that arrived although they had been recovered, or given up because their block could
    // not be recovered.
    let needless = (lost + recovered).checked_sub(dropped).expect("all that was dropped was missed");
    assert_eq!(duplicates + late, of_link("duplicated_media") + needless, "{name}");
    if name == "fec" {
        assert!(recovered > dropped / 2, "{recovered} of {dropped} recovered");
        assert!(needless < dropped, "{needless} needless of {dropped}");
        assert!(
            (link_reordered - needless..=link_reordered).contains(&reordered),
            "{reordered} {link_reordered}"
        );
    } else {
        assert_eq!((recovered, needless, late), (0, 0, 0), "{name}");
        assert_eq!(reordered, link_reordered, "{name}");
    }
}

fn promtool_has_nothing_to_say(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool");
    promtool.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("write");
    let out = promtool.wait_with_output().expect("wait");
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
