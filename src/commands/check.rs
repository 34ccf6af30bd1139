//! `tidecast check`: reads the configuration, prints what it means, and tries it on this machine
//! ([`machine`], [`folder`]). Only the last stage opens sockets, each for a moment; nothing is
//! sent except the joins.

mod folder;
mod machine;

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use super::Failure;
use crate::cli;
use crate::config::{Access, Channel, Config, Fec, Http, Release, Retransmission, Role};
use crate::words;
use folder::Sandbox;
use machine::Mark;
use tidecast_net::address::Scheme;
use tidecast_wire::seal::Key;

/// Prints one line per channel, one for HTTP, and `FILE: ok`; then one line for each item that was
/// tried on this machine.
///
/// # Errors
/// All errors in the file, before anything is tried; then, that an item does not work on this
/// machine.
pub(super) fn run(args: &cli::Check, out: &mut impl Write) -> Result<(), Failure> {
    let config = Config::from_file(args.file())?;
    let mut text = String::new();
    for channel in &config.channels {
        text.push_str(&channel_line(channel));
        text.push('\n');
    }
    text.push_str(&config.http.as_ref().map_or("http: off".to_owned(), http_line));
    if let Some(udp) = &config.udp {
        let _ = write!(text, "\nudp subscribers: {}", udp.listen); // a String takes all
    }
    let _ = write!(text, "\n{}", access_line(&config.access)); // a String takes all
    writeln!(out, "{text}\n{}: ok", args.file().display()).map_err(Failure::output)?;
    if args.no_machine { Ok(()) } else { on_this_machine(&config, args.file(), out) }
}

fn on_this_machine(config: &Config, file: &Path, out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "on this machine:").map_err(Failure::output)?;
    let mut failed = 0;
    let recordings = folder::lines(config, Sandbox::of(file).as_ref());
    for line in machine::try_out(config, file).into_iter().chain(recordings) {
        failed += usize::from(line.mark == Mark::Fail);
        writeln!(out, "{line}").map_err(Failure::output)?;
    }
    let what = match failed {
        0 => return Ok(()),
        1 => "one thing does not work on this machine: see the line marked FAIL".to_owned(),
        many => format!("{many} things do not work on this machine: see the lines marked FAIL"),
    };
    Err(anyhow::anyhow!(what).into())
}

/// `access: 3 tokens, signed links, without a token: watch`, or who may do what without rules
fn access_line(access: &Access) -> String {
    if !access.has_rules() {
        return "access: open to all who reach it".to_owned();
    }
    let mut parts = vec![words::count(access.tokens.len() as u64, "token")];
    parts.extend(access.jwt.as_ref().map(|jwt| format!("tokens of {}", jwt.issuer)));
    parts.extend(access.link_key.is_some().then(|| "signed links".to_owned()));
    if let Some(roles) = access.anonymous.filter(|roles| !roles.is_empty()) {
        let roles: Vec<&str> =
            Role::ALL.into_iter().filter(|role| roles.has(*role)).map(Role::as_str).collect();
        parts.push(format!("without a token: {}", roles.join(", ")));
    }
    format!("access: {}", parts.join(", "))
}

fn channel_line(channel: &Channel) -> String {
    let mut line = format!("channel {}: ", channel.name);
    for (index, leg) in channel.legs.iter().enumerate() {
        let _ = write!(line, "{}{}", if index == 0 { "" } else { " + " }, leg.address); // a String takes all
    }
    let outputs = channel.outputs.iter().map(ToString::to_string);
    let recordings = channel.recordings.iter().map(ToString::to_string);
    for (index, output) in outputs.chain(recordings).enumerate() {
        let _ = write!(line, "{}{output}", if index == 0 { " -> " } else { ", " });
    }
    let _ = write!(line, "; format {}, hold {}", channel.format, channel.hold);
    if channel.fec != Fec::Off {
        let _ = write!(line, ", fec {}", channel.fec);
    }
    line.push_str(asked(channel));
    if let Some(keyring) = &channel.seal {
        let ids: Vec<String> = keyring.keys().iter().map(key_name).collect();
        let _ = write!(line, ", sealed with {} {}", counted_keys(ids.len()), ids.join(", "));
    }
    if channel.release != Release::Asap {
        let _ = write!(line, ", {}", channel.release);
    }
    line
}

/// Id of a key, and its stream.
fn key_name(key: &Key) -> String {
    key.stream().map_or_else(|| key.id().to_string(), |stream| format!("{}/{stream}", key.id()))
}

fn counted_keys(count: usize) -> &'static str {
    if count == 1 { "key" } else { "keys" }
}

