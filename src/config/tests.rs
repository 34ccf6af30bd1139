//! Tests of every key, every error, and the examples of the reference; this file tests valid
//! values, including defaults.

mod access;
mod channels;
mod described;
mod flags;
mod ports;
mod problems;
mod reference;
mod sample;
mod seal;
mod values;

use super::*;
use crate::{
    cli,
    commands::flags::{of_relay, of_serve},
};
use tidecast_net::address::Scheme;

fn error(text: &str) -> String {
    text.parse::<Config>().map_or_else(|errors| errors.to_string(), |_| "no error".to_owned())
}

/// Returns a valid channel with one more line.
fn channel(line: &str) -> String {
    format!("[[channel]]\nname = \"cam\"\ninput = \"udp://@239.1.1.1:5000\"\n{line}\n")
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
        seal: vec![],
        release: Some("paced".into()),
        release_delay: Some("120ms".into()),
        http: None,
        tcp: None,
        origins: vec![],
        hosts: vec![],
        udp: None,
        format: "auto".into(),
        sdp: None,
        rtpmap: vec![],
        tick: "0".into(),
        view: cli::View::default(),
    }
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
        control: false,
        interface: None,
        admin: None,
        trusted_proxies: Vec::new(),
        base: "/".to_owned(),
        playlist: None,
        rejoin: None,
        origins: vec![],
        hosts: vec![],
        fec: Fec::Off,
    };
    assert_eq!(config.http, Some(expected));
    assert_eq!(config.tcp, None);
    assert_eq!(of_serve(&cli::Serve::default()), Ok(config));
}

#[test]
fn a_channel_has_defaults() {
    let config: Config = channel("").parse().unwrap();
    let expected = Channel {
        name: "cam".into(),
        legs: vec![Leg { address: "udp://@239.1.1.1:5000".parse().unwrap(), reports: false }],
        format: Format::Auto,
        described: None,
        payload_types: Arc::default(),
        fec: Fec::Off,
        retransmission: Retransmission::Auto,
        seal: None,
        hold: Hold::Auto { min: Duration::from_millis(20), max: Duration::from_millis(500) },
        release: Release::Asap,
        limits: Limits {
            flows_max: 16384,
            bytes_max: 64 << 20,
            window_max: 8192,
            flow_idle: Duration::from_secs(300),
            flows_share: 25,
        },
        failover: Duration::from_secs(1),
        tick: Duration::from_millis(5),
        rejoin: None,
        outputs: vec![],
        recordings: vec![],
        shown: Shown::default(),
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
        control = true
        fec = "auto"
        interface = "10.0.0.1"
        rejoin = "30s"
        [udp]
        listen = "[::]:4023"
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
        tick = "2ms"
        rejoin = "1m"
        m3u = { tvg_id = "a.b", tvg_name = "A, b", number = 7 }
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
    assert_eq!((http.start_bytes_max, http.list_clients, http.control), (1 << 20, false, true));
    assert_eq!(http.fec, Fec::Auto);
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
    assert_eq!(udp.listen, "[::]:4023".parse().unwrap());
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
    assert_eq!((a.tick, b.tick), (Duration::from_millis(2), Duration::ZERO), "its own, and that of the top");
    assert_eq!((a.fec, b.fec, a.core().fec), (Fec::Auto, Fec::Off, Fec::Auto));
    assert_eq!((a.retransmission, b.retransmission), (Retransmission::Off, Retransmission::Auto));
    assert_eq!(
        (http.rejoin, a.rejoin, b.rejoin),
        (Some(Duration::from_secs(30)), Some(Duration::from_secs(60)), None)
    );
    assert_eq!(a.shown.line(&a.name), "#EXTINF:-1 tvg-id=\"a.b\" tvg-name=\"A, b\" tvg-chno=\"7\",A, b");
    let flow_idle = Duration::from_secs(3600);
    assert_eq!(
        a.limits,
        Limits { flows_max: 1, bytes_max: 1 << 20, window_max: 64, flow_idle, flows_share: 25 }
    );
    assert_eq!(b.format, "mavlink2".parse().unwrap());
    assert_eq!(b.hold, Hold::Fixed(Duration::from_millis(80)));
}
