//! Table and property tests of the URL forms.

use proptest::prelude::*;

use super::*;

#[test]
fn inputs_come_back_as_written() {
    for url in [
        "udp://@239.1.1.1:5000",
        "udp://@239.1.1.1:5000?if=eth1",
        "udp://@239.1.1.1:5000?if=10.0.0.1",
        "udp://@239.1.1.1:5000?if=br-lan.100",
        "rtp://10.0.0.5@232.1.1.1:5000",
        "rist://10.0.0.5@232.1.1.1:5000?if=eth1",
        "rist://@:65534",
        "udp://@[ff15::1]:5000?if=veth0",
        "rtp://[fd00::5]@[ff35::1]:5000?if=fe80::1",
        "udp://@10.0.0.1:5000",
        "udp://@:5000",
        "udp://@[::]:5000",
    ] {
        assert_eq!(url.parse::<Input>().map(|input| input.to_string()), Ok(url.to_owned()));
    }
}

#[test]
fn inputs_may_be_written_shorter() {
    for (short, full) in [
        ("239.1.1.1:5000", "udp://@239.1.1.1:5000"),
        ("udp://239.1.1.1:5000", "udp://@239.1.1.1:5000"),
        ("udp://239.1.1.1:5000/", "udp://@239.1.1.1:5000"),
        ("UDP://239.1.1.1:5000/?if=lo", "udp://@239.1.1.1:5000?if=lo"),
        ("[ff15::1]:5000", "udp://@[ff15::1]:5000"),
        ("udp://:5000", "udp://@:5000"),
        ("rtp://fd00::5@[ff35::1]:5000", "rtp://[fd00::5]@[ff35::1]:5000"),
        ("udp://@239.1.1.1:5000?if=%65th1", "udp://@239.1.1.1:5000?if=eth1"),
        ("udp://@239.1.1.1:5000?", "udp://@239.1.1.1:5000"),
        ("udp://@[ff02::1%eth0]:5000", "udp://@[ff02::1]:5000?if=eth0"),
        ("udp://@[ff02::1%25eth0]:5000?if=eth0", "udp://@[ff02::1]:5000?if=eth0"),
        ("udp://@[ff02::1%3]:5000", "udp://@[ff02::1]:5000?if=3"),
        ("udp://@[ff02::1%25]:5000", "udp://@[ff02::1]:5000?if=25"),
        ("udp://fe80::5%eth0@[ff32::1]:5000", "udp://[fe80::5]@[ff32::1]:5000?if=eth0"),
        ("udp://[fe80::5%eth0]@[ff32::1%eth0]:5000", "udp://[fe80::5]@[ff32::1]:5000?if=eth0"),
        ("udp://@[ff02::1%eth0]:5000?if=fe80::2%eth0", "udp://@[ff02::1]:5000?if=fe80::2%25eth0"),
        ("udp://@[ff15::1]:5000?if=fe80::2%eb0", "udp://@[ff15::1]:5000?if=fe80::2%25eb0"),
        ("udp://@[ff15::1]:5000?if=fe80::2%25eth0", "udp://@[ff15::1]:5000?if=fe80::2%25eth0"),
        ("[fe80::1%br-lan.100]:5000", "udp://@[fe80::1]:5000?if=br-lan.100"),
    ] {
        assert_eq!(short.parse::<Input>().map(|input| input.to_string()), Ok(full.to_owned()));
    }
}

#[test]
fn outputs_come_back_as_written() {
    for url in [
        "udp://10.0.0.7:6000",
        "udp://10.0.0.7:6000?ttl=4&loop=0&payload=1&if=eth1",
        "rtp://239.2.2.2:5000?ttl=255",
        "rist://239.2.2.2:5000?ttl=4&if=eth1",
        "rist://10.0.0.7:65534",
        "rist://10.0.0.7:5000?buffer=1s500ms&share=25&if=eth1",
        "rtp://239.2.2.2:5000?fec=st2022-1:10,10",
        "rtp://239.2.2.2:5000?ttl=4&fec=st2022-1:1,4,columns&if=eth1",
        "udp://239.2.2.2:5000?fec=rs:10,2",
        "udp://239.2.2.2:5000?fec=rs:20,4,4",
        "udp://239.2.2.2:5000?loop=1",
        "udp://[ff15::1]:5000?ttl=0&if=veth0",
        "udp://[fe80::1]:5000?if=fe80::2",
    ] {
        assert_eq!(url.parse::<Output>().map(|output| output.to_string()), Ok(url.to_owned()));
    }
    let any_order = "udp://10.0.0.7:6000?ttl=4&loop=0&if=eth1&payload=1".parse::<Output>().unwrap();
    let expected = Output {
        scheme: Scheme::Udp,
        target: "10.0.0.7:6000".parse().unwrap(),
        interface: Some(Interface::Name("eth1".into())),
        ttl: Some(4),
        multicast_loop: Some(false),
        payload: true,
        fec: None,
        buffer: None,
        share: None,
        rtcp: None,
        dscp: None,
    };
    assert_eq!(any_order, expected);
    assert!(!"10.0.0.7:6000?payload=0".parse::<Output>().unwrap().payload);
}

