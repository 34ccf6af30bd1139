//! Groups that are joined while clients request them.

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

/// Programs get groups on demand like players: the first one causes the join, and the group is
/// left when the last one has disconnected.
#[test]
fn programs_ask_for_groups_over_websocket_events_and_tcp() {
    let (group, port, tcp) = (group(), free_port(), free_port());
    let relay = serve(&format!("linger = \"0s\"\n[tcp]\nlisten = \"127.0.0.1:{tcp}\""));
    let path = format!("udp/{group}:{port}");
    for wrong in ["/sse/udp/232.1.1.1:5000", "/sse/rtp/10.0.0.1:5000", "/ws/udp/232.1.1.1:5000"] {
        assert_eq!(request(relay.http, "GET", wrong).status, 403, "{wrong}");
    }
    assert_eq!(request(relay.http, "GET", "/sse/udp/239.1.1.1").status, 400);
    assert_eq!(request(relay.http, "HEAD", &format!("/sse/{path}")).status, 200);
    assert_eq!(memberships(group), 0, "HEAD joins nothing");
    let mut events = open(relay.http, &format!("/sse/{path}"));
    assert_eq!(memberships(group), 1);
    let websocket = |query: &str| {
        let stream = TcpStream::connect(relay.http).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        tungstenite::client(format!("ws://{}/ws/{path}{query}", relay.http), stream).expect("a WebSocket").0
    };
    let (mut json, mut raw) = (websocket("?format=json"), websocket("?format=raw"));
    let mut lines = TcpStream::connect(("127.0.0.1", tcp)).expect("connect");
    lines.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut answers = std::io::BufReader::new(lines.try_clone().expect("clone"));
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut answers, &mut line).expect("a line");
        line
    };
    lines.write_all(b"SUBSCRIBE /udp/232.1.1.1:5000 format=lines\n").expect("write");
    assert!(line().starts_with("ERR group 232.1.1.1 is not allowed here"));
    lines.write_all(format!("SUBSCRIBE /{path} format=lines\n").as_bytes()).expect("write");
    assert_eq!(line(), format!("OK {{\"format\":\"lines\",\"id\":0,\"name\":\"/{path}\"}}\n"));
    let subscribed = |transport: &str| {
        state(relay.http)["channels"][0]["subscribers"][transport]["clients"].as_u64().unwrap_or(0)
    };
    until("everybody", || subscribed("websocket") == 2 && subscribed("sse") == 1 && subscribed("tcp") == 1);
    assert_eq!(memberships(group), 1, "one for all");
    Producer::new(group, port).send(0, b"21.5");
    // The start of the flow is reported first.
    let is_it = |text: &str| {
        let message: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let is_packet = message["type"] == "packet";
        assert!(!is_packet || message["payload"] == 21.5, "{text}");
        is_packet
    };
    while !is_it(json.read().expect("a message").to_text().expect("text")) {}
    assert_eq!(&raw.read().expect("a message").into_data()[..], b"21.5");
    while !is_it(&line()) {}
    let mut event = || {
        let mut event = Vec::new();
        while !event.ends_with(b"\n\n") {
            event.extend(events.read(1));
        }
        let event = String::from_utf8(event).expect("UTF-8");
        event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data").to_owned()
    };
    while !is_it(&event()) {}
    drop((events, json, raw, lines, answers));
    // A TCP client may close its sending side and continue to receive; only a failed write shows
    // that it is gone.
    let (producer, number) = (Producer::new(group, port), std::cell::Cell::new(1));
    until("the group is left", || {
        producer.send(number.replace(number.get() + 1), b"22");
        memberships(group) == 0
    });
}
