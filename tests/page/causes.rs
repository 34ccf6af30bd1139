//! Causes of losses, produced one at a time with the real program: the list of losses, the
//! channel's row and the data of the page's bar all name the same cause.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};

use super::api::Live;
use crate::common::{Running, free_port, get, group, metric, native, sender, until};

/// Starts a relay with a hold of 30 ms.
fn relay((group, port): (Ipv4Addr, u16), receive_buffer: &str) -> (Running, SocketAddr) {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("relay.toml");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"main\"\nformat = \"native\"\nhold = \"30ms\"\n\
         input = \"udp://@{group}:{port}?if=127.0.0.1\"\nreceive_buffer = \"{receive_buffer}\"\n"
    );
    std::fs::write(&config, text).expect("write");
    let mut running = Running::tidecast(["serve", "-c", config.to_str().expect("UTF-8")]);
    let http = running.http();
    (running, http)
}

/// Sends these numbers at this interval.
fn send(to: (Ipv4Addr, u16), numbers: std::ops::Range<u64>, every: Duration) {
    let socket = sender();
    for number in numbers {
        socket.send_to(&native(7, 1, number, &[7; 1000]), to).expect("send");
        std::thread::sleep(every);
    }
}

fn ask(http: SocketAddr, path: &str) -> Value {
    let (status, _, body) = get(http, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Waits until all losses have a cause, and fails unless it is this one, everywhere. Returns the
/// number of losses.
fn all_have_the_cause(http: SocketAddr, cause: &str) -> u64 {
    let lost = metric(http, &["tidecast_packets_lost_total{"]) as u64;
    let parts = |row: &dyn Fn(&str) -> Value| {
        ["", "_network", "_kernel", "_late"].map(|part| row(&format!("recent_lost{part}")))
    };
    let mut expected = [json!(lost), json!(0), json!(0), json!(0)];
    let place = ["network", "kernel", "late"].iter().position(|known| *known == cause).expect("a cause");
    expected[place + 1] = json!(lost);
    until("the channel's row to have it all", || {
        let row = ask(http, "/api/v1/channels")["channels"][0].clone();
        (parts(&|name| row[name].clone()) == expected).then_some(())
    });
    let page = Live::open(http, "", "").next().1;
    assert_eq!(parts(&|name| page["channels"][name][0].clone()), expected, "the page's bar: {page}");
    let losses = ask(http, "/api/v1/losses?channel=main");
    let losses = losses["losses"].as_array().expect("a list");
    let total: u64 = losses.iter().filter_map(|loss| loss["count"].as_u64()).sum();
    assert_eq!(total, lost, "{losses:?}");
    assert!(losses.iter().all(|loss| loss["cause"] == cause), "{losses:?}");
    lost
}

#[test]
fn a_full_receive_buffer_is_the_kernels_doing() {
    let to = (group(), free_port());
    let (mut relay, http) = relay(to, "64KiB");
    send(to, 0..100, Duration::from_millis(2));
    until("the first packets", || {
        (metric(http, &["tidecast_packets_delivered_total{"]) == 100.0).then_some(())
    });
    relay.signal("STOP");
    let stat = format!("/proc/{}/stat", relay.child.id());
    until("it stands still", || {
        let state = std::fs::read_to_string(&stat).expect("it runs");
        state.rsplit(") ").next().is_some_and(|state| state.starts_with('T')).then_some(())
    });
    send(to, 100..700, Duration::ZERO);
    relay.signal("CONT");
    until("what the buffer held", || {
        (metric(http, &["tidecast_packets_delivered_total{"]) > 100.0).then_some(())
    });
    send(to, 700..800, Duration::from_millis(2));
    let (dropped, lost) = until("the gap to be given up", || {
        let delivered = metric(http, &["tidecast_packets_delivered_total{"]);
        let lost = metric(http, &["tidecast_packets_lost_total{"]);
        let dropped = metric(http, &["tidecast_kernel_drops_total{"]);
        (delivered + lost == 800.0).then_some((dropped, lost))
    });
    assert!(lost > 400.0 && dropped == lost, "{lost} lost, {dropped} dropped by the kernel");
    assert_eq!(all_have_the_cause(http, "kernel"), lost as u64);
    relay.stop();
}

#[test]
fn what_comes_after_its_hold_is_late() {
    let (near, far) = ((group(), free_port()), (group(), free_port()));
    let (mut relay, http) = relay(far, "4MiB");
    let address =
        |(group, port): (Ipv4Addr, u16), options| format!("udp://{group}:{port}?if=127.0.0.1{options}");
    // One in twenty is delayed by 300 ms, which is ten times the hold.
    let link = ["impair", &address(near, "").replace("//", "//@"), "--to", &address(far, "&ttl=0")];
    let chances = ["--late", "5%", "--late-by", "300ms", "--seed", "5"];
    let mut link = Running::tidecast(link.into_iter().chain(chances));
    link.wait_for_line("tidecast: ready");
    send(near, 0..1000, Duration::from_millis(2));
    let (late, lost) = until("the last ones", || {
        let received = metric(http, &["tidecast_packets_received_total{", "\"media\""]);
        let held = metric(http, &["tidecast_packets_held{"]);
        // Each counter is queried separately, so the sums are read after the one that shows that
        // all is over.
        let late = metric(http, &["tidecast_packets_discarded_total{", "\"late\""]);
        let lost = metric(http, &["tidecast_packets_lost_total{"]);
        (received == 1000.0 && held == 0.0).then_some((late, lost))
    });
    assert!(lost > 20.0 && late == lost, "{lost} lost, {late} late");
    assert_eq!(all_have_the_cause(http, "late"), lost as u64);
    link.stop();
    relay.stop();
}