#[test]
fn class_d_is_multicast_of_either_family() {
    for (address, expected) in [
        ("223.255.255.255", false),
        ("224.0.0.0", true),
        ("239.255.255.255", true),
        ("240.0.0.0", false),
        ("ff15::1", true),
        ("fe80::1", false),
        ("::ffff:239.1.1.1", false),
    ] {
        assert_eq!(is_class_d(address.parse().unwrap()), expected, "{address}");
    }
}

#[test]
fn wrong_inputs_name_part_value_and_expectation() {
    for (url, text) in [
        ("", "no port in \"\": expected ADDRESS:PORT such as 239.1.1.1:5000"),
        ("native://239.1.1.1:5000", "scheme \"native\": expected udp, rtp or rist"),
        ("://239.1.1.1:5000", "scheme \"\": expected udp, rtp or rist"),
        ("udp://239.1.1.1", "no port in \"239.1.1.1\": expected ADDRESS:PORT such as 239.1.1.1:5000"),
        ("udp://[ff15::1]", "no port in \"[ff15::1]\": expected ADDRESS:PORT such as 239.1.1.1:5000"),
        ("udp://@239.1.1.1:0", "port \"0\": expected 1 to 65535"),
        ("udp://@239.1.1.1:65536", "port \"65536\": expected 1 to 65535"),
        ("udp://@239.1.1.1:+5", "port \"+5\": expected 1 to 65535"),
        ("udp://@239.1.1.1:5000/live", "port \"5000/live\": expected 1 to 65535"),
        (
            "udp://@camera.local:5000",
            "address \"camera.local\": expected an IPv4 address or an IPv6 address in [brackets] (names are not looked up)",
        ),
        (
            "udp://@ff15::1:5000",
            "address \"ff15::1\": expected an IPv4 address or an IPv6 address in [brackets] (names are not looked up)",
        ),
        (
            "udp://@[ff15::1%]:5000",
            "address \"[ff15::1%]\": expected an IPv4 address or an IPv6 address in [brackets] (names are not looked up)",
        ),
        (
            "udp://@[ff02::1%eth0]:5000?if=eth1",
            "interfaces eth1 and eth0: expected one (the zone behind % and ?if= both name it)",
        ),
        (
            "rist://@239.1.1.1:5001",
            "port 5001 with rist://: expected an even port (RTCP uses the odd one above it)",
        ),
        ("udp://239.2.2.2@239.1.1.1:5000", "source \"239.2.2.2\": expected the sender's unicast IP address"),
        ("udp://0.0.0.0@239.1.1.1:5000", "source \"0.0.0.0\": expected the sender's unicast IP address"),
        ("udp://cam@239.1.1.1:5000", "source \"cam\": expected the sender's unicast IP address"),
        (
            "udp://10.0.0.5@10.0.0.6:5000",
            "source 10.0.0.5 with 10.0.0.6: expected a multicast group (224.0.0.0/4 or ff00::/8) behind a source",
        ),
        (
            "udp://10.0.0.5@[ff35::1]:5000",
            "source 10.0.0.5 with ff35::1: expected two addresses of the same family (IPv4 or IPv6)",
        ),
        (
            "udp://@239.1.1.1:5000?if=fe80::1",
            "interface fe80::1 with 239.1.1.1: expected two addresses of the same family (IPv4 or IPv6)",
        ),
        (
            "udp://@239.1.1.1:5000?fi=eth1",
            "option \"fi\": unknown, did you mean \"if\"? (expected one of: if)",
        ),
        (
            "udp://@239.1.1.1:5000?localaddr=10.0.0.1",
            "option \"localaddr\": unknown, did you mean \"if\"? (expected one of: if)",
        ),
        (
            "udp://@239.1.1.1:5000?ttl=4",
            "option \"ttl\": belongs to an output; expected only if=NAME|ADDR in an input",
        ),
        ("udp://@239.1.1.1:5000?if=eth0&if=eth1", "option \"if\": given twice, expected once"),
        (
            "udp://@239.1.1.1:5000?if",
            "interface \"\": expected a name of 1 to 127 bytes (as `ip link` prints it) or an IP address",
        ),
        (
            "udp://@239.1.1.1:5000?if=a/b",
            "interface \"a/b\": expected a name of 1 to 127 bytes (as `ip link` prints it) or an IP address",
        ),
        (
            "udp://@239.1.1.1:5000?if=239.1.1.1",
            "interface \"239.1.1.1\": expected a name of 1 to 127 bytes (as `ip link` prints it) or an IP address",
        ),
    ] {
        assert_eq!(url.parse::<Input>().map_err(|error| error.to_string()), Err(text.to_owned()), "{url}");
    }
}

