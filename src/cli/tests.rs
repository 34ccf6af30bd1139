//! Tests that typed arguments are parsed, and that errors state the expected form.

use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::*;
use crate::{
    commands::flags::{of_relay, of_serve},
    config::Hold,
};
use tidecast_net::units::Rate;
use tidecast_wire::Format;
use tidecast_wire::fec::native::Fec;

fn parse(line: &str) -> Result<Command, String> {
    let words = line.split_whitespace();
    Cli::try_of(std::iter::once("tidecast").chain(words).map(Into::into))
        .map(|cli| cli.command)
        .map_err(|error| error.to_string())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_subcommand_shows_an_example_that_parses() {
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let help = command.get_after_help().unwrap().to_string().replace("\\\n", " ");
        let examples: Vec<&str> =
            help.lines().filter_map(|line| line.find("tidecast ").map(|start| &line[start..])).collect();
        assert!(!examples.is_empty(), "{}", command.get_name());
        for example in examples {
            let line = example.split(['&', '|', '>']).next().unwrap().replace("?if=eth1", "?if=eth1 ");
            let parsed = parse(line.trim_start_matches("tidecast "));
            assert!(parsed.is_ok(), "{example}: {parsed:?}");
        }
    }
}

#[test]
fn verbosity_counts() {
    let level = |line: &str| {
        let words = ["tidecast"].into_iter().chain(line.split_whitespace());
        let level = |cli: Cli| cli.verbosity.level(&cli.command);
        Cli::try_parse_from(words).map(level).map_err(|error| error.to_string())
    };
    assert_eq!(level("serve"), Ok(tracing::Level::INFO));
    assert_eq!(level("serve -v"), Ok(tracing::Level::DEBUG));
    assert_eq!(level("-vv serve"), Ok(tracing::Level::TRACE));
    assert_eq!(level("serve -q"), Ok(tracing::Level::WARN));
    assert_eq!(level("serve -qq"), Ok(tracing::Level::ERROR));
    assert_eq!(level("check -c f"), Ok(tracing::Level::WARN));
    assert_eq!(level("check -c f -v"), Ok(tracing::Level::INFO));
    assert!(level("serve -v -q").unwrap_err().contains("cannot be used with"));
}

#[test]
fn serve_and_relay_arrive() {
    let Ok(Command::Serve(serve)) = parse("serve") else { panic!() };
    assert!(of_serve(&serve).is_ok());
    let Ok(Command::Serve(serve)) =
        parse("serve -c x.toml --http :80 --if eth1 --allow 239.1.0.0/16 --allow ff15::/16")
    else {
        panic!()
    };
    assert_eq!(serve.configuration.path(), Some(Path::new("x.toml")));
    assert_eq!((serve.http.as_deref(), serve.interface.as_deref()), (Some(":80"), Some("eth1")));
    assert_eq!(serve.allow, ["239.1.0.0/16", "ff15::/16"]);

    let Ok(Command::Relay(relay)) =
        parse("relay 239.1.1.1:5000 239.1.1.2:5000 --to 10.0.0.7:1 10.0.0.7:2 --to 10.0.0.7:3")
    else {
        panic!()
    };
    assert_eq!(relay.inputs, ["239.1.1.1:5000", "239.1.1.2:5000"]);
    assert_eq!(relay.outputs, ["10.0.0.7:1", "10.0.0.7:2", "10.0.0.7:3"]);
    let config = of_relay(&relay).unwrap();
    assert_eq!((config.tick, config.channels[0].name.as_str()), (Duration::from_millis(5), "main"));
    assert_eq!((config.channels[0].hold, &config.channels[0].format), (Hold::default(), &Format::Auto));
    assert!(parse("relay 239.1.1.1:5000 --http 127.0.0.1:8080").is_ok());
    assert!(parse("relay 239.1.1.1:5000").unwrap_err().contains("--to <OUTPUT>"));
}

