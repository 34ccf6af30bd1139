//! The delay of packets in the server.

use super::*;

#[test]
fn at_ten_packets_a_second_each_is_with_the_client_within_20_ms() {
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let producer = Producer::new(group, port);
    let mut delays = Vec::new();
    for n in 0..30u64 {
        let sent = now();
        producer.send(n, &n.to_be_bytes());
        assert_eq!(client.read(8), n.to_be_bytes());
        // The first packets wait until the flow's first number is certain.
        delays.push(sent.elapsed());
        thread::sleep(Duration::from_millis(100).saturating_sub(sent.elapsed()));
    }
    let median = median(delays.clone());
    assert!(median < Duration::from_millis(20), "{median:?} of {delays:?}");
}

/// Reads packets of 8 bytes until `last`. Returns the longest silence.
fn longest_silence(client: &mut Answer, last: u64) -> Duration {
    let mut before: Option<Instant> = None;
    let mut longest = Duration::ZERO;
    loop {
        let number = client.read(8);
        let at = now();
        longest = longest.max(before.map_or(Duration::ZERO, |before| at - before));
        before = Some(at);
        if number == last.to_be_bytes() {
            return longest;
        }
    }
}

#[test]
fn at_fifty_packets_a_second_a_lost_one_silences_a_client_for_little_more_than_hold() {
    const INTERVAL: Duration = Duration::from_millis(20);
    const HOLD: Duration = Duration::from_millis(80);
    let (group, port) = (group(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"a\"\nhold = \"80ms\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""
    ));
    let mut client = open(relay.http, "/streams/a");
    let producer = thread::spawn(move || {
        let producer = Producer::new(group, port);
        for n in 0..100u64 {
            // One of twenty is lost, five in total.
            if n % 20 != 10 {
                producer.send(n, &n.to_be_bytes());
            }
            thread::sleep(INTERVAL);
        }
    });
    let silences: Vec<Duration> = (0..5).map(|n| longest_silence(&mut client, n * 20 + 19)).collect();
    producer.join().expect("no panic");
    let median = median(silences.clone());
    let expected = HOLD..HOLD + 2 * INTERVAL + Duration::from_millis(20);
    assert!(expected.contains(&median), "{median:?} of {silences:?}, expected {expected:?}");
    assert_eq!(series(relay.http)["tidecast_packets_lost_total{channel=\"a\"}"], 5.0);
}
