//! Tests of `seal` and `seal_keys`: which keys are taken, each problem, and that no message shows a
//! key.

use super::*;

const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn sealed(keys: &str) -> String {
    channel(&format!("seal = \"required\"\nseal_keys = {keys}"))
}

#[test]
fn keys_are_taken_from_the_file_and_from_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("new.key"), format!("# the new one\n2:{DIGITS}\n3/7:{DIGITS}\n"))
        .unwrap();
    let path = folder.path().join("relay.toml");
    std::fs::write(&path, sealed(&format!("[\"1:{DIGITS}\", \"new.key\"]"))).unwrap();
    let config = Config::from_file(&path).unwrap();
    let channel = &config.channels[0];
    assert_eq!(channel.format, Format::Native, "nothing else can be sealed");
    let keys = channel.seal.as_ref().unwrap().keys();
    let keys: Vec<_> = keys.iter().map(|key| (key.id(), key.stream())).collect();
    assert_eq!(keys, [(1, None), (2, None), (3, Some(7))]);
    assert!(channel.core().seal.is_some());
    assert!(!format!("{config:?}").contains("001122"));
}

#[test]
fn a_relay_takes_keys_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.key");
    std::fs::write(&file, format!("1:{DIGITS}\n")).unwrap();
    let args = cli::Relay {
        seal: vec![file.display().to_string()],
        inputs: vec!["udp://@239.1.1.1:5000".into()],
        release: None,
        release_delay: None,
        ..relay()
    };
    assert!(of_relay(&args).unwrap().channels[0].seal.is_some());
    let args = cli::Relay { seal: vec!["/no/such.key".into()], ..args };
    let error = of_relay(&args).unwrap_err();
    assert!(error.is_usage(), "{error}");
    assert!(
        error.to_string().starts_with("--seal \"/no/such.key\": /no/such.key cannot be read: "),
        "{error}"
    );
}

#[test]
fn each_problem_says_what_would_be_right_and_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (empty, short) = (file("empty.key", "# none\n"), file("short.key", "1:0011\n"));
    let long = file("long.key", &"#".repeat(70_000));
    let there = folder.path().display();
    let cases = [
        (sealed("[\"1:0011\"]"), "channel[0].seal_keys[0] (channel \"cam\"): key 1: 4 hexadecimal digits, expected 64".to_owned()),
        (sealed(&format!("\"1:{}\"", DIGITS.replace('a', "x"))), "channel[0].seal_keys (channel \"cam\"): key 1: character 21 after the colon is no hexadecimal digit".to_owned()),
        (sealed(&format!("\"16:{DIGITS}\"")), "channel[0].seal_keys (channel \"cam\"): key id 16, expected 0 to 15".to_owned()),
        (sealed(&format!("[\"1:{DIGITS}\", \"1:{DIGITS}\"]")), "channel[0].seal_keys[0] (channel \"cam\"): two keys with id 1, expected one".to_owned()),
        (sealed("7"), "channel[0].seal_keys (channel \"cam\"): expected text in quotes: a file with keys".to_owned()),
        (sealed("\"/no/such.key\""), "channel[0].seal_keys = \"/no/such.key\" (channel \"cam\"): /no/such.key cannot be read: No such file".to_owned()),
        (sealed(&format!("\"{there}\"")), format!("channel[0].seal_keys = \"{there}\" (channel \"cam\"): {there} is no file, expected")),
        (sealed(&format!("\"{empty}\"")), format!("channel[0].seal_keys = \"{empty}\" (channel \"cam\"): {empty}: no key, expected one")),
        (sealed(&format!("\"{short}\"")), format!("channel[0].seal_keys = \"{short}\" (channel \"cam\"): {short}: key 1: 4 hexadecimal")),
        (sealed(&format!("\"{long}\"")), format!("channel[0].seal_keys = \"{long}\" (channel \"cam\"): {long} is too long, expected")),
        (sealed("[]"), "channel[0].seal = \"required\" (channel \"cam\"): expected seal_keys with a key".to_owned()),
        (channel("seal = \"required\""), "channel[0].seal = \"required\" (channel \"cam\"): expected seal_keys with a key".to_owned()),
        (channel("seal = \"yes\""), "channel[0].seal = \"yes\" (channel \"cam\"): expected \"off\" or \"required\"".to_owned()),
        (channel(&format!("seal_keys = \"1:{DIGITS}\"")), "channel[0].seal_keys (channel \"cam\"): expected only with seal = \"required\"".to_owned()),
        (sealed(&format!("\"1:{DIGITS}\"\nformat = \"ts\"")), "channel[0].seal = \"required\" (channel \"cam\"): expected the format native instead of \"ts\": nothing else can be sealed".to_owned()),
        (sealed(&format!("\"1:{DIGITS}\"\nfec = \"st2022-1\"")), "channel[0].seal = \"required\" (channel \"cam\"): expected the format native instead of \"rtp\"".to_owned()),
    ];
    for (text, expected) in cases {
        let error = error(&text);
        assert!(error.starts_with(&expected), "{error}\n is not\n{expected}");
        assert!(!error.contains("0011"), "{error}");
    }
}