#[test]
fn wrong_outputs_name_part_value_and_expectation() {
    for (url, text) in [
        ("udp://:5000", "address \"\": expected"),
        ("udp://0.0.0.0:5000", "target 0.0.0.0: expected a unicast or multicast address"),
        ("udp://255.255.255.255:5000", "target 255.255.255.255: expected a unicast or multicast address"),
        ("udp://10.0.0.7:0", "port \"0\": expected 1 to 65535"),
        ("udp://10.0.0.5@10.0.0.7:6000", "source \"10.0.0.5\" in an output: expected ADDRESS:PORT alone"),
        ("udp://10.0.0.7:6000?ttl=256", "option ttl=\"256\": expected 0 to 255"),
        ("udp://10.0.0.7:6000?ttl=-1", "option ttl=\"-1\": expected 0 to 255"),
        ("udp://10.0.0.7:6000?ttl=", "option ttl=\"\": expected 0 to 255"),
        ("udp://10.0.0.7:6000?loop=2", "option loop=\"2\": expected 0 or 1"),
        ("udp://10.0.0.7:6000?payload=maybe", "option payload=\"maybe\": expected 0 or 1"),
        ("udp://10.0.0.7:6000?ttl=1&ttl=2", "option \"ttl\": given twice, expected once"),
        (
            "udp://10.0.0.7:6000?tll=4",
            "did you mean \"ttl\"? (expected one of: if, ttl, loop, payload, fec, buffer, share, rtcp, dscp)",
        ),
        ("udp://10.0.0.7:6000?lop=1", "did you mean \"loop\"?"),
        ("udp://10.0.0.7:6000?playload=1", "did you mean \"payload\"?"),
        ("udp://10.0.0.7:6000?fec=st2022-1:5,5", "option fec with udp://: expected rtp://"),
        ("rtp://10.0.0.7:6000?fec=rs:10,2", "option fec=rs with rtp://: expected udp://"),
        ("udp://10.0.0.7:6000?fec=rs:10,2&payload=1", "option fec=rs with payload=1: expected one of them"),
        ("udp://10.0.0.7:6000?fec=rs:250,6", "option fec=\"rs:250,6\": expected rs:K,M or rs:K,M,STRIDE"),
        ("udp://10.0.0.7:6000?fec=rs", "option fec=\"rs\": expected st2022-1:L,D"),
        ("rtp://10.0.0.7:65532?fec=st2022-1:5,5", "option fec with port 65532: expected a port up to 65531"),
        ("rtp://10.0.0.7:6000?fec=5,5", "option fec=\"5,5\": expected st2022-1:L,D such as"),
        ("rtp://10.0.0.7:6000?fec=st2022-1:5,5,rows", "option fec=\"st2022-1:5,5,rows\": expected"),
        ("rtp://10.0.0.7:6000?fec=st2022-1:3,5", "option fec: 3 columns, expected 4 to 20 with row FEC"),
        ("rtp://10.0.0.7:6000?fec=st2022-1:20,20", "option fec: 20 columns by 20 rows are 400 packets"),
        ("rtp://10.0.0.7:6000?payload=1", "option payload=1 with rtp://: expected udp://"),
        ("rist://10.0.0.7:6000?payload=1", "option payload=1 with rist://: expected udp://"),
        (
            "rist://10.0.0.7:6000?buffer=1",
            "option buffer=\"1\": expected a duration from 10ms to 30s, such as 1s",
        ),
        ("rist://10.0.0.7:6000?buffer=31s", "option buffer=\"31s\": expected a duration from 10ms to 30s"),
        ("rist://10.0.0.7:6000?share=0", "option share=\"0\": expected 1 to 100 (percent of the media)"),
        ("rist://10.0.0.7:6000?latency=1s", "option \"latency\": unknown, did you mean \"buffer\"?"),
        ("rtp://10.0.0.7:6000?buffer=1s", "option buffer with rtp://: expected rist://"),
        ("udp://10.0.0.7:6000?share=5", "option share with udp://: expected rist://"),
        ("rist://10.0.0.7:6001", "port 6001 with rist://: expected an even port"),
        ("rist://10.0.0.7:65535", "port 65535 with rist://: expected an even port"),
        ("udp://10.0.0.7:6000?if=fe80::1", "interface fe80::1 with 10.0.0.7: expected two addresses"),
    ] {
        let error = url.parse::<Output>().unwrap_err().to_string();
        assert!(error.contains(text), "{url}: {error}");
    }
}

