//! Two legs with the real binary, each with a different group, port and sender, one of them
//! source-specific. One is silent for a while and returns, both lose packets, and the counters
//! show which leg missed which.

use std::{net::Ipv4Addr, thread, time::Duration};

use serde_json::Value;

use crate::common::{Running, free_port, get, group, metric, native, now, sender, stamped::Collector, until};

const PACKETS: u64 = 3000;
const INTERVAL: Duration = Duration::from_millis(2);

/// Returns whether this packet is lost on this leg.
fn gone(leg: usize, n: u64) -> bool {
    // From 1,000 to 1,999 the first leg is down, and at 2,500 both lose one.
    match leg {
        0 => (1000..2000).contains(&n) || n % 97 == 50 || n == 2500,
        _ => (!(900..2100).contains(&n) && n % 89 == 40) || n == 2500,
    }
}

fn legs(http: std::net::SocketAddr) -> Value {
    let (status, _, body) = get(http, "/api/v1/streams");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).expect("JSON")["channels"][0]["legs"].clone()
}

#[test]
fn two_legs_are_one_stream_and_say_what_each_missed() {
    let [first, second] = [(group(), free_port()), (Ipv4Addr::new(232, 255, 7, 9), free_port())];
    let output = Collector::unicast();
    let inputs = [
        format!("udp://@{}:{}?if=127.0.0.1", first.0, first.1),
        format!("udp://127.0.0.1@{}:{}?if=127.0.0.1", second.0, second.1),
    ];
    let to = format!("udp://{}", output.addr);
    let mut relay = Running::tidecast([
        "relay",
        &inputs[0],
        &inputs[1],
        "--format",
        "native",
        "--to",
        &to,
        "--http",
        "127.0.0.1:0",
    ]);
    let http = relay.http();
    let senders = [sender(), sender()];
    let mut sent = [0_u64; 2];
    let start = now();
    for n in 0..PACKETS {
        thread::sleep((INTERVAL * n as u32).saturating_sub(start.elapsed()));
        let packet = native(1, 1, n, &n.to_be_bytes());
        for (leg, to) in [first, second].into_iter().enumerate() {
            if !gone(leg, n) {
                senders[leg].send_to(&packet, to).expect("send");
                sent[leg] += 1;
            }
        }
        if n == 1990 {
            let skew = metric(http, &["tidecast_leg_skew_seconds{", &inputs[1]]);
            assert!(skew < 0.5, "the leg that is alone is the first: {skew}");
        }
    }
    assert!(output.wait_for(PACKETS as usize - 1, Duration::from_secs(5)), "{} came", output.count());
    // Packets that no leg delivers are counted within the maximum hold and a second.
    let missed = |leg: usize| (0..PACKETS).filter(|n| gone(leg, *n) && !gone(1 - leg, *n)).count() as u64;
    until("the last numbers to be judged", || {
        let legs = legs(http);
        (legs[0]["missed"] == missed(0) && legs[1]["missed"] == missed(1)).then_some(())
    });
    thread::sleep(Duration::from_millis(1200));
    let legs = legs(http);
    for leg in 0..2 {
        assert_eq!(
            (&legs[leg]["media"], &legs[leg]["missed"]),
            (&sent[leg].into(), &missed(leg).into()),
            "{legs}"
        );
        assert_eq!(metric(http, &["tidecast_leg_missed_packets_total{", &inputs[leg]]), missed(leg) as f64);
        assert_eq!(legs[leg]["kernel_drops"], 0);
    }
    let count = |name| legs[0][name].as_u64().expect("a count") + legs[1][name].as_u64().expect("a count");
    assert_eq!(count("first"), PACKETS - 1, "{legs}");
    assert!(relay.stop().contains("lost 1,"), "what both lost");
    let numbers: Vec<u64> = output
        .finish()
        .iter()
        .map(|datagram| tidecast_wire::native::Packet::parse(&datagram.bytes).expect("native").sequence())
        .collect();
    assert!(numbers.iter().copied().eq((0..PACKETS).filter(|n| *n != 2500)), "each once and in order");
}
