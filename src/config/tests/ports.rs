//! Tests of the additional ports of a stream: those of repair packets and of RTCP.

use super::*;

/// With `auto` nothing is refused, because there may be no FEC.
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

/// The ports of an output's repair packets must not be used by anything else.
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

/// RIST's RTCP needs the port above the media exclusively, in inputs and outputs.
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
