//! Tests of the flags of `serve` and `relay`, alone and together with a file.

use super::*;

#[test]
fn flags_of_serve_override_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    std::fs::write(&path, "[http]\nlisten = \"127.0.0.1:1\"\nallow = \"239.1.0.0/16\"\nlinger = \"1s\"\n")
        .unwrap();
    let mut args = cli::Serve { configuration: path.into(), ..cli::Serve::default() };
    let file = of_serve(&args).unwrap().http.unwrap();
    assert_eq!((file.listen.address().port(), file.linger), (1, Duration::from_secs(1)));
    args.http = Some("0.0.0.0:4022".into());
    args.interface = Some("eth1".into());
    args.allow = vec!["239.2.0.0/16".into(), "ff15::/16".into()];
    let http = of_serve(&args).unwrap().http.unwrap();
    assert_eq!(http.listen, "0.0.0.0:4022".parse().unwrap());
    assert_eq!(http.interface, Some(Interface::Name("eth1".into())));
    assert_eq!(http.allow, ["239.2.0.0/16".parse().unwrap(), "ff15::/16".parse().unwrap()]);
    assert_eq!(http.linger, Duration::from_secs(1));

    args.http = Some("4022".into());
    args.allow = vec!["10.0.0.0/8".into()];
    let errors = of_serve(&args).unwrap_err();
    let expected = "\
--http \"4022\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off
--allow \"10.0.0.0/8\": expected multicast groups only: inside 224.0.0.0/4 or ff00::/8";
    assert_eq!(errors.to_string(), expected);
    assert!(errors.is_usage());
}

#[test]
fn flags_of_relay_are_one_channel() {
    let config = of_relay(&relay()).unwrap();
    assert_eq!((config.tick, &config.http), (Duration::ZERO, &None));
    let [channel] = &config.channels[..] else { panic!("{config:?}") };
    assert_eq!((channel.name.as_str(), channel.legs.len(), channel.outputs.len()), ("cam", 2, 1));
    assert_eq!((&channel.format, channel.hold), (&Format::Rtp, Hold::Fixed(Duration::from_millis(50))));
    assert_eq!(channel.release, Release::Paced(Delay::Fixed(Duration::from_millis(120))));
    let http = cli::Relay { burst: None, http: Some("127.0.0.1:8080".into()), outputs: vec![], ..relay() };
    let http = of_relay(&http).unwrap().http.unwrap();
    assert_eq!(http.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(!http.allows("239.1.1.1".parse().unwrap()), "nothing on demand was asked for");
}

#[test]
fn udp_subscribers_are_a_reason_to_relay() {
    let args = cli::Relay { udp: Some("0.0.0.0:4023".into()), outputs: vec![], ..relay() };
    let udp = of_relay(&args).unwrap().udp.unwrap();
    assert_eq!((udp.listen.address().port(), udp.clients_max), (4023, 100));
    let serve = cli::Serve { udp: Some("[::]:4023".into()), ..cli::Serve::default() };
    assert!(of_serve(&serve).unwrap().udp.is_some());
    assert_eq!(error("udp.listen = \"off\""), "no error");
    let text = error("udp.clients_max = 1\nudp.lease = \"1s\"");
    assert!(
        text.contains("udp.clients_max") && text.contains("expected only with udp.listen, or --udp"),
        "{text}"
    );
    assert!(text.contains("expected a duration from 3s to 1h"), "{text}");
}

#[test]
fn wrong_flags_of_relay_are_named() {
    let args = cli::Relay {
        seal: vec![],
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
        hosts: vec![],
        http: Some("here".into()),
        udp: Some("there".into()),
        format: "auto".into(),
        sdp: None,
        rtpmap: vec![],
        tick: "1h".into(),
        view: cli::View::default(),
    };
    let errors = of_relay(&args).unwrap_err();
    let expected = "\
--tick \"1h\": expected a duration from 0s to 100ms, such as \"5ms\"
--http \"here\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off
--udp \"there\": expected ADDRESS:PORT such as 127.0.0.1:8080, or off
INPUT \"239.1.1.1\": no port in \"239.1.1.1\": expected ADDRESS:PORT such as 239.1.1.1:5000
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
    assert_eq!(of_relay(&off).unwrap_err().to_string(), expected);
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
    assert_eq!(of_relay(&flags).unwrap().tcp.unwrap().listen.address().port(), 9000);
    let args = cli::Serve { tcp: Some("9000".into()), origins: vec!["x".into()], ..cli::Serve::default() };
    let text = of_serve(&args).unwrap_err().to_string();
    assert!(
        text.contains("--tcp \"9000\": expected ADDRESS:PORT") && text.contains("--origin \"x\": expected *"),
        "{text}"
    );
}
