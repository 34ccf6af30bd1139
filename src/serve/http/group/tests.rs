use super::*;

fn config(allow: &[&str]) -> config::Http {
    let allow: Vec<String> = allow.iter().map(|prefix| format!("{prefix:?}")).collect();
    let text = format!("http.allow = [{}]\nhttp.interface = \"127.0.0.1\"", allow.join(", "));
    text.parse::<config::Config>().unwrap().http.unwrap()
}

#[test]
fn only_allowed_groups_may_be_asked_for() {
    let config = config(&["239.1.0.0/16", "ff15::/16"]);
    let input = checked(Scheme::Rtp, "10.0.0.5@239.1.2.3:5000/", None, &config).unwrap();
    assert_eq!(input.to_string(), "rtp://10.0.0.5@239.1.2.3:5000?if=127.0.0.1");
    for (text, part) in [
        ("239.2.0.1:5000", "expected one of 239.1.0.0/16, ff15::/16"),
        ("10.0.0.1:5000", "10.0.0.1 is no multicast group"),
        ("[ff15::1]:5000", "expected a group of the same family"),
        ("[ff05::1]:5000", "group ff05::1 is not allowed"),
    ] {
        let refusal = checked(Scheme::Udp, text, None, &config).unwrap_err();
        assert!(matches!(&refusal, Refusal::Forbidden(why) if why.contains(part)), "{text}: {refusal:?}");
    }
    for text in ["", "239.1.1.1", "239.1.1.1:x", "x@239.1.1.1:1", "239.1.1.1:5000/x"] {
        let refusal = checked(Scheme::Udp, text, None, &config).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed(why) if why.contains("as in /udp/")),
            "{text}: {refusal:?}"
        );
    }
}

#[test]
fn an_interface_is_taken_if_it_is_the_one_that_groups_are_joined_on() {
    let here = config(&["239.0.0.0/8"]);
    let group = |wanted| checked(Scheme::Udp, "239.1.1.1:5000", Some(wanted), &here);
    assert_eq!(group("127.0.0.1").unwrap().to_string(), "udp://@239.1.1.1:5000?if=127.0.0.1");
    let refusal = group("eth1").unwrap_err();
    let expected = "if=eth1: groups on demand are joined on 127.0.0.1: leave it out";
    assert!(matches!(&refusal, Refusal::Forbidden(why) if why.starts_with(expected)), "{refusal:?}");
    assert!(matches!(group("a/b").unwrap_err(), Refusal::Malformed(why) if why.starts_with("if: interface")));
}
