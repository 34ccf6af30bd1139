//! Parses the address in HTTP paths of the form that udpxy uses: `/udp/[SOURCE@]GROUP:PORT`.
//!
//! The input is the text after `/udp/` or `/rtp/` as in the request line, before percent-decoding:
//! a `%` may start an escape (`239.1.1.1%3A5000`) or be udpxy's own separator (`239.1.1.1%5000`),
//! and only this module can tell them apart. Playlists append labels for users (`:5000$NEWS`) and
//! file names for players that expect a file (`:5000/stream.ts`); [`plain`] removes them.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use super::{AddressError, Input, Scheme, is_class_d, is_unicast, parse_port, zone};

/// Separators that udpxy accepts between address and port.
const SEPARATORS: [char; 6] = [':', '%', '~', '+', '-', '^'];

/// File extensions at the end of a URL that only indicate a transport stream.
const EXTENSIONS: [&str; 5] = ["ts", "m2ts", "mts", "mpg", "mpeg"];

/// Returns the path without the suffixes that playlists append to an address or a name: `$LABEL`,
/// a file name such as `/stream.ts`, or a slash.
pub fn plain(text: &str) -> &str {
    let text = label(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    match text.rsplit_once('/') {
        Some((before, file)) if without_extension(file).is_some() => before,
        _ => text,
    }
}

/// Returns the text without the `$LABEL` at its end.
pub fn label(text: &str) -> &str {
    text.split_once('$').map_or(text, |(before, _)| before)
}

/// Returns the name of a transport stream's file (`news.ts`) without its extension.
pub fn without_extension(file: &str) -> Option<&str> {
    let (name, extension) = file.rsplit_once('.')?;
    let known = EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
    (known && !name.is_empty()).then_some(name)
}

/// Parses `[SOURCE@]GROUP:PORT`, percent-encoded or not, with the suffixes that [`plain`] removes.
///
/// An IPv6 address is in brackets, with or without its zone. The result may be unicast: whether a
/// group may be joined, and on which interface, is decided by the configuration.
///
/// # Errors
/// The malformed part and its expected form (an HTTP 400).
pub fn parse(scheme: Scheme, text: &str) -> Result<Input, AddressError> {
    // The escapes of all separators but `%` contain a letter, so digits after `%` are a port.
    parse_once(scheme, text).or_else(|_| parse_once(scheme, &decode(text)))
}

/// Writes the path of a group in the form that [`parse`] accepts.
pub fn path(input: &Input) -> String {
    let bracketed = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let source = input.source.map(|source| format!("{}@", bracketed(source))).unwrap_or_default();
    format!("/{}/{source}{}", input.scheme, input.socket_addr())
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn parse_once(scheme: Scheme, text: &str) -> Result<Input, AddressError> {
    let text = plain(text);
    let missing = || AddressError::PortMissing(text.to_owned());
    let (address, port) = text.rsplit_once(SEPARATORS).ok_or_else(missing)?;
    if port.ends_with(']') {
        return Err(missing());
    }
    let port = parse_port(port)?;
    let address = decode(address);
    let (source, host) = address.split_once('@').unwrap_or(("", &address));
    let (group, of_group) = zone::parse_host(host)?;
    if !is_class_d(group) && !is_unicast(group) {
        return Err(AddressError::Host(host.to_owned()));
    }
    let (source, of_source) = zone::parse_user(source)?;
    let interface = zone::one_interface([of_group, of_source])?;
    Input { scheme, group, port, source, interface }.checked()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        parse(Scheme::Udp, text).map_or_else(|error| error.to_string(), |input| input.to_string())
    }

    #[test]
    fn every_separator_and_escape_is_read() {
        for text in [
            "239.1.1.1:5000",
            "239.1.1.1%5000",
            "239.1.1.1~5000",
            "239.1.1.1+5000",
            "239.1.1.1-5000",
            "239.1.1.1^5000",
            "239.1.1.1:5000/",
            "@239.1.1.1:5000",
            "239.1.1.1%3A5000",
            "239.1.1.1%3a5000/",
            "239.1.1.1%255000",
            "239.1.1.1%7E5000",
            "239.1.1.1%5E5000",
            "%40239.1.1.1%5000",
            "239.1.1.1:5000$NEWS",
            "239.1.1.1:5000$NEWS-24 + more:1",
            "239.1.1.1:5000$央视",
            "239.1.1.1:5000%24NEWS-24",
            "239.1.1.1:5000%241",
            "239.1.1.1:5000/stream.ts",
            "239.1.1.1%3A5000%2Fstream.ts",
            "239.1.1.1:5000/News 24.M2TS/",
            "239.1.1.1:5000/stream.ts$NEWS",
            "239.1.1.1:5000/$NEWS/1",
        ] {
            assert_eq!(url(text), "udp://@239.1.1.1:5000", "{text}");
        }
        for text in ["[ff15::1]:5000", "[ff15::1]-5000", "%5Bff15%3A%3A1%5D%3A5000", "%5Bff15::1%5D%5000/"] {
            assert_eq!(url(text), "udp://@[ff15::1]:5000", "{text}");
        }
        for text in ["[ff02::1%25eth0]:5000", "%5Bff02::1%25eth0%5D:5000", "[fe80::5%25eth0]@[ff02::1]:5000"]
        {
            let source = if text.contains('@') { "[fe80::5]" } else { "" };
            assert_eq!(url(text), format!("udp://{source}@[ff02::1]:5000?if=eth0"), "{text}");
        }
        for text in ["10.0.0.5@232.1.1.1:5000", "10.0.0.5%40232.1.1.1%5000", "10.0.0.5%40232.1.1.1%3A5000"] {
            assert_eq!(url(text), "udp://10.0.0.5@232.1.1.1:5000", "{text}");
        }
        assert_eq!(parse(Scheme::Rtp, "239.1.1.1:5000").unwrap().scheme, Scheme::Rtp);
        assert_eq!(url("10.0.0.1:5000"), "udp://@10.0.0.1:5000");
    }

    #[test]
    fn malformed_addresses_say_what_was_expected() {
        for (text, part) in [
            ("", "no port"),
            ("239.1.1.1", "no port"),
            ("239.1.1.1:", "expected 1 to 65535"),
            ("239.1.1.1:0", "port \"0\""),
            ("239.1.1.1:65536", "port \"65536\""),
            ("239.1.1:5000", "address \"239.1.1\""),
            ("239.1.1.1:5000//", "port \"5000/\""),
            (":5000", "address \"\""),
            ("0.0.0.0:5000", "address \"0.0.0.0\""),
            ("255.255.255.255:5000", "address \"255.255.255.255\""),
            ("ff15::1:5000", "address \"ff15::1\""),
            ("[ff15::1]", "no port"),
            ("[ff15::1%25]:5000", "address"),
            ("[fe80::5%25eth1]@[ff02::1%25eth0]:5000", "interfaces"),
            ("cam@239.1.1.1:5000", "source \"cam\""),
            ("239.2.2.2@239.1.1.1:5000", "source \"239.2.2.2\""),
            ("10.0.0.5@10.0.0.6:5000", "expected a multicast group"),
            ("10.0.0.5@[ff35::1]:5000", "same family"),
            ("239.1.1.1:5000/more", "port \"5000/more\""),
            ("239.1.1.1:5000/.ts", "port"),
            ("239.1.1.1$NEWS:5000", "no port"),
            ("$NEWS", "no port"),
            ("239.1.1.1:5000?x=1", "port \"5000?x=1\""),
            ("%FF%FE:5000", "address"),
        ] {
            assert!(url(text).contains(part), "{text}: {}", url(text));
        }
    }
}
