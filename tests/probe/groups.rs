//! Groups of `lo`: the traffic of real programs is identified, and silence is explained.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use super::{
    common::{Running, free_port, group, have, tidecast, until},
    probe, probed,
};

/// Returns an address on `lo`.
fn address(scheme: &str, at: &str) -> (String, String) {
    let (group, port) = (group(), free_port());
    (
        format!("{scheme}://{group}:{port}?if=127.0.0.1{at}"),
        format!("{scheme}://@{group}:{port}?if=127.0.0.1"),
    )
}

#[test]
fn sensors_with_fec_are_named() {
    let (output, input) = address("udp", "");
    let _sender =
        Running::start(tidecast(["send", "--sensor", "3", "--interval", "1ms", "--fec", "10,2,2", &output]));
    let report = probed(&[&input, "--for", "2s"]);
    assert_eq!(report["format"], "native", "{report}");
    assert_eq!(report["flows"].as_array().map(Vec::len), Some(3), "{report}");
    let fec = &report["fec"][0];
    assert_eq!((&fec["k"], &fec["m"], &fec["stride"]), (&10.into(), &2.into(), &2.into()), "{report}");
    assert_eq!(report["numbers"]["lost"], 0, "{report}");
    let rate = report["flows"][0]["packets_per_second"].as_f64().expect("a rate");
    assert!((700.0..1300.0).contains(&rate), "{report}");
}

#[test]
fn lines_go_to_standard_error_and_the_report_to_standard_output() {
    let (output, input) = address("udp", "");
    let _sender = Running::start(tidecast(["send", "--sensor", "1", "--interval", "5ms", &output]));
    let ended = probe(&[&input, "--for", "2500ms"]);
    let (out, error) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{error}");
    assert!(error.contains("1s: ") && error.contains("2s: "), "{error}");
    assert!(out.contains(": native\n") && out.contains("suggestion: hold"), "{out}");
}

#[test]
fn silence_is_explained() {
    let (_, input) = address("udp", "");
    let ended = probe(&[&input, "--for", "300ms"]);
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{error}");
    assert!(error.contains("nothing came from") && error.contains("nobody sends to"), "{error}");
    let ended = probe(&["udp://@239.1.1.1:5000?if=nosuch0", "--for", "300ms"]);
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && error.contains("nosuch0"), "{error}");
}

#[test]
fn wrong_values_are_usage_errors() {
    for (args, expected) in [
        (&["udp://239.1.1.1"][..], "port"),
        (&["udp://@239.1.1.1:5000", "--max-loss", "1"], "expected"),
        (&["udp://@239.1.1.1:5000", "--for", "0s"], "expected"),
        (&["udp://@239.1.1.1:5000", "--destination", "239.1.1.1:1"], "for capture files only"),
    ] {
        let ended = probe(args);
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_terminal_gets_a_live_display_which_q_ends() {
    if !have("script") {
        return;
    }
    let (output, input) = address("udp", "");
    let _sender = Running::start(tidecast(["send", "--sensor", "2", "--interval", "5ms", &output]));
    let typescript = tempfile::NamedTempFile::new().expect("a file");
    let program = tidecast([""; 0]).get_program().to_str().expect("a path").to_owned();
    let mut script = Command::new("script");
    let line = format!("stty rows 30 cols 120; {program} probe '{input}'");
    script.args(["-qefc", &line]).arg(typescript.path()).stdout(Stdio::null());
    let mut script = Running::start_with_input(script);
    let shown =
        || String::from_utf8_lossy(&fs::read(typescript.path()).expect("the terminal's text")).into_owned();
    until("the display", || shown().contains("q: end").then_some(()));
    // Only cells that change are drawn, so a word that replaces another one is not there
    // completely; a row of the flows is.
    until("both flows' sources", || (shown().matches("127.0.0.1:").count() >= 2).then_some(()));
    script.child.stdin.as_mut().expect("piped").write_all(b"q").expect("a key");
    assert!(script.wait().success(), "{}", shown());
    let text = shown();
    let (live, report) = text.rsplit_once("\u{1b}[?1049l").expect("the terminal is as it was before");
    assert!(live.contains("\u{1b}[?1049h") && live.matches("127.0.0.1:").count() >= 2, "{text}");
    assert!(report.contains(": native") && report.contains("suggestion: hold"), "{report}");
}