#[test]
fn repair_packets_go_to_the_ports_above() {
    let at =
        |url: &str, axis| url.parse::<Output>().unwrap().repair_output(axis).map(|output| output.to_string());
    let both = "rtp://239.2.2.2:5000?ttl=4&fec=st2022-1:10,10";
    assert_eq!(at(both, Axis::Column), Some("rtp://239.2.2.2:5002?ttl=4".to_owned()));
    assert_eq!(at(both, Axis::Row), Some("rtp://239.2.2.2:5004?ttl=4".to_owned()));
    let columns = "rtp://10.0.0.7:5000?fec=st2022-1:10,10,columns";
    assert_eq!(at(columns, Axis::Column), Some("rtp://10.0.0.7:5002".to_owned()));
    assert_eq!(at(columns, Axis::Row), None);
    assert_eq!(at("rtp://10.0.0.7:5000", Axis::Column), None);
}

#[test]
fn rtcp_is_on_the_port_above() {
    let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    let input = |url: &str| url.parse::<Input>().unwrap().rtcp_addr();
    let output = |url: &str| url.parse::<Output>().unwrap().rtcp_addr();
    assert_eq!(input("rist://@239.1.1.1:5000"), at("239.1.1.1:5001"));
    assert_eq!(output("rist://[fd00::5]:65534"), at("[fd00::5]:65535"));
    assert_eq!((input("rtp://@239.1.1.1:5000"), output("udp://10.0.0.7:6000")), (None, None));
    let repairs = "rist://10.0.0.7:5000?fec=st2022-1:10,10".parse::<Output>().unwrap();
    assert_eq!(repairs.repair_output(Axis::Row).unwrap().to_string(), "rtp://10.0.0.7:5004");
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        (224..240u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d])),
    ]
}

