//! Tests of the description of a channel's RTP content: the keys `sdp` and `rtpmap`, their errors,
//! and the resulting channel.

use super::*;

const CAMERA: &str = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=camera\nt=0 0\na=ts-refclk:ntp=10.0.0.1\n\
    m=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1\n\
    m=audio 5002 RTP/AVP 97\na=rtpmap:97 opus/48000/2\n";

/// Writes a description into a folder, and reads a configuration beside it.
fn beside(description: &str, channel: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("camera.sdp"), description).unwrap();
    let path = folder.path().join("relay.toml");
    std::fs::write(&path, channel).unwrap();
    let folder = folder.path().display().to_string();
    Config::from_file(&path).map_err(|errors| errors.to_string().replace(&folder, "F"))
}

fn at(port: u16) -> String {
    format!("[[channel]]\nname = \"cam\"\ninput = \"udp://@239.1.1.1:{port}\"\nsdp = \"camera.sdp\"\n")
}

#[test]
fn encodings_make_a_table_and_the_channel_rtp() {
    let text = channel("rtpmap = [\"111 opus/48000/2\", \"101 telephone-event/8000\"]");
    let config: Config = text.parse().unwrap();
    let channel = &config.channels[0];
    assert_eq!(channel.format, Format::Rtp);
    let types = &channel.core().payload_types;
    assert_eq!(
        [111, 101, 8, 96].map(|t| types.clock_rate(t)),
        [Some(48_000), Some(8_000), Some(8_000), None]
    );
    let described = channel.described.as_ref().unwrap();
    assert_eq!(described.media[0].payload_types, [111, 101]);
    let plain: Config = super::channel("").parse().unwrap();
    assert_eq!(
        (plain.channels[0].described.as_ref(), plain.channels[0].format.clone()),
        (None, Format::Auto)
    );
}

#[test]
fn of_a_description_a_channel_has_what_comes_to_its_ports() {
    for (port, kind, rate) in [(5000, "video", 90_000), (5002, "audio", 48_000)] {
        let config = beside(CAMERA, &at(port)).unwrap();
        let described = config.channels[0].described.clone().unwrap();
        assert_eq!((described.media.len(), described.media[0].kind.as_str()), (1, kind));
        assert_eq!(described.lines, ["a=ts-refclk:ntp=10.0.0.1"]);
        assert!(described.file.as_ref().is_some_and(|file| file.ends_with("camera.sdp")));
        let payload_type = described.media[0].payload_types[0];
        assert_eq!(config.channels[0].payload_types.clock_rate(payload_type), Some(rate));
    }
    let expected = "F/relay.toml:4: channel[0].sdp = \"camera.sdp\" (channel \"cam\"): describes video on port 5000, audio on \
        port 5002, expected one of them on the port of an input (udp://@239.1.1.1:5004)";
    assert_eq!(beside(CAMERA, &at(5004)).unwrap_err(), expected);
    // a single stream may have arrived on another port
    let single: String = CAMERA.lines().take(8).map(|line| format!("{line}\n")).collect();
    assert_eq!(
        beside(&single, &at(5004)).unwrap().channels[0].described.clone().unwrap().media[0].port,
        5000
    );
}

#[test]
fn two_paths_of_one_stream_are_one() {
    let path = |group: &str| {
        format!("m=audio 5004 RTP/AVP 98\nc=IN IP4 {group}/32\na=rtpmap:98 L24/48000/2\na=mid:{group}\n")
    };
    let text =
        format!("v=0\ns=-\na=group:DUP 1 2\n{}{}{}", path("239.1.1.1"), path("239.1.1.2"), path("239.1.1.3"));
    let legs = "[[channel]]\nname = \"cam\"\ninput = [\"239.1.1.1:5004\", \"239.1.1.2:5004\"]\nsdp = \"camera.sdp\"\n";
    let config = beside(&text, legs).unwrap();
    assert_eq!(config.channels[0].described.as_ref().unwrap().media.len(), 1);
    let other = legs.replace("239.1.1.1:5004", "239.1.1.7:5004").replace("239.1.1.2:5004", "239.1.1.8:5004");
    assert!(beside(&text, &other).unwrap_err().contains("describes audio on 239.1.1.1 port 5004, audio on"));
}

#[test]
fn what_is_wrong_is_named() {
    for (line, expected) in [
        (
            "rtpmap = \"128 L24/48000\"",
            "channel[0].rtpmap = \"128 L24/48000\" (channel \"cam\"): \"128\" is no payload type from 0 to 127, expected PAYLOAD_TYPE \
             NAME/CLOCK_RATE[/CHANNELS], such as 98 L24/48000/2",
        ),
        (
            "rtpmap = 98",
            "channel[0].rtpmap = 98 (channel \"cam\"): expected text in quotes, such as \"98 L24/48000/2\"",
        ),
        (
            "rtpmap = [\"98 L24/0\"]",
            "channel[0].rtpmap[0] = \"98 L24/0\" (channel \"cam\"): \"0\" is no clock rate in hertz",
        ),
        (
            "rtpmap = [\"98 L24/48000\", \"98 L16/48000\"]",
            "channel[0].rtpmap[1] = \"98 L16/48000\" (channel \"cam\"): expected one encoding of payload type 98, 98 L24/48000 stands there",
        ),
        (
            "sdp = \"none.sdp\"",
            "channel[0].sdp = \"none.sdp\" (channel \"cam\"): none.sdp cannot be read: No such file or directory (os error 2), \
             expected a file with a session description (RFC 8866)",
        ),
        ("sdp = \"/\"", "channel[0].sdp = \"/\" (channel \"cam\"): / is no file, expected a file"),
        ("sdp = true", "channel[0].sdp = true (channel \"cam\"): expected text in quotes"),
        (
            "sdp = \"none.sdp\"\nrtpmap = \"98 L24/48000\"",
            "channel[0].sdp = \"none.sdp\" (channel \"cam\"): expected sdp or rtpmap, not both",
        ),
        (
            "format = \"ts\"\nrtpmap = \"98 L24/48000\"",
            "channel[0].format = \"ts\" (channel \"cam\"): expected \"rtp\" or \"auto\", since rtpmap describes RTP",
        ),
    ] {
        let error = error(&channel(line));
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let broken = CAMERA.replace("96 H264/90000", "96 H264/0");
    let expected = "F/relay.toml:4: channel[0].sdp = \"camera.sdp\" (channel \"cam\"): line 7: \"0\" is no clock rate in hertz";
    assert!(beside(&broken, &at(5000)).unwrap_err().starts_with(expected));
}

#[test]
fn flags_say_it_too() {
    let args =
        cli::Relay { rtpmap: vec!["98 L24/48000/2".into()], release: None, release_delay: None, ..relay() };
    let config = of_relay(&args).unwrap();
    assert_eq!(config.channels[0].payload_types.clock_rate(98), Some(48_000));
    let args = cli::Relay { rtpmap: vec!["98".into()], ..args };
    let error = of_relay(&args).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().starts_with("--rtpmap \"98\": no encoding behind"),
        "{error}"
    );
    let args = cli::Relay { rtpmap: vec![], sdp: Some("none.sdp".into()), ..args };
    let error = of_relay(&args).unwrap_err().to_string();
    assert!(error.starts_with("--sdp \"none.sdp\": none.sdp cannot be read"), "{error}");
}
