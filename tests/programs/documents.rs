//! The scripts in the documentation, run unchanged against a relay.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    common::{PATIENCE, Running, have, have_npm, native},
    source::Relay,
};

/// Objects that a browser provides, or a page before the script.
const BEFORE: &str = "
const packages = process.argv[1];
globalThis.WebSocket = require(packages + '/ws').WebSocket;
globalThis.EventSource = require(packages + '/eventsource').EventSource;
globalThis.io = require(packages + '/socket.io-client').io;
globalThis.show = (...what) => console.log(JSON.stringify(what));
globalThis.document = { getElementById: () => ({ set textContent(text) { console.log(text.replace(/\\s/g, '')); } }) };
";

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).expect("the document")
}

/// Returns the parts of a document between two marks.
fn blocks<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|rest| rest.split(to).next()).collect()
}

#[test]
fn the_scripts_of_the_documentation_show_what_comes() {
    if !(have("node") && ["ws", "eventsource", "socket.io-client"].into_iter().all(have_npm)) {
        return;
    }
    let guide = read("docs/programs.md");
    let mut scripts = blocks(&guide, "<script>", "</script>");
    scripts.retain(|script| script.contains("EventSource"));
    scripts.extend(blocks(&guide, "```js\n", "```"));
    assert_eq!(scripts.len(), 4, "server-sent events, TCP, WebSocket, Socket.IO");
    let relay = Relay::start(&[]);
    for script in scripts {
        let script = script
            .replace("127.0.0.1:8080", &relay.http.to_string())
            .replace("9000, ", &format!("{}, ", relay.tcp.port()))
            .replace("sensors", "readings");
        let mut node = Command::new("node");
        let packages = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node_modules");
        node.args(["-e", &format!("{BEFORE}{script}"), packages]).stdout(Stdio::piped());
        let mut running = Running::start(node);
        let output = BufReader::new(running.child.stdout.take().expect("piped"));
        let (shown, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| shown.send(line)));
        let start = crate::common::now();
        let mut number = 0;
        loop {
            relay.send(&native(7, 1, number, br#"{"value":21.5}"#));
            number += 1;
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.contains("21.5") => break,
                _ => assert!(start.elapsed() < PATIENCE, "nothing shown by {script}: {}", running.stderr()),
            }
        }
    }
}