fn any_interface() -> impl Strategy<Value = Option<Interface>> {
    let name = "[^/:\\s\\pC]{1,15}".prop_filter_map("an interface name", |text| text.parse().ok());
    prop_oneof![
        Just(None),
        name.prop_map(Some),
        any_ip()
            .prop_filter("unicast", |address| is_unicast(*address))
            .prop_map(|address| Some(Interface::Addr(address)))
    ]
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<Input>();
        let _ = text.parse::<Output>();
        let _ = text.parse::<Interface>();
        let _ = udpxy::parse(Scheme::Rtp, &text);
    }

    #[test]
    fn almost_right_text_is_parsed_without_panic(
        text in "(udp://|rtp://|rist://)?[0-9.@\\[\\]:f]{0,30}[?:%~+^-]{0,2}[0-9A-F]{0,6}(\\?(if|ttl|loop)=[0-9a-z%&]{0,9})?"
    ) {
        if let Ok(input) = text.parse::<Input>() {
            prop_assert_eq!(input.to_string().parse::<Input>(), Ok(input));
        }
        if let Ok(output) = text.parse::<Output>() {
            prop_assert_eq!(output.to_string().parse::<Output>(), Ok(output));
        }
        let _ = udpxy::parse(Scheme::Udp, &text);
    }

    #[test]
    fn what_an_input_displays_is_that_input(
        scheme in prop_oneof![Just(Scheme::Udp), Just(Scheme::Rtp), Just(Scheme::Rist)],
        group in any_ip(),
        port in 1..=u16::MAX,
        source in prop::option::of(any_ip().prop_filter("unicast", |address| is_unicast(*address))),
        interface in any_interface(),
    ) {
        let input = Input { scheme, group, port, source, interface };
        match input.clone().checked() {
            Ok(valid) => prop_assert_eq!(valid.to_string().parse::<Input>(), Ok(input)),
            Err(error) => prop_assert_eq!(input.to_string().parse::<Input>(), Err(error)),
        }
    }

    #[test]
    fn what_an_output_displays_is_that_output(
        address in any_ip().prop_filter("a target", |&address| is_class_d(address) || is_unicast(address)),
        port in 1..=u16::MAX,
        ttl in any::<Option<u8>>(),
        multicast_loop in any::<Option<bool>>(),
        payload in any::<bool>(),
        interface in any_interface(),
    ) {
        let interface = interface.filter(|one| interface_family(&Some(one.clone()), address).is_ok());
        let target = SocketAddr::new(address, port);
        let output = Output { scheme: Scheme::Udp, target, interface, ttl, multicast_loop, payload, fec: None, buffer: None, share: None, rtcp: None, dscp: None };
        prop_assert_eq!(output.to_string().parse::<Output>(), Ok(output));
    }
}

#[test]
fn rtcp_goes_as_it_came_or_where_the_output_says() {
    let to = |url: &str, beside| {
        let output: Output = url.parse().unwrap();
        assert_eq!(output.to_string(), url);
        output.reports_to(beside).map(|to| to.port())
    };
    for (url, above, muxed) in [
        ("rtp://10.0.0.7:6000", Some(6001), Some(6000)),
        ("udp://10.0.0.7:6000", Some(6001), Some(6000)),
        ("udp://10.0.0.7:6000?payload=1", None, None),
        ("rist://10.0.0.7:6000", None, None),
        ("rtp://10.0.0.7:6000?rtcp=above", Some(6001), Some(6001)),
        ("rtp://10.0.0.7:6000?rtcp=mux", Some(6000), Some(6000)),
        ("rtp://10.0.0.7:6000?rtcp=if-muxed", None, Some(6000)),
        ("rtp://10.0.0.7:6000?rtcp=off", None, None),
        ("rtp://10.0.0.7:65535", None, Some(65535)),
    ] {
        assert_eq!((to(url, Beside::Above), to(url, Beside::Muxed)), (above, muxed), "{url}");
    }
    for (url, expected) in [
        ("rtp://10.0.0.7:6000?rtcp=1", "option rtcp=\"1\": expected above (to the port + 1), mux"),
        ("rist://10.0.0.7:6000?rtcp=mux", "option rtcp with rist:// or payload=1: expected rtp://"),
        ("udp://10.0.0.7:6000?payload=1&rtcp=off", "option rtcp with rist:// or payload=1"),
        ("rtp://10.0.0.7:65535?rtcp=above", "option rtcp=above with port 65535"),
    ] {
        let error = url.parse::<Output>().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!("rtp://@10.0.0.7:6000?rtcp=mux".parse::<Input>().is_err());
}

#[test]
fn the_class_of_service_is_a_number_a_name_or_kept() {
    for (url, shown) in [("EF", "46"), ("34", "34"), ("cs5", "40"), ("keep", "keep")] {
        let output: Output = format!("udp://10.0.0.7:6000?dscp={url}").parse().unwrap();
        assert_eq!(output.to_string(), format!("udp://10.0.0.7:6000?dscp={shown}"));
    }
    for value in ["64", "gold", ""] {
        let error = format!("udp://10.0.0.7:6000?dscp={value}").parse::<Output>().unwrap_err().to_string();
        let expected =
            format!("option dscp={value:?}: expected 0 to 63, a name such as EF, AF41 or CS5, or keep");
        assert!(error.starts_with(&expected), "{error}");
    }
    let error = "udp://10.0.0.7:6000?tos=184".parse::<Output>().unwrap_err().to_string();
    assert!(error.contains("did you mean \"dscp\"?"), "{error}");
}
