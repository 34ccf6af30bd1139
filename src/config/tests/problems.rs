//! Tests of missing, superfluous and malformed parts; all problems of a file are reported at once.

use proptest::prelude::*;

use super::*;

#[test]
fn missing_keys_are_named() {
    let expected = "\
channel[0].name: missing, expected the channel's name, such as \"camera-1\"
channel[0].input: missing, expected one or more addresses, such as \"udp://@239.1.1.1:5000\"";
    assert_eq!(error("[[channel]]"), expected);
    let expected =
        "channel[0].output (channel \"cam\"): missing, expected one or more addresses, since HTTP is off";
    assert_eq!(error(&format!("http.listen = \"off\"\n{}", channel(""))), expected);
    let text = "[[channel]]\nname = \"cam\"\ninput = []";
    let expected = "channel[0].input (channel \"cam\"): missing, expected one or more addresses, such as \"udp://@239.1.1.1:5000\"";
    assert_eq!(error(text), expected);
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    let text = "tick = \"fast\"\n[http]\nlisten = \"here\"\nlistne = 1\n\n[[channel]]\nname = \"cam\"\nhold = \"fast\"\ninput = [\n  \"239.1.1.1:5000\",\n  \"239.1.1.1:0\",\n]\n";
    std::fs::write(&path, text).unwrap();
    let errors = Config::from_file(&path).unwrap_err();
    assert!(!errors.is_usage());
    let lines: Vec<String> =
        errors.to_string().lines().map(|line| line.replace(&path.display().to_string(), "F")).collect();
    let starts = [
        "F:1: tick = \"fast\": expected",
        "F:3: http.listen = \"here\": expected",
        "F:4: http.listne: unknown key, did you mean \"listen\"?",
        "F:8: channel[0].hold = \"fast\" (channel \"cam\"): expected",
        "F:11: channel[0].input[1] = \"239.1.1.1:0\" (channel \"cam\"): port \"0\": expected 1 to 65535",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line} does not start with {start}");
    }
}

#[test]
fn what_is_no_toml_names_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    for (text, line, word) in [
        ("tick = \"5ms\"\nthreads = = 1\n", 2, "not TOML"),
        ("tick = \"5ms\"\n\ntick = \"6ms\"\n", 3, "duplicate key"),
    ] {
        std::fs::write(&path, text).unwrap();
        let errors = Config::from_file(&path).unwrap_err().to_string();
        assert!(errors.starts_with(&format!("{}:{line}: not TOML: ", path.display())), "{errors}");
        assert!(errors.contains(word), "{errors}");
        assert!(!errors.contains("tick ="), "values of a broken file are not judged: {errors}");
    }
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(Config::from_file(&path).unwrap_err().to_string().contains("bad.toml: cannot be read: "));
    assert!(Config::from_file(folder.path()).unwrap_err().to_string().contains("cannot be read: "));
}

#[test]
fn counts_are_bounded() {
    let list = |n: usize| (0..n).map(|i| format!("\"239.1.1.1:{}\"", i + 1)).collect::<Vec<_>>().join(", ");
    let inputs = |n| format!("[[channel]]\nname = \"cam\"\ninput = [{}]", list(n));
    assert_eq!(error(&inputs(32)), "no error");
    let expected = "channel[0].input (channel \"cam\"): 33 addresses, expected at most 32";
    assert_eq!(error(&inputs(33)), expected);
    let outputs = |n| format!("[[channel]]\nname = \"cam\"\ninput = \":9\"\noutput = [{}]", list(n));
    assert_eq!(error(&outputs(1024)), "no error");
    let expected = "channel[0].output (channel \"cam\"): 1025 addresses, expected at most 1024";
    assert_eq!(error(&outputs(1025)), expected);
    let channels = |n| -> String {
        (0..n).map(|i| format!("[[channel]]\nname = \"c{i}\"\ninput = \"239.1.1.1:9\"\n")).collect()
    };
    assert_eq!(error(&channels(4096)), "no error");
    assert_eq!(error(&channels(4097)), "channel: 4097 channels, expected at most 4096");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "[a-z\\[\\]=\"0-9\\n .{},#']{0,80}") {
        let _ = text.parse::<Config>();
    }

    #[test]
    fn any_value_of_any_key_is_read_without_panic(
        key in "(tick|threads|http\\.(listen|allow|linger|clients_max)|channel)",
        channel_key in "(name|input|output|fec|hold|release|release_delay|format|limits|limits\\.bytes_max|receive_buffer)",
        value in "(\"\\PC{0,12}\"|-?[0-9]{1,20}|\\[\\]|\\{\\}|true|[0-9]\\.[0-9]|\\[\"[0-9.:]{0,12}\"\\])",
    ) {
        let _ = format!("{key} = {value}\n[[channel]]\n{channel_key} = {value}").parse::<Config>();
    }
}