#[test]
fn send_arrives() {
    let Ok(Command::Send(send)) = parse(
        "send --to 239.1.1.1:5000?ttl=4 --sensor 100 --interval 1s --format native --fec 20,4,4 \
         --stream 0x10 --session 7 --count 9 --for 10s --size 1k",
    ) else {
        panic!()
    };
    assert_eq!(send.target().ttl, Some(4));
    assert_eq!(send.source(), Source::Sensors(100));
    assert_eq!((send.interval, send.size), (Duration::from_secs(1), 1000));
    assert_eq!(send.fec, Fec::new(20, 4, 4).ok());
    assert_eq!((send.stream, send.session), (Some(16), Some(7)));
    assert_eq!((send.count, send.duration), (Some(9), Some(Duration::from_secs(10))));
    assert_eq!(send.format, Some(SendFormat::Native));

    let Ok(Command::Send(send)) = parse("send 239.1.1.1:5000 --file a.ts --loop --rate 8M") else { panic!() };
    assert_eq!(send.source(), Source::File(&"a.ts".into()));
    assert_eq!((send.repeat, send.rate, send.size), (true, Some(Rate::Bits(8e6)), 1316));
    let Ok(Command::Send(send)) = parse("send a.pcapng 239.1.1.1:5000 --port 239.1.1.2:7 --loop") else {
        panic!()
    };
    assert_eq!((send.source(), send.target().target.port()), (Source::Capture(&"a.pcapng".into()), 5000));
    let port = send.port.unwrap();
    assert!(port.includes("239.1.1.2:7".parse().unwrap()) && !port.includes("239.1.1.1:7".parse().unwrap()));
    let Ok(Command::Send(send)) = parse("send 239.1.1.1:5000 --file -") else { panic!() };
    assert_eq!((send.source(), send.interval), (Source::Stdin, Duration::from_millis(100)));
}

#[test]
fn recv_impair_demo_and_check_arrive() {
    let Ok(Command::Recv(recv)) = parse(
        "recv rtp://239.1.1.1:5000 -o - --for 10s --count 5 --json --max-loss 0.1% --format rtp --hold 80ms",
    ) else {
        panic!()
    };
    assert_eq!((recv.output, recv.max_loss, recv.json), (Some("-".into()), Some(0.001), true));
    assert_eq!((recv.duration, recv.count), (Some(Duration::from_secs(10)), Some(5)));
    assert_eq!((recv.format, recv.hold), (Format::Rtp, Hold::Fixed(Duration::from_millis(80))));

    let Ok(Command::Impair(impair)) = parse(
        "impair 239.1.1.1:1 --to 239.1.1.2:1 --loss 5% --burst 3 --reorder 2% --distance 8 --duplicate 1% \
         --delay 5ms --jitter 3ms --seed 7",
    ) else {
        panic!()
    };
    assert_eq!((impair.loss, impair.burst, impair.reorder, impair.duplicate), (0.05, 3.0, 0.02, 0.01));
    assert_eq!((impair.distance, impair.seed), (8, Some(7)));
    assert_eq!((impair.delay, impair.jitter), (Duration::from_millis(5), Duration::from_millis(3)));

    let Ok(Command::Demo(demo)) = parse("demo --for 10s") else { panic!() };
    assert_eq!((demo.http, demo.duration), (None, Some(Duration::from_secs(10))));
    let Ok(Command::Check(check)) = parse("check -c x.toml") else { panic!() };
    assert_eq!(check.file(), Path::new("x.toml"));
}

