//! The counters are right and consistent.

use super::*;

/// Sends 1000 numbered packets with known faults, and invalid datagrams.
fn send_with_faults(producer: &Producer) {
    for n in 0..1000u64 {
        match n {
            // Lost.
            100 | 200 | 300..=304 => {}
            // Swapped with the next one.
            400 => producer.send(401, b"x"),
            401 => producer.send(400, b"x"),
            // Twice.
            500..=509 => {
                producer.send(n, b"x");
                producer.send(n, b"x");
            }
            n => producer.send(n, b"x"),
        }
        if n % 10 == 9 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    let mut damaged = producer.datagram(Kind::Data, 1000, b"x");
    damaged[30] ^= 1;
    for _ in 0..3 {
        producer.send_bytes(&damaged);
    }
    producer.send_bytes(&[0x80, 33, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    producer.send_bytes(&producer.datagram(Kind::Heartbeat, 1000, b""));
}

#[test]
fn the_counters_are_what_was_sent_and_add_up() {
    let (group, port, target) = (group(), free_port(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"a\"\nformat = \"native\"\nhold = \"100ms\"\n\
         input = \"udp://@{group}:{port}?if=127.0.0.1\"\noutput = \"udp://127.0.0.1:{target}\""
    ));
    let mut client = open(relay.http, "/streams/a");
    let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, target)).expect("bind");
    send_with_faults(&Producer::new(group, port));
    assert_eq!(client.read(993), [b'x'; 993]);
    let lost = |series: &BTreeMap<String, f64>| sum(series, "tidecast_packets_lost_total", "");
    until("the last packet has its fate", || lost(&series(relay.http)) == 7.0);
    let series = series(relay.http);
    let of = |metric: &str, label: &str| sum(&series, &format!("tidecast_{metric}"), label);
    for (metric, label, value) in [
        ("packets_received_total", "kind=\"media\"", 993.0 + 10.0 + 3.0 + 1.0),
        ("packets_received_total", "kind=\"control\"", 1.0),
        ("packets_received_total", "kind=\"repair\"", 0.0),
        ("packets_delivered_total", "", 993.0),
        ("numbers_expected_total", "", 1000.0),
        ("packets_lost_total", "", 7.0),
        ("packets_recovered_total", "", 0.0),
        ("packets_reordered_total", "", 1.0),
        ("packets_discarded_total", "reason=\"duplicate\"", 10.0),
        ("packets_discarded_total", "reason=\"corrupt\"", 3.0),
        ("packets_discarded_total", "reason=\"foreign\"", 1.0),
        ("packets_discarded_total", "", 14.0),
        ("invalid_datagrams_total", "", 4.0),
        ("kernel_drops_total", "", 0.0),
        ("sessions_total", "", 1.0),
        ("packets_held", "", 0.0),
        ("flows", "", 1.0),
        ("subscribers", "transport=\"http\"", 1.0),
        ("output_packets_total", "output=\"http\"", 993.0),
        ("output_bytes_total", "output=\"http\"", 993.0),
        ("output_packets_total", &format!("output=\"udp://127.0.0.1:{target}\""), 993.0),
        ("output_dropped_packets_total", "", 0.0),
    ] {
        assert_eq!(of(metric, label), value, "{metric} {label}");
    }
    // The swapped pair waits only if the losses before it have been given up by then.
    assert!((3.0..=4.0).contains(&of("gap_wait_seconds_count", "")));
    let media = of("packets_received_total", "kind=\"media\"") + of("packets_recovered_total", "");
    let fates =
        of("packets_delivered_total", "") + of("packets_discarded_total", "") + of("packets_held", "");
    assert_eq!(media, fates);
    drop(listener);
    let channel = &state(relay.http)["channels"][0];
    assert_eq!(channel["counters"]["delivered"], 993);
    assert_eq!((&channel["flows"][0]["flow"], &channel["flows"][0]["session"]), (&"7".into(), &1.into()));
    assert_eq!((&channel["legs"][0]["state"], &channel["path"]), (&"joined".into(), &"/streams/a".into()));
    if have("promtool") {
        promtool_has_nothing_to_say(&get(relay.http, "/metrics").2);
    }
}

fn promtool_has_nothing_to_say(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool");
    child.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("promtool");
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
}
