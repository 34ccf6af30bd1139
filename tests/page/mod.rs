//! The page at `/` in a real browser, with real relays. The scripts beside this file drive
//! Chromium and report errors; their output are measurements.

mod api;
mod causes;
mod clients;
mod control;

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
};

use crate::common::{Running, free_port, group, have, have_npm, tidecast, until};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");

fn have_browser() -> bool {
    have("node") && have("chromium") && have_npm("playwright-core")
}

/// Runs a script to its end, and prints its measurements.
fn check(script: &str, http: SocketAddr, args: &[&str]) {
    let mut node = Command::new("node");
    node.arg(format!("{SCRIPTS}/{script}")).arg(format!("http://{http}")).args(args);
    let output = node.output().expect("node");
    let figures = String::from_utf8_lossy(&output.stdout);
    let _ = write!(std::io::stderr(), "{figures}"); // shown even where the test passes
    assert!(output.status.success(), "{script}: {figures}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn demo() -> (Running, SocketAddr) {
    let mut command = tidecast(["demo", "--http", "127.0.0.1:0"]);
    command.stdout(Stdio::null());
    let mut demo = Running::start(command);
    let http = demo.http();
    (demo, http)
}

#[test]
fn a_first_visitor_sees_what_is_lost_and_reaches_everything() {
    if !have_browser() {
        return;
    }
    let (_demo, http) = demo();
    check("demo.mjs", http, &[]);
}

#[test]
fn the_page_is_for_everybody_and_tells_how_to_reach_a_channel() {
    if !have_browser() || !have_npm("axe-core") || !have_npm("jsqr") {
        return;
    }
    let (_demo, http) = demo();
    check("looks.mjs", http, &[]);
}

#[test]
fn a_person_logs_in_by_a_form_and_out_again() {
    if !have_browser() || !have_npm("axe-core") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("relay.toml");
    // The digest is that of the token `chief`.
    let text = "[http]\nlisten = \"127.0.0.1:0\"\n[[token]]\nname = \"chief\"\nroles = [\"watch\", \"operate\"]\n\
                sha256 = \"9285827b8031a1dbe7d1d04eb8a08c8891ee424a8002cfc7dd2df3d82cbff611\"\n";
    std::fs::write(&config, text).expect("write");
    let mut relay = Running::tidecast(["serve".as_ref(), "-c".as_ref(), config.as_os_str()]);
    check("login.mjs", relay.http(), &[]);
}

#[test]
fn the_description_of_the_api_is_valid_and_has_every_key_of_every_answer() {
    if !have("node") || !have_npm("ajv") || !have_npm("@seriousme/openapi-schema-validator") {
        return;
    }
    let (_demo, http) = demo();
    check("openapi.mjs", http, &[]);
}

/// A relay of 64 channels, and the addresses of their groups without the scheme.
fn sixty_four() -> (Running, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("relay.toml");
    let groups: Vec<String> = (0..64).map(|_| format!("{}:{}?if=127.0.0.1", group(), free_port())).collect();
    let mut text = "[http]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for (number, group) in (1..).zip(&groups) {
        text += &format!("[[channel]]\nname = \"channel-{number:02}\"\ninput = \"udp://@{group}\"\n");
    }
    std::fs::write(&config, text).expect("write");
    (Running::tidecast(["serve".as_ref(), "--config".as_ref(), config.as_os_str()]), groups)
}

#[test]
fn sixty_four_channels_stand_on_two_screens() {
    if !have_browser() {
        return;
    }
    let (mut relay, _) = sixty_four();
    check("board.mjs", relay.http(), &[]);
}

#[test]
fn with_sixty_four_channels_nothing_moves_by_itself_and_all_is_answered_at_once() {
    if !have_browser() {
        return;
    }
    let (mut relay, groups) = sixty_four();
    let source = format!("{}:{}?if=127.0.0.1", group(), free_port());
    let link = |loss: &str, groups: &[String]| {
        let mut words = ["impair", &format!("udp://@{source}"), "--loss", loss].map(str::to_owned).to_vec();
        words.extend(groups.iter().flat_map(|group| ["--to".to_owned(), format!("udp://{group}&ttl=0")]));
        Running::start(tidecast(words))
    };
    let _links = [link("2%", &groups[..32]), link("0%", &groups[32..])];
    let target = format!("udp://{source}&ttl=0");
    let send = ["send", "--format", "native", "--sensor", "2", "--interval", "100ms", &target];
    let _producer = Running::start(tidecast(send));
    check("budget.mjs", relay.http(), &[]);
}

