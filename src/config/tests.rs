//! Every key, every error, and the examples of the reference.

use proptest::prelude::*;

use super::*;
use crate::address::Scheme;

const DOCS: &str = include_str!("../../docs/configuration.md");

fn error(text: &str) -> String {
    text.parse::<Config>().map_or_else(|errors| errors.to_string(), |_| "no error".to_owned())
}

/// A channel that is fine, with one more line.
fn channel(line: &str) -> String {
    format!("[[channel]]\nname = \"cam\"\ninput = \"udp://@239.1.1.1:5000\"\n{line}\n")
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config: Config = "".parse().unwrap();
    assert_eq!((config.tick, config.threads), (Duration::from_millis(5), 1));
    assert_eq!(config.channels, []);
    let expected = Http {
        listen: "127.0.0.1:8080".parse().unwrap(),
        allow: vec!["239.0.0.0/8".parse().unwrap()],
        clients_max: 1000,
        linger: Duration::from_secs(5),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(600),
        chunk: Duration::from_millis(20),
        lag_max: Duration::from_secs(10),
        start_bytes_max: 8 << 20,
        list_clients: true,
        interface: None,
        origins: vec![],
        fec: Fec::Off,
    };
    assert_eq!(config.http, Some(expected));
    assert_eq!(config.tcp, None);
    assert_eq!(Config::from_serve(&cli::Serve::default()), Ok(config));
}

#[test]
fn a_channel_has_defaults() {
    let config: Config = channel("").parse().unwrap();
    let expected = Channel {
        name: "cam".into(),
        legs: vec![Leg { address: "udp://@239.1.1.1:5000".parse().unwrap() }],
        format: Format::Auto,
        fec: Fec::Off,
        retransmission: Retransmission::Auto,
        hold: Hold::Auto { min: Duration::from_millis(20), max: Duration::from_millis(500) },
        release: Release::Asap,
        limits: Limits {
            flows_max: 16384,
            bytes_max: 64 << 20,
            window_max: 8192,
            flow_idle: Duration::from_secs(300),
        },
        failover: Duration::from_secs(1),
        outputs: vec![],
        recordings: vec![],
        sap: false,
        receive_buffer: None,
    };
    assert_eq!(config.channels, [expected]);
    let (core, default) = (config.channels[0].core(), relay::Config::default());
    assert_eq!(format!("{core:?}"), format!("{default:?}"), "the core has the same defaults");
}

