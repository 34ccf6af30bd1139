//! Tests of values that channels must not share, and of keys that exclude each other.

use super::*;

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
