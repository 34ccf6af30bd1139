//! Groups that are joined while somebody asks for them.

use super::*;

#[test]
fn three_clients_of_a_group_are_one_membership_which_goes_after_the_linger() {
    let (group, port) = (group(), free_port());
    let relay = serve("linger = \"1s\"");
    // The same group in three spellings.
    let paths =
        [format!("/udp/{group}:{port}"), format!("/udp/@{group}%3A{port}"), format!("/udp/{group}%{port}/")];
    let mut clients: Vec<Answer> = paths.iter().map(|path| open(relay.http, path)).collect();
    assert_eq!(memberships(group), 1);
    let channels = &state(relay.http)["channels"];
    assert_eq!(channels.as_array().map(Vec::len), Some(1));
    assert_eq!(channels[0]["name"], format!("udp-{group}-{port}"));
    assert_eq!(channels[0]["subscribers"]["http"]["clients"], 3);
    Producer::new(group, port).send(0, b"reading");
    for client in &mut clients {
        assert_eq!(client.read(7), b"reading");
    }
    clients.truncate(1);
    until("two have left", || state(relay.http)["channels"][0]["subscribers"]["http"]["clients"] == 1);
    thread::sleep(Duration::from_millis(1300));
    assert_eq!(memberships(group), 1);
    clients.clear();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(memberships(group), 1, "within the linger");
    let mut back = open(relay.http, &paths[0]);
    thread::sleep(Duration::from_millis(1300));
    assert_eq!(memberships(group), 1, "somebody has come back");
    Producer::new(group, port).send(1, b"another");
    assert_eq!(back.read(7), b"another");
    drop(back);
    until("the group is left", || memberships(group) == 0);
    let delivered = format!("tidecast_packets_delivered_total{{channel=\"udp-{group}-{port}\"}}");
    assert_eq!(series(relay.http).get(&delivered), Some(&2.0), "counters outlive the channel");
}

#[test]
fn a_missing_interface_delays_its_own_leg_only() {
    let (group, port) = (group(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"a\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n\
         [[channel]]\nname = \"b\"\ninput = \"udp://@{group}:{port}?if=nope0\""
    ));
    let ready = relay.running.stderr();
    assert!(
        ready.contains("ready: 2 channels") && ready.contains("waiting: udp://") && ready.contains("nope0")
    );
    let answer = request(relay.http, "GET", "/readyz");
    assert_eq!(answer.status, 503);
    let reasons = answer.body();
    assert!(reasons.starts_with("b: udp://") && reasons.lines().count() == 1, "{reasons}");
    let mut client = open(relay.http, "/streams/a");
    Producer::new(group, port).send(0, b"reading");
    assert_eq!(client.read(7), b"reading");
}

#[test]
fn a_group_that_cannot_be_joined_now_is_a_503_that_says_why() {
    let address = format!("127.0.0.1:{}", free_port());
    let _relay = Running::tidecast(["serve", "--http", &address, "--if", "nope0"]);
    let answer = request(address.parse().expect("an address"), "GET", &format!("/udp/{}:5000", group()));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    let why = answer.body();
    assert!(why.contains("nope0") && why.lines().count() == 1, "{why}");
}