#[test]
fn every_key_arrives() {
    let config: Config = r#"
        tick = "0"
        threads = 4
        [http]
        listen = "[::1]:81"
        allow = ["239.1.0.0/16", "ff15::/16", "232.1.1.1"]
        clients_max = 7
        linger = "0s"
        header_timeout = "2s"
        idle_timeout = "1h"
        chunk = "0"
        lag_max = "1m"
        start_bytes_max = "1MiB"
        list_clients = false
        fec = "auto"
        interface = "10.0.0.1"
        [udp]
        listen = "[::]:4023"
        token = "secret"
        clients_max = 5
        lease = "1m"
        [[channel]]
        name = "A.b_c-9"
        input = ["239.1.1.1:5000", "rtp://10.0.0.5@232.1.1.1:5000?if=eth1"]
        output = ["10.0.0.7:6000", "pcapng:/var/rec?keep=3", "239.2.2.2:5000?ttl=4"]
        hold_min = "1ms"
        hold_max = "10s"
        release = "paced"
        release_delay = "12s"
        failover = "2s"
        fec = "auto"
        retransmission = "off"
        receive_buffer = 1_000_000
        limits = { flows_max = 1, bytes_max = "1MiB", window_max = 0x40, flow_idle = "1h" }
        [[channel]]
        name = "b"
        input = "239.1.1.2:5000"
        format = "mavlink2"
        hold = "80ms"
    "#
    .parse()
    .unwrap();
    assert_eq!((config.tick, config.threads), (Duration::ZERO, 4));
    let http = config.http.unwrap();
    assert_eq!(http.listen, "[::1]:81".parse().unwrap());
    assert_eq!((http.clients_max, http.linger), (7, Duration::ZERO));
    assert_eq!((http.header_timeout, http.idle_timeout), (Duration::from_secs(2), Duration::from_secs(3600)));
    assert_eq!((http.chunk, http.lag_max), (Duration::ZERO, Duration::from_secs(60)));
    assert_eq!((http.start_bytes_max, http.list_clients, http.fec), (1 << 20, false, Fec::Auto));
    assert_eq!(http.interface, Some(Interface::Addr("10.0.0.1".parse().unwrap())));
    for (group, allowed) in [
        ("239.1.255.1", true),
        ("239.2.0.1", false),
        ("232.1.1.1", true),
        ("232.1.1.2", false),
        ("ff15::1", true),
        ("ff16::1", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(http.allows(group.parse().unwrap()), allowed, "{group}");
    }
    let udp = config.udp.unwrap();
    assert_eq!((udp.listen, udp.token.as_deref()), ("[::]:4023".parse().unwrap(), Some("secret")));
    assert_eq!((udp.clients_max, udp.lease), (5, Duration::from_secs(60)));
    let [a, b] = &config.channels[..] else { panic!("{:?}", config.channels) };
    assert_eq!(a.format, Format::Rtp, "an rtp:// leg says so");
    assert_eq!(a.legs[1].address.scheme, Scheme::Rtp);
    assert_eq!(a.outputs[1].ttl, Some(4));
    assert_eq!((a.recordings.len(), a.recordings[0].keep, b.recordings.len()), (1, 3, 0));
    assert_eq!(a.hold, Hold::Auto { min: Duration::from_millis(1), max: Duration::from_secs(10) });
    assert_eq!(
        (a.release, b.release),
        (Release::Paced(Delay::Fixed(Duration::from_secs(12))), Release::Asap)
    );
    assert_eq!((a.failover, a.receive_buffer), (Duration::from_secs(2), Some(1_000_000)));
    assert_eq!((a.fec, b.fec, a.core().fec), (Fec::Auto, Fec::Off, Fec::Auto));
    assert_eq!((a.retransmission, b.retransmission), (Retransmission::Off, Retransmission::Auto));
    let flow_idle = Duration::from_secs(3600);
    assert_eq!(a.limits, Limits { flows_max: 1, bytes_max: 1 << 20, window_max: 64, flow_idle });
    assert_eq!(b.format, "mavlink2".parse().unwrap());
    assert_eq!(b.hold, Hold::Fixed(Duration::from_millis(80)));
}

#[test]
fn wrong_values_name_line_key_value_and_expectation() {
    let cam = "(channel \"cam\")";
    for (line, place, reason) in [
        ("hold = \"fast\"", "hold = \"fast\"", "expected auto or a duration from 0s to 10s, such as 80ms"),
        ("hold = \"11s\"", "hold = \"11s\"", "expected auto or a duration from 0s to 10s, such as 80ms"),
        ("hold = 80", "hold = 80", "expected text in quotes, such as \"80ms\""),
        ("hold_min = \"-1s\"", "hold_min = \"-1s\"", "expected a duration from 0s to 10s, such as \"20ms\""),
        ("hold_max = true", "hold_max = true", "expected a duration from 0s to 10s, such as \"500ms\""),
        ("hold_min = \"1s\"", "hold_min = \"1s\"", "expected hold_min (1s) not above hold_max (500ms)"),
        ("hold_max = \"1ms\"", "hold_max = \"1ms\"", "expected hold_min (20ms) not above hold_max (1ms)"),
        ("release = \"slow\"", "release = \"slow\"", "expected asap or paced"),
        ("release = 1", "release = 1", "expected text in quotes, such as \"paced\""),
        ("release_delay = \"1s\"", "release_delay = \"1s\"", "expected only with release = \"paced\""),
        ("failover = \"49ms\"", "failover = \"49ms\"", "expected a duration from 50ms to 1m, such as \"1s\""),
        (
            "receive_buffer = 1",
            "receive_buffer = 1",
            "expected a number of bytes from 64KiB to 1073741823, such as \"8MiB\"",
        ),
        (
            "receive_buffer = \"big\"",
            "receive_buffer = \"big\"",
            "expected a number of bytes from 64KiB to 1073741823, such as \"8MiB\"",
        ),
        ("limits.flows_max = 0", "limits.flows_max = 0", "expected a whole number from 1 to 1000000"),
        ("limits.flows_max = \"9\"", "limits.flows_max = \"9\"", "expected a whole number from 1 to 1000000"),
        (
            "limits.bytes_max = -1",
            "limits.bytes_max = -1",
            "expected a number of bytes from 1MiB to 64GiB, such as \"8MiB\"",
        ),
        ("limits.window_max = 63", "limits.window_max = 63", "expected a whole number from 64 to 65536"),
        ("limits.window_max = 1.5", "limits.window_max = 1.5", "expected a whole number from 64 to 65536"),
        (
            "limits.flow_idle = \"0\"",
            "limits.flow_idle = \"0\"",
            "expected a duration from 1s to 7days, such as \"5m\"",
        ),
        ("format = 7", "format = 7", "expected text in quotes, such as \"rtp\""),
        ("output = 7", "output = 7", "expected text in quotes, such as \"udp://10.0.0.7:6000\""),
        (
            "output = [\"udp://10.0.0.7:0\"]",
            "output[0] = \"udp://10.0.0.7:0\"",
            "port \"0\": expected 1 to 65535",
        ),
        (
            "output = [\"10.0.0.7:1\", { a = 1 }]",
            "output[1] = { a = 1 }",
            "expected text in quotes, such as \"udp://10.0.0.7:6000\"",
        ),
        ("limits = 5", "limits = 5", "expected a table"),
        ("fec = \"on\"", "fec = \"on\"", "expected off, auto or st2022-1"),
        ("fec = 1", "fec = 1", "expected text in quotes, such as \"st2022-1\""),
        (
            "retransmission = \"yes\"",
            "retransmission = \"yes\"",
            "expected off, auto (rist:// inputs ask) or on (native producers are asked, too)",
        ),
        (
            "retransmission = \"on\"\nformat = \"ts\"",
            "retransmission = \"on\"",
            "expected a rist:// input, or the format auto or native instead of \"ts\": nobody else answers",
        ),
        (
            "fec = \"st2022-1\"\nformat = \"native\"",
            "fec = \"st2022-1\"",
            "expected \"off\", or format = \"rtp\" instead of \"native\"",
        ),
    ] {
        let expected = format!("channel[0].{place} {cam}: {reason}");
        assert_eq!(error(&channel(line)), expected, "{line}");
    }
}

#[test]
fn wrong_values_outside_of_channels() {
    for (text, expected) in [
        ("tick = \"1s\"", "tick = \"1s\": expected a duration from 0s to 100ms, such as \"5ms\""),
        ("tick = 5", "tick = 5: expected a duration from 0s to 100ms, such as \"5ms\""),
        ("threads = 0", "threads = 0: expected a whole number from 1 to 64"),
        (
            "threads = 99999999999999999999",
            "threads = 99999999999999999999: expected a whole number from 1 to 64",
        ),
        ("http = 1", "http = 1: expected a table"),
        (
            "http.listen = \"8080\"",
            "http.listen = \"8080\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off",
        ),
        (
            "http.origins = \"dash.example\"",
            "http.origins = \"dash.example\": expected * or an origin without a path, such as https://dash.example or http://10.0.0.5:3000",
        ),
        (
            "http.origins = [\"https://a/b\"]",
            "http.origins[0] = \"https://a/b\": expected * or an origin without a path, such as https://dash.example or http://10.0.0.5:3000",
        ),
        ("tcp.listen = 9000", "tcp.listen = 9000: expected text in quotes, such as \"127.0.0.1:9000\""),
        (
            "tcp.listen = \"9000\"",
            "tcp.listen = \"9000\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off",
        ),
        ("tcp.clients_max = 0", "tcp.clients_max = 0: expected a whole number from 1 to 100000"),
        ("http.listen = 8080", "http.listen = 8080: expected text in quotes, such as \"127.0.0.1:8080\""),
        ("http.clients_max = 0", "http.clients_max = 0: expected a whole number from 1 to 100000"),
        ("http.linger = \"2h\"", "http.linger = \"2h\": expected a duration from 0s to 1h, such as \"5s\""),
        (
            "http.header_timeout = \"0\"",
            "http.header_timeout = \"0\": expected a duration from 100ms to 5m, such as \"10s\"",
        ),
        (
            "http.idle_timeout = \"forever\"",
            "http.idle_timeout = \"forever\": expected a duration from 1s to 7days, such as \"10m\"",
        ),
        ("http.chunk = 20", "http.chunk = 20: expected a duration from 0s to 1s, such as \"20ms\""),
        ("http.chunk = \"2s\"", "http.chunk = \"2s\": expected a duration from 0s to 1s, such as \"20ms\""),
        (
            "http.lag_max = \"0\"",
            "http.lag_max = \"0\": expected a duration from 500ms to 1h, such as \"10s\"",
        ),
        (
            "http.interface = \"a/b\"",
            "http.interface = \"a/b\": interface \"a/b\": expected a name of 1 to 15 bytes (as `ip link` prints it) or an IP address",
        ),
        (
            "http.allow = [\"all\"]",
            "http.allow[0] = \"all\": expected a prefix of multicast groups, such as \"239.1.0.0/16\" or \"ff15::/16\"",
        ),
        (
            "http.allow = 5",
            "http.allow = 5: expected a prefix of multicast groups, such as \"239.1.0.0/16\" or \"ff15::/16\"",
        ),
        (
            "http.allow = \"0.0.0.0/0\"",
            "http.allow = \"0.0.0.0/0\": expected multicast groups only: inside 224.0.0.0/4 or ff00::/8",
        ),
        (
            "http.allow = [\"239.0.0.0/8\", \"10.0.0.1\"]",
            "http.allow[1] = \"10.0.0.1\": expected multicast groups only: inside 224.0.0.0/4 or ff00::/8",
        ),
        (
            "http.allow = \"239.1.1.1/8\"",
            "http.allow = \"239.1.1.1/8\": expected no bits behind the prefix: 239.0.0.0/8, or 239.1.1.1",
        ),
        (
            "http.listen = \"off\"",
            "http.listen = \"off\": nothing to do, expected HTTP or at least one [[channel]]",
        ),
        ("channel = 5", "channel: one table, expected an array of tables: [[channel]] with two brackets"),
        ("channel = [5]", "channel[0] = 5: expected a table"),
        (
            "[channel]\nname = \"a\"",
            "channel: one table, expected an array of tables: [[channel]] with two brackets",
        ),
        (
            "thread = 2",
            "thread: unknown key, did you mean \"threads\"? (expected one of: tick, threads, burst, http, tcp, udp, channel)",
        ),
        (
            "[https]",
            "https: unknown key, did you mean \"http\"? (expected one of: tick, threads, burst, http, tcp, udp, channel)",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn unknown_keys_get_the_nearest_known_one() {
    for (line, nearest) in [
        (
            "outptu = \"10.0.0.7:6000\"",
            "channel[0].outptu (channel \"cam\"): unknown key, did you mean \"output\"?",
        ),
        ("inputs = []", "channel[0].inputs (channel \"cam\"): unknown key, did you mean \"input\"?"),
        (
            "hold-min = \"1ms\"",
            "channel[0].hold-min (channel \"cam\"): unknown key, did you mean \"hold_min\"?",
        ),
        (
            "limits.flow_max = 1",
            "channel[0].limits.flow_max (channel \"cam\"): unknown key, did you mean \"flows_max\"?",
        ),
    ] {
        assert!(error(&channel(line)).starts_with(nearest), "{line}: {}", error(&channel(line)));
    }
    assert!(error("[http]\nalow = []").starts_with("http.alow: unknown key, did you mean \"allow\"?"));
}

#[test]
fn names_are_safe_in_urls() {
    for name in ["", "a b", "a/b", "ä", ".", "..", &"x".repeat(65)] {
        let text = format!("[[channel]]\nname = \"{name}\"\ninput = \"239.1.1.1:5000\"");
        let expected = format!(
            "channel[0].name = {name:?}: expected a name of 1 to 64 letters, digits, '.', '_' and '-'"
        );
        assert_eq!(error(&text), expected);
    }
    let text = "[[channel]]\nname = 5\ninput = \"239.1.1.1:5000\"";
    assert!(error(text).starts_with("channel[0].name = 5: expected a name of"), "{}", error(text));
}

#[test]
fn missing_keys_are_named() {
    let expected = "\
channel[0].name: missing, expected the channel's name, such as \"camera-1\"
channel[0].input: missing, expected one or more addresses, such as \"udp://@239.1.1.1:5000\"";
    assert_eq!(error("[[channel]]"), expected);
    let expected =
        "channel[0].output (channel \"cam\"): missing, expected one or more addresses, since HTTP is off";
    assert_eq!(error(&format!("http.listen = \"off\"\n{}", channel(""))), expected);
    let text = "[[channel]]\nname = \"cam\"\ninput = []";
    let expected = "channel[0].input (channel \"cam\"): missing, expected one or more addresses, such as \"udp://@239.1.1.1:5000\"";
    assert_eq!(error(text), expected);
}

#[test]
fn addresses_and_names_are_given_once() {
    let second = |name: &str, rest: &str| format!("{}[[channel]]\nname = \"{name}\"\n{rest}\n", channel(""));
    for (text, expected) in [
        (
            second("cam", "input = \"239.1.1.2:5000\""),
            "channel[1].name = \"cam\": expected a name of its own, channel[0].name in line 2 has it too",
        ),
        (
            second("b", "input = [\"239.1.1.2:5000\", \"rtp://239.1.1.2:5000\"]"),
            "channel[1].input[1] = \"rtp://239.1.1.2:5000\" (channel \"b\"): expected an address of its own, channel[1].input[0] in line 7 has it too",
        ),
        (
            second("b", "input = [\":5000\"]") + "[[channel]]\nname = \"c\"\ninput = \"udp://@:5000\"",
            "channel[2].input = \"udp://@:5000\" (channel \"c\"): expected an address of its own, channel[1].input[0] in line 7 has it too",
        ),
        (
            second("b", "input = \"239.1.1.2:5000\"\noutput = \"udp://239.1.1.1:5000?ttl=4\""),
            "channel[1].output = \"udp://239.1.1.1:5000?ttl=4\" (channel \"b\"): expected an address that is no input: channel[0].input in line 3 has it, packets would loop",
        ),
        (
            channel("output = \"239.1.1.1:5000\""),
            "channel[0].output = \"239.1.1.1:5000\" (channel \"cam\"): expected an address that is no input: channel[0].input in line 3 has it, packets would loop",
        ),
        (
            second("b", "input = \":6000\"\noutput = \"127.0.0.1:6000\""),
            "channel[1].output = \"127.0.0.1:6000\" (channel \"b\"): expected an address that is no input: channel[1].input in line 7 has it, packets would loop",
        ),
        (
            channel("output = [\"10.0.0.7:1\", \"10.0.0.7:1?ttl=4\"]"),
            "channel[0].output[1] = \"10.0.0.7:1?ttl=4\" (channel \"cam\"): expected an address of its own, channel[0].output[0] in line 4 has it too",
        ),
    ] {
        assert_eq!(error(&text), expected, "{text}");
    }
    for fine in [
        channel(
            "output = [\"239.9.9.9:1?if=eth1\", \"239.9.9.9:1?if=eth2\", \"10.0.0.7:1\", \"10.0.0.7:2\"]",
        ),
        second("b", "input = \"239.1.1.1:5000\""),
        second(
            "b",
            "input = [\"239.1.1.2:5000?if=eth1\", \"239.1.1.2:5000?if=eth2\", \"10.0.0.5@239.1.1.2:5000\"]",
        ),
        second("b", "input = \":6000\"\noutput = \"10.0.0.9:6000\""),
    ] {
        assert_eq!(error(&fine), "no error", "{fine}");
    }
}

#[test]
fn keys_of_a_channel_must_fit_together() {
    for (line, expected) in [
        (
            "release = \"paced\"\nrelease_delay = \"21s\"",
            "channel[0].release_delay = \"21s\" (channel \"cam\"): expected auto or a duration from 0s to 20s, such as 200ms",
        ),
        (
            "release = \"paced\"\nrelease_delay = \"79ms\"\nhold = \"80ms\"",
            "channel[0].release_delay = \"79ms\" (channel \"cam\"): expected at least the hold (80ms)",
        ),
        (
            "release = \"paced\"\nrelease_delay = \"19ms\"",
            "channel[0].release_delay = \"19ms\" (channel \"cam\"): expected at least the hold_min (20ms)",
        ),
        (
            "release = \"paced\"\nrelease_delay = \"200ms\"\nhold_max = \"300ms\"",
            "channel[0].hold_max = \"300ms\" (channel \"cam\"): expected at most the release_delay (200ms)",
        ),
        (
            "release = \"paced\"\nrelease_delay = \"5s\"\nlimits.flow_idle = \"5s\"",
            "channel[0].limits.flow_idle = \"5s\" (channel \"cam\"): expected more than the release_delay (5s)",
        ),
        (
            "hold = \"80ms\"\nhold_max = \"1s\"",
            "channel[0].hold_max = \"1s\" (channel \"cam\"): expected only with hold = \"auto\" (a fixed hold has no bounds)",
        ),
        (
            "hold = \"5s\"\nlimits.flow_idle = \"5s\"",
            "channel[0].limits.flow_idle = \"5s\" (channel \"cam\"): expected more than the longest hold (5s)",
        ),
    ] {
        assert_eq!(error(&channel(line)), expected);
    }
    let text = "[[channel]]\nname = \"cam\"\ninput = \"rtp://239.1.1.1:5000\"\nformat = \"native\"";
    let expected = "channel[0].format = \"native\" (channel \"cam\"): expected \"rtp\" (or udp:// instead of rtp://@239.1.1.1:5000)";
    assert_eq!(error(text), expected);
    assert_eq!(error(&text.replace("native", "rtp")), "no error");
    assert_eq!(error(&text.replace("native", "auto")), "no error");
    let text =
        "[[channel]]\nname = \"cam\"\ninput = [\"239.1.1.1:5000\", \"239.1.1.2:5000\"]\nformat = \"ts\"";
    let expected = "channel[0].format = \"ts\" (channel \"cam\"): expected a format with packet numbers, since there is more than one leg";
    assert_eq!(error(text), expected);
    assert_eq!(error(&text.replace("\"ts\"", "\"native\"")), "no error");
    let unknown = error(&channel("format = \"nativ\""));
    assert!(unknown.starts_with("channel[0].format = \"nativ\" (channel \"cam\"): "), "{unknown}");
    assert!(unknown.contains("expected auto, native, rtp, ts, raw"), "{unknown}");
}

#[test]
fn counts_are_bounded() {
    let list = |n: usize| (0..n).map(|i| format!("\"239.1.1.1:{}\"", i + 1)).collect::<Vec<_>>().join(", ");
    let inputs = |n| format!("[[channel]]\nname = \"cam\"\ninput = [{}]", list(n));
    assert_eq!(error(&inputs(32)), "no error");
    let expected = "channel[0].input (channel \"cam\"): 33 addresses, expected at most 32";
    assert_eq!(error(&inputs(33)), expected);
    let outputs = |n| format!("[[channel]]\nname = \"cam\"\ninput = \":9\"\noutput = [{}]", list(n));
    assert_eq!(error(&outputs(1024)), "no error");
    let expected = "channel[0].output (channel \"cam\"): 1025 addresses, expected at most 1024";
    assert_eq!(error(&outputs(1025)), expected);
    let channels = |n| -> String {
        (0..n).map(|i| format!("[[channel]]\nname = \"c{i}\"\ninput = \"239.1.1.1:9\"\n")).collect()
    };
    assert_eq!(error(&channels(4096)), "no error");
    assert_eq!(error(&channels(4097)), "channel: 4097 channels, expected at most 4096");
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    let text = "tick = \"fast\"\n[http]\nlisten = \"here\"\nlistne = 1\n\n[[channel]]\nname = \"cam\"\nhold = \"fast\"\ninput = [\n  \"239.1.1.1:5000\",\n  \"239.1.1.1:0\",\n]\n";
    std::fs::write(&path, text).unwrap();
    let errors = Config::from_file(&path).unwrap_err();
    assert!(!errors.is_usage());
    let lines: Vec<String> =
        errors.to_string().lines().map(|line| line.replace(&path.display().to_string(), "F")).collect();
    let starts = [
        "F:1: tick = \"fast\": expected",
        "F:3: http.listen = \"here\": expected",
        "F:4: http.listne: unknown key, did you mean \"listen\"?",
        "F:8: channel[0].hold = \"fast\" (channel \"cam\"): expected",
        "F:11: channel[0].input[1] = \"239.1.1.1:0\" (channel \"cam\"): port \"0\": expected 1 to 65535",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line} does not start with {start}");
    }
}

#[test]
fn what_is_no_toml_names_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    for (text, line, word) in [
        ("tick = \"5ms\"\nthreads = = 1\n", 2, "not TOML"),
        ("tick = \"5ms\"\n\ntick = \"6ms\"\n", 3, "duplicate key"),
    ] {
        std::fs::write(&path, text).unwrap();
        let errors = Config::from_file(&path).unwrap_err().to_string();
        assert!(errors.starts_with(&format!("{}:{line}: not TOML: ", path.display())), "{errors}");
        assert!(errors.contains(word), "{errors}");
        assert!(!errors.contains("tick ="), "values of a broken file are not judged: {errors}");
    }
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(Config::from_file(&path).unwrap_err().to_string().contains("bad.toml: cannot be read: "));
    assert!(Config::from_file(folder.path()).unwrap_err().to_string().contains("cannot be read: "));
}

#[test]
fn flags_of_serve_override_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    std::fs::write(&path, "[http]\nlisten = \"127.0.0.1:1\"\nallow = \"239.1.0.0/16\"\nlinger = \"1s\"\n")
        .unwrap();
    let mut args = cli::Serve { config: Some(path), ..cli::Serve::default() };
    let file = Config::from_serve(&args).unwrap().http.unwrap();
    assert_eq!((file.listen.port(), file.linger), (1, Duration::from_secs(1)));
    args.http = Some("0.0.0.0:4022".into());
    args.interface = Some("eth1".into());
    args.allow = vec!["239.2.0.0/16".into(), "ff15::/16".into()];
    let http = Config::from_serve(&args).unwrap().http.unwrap();
    assert_eq!(http.listen, "0.0.0.0:4022".parse().unwrap());
    assert_eq!(http.interface, Some(Interface::Name("eth1".into())));
    assert_eq!(http.allow, ["239.2.0.0/16".parse().unwrap(), "ff15::/16".parse().unwrap()]);
    assert_eq!(http.linger, Duration::from_secs(1));

    args.http = Some("4022".into());
    args.allow = vec!["10.0.0.0/8".into()];
    let errors = Config::from_serve(&args).unwrap_err();
    let expected = "\
--http \"4022\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off
--allow \"10.0.0.0/8\": expected multicast groups only: inside 224.0.0.0/4 or ff00::/8";
    assert_eq!(errors.to_string(), expected);
    assert!(errors.is_usage());
}

fn relay() -> cli::Relay {
    cli::Relay {
        burst: None,
        inputs: vec!["rtp://239.1.1.1:5000?if=eth1".into(), "rtp://239.1.2.1:5000?if=eth2".into()],
        outputs: vec!["10.0.0.7:6000".into()],
        name: "cam".into(),
        fec: "off".into(),
        retransmission: "auto".into(),
        hold: "50ms".into(),
        release: Some("paced".into()),
        release_delay: Some("120ms".into()),
        http: None,
        tcp: None,
        origins: vec![],
        udp: None,
        format: "auto".into(),
        tick: "0".into(),
    }
}

#[test]
fn flags_of_relay_are_one_channel() {
    let config = Config::from_relay(&relay()).unwrap();
    assert_eq!((config.tick, &config.http), (Duration::ZERO, &None));
    let [channel] = &config.channels[..] else { panic!("{config:?}") };
    assert_eq!((channel.name.as_str(), channel.legs.len(), channel.outputs.len()), ("cam", 2, 1));
    assert_eq!((&channel.format, channel.hold), (&Format::Rtp, Hold::Fixed(Duration::from_millis(50))));
    assert_eq!(channel.release, Release::Paced(Delay::Fixed(Duration::from_millis(120))));
    let http = cli::Relay { burst: None, http: Some("127.0.0.1:8080".into()), outputs: vec![], ..relay() };
    let http = Config::from_relay(&http).unwrap().http.unwrap();
    assert_eq!(http.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(!http.allows("239.1.1.1".parse().unwrap()), "nothing on demand was asked for");
}

#[test]
fn udp_subscribers_are_a_reason_to_relay() {
    let args = cli::Relay { udp: Some("0.0.0.0:4023".into()), outputs: vec![], ..relay() };
    let udp = Config::from_relay(&args).unwrap().udp.unwrap();
    assert_eq!((udp.listen.port(), udp.token, udp.clients_max), (4023, None, 100));
    let serve = cli::Serve { udp: Some("[::]:4023".into()), ..cli::Serve::default() };
    assert!(Config::from_serve(&serve).unwrap().udp.is_some());
    assert_eq!(error("udp.listen = \"off\""), "no error");
    let text = error("udp.token = \"secret\"\nudp.lease = \"1s\"");
    assert!(text.contains("udp.token") && text.contains("expected only with udp.listen, or --udp"), "{text}");
    assert!(text.contains("expected a duration from 3s to 1h"), "{text}");
    assert!(error("udp.listen = \":1\"\nudp.token = \"\"").contains("expected text of 1 to 128 bytes"));
}

#[test]
fn recordings_have_folders_of_their_own() {
    let text = error(&channel("output = [\"pcapng:/a\", \"pcapng:/b\", \"pcapng:/a?keep=2\"]"));
    assert!(
        text.contains("output[2]") && text.contains("expected a folder of its own, channel[0].output[0]"),
        "{text}"
    );
    let text = error(&channel("output = \"pcapng:/a?rotate=1\""));
    assert!(text.contains("rotate=\"1\": expected a number of bytes from 100kB to 1TB"), "{text}");
}

#[test]
fn wrong_flags_of_relay_are_named() {
    let args = cli::Relay {
        burst: None,
        inputs: vec!["239.1.1.1".into(), "239.1.1.2:5000".into(), "239.1.1.2:5000".into()],
        outputs: vec!["239.1.1.2:5000".into()],
        name: "a b".into(),
        fec: "prompeg".into(),
        retransmission: "yes".into(),
        hold: "fast".into(),
        release: Some("slow".into()),
        release_delay: None,
        tcp: None,
        origins: vec![],
        http: Some("here".into()),
        udp: Some("there".into()),
        format: "auto".into(),
        tick: "1h".into(),
    };
    let errors = Config::from_relay(&args).unwrap_err();
    let expected = "\
--tick \"1h\": expected a duration from 0s to 100ms, such as \"5ms\"
--http \"here\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off
--udp \"there\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off
INPUT \"239.1.1.1\": no port in \"239.1.1.1\": expected ADDRESS:PORT
--fec \"prompeg\": expected off, auto or st2022-1
--name \"a b\": expected a name of 1 to 64 letters, digits, '.', '_' and '-'
--retransmission \"yes\": expected off, auto (rist:// inputs ask) or on (native producers are asked, too)
--hold \"fast\": expected auto or a duration from 0s to 10s, such as 80ms
--release \"slow\": expected asap or paced
INPUT \"239.1.1.2:5000\": expected an address of its own, INPUT \"239.1.1.2:5000\" has it too
--to \"239.1.1.2:5000\": expected an address that is no input: INPUT \"239.1.1.2:5000\" has it, packets would loop";
    assert_eq!(errors.to_string(), expected);
    assert!(errors.is_usage());
    let off = cli::Relay { burst: None, http: Some("off".into()), outputs: vec![], ..relay() };
    let expected = "--to: missing, expected one or more addresses, since HTTP is off";
    assert_eq!(Config::from_relay(&off).unwrap_err().to_string(), expected);
}

#[test]
fn a_rist_input_has_time_to_ask() {
    let millis = Duration::from_millis;
    let one = |input: &str, more: &str| {
        let text = format!("[[channel]]\nname = \"a\"\ninput = {input}\n{more}");
        text.parse::<Config>().unwrap().channels.remove(0)
    };
    let usual = Hold::Auto { min: millis(20), max: millis(500) };
    assert_eq!(one("\"rtp://@239.1.1.1:5000\"", "").hold, usual);
    let rist = Hold::Auto { min: millis(20), max: millis(1000) };
    let channel = one("\"rist://@239.1.1.1:5000\"", "");
    assert_eq!((channel.hold, channel.format), (rist, Format::Rtp));
    let legs = "[\"rtp://@239.1.1.1:5000\", \"rist://@239.1.1.2:5000\"]";
    assert_eq!(one(legs, "hold = \"auto\"").hold, rist);
    let short = Hold::Auto { min: millis(20), max: millis(300) };
    assert_eq!(one("\"rist://@239.1.1.1:5000\"", "hold_max = \"300ms\"").hold, short);
}

#[test]
fn holds_are_read_and_shown() {
    assert_eq!("auto".parse(), Ok(Hold::default()));
    assert_eq!("0".parse(), Ok(Hold::Fixed(Duration::ZERO)));
    assert_eq!("10s".parse(), Ok(Hold::Fixed(Duration::from_secs(10))));
    assert_eq!("10001ms".parse::<Hold>(), Err(HoldError));
    assert_eq!(Hold::default().to_string(), "auto (20ms to 500ms)");
    assert_eq!(Hold::Fixed(Duration::from_millis(80)).to_string(), "80ms");
}

/// With `auto` nothing is refused: there may be no FEC at all.
#[test]
fn fec_needs_rtp_and_ports_of_its_own() {
    let config: Config = channel("fec = \"st2022-1\"").parse().unwrap();
    assert_eq!((config.channels[0].fec, &config.channels[0].format), (Fec::St2022, &Format::Rtp));
    let config: Config = channel("fec = \"auto\"").parse().unwrap();
    assert_eq!((config.channels[0].fec, &config.channels[0].format), (Fec::Auto, &Format::Auto));
    let two = |fec: &str, ports: [u16; 2]| {
        let [a, b] = ports;
        error(&format!(
            "[[channel]]\nname = \"a\"\ninput = \"rtp://@:{a}\"\nfec = \"{fec}\"\n[[channel]]\nname = \"b\"\n\
             input = \"rtp://@:{b}\"\nfec = \"{fec}\""
        ))
    };
    assert_eq!(two("st2022-1", [5000, 5006]), "no error");
    assert_eq!(two("auto", [5000, 5002]), "no error");
    let expected = "channel[1].input = \"rtp://@:5002\" (channel \"b\"): expected ";
    let taken = two("st2022-1", [5000, 5002]);
    let first = format!("{expected}an address of its own, channel[0].input in line 3 has it too");
    let second =
        format!("{expected}port 5004 for repair packets alone, channel[0].input in line 3 has it too");
    assert_eq!(taken, format!("{first}\n{second}"));
    let last = "rtp://@239.1.1.1:65533";
    let high = error(&format!("[[channel]]\nname = \"a\"\ninput = \"{last}\"\nfec = \"st2022-1\""));
    assert!(
        high.ends_with(": expected a port up to 65531, since repair packets come on the port + 2 and + 4"),
        "{high}"
    );
}

/// An output's repair packets go to ports that nothing else has.
#[test]
fn outputs_with_fec_need_ports_of_their_own() {
    let one = |lines: &str| error(&format!("[[channel]]\nname = \"a\"\n{lines}"));
    let fec = "rtp://239.2.2.2:5000?fec=st2022-1:5,5";
    assert_eq!(one(&format!("input = \"rtp://:1\"\noutput = [\"{fec}\", \"239.2.2.2:5006\"]")), "no error");
    let taken = one(&format!("input = \"rtp://:1\"\noutput = [\"{fec}\", \"239.2.2.2:5004\"]"));
    assert!(
        taken.contains("expected an address of its own, channel[0].output[0] in line 4 has it too"),
        "{taken}"
    );
    let looped = one(&format!("input = \"rtp://239.2.2.2:5002\"\noutput = \"{fec}\""));
    assert!(looped.contains("expected an address that is no input"), "{looped}");
}

/// RIST's RTCP has the port above the media's for itself, on either side.
#[test]
fn rist_needs_rtp_and_the_port_above() {
    let one = |lines: &str| error(&format!("[[channel]]\nname = \"a\"\n{lines}"));
    let config: Config = "[[channel]]\nname = \"a\"\ninput = \"rist://@:5000\"".parse().unwrap();
    assert_eq!(config.channels[0].format, Format::Rtp);
    let other = one("input = \"rist://@:5000\"\nformat = \"raw\"");
    assert!(other.contains("expected \"rtp\" (or udp:// instead of rist://@:5000)"), "{other}");
    let taken = one("input = [\"rist://@:5000\", \"udp://@:5001\"]");
    assert!(
        taken.ends_with("input[1] = \"udp://@:5001\" (channel \"a\"): expected an address of its own, channel[0].input[0] in line 3 has it too"),
        "{taken}"
    );
    let taken = one("input = [\"udp://@:5001\", \"rist://@:5000\"]");
    assert!(
        taken.contains("expected port 5001 for RTCP alone, channel[0].input[0] in line 3 has it too"),
        "{taken}"
    );
    let outputs = |list: &str| one(&format!("input = \"rtp://@:6000\"\noutput = {list}"));
    assert_eq!(outputs("[\"rist://10.0.0.7:5000\", \"rtp://10.0.0.7:5002\"]"), "no error");
    let taken = outputs("[\"rist://10.0.0.7:5000\", \"udp://10.0.0.7:5001\"]");
    assert!(taken.contains("expected an address of its own, channel[0].output[0] in line 4"), "{taken}");
    for looped in [
        outputs("\"rist://127.0.0.1:6000\""),
        one("input = \"udp://@239.1.1.1:5001\"\noutput = \"rist://239.1.1.1:5000\""),
        one("input = \"rist://@:5000\"\noutput = \"udp://127.0.0.1:5001\""),
    ] {
        assert!(
            looped.contains("expected an address that is no input: channel[0].input in line 3"),
            "{looped}"
        );
    }
}

/// The code blocks of one language in the reference.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    DOCS.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let examples = blocks("toml");
    assert_eq!(examples.len(), 12);
    for example in examples {
        assert_eq!(error(example), "no error", "{example}");
    }
}

#[test]
fn the_reference_names_every_key() {
    let mut keys = error(
        "x = 1\n[http]\nx = 1\n[tcp]\nx = 1\n[udp]\nx = 1\n[[channel]]\nname = \"a\"\ninput = \":1\"\nx = 1\nlimits.x = 1",
    );
    keys.retain(|c| c != ',' && c != ')');
    let known: Vec<&str> = keys
        .lines()
        .flat_map(|line| line.split_once("(expected one of: ").unwrap().1.split_whitespace())
        .collect();
    assert_eq!(known.len(), 7 + 13 + 2 + 4 + 15 + 4, "{known:?}");
    for key in known {
        let rows = [format!("| `{key}` |"), format!("| `[{key}]` |"), format!("| `[[{key}]]` |")];
        assert!(rows.iter().any(|row| DOCS.contains(row)), "{key} has no row");
    }
}

#[test]
fn the_problems_of_the_reference_are_the_real_ones() {
    let text = "[http]\nlisten = \"off\"\nallow = [\"10.0.0.0/8\"]\n\n[[channel]]\nname = \"camera-1\"\ninput = \"239.1.1.1:5000\"\nhold = \"fast\"\noutptu = 1\noutput = \"10.0.0.7:1\"\n";
    let errors =
        Config::finish(Some(Path::new("relay.toml")), |problems| file::read(text, problems)).unwrap_err();
    assert!(DOCS.contains(&errors.to_string()), "{errors}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "[a-z\\[\\]=\"0-9\\n .{},#']{0,80}") {
        let _ = text.parse::<Config>();
    }

    #[test]
    fn any_value_of_any_key_is_read_without_panic(
        key in "(tick|threads|http\\.(listen|allow|linger|clients_max)|channel)",
        channel_key in "(name|input|output|fec|hold|release|release_delay|format|limits|limits\\.bytes_max|receive_buffer)",
        value in "(\"\\PC{0,12}\"|-?[0-9]{1,20}|\\[\\]|\\{\\}|true|[0-9]\\.[0-9]|\\[\"[0-9.:]{0,12}\"\\])",
    ) {
        let _ = format!("{key} = {value}\n[[channel]]\n{channel_key} = {value}").parse::<Config>();
    }
}

#[test]
fn programs_are_served_where_it_says() {
    let config: Config =
        "[http]\norigins = [\"https://dash.example\"]\n[tcp]\nlisten = \"127.0.0.1:9000\"\nclients_max = 5"
            .parse()
            .unwrap();
    assert_eq!(config.tcp, Some(Tcp { listen: "127.0.0.1:9000".parse().unwrap(), clients_max: 5 }));
    let http = config.http.unwrap();
    for (origin, host, admitted) in [
        ("http://10.0.0.5:8080", Some("10.0.0.5:8080"), true),
        ("https://dash.example", Some("10.0.0.5:8080"), true),
        ("HTTPS://DASH.example", None, true),
        ("https://dash.example.evil", Some("10.0.0.5:8080"), false),
        ("http://10.0.0.5", Some("10.0.0.5:8080"), false),
        ("null", Some("null"), false),
    ] {
        assert_eq!(http.admits(origin, host), admitted, "{origin}");
    }
    let any: Config = "http.origins = \"*\"".parse().unwrap();
    assert!(any.http.unwrap().admits("null", None));
    let off = "tcp.listen = \"off\"".parse::<Config>().unwrap();
    assert_eq!(off.tcp, None);
    let flags = cli::Relay { outputs: vec![], tcp: Some("127.0.0.1:9000".into()), ..relay() };
    assert_eq!(Config::from_relay(&flags).unwrap().tcp.unwrap().listen.port(), 9000);
    let args = cli::Serve { tcp: Some("9000".into()), origins: vec!["x".into()], ..cli::Serve::default() };
    let text = Config::from_serve(&args).unwrap_err().to_string();
    assert!(
        text.contains("--tcp \"9000\": expected ADDRESS:PORT") && text.contains("--origin \"x\": expected *"),
        "{text}"
    );
}