#[test]
fn every_pair_of_colours_has_its_contrast() {
    if !have("node") {
        return;
    }
    let sheets = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/css");
    let output =
        Command::new("node").arg(format!("{SCRIPTS}/contrast.mjs")).arg(sheets).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_page_knows_is_bounded() {
    if !have("node") {
        return;
    }
    let state = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/state.js");
    let output = Command::new("node").arg(format!("{SCRIPTS}/state.mjs")).arg(state).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Creates a film with a key frame every 2 s, as in broadcasts.
fn film(folder: &std::path::Path) -> String {
    let h264 = [
        "-c:v",
        "libx264",
        "-profile:v",
        "main",
        "-preset",
        "veryfast",
        "-keyint_min",
        "50",
        "-sc_threshold",
        "0",
    ];
    film_of(folder, &h264, "aac")
}

fn film_of(folder: &std::path::Path, video: &[&str], audio: &str) -> String {
    let path = folder.join("film.ts").display().to_string();
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "8"])
        .args(video)
        .args(["-pix_fmt", "yuv420p", "-g", "50", "-b:v", "1000k", "-maxrate", "1000k", "-bufsize", "500k"])
        .args(["-c:a", audio, "-b:a", "64k", "-f", "mpegts", "-muxrate", "1400k", &path])
        .status();
    assert!(made.expect("ffmpeg").success());
    path
}

/// Starts a relay of what a producer sends to its group.
fn relayed(format: &str, send: &[&str]) -> ([Running; 2], SocketAddr) {
    let (group, port) = (group(), free_port());
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let relay = Running::tidecast([
        "relay",
        &format!("udp://@{group}:{port}?if=127.0.0.1"),
        "--format",
        format,
        "--http",
        &http.to_string(),
    ]);
    let target = format!("udp://{group}:{port}?if=127.0.0.1&ttl=0");
    let producer = Running::start(tidecast([&["send"], send, &[target.as_str()]].concat()));
    ([relay, producer], http)
}

#[test]
fn the_film_plays_in_the_page() {
    if !have_browser() || !have("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let film = film(folder.path());
    let (_running, http) = relayed("rtp", &["--format", "rtp", "--file", &film, "--loop"]);
    check("film.mjs", http, &["main", &film]);
}

#[test]
fn a_film_plays_without_the_sound_that_browsers_lack_and_names_a_picture_that_they_lack() {
    if !have_browser() || !have("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let h264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast"];
    let cases = [(h264, "sound", "MP2"), (&["-c:v", "mpeg2video"], "picture", "MPEG-2 video")];
    for (video, lacks, name) in cases {
        let film = film_of(folder.path(), video, "mp2");
        let (_running, http) = relayed("rtp", &["--format", "rtp", "--file", &film, "--loop"]);
        check("codecs.mjs", http, &["main", lacks, name]);
        std::fs::remove_file(film).expect("remove");
    }
}

#[test]
fn a_page_of_an_admitted_site_plays_raw_messages_and_reads_the_rest() {
    if !have_browser() || !have("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let film = film(folder.path());
    let (group, port, site) = (group(), free_port(), free_port());
    let config = folder.path().join("relay.toml");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\norigins = [\"http://127.0.0.1:{site}\"]\n\
         [[channel]]\nname = \"main\"\nformat = \"rtp\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""
    );
    std::fs::write(&config, text).expect("write");
    let mut relay = Running::tidecast(["serve".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let target = format!("udp://{group}:{port}?if=127.0.0.1&ttl=0");
    let _producer =
        Running::start(tidecast(["send", "--format", "rtp", "--file", &film, "--loop", target.as_str()]));
    let player = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/vendor/mpegts.js");
    check("elsewhere.mjs", relay.http(), &["main", player, &site.to_string()]);
}

#[test]
fn one_of_a_thousand_flows_is_found_and_a_tick_costs_little() {
    if !have_browser() {
        return;
    }
    let (_running, http) = relayed("native", &["--sensor", "1000", "--interval", "1s"]);
    check("flows.mjs", http, &["main", "1000"]);
}

#[test]
fn a_page_says_how_old_its_data_is_while_the_relay_hangs() {
    if !have_browser() {
        return;
    }
    let (demo, http) = demo();
    let mut page = super::Script::of(format!("{SCRIPTS}/stall.mjs"), &[&format!("http://{http}")]);
    page.until_line("live");
    demo.signal("STOP");
    page.tell("it hangs");
    let stale = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| page.until_line("stale")));
    demo.signal("CONT"); // a stopped process outlives a test that has failed
    assert!(stale.is_ok(), "{:?}\n{}", page.lines(), page.running.stderr());
    page.tell("it goes on");
    page.until_line("live again");
    let ended = until("the script's end", || page.running.child.try_wait().expect("wait"));
    assert!(ended.success(), "{}", page.running.stderr());
}
