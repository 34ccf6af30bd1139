//! Tests of invalid values and keys: the error names each, with the expected form.

use super::*;

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
            "http.hosts = [\"tv.example:80\"]",
            "http.hosts[0] = \"tv.example:80\": expected *, or a name without a port, such as tv.example or *.lan",
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
            "http.interface = \"a/b\": interface \"a/b\": expected a name of 1 to 127 bytes (as `ip link` prints it) or an IP address",
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
            "thread: unknown key, did you mean \"threads\"? (expected one of: tick, threads, burst, http, tcp, udp, shares, access, jwt, token, channel)",
        ),
        (
            "[https]",
            "https: unknown key, did you mean \"http\"? (expected one of: tick, threads, burst, http, tcp, udp, shares, access, jwt, token, channel)",
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