#[test]
fn wrong_values_say_what_was_expected() {
    for (line, value, expected) in [
        ("recv 239.1.1.1:5000 --for fast", "'fast'", "expected a duration above zero"),
        ("recv 239.1.1.1:5000 --hold fast", "'fast'", "expected auto or a duration from 0s to 10s"),
        ("recv 239.1.1.1:5000 --max-loss 5", "'5'", "expected a percentage from 0% to 100%"),
        ("recv 239.1.1.1:5000 --format foo", "'foo'", "expected auto, native, rtp, ts, raw"),
        ("recv 239.1.1.1:5000 --fec foo", "'foo'", "expected off, auto or st2022-1"),
        ("recv 239.1.1.1:0", "'239.1.1.1:0'", "port \"0\": expected 1 to 65535"),
        ("recv 239.1.1.1:5000 --count 0", "'0'", "expected a whole number of at least 1"),
        ("send 10.0.0.7:1?tll=4 --sensor 1", "'10.0.0.7:1?tll=4'", "did you mean \"ttl\"?"),
        ("send 10.0.0.7:1 --sensor 0", "'0'", "expected a whole number from 1 to 1000000"),
        ("send 10.0.0.7:1 --sensor x", "'x'", "expected a whole number from 1 to 1000000"),
        ("send 10.0.0.7:1 --sensor 1 --retransmit-share 300", "'300'", "expected a whole number from 1 to 1"),
        ("relay 239.1.1.1:5000 --to 10.0.0.7:1 --burst x", "'x'", "expected a whole number from 1 to 64"),
        ("impair 239.1.1.1:1 --to 239.1.1.2:1 --burst 0.5", "'0.5'", "expected a number of at least 1"),
        ("impair 239.1.1.1:1 --to 239.1.1.2:1 --seed x", "'x'", "expected a whole number of at least 0"),
        ("recv foo", "'foo'", "expected ADDRESS:PORT such as 239.1.1.1:5000"),
        ("send 10.0.0.7:1 --file a --rate fast", "'fast'", "expected bits per second such as 8M"),
        ("send 10.0.0.7:1 --file a --size 65508", "'65508'", "expected a number of bytes from 1 to 65507"),
        ("send 10.0.0.7:1 --file a --fec 0,2", "'0,2'", "expected K,M or K,M,STRIDE"),
        ("send 10.0.0.7:1 --file a --stream x", "'x'", "expected a number from 0 to 4294967295"),
        ("send 10.0.0.7:1 --file a --format auto", "'auto'", "native, rtp, ts, raw"),
        ("send 10.0.0.7:1 --sensor 1 --interval 0", "'0'", "expected a duration above zero"),
        (
            "impair 239.1.1.1:1 --to 239.1.1.2:1 --loss 101%",
            "'101%'",
            "expected a percentage from 0% to 100%",
        ),
        ("demo --http foo", "'foo'", "such as 127.0.0.1:8080\n"),
        ("demo --http off", "'off'", "expected ADDRESS:PORT such as 127.0.0.1:8080"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(value) && error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (line, expected) in [
        ("send --sensor 1", "<OUTPUT>"),
        ("send 10.0.0.7:1", "<CAPTURE|--file <FILE>|--sensor <N>>"),
        ("send a.pcapng 10.0.0.7:1 --file a", "cannot be used with"),
        ("send a.pcapng 10.0.0.7:1 --rate 8M", "cannot be used with"),
        ("send a.pcapng 10.0.0.7:1 --port 70000", "expected a port from 1 to 65535, or ADDRESS:PORT"),
        ("send 10.0.0.7:1 --to 10.0.0.7:1 --sensor 1", "cannot be used with"),
        ("send 10.0.0.7:1 --sensor 1 --file a", "cannot be used with"),
        ("send 10.0.0.7:1 --sensor 1 --rate 8M", "cannot be used with"),
        ("send 10.0.0.7:1 --sensor 1 --loop", "cannot be used with"),
        ("send 10.0.0.7:1 --file a --interval 1s", "cannot be used with"),
        ("impair 239.1.1.1:1", "--to <OUTPUT>"),
        ("check", "<FILE>"),
        ("", "Usage: tidecast [OPTIONS] <COMMAND>"),
        ("sned", "similar subcommand exists: 'send'"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_configuration_file_is_an_argument() {
    let of = |words: &str| Cli::of(words.split(' ').map(Into::into)).command;
    for words in ["tidecast a.toml", "tidecast serve a.toml", "tidecast serve -c a.toml"] {
        let Command::Serve(serve) = of(words) else { panic!("{words}") };
        assert_eq!(serve.configuration.path(), Some("a.toml".as_ref()), "{words}");
    }
    for words in ["tidecast check a.toml", "tidecast check -c a.toml"] {
        let Command::Check(check) = of(words) else { panic!("{words}") };
        assert_eq!(check.file(), Path::new("a.toml"), "{words}");
    }
    for (words, part) in [
        ("serve a.toml -c b.toml", "cannot be used with"),
        ("check a.toml -c b.toml", "cannot be used with"),
        ("serve --log-format yaml", "[possible values: text, json]"),
    ] {
        let error = parse(words).expect_err(words).to_string();
        assert!(error.contains(part), "{words}: {error}");
    }
}