/// Which senders are asked for missing packets.
fn asked(channel: &Channel) -> &'static str {
    let rist = channel.legs.iter().any(|leg| leg.address.scheme == Scheme::Rist);
    match channel.retransmission {
        Retransmission::Auto if rist => ", retransmission by RIST senders",
        Retransmission::Auto => "",
        Retransmission::On if rist => ", retransmission by RIST senders and native producers",
        Retransmission::On => ", retransmission by native producers",
        Retransmission::Off => ", retransmission off",
    }
}

fn http_line(http: &Http) -> String {
    let groups: Vec<String> = http.allow.iter().map(ToString::to_string).collect();
    let groups = if groups.is_empty() { "no groups".to_owned() } else { groups.join(", ") };
    let interface = http.interface.as_ref().map(|interface| format!(" via {interface}")).unwrap_or_default();
    format!("http: {}, on demand: {groups}{interface}", http.listen)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn check(text: &str) -> Result<String, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("relay.toml");
        std::fs::write(&config, text).unwrap();
        let mut out = Vec::new();
        run(&cli::Check { configuration: config.into(), no_machine: true }, &mut out)?;
        let text = String::from_utf8(out).unwrap();
        Ok(text.replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn a_good_file_is_told_line_by_line() {
        let text = r#"
            [http]
            interface = "eth1"
            [[channel]]
            name = "camera-1"
            input = ["rtp://239.1.1.1:5000?if=eth1", "rtp://239.1.2.1:5000?if=eth2"]
            output = ["10.0.0.7:6000", "rtp://239.2.2.2:5000?ttl=4"]
            [[channel]]
            name = "weather"
            input = "udp://@239.3.3.3:7000"
            hold = "80ms"
        "#;
        let expected = "\
channel camera-1: rtp://@239.1.1.1:5000?if=eth1 + rtp://@239.1.2.1:5000?if=eth2 -> udp://10.0.0.7:6000, \
rtp://239.2.2.2:5000?ttl=4; format rtp, hold auto (20ms to 500ms)
channel weather: udp://@239.3.3.3:7000; format auto, hold 80ms
http: 127.0.0.1:8080, on demand: 239.0.0.0/8 via eth1
access: open to all who reach it
relay.toml: ok
";
        assert_eq!(check(text).unwrap(), expected);
        let off = "http.listen = \"off\"\n[[channel]]\nname = \"a\"\ninput = \"239.1.1.1:5000\"\noutput = \"10.0.0.7:1\"";
        assert!(check(off).unwrap().contains("\nhttp: off\n"));
        let fec = check("[[channel]]\nname = \"a\"\ninput = \"239.1.1.1:5000\"\nfec = \"st2022-1\"").unwrap();
        assert!(fec.contains("; format rtp, hold auto (20ms to 500ms), fec st2022-1\n"), "{fec}");
        let asked = |input: &str, whom: &str| {
            check(&format!("[[channel]]\nname = \"a\"\ninput = \"{input}\"\nretransmission = \"{whom}\""))
                .unwrap()
        };
        for (input, whom, expected) in [
            ("udp://@239.1.1.1:5000", "auto", "500ms)\n"),
            ("udp://@239.1.1.1:5000", "on", "500ms), retransmission by native producers\n"),
            ("rist://@239.1.1.1:5000", "auto", "1s), retransmission by RIST senders\n"),
            ("rist://@239.1.1.1:5000", "on", "1s), retransmission by RIST senders and native producers\n"),
            ("rist://@239.1.1.1:5000", "off", ", retransmission off\n"),
        ] {
            let text = asked(input, whom);
            assert!(text.contains(expected), "{input}, {whom}: {text}");
        }
        let paced = "release = \"paced\"\nrelease_delay = \"300ms\"";
        let paced =
            check(&format!("[[channel]]\nname = \"a\"\ninput = \"239.1.1.1:5000\"\n{paced}")).unwrap();
        assert!(paced.contains("hold auto (20ms to 300ms), paced by 300ms\n"), "{paced}");
        assert!(check("http.allow = []").unwrap().contains("on demand: no groups"));
    }

    #[test]
    fn a_bad_file_is_a_configuration_failure() {
        let failure = check("[[channel]]\nname = \"a b\"\nhold = \"fast\"").unwrap_err();
        assert_eq!(failure.exit_code(), 78);
        assert_eq!(failure.to_string().lines().count(), 3, "{failure}");
        let missing =
            cli::Check { configuration: PathBuf::from("/no/such/file.toml").into(), no_machine: false };
        let failure = run(&missing, &mut Vec::new()).unwrap_err();
        assert!(failure.to_string().starts_with("/no/such/file.toml: cannot be read: No such file"));
        assert_eq!(failure.exit_code(), 78);
    }
}
