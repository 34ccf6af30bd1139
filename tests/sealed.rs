//! Sealed datagrams through real programs: producers in Python, C and Rust, a relay, and the next
//! hop; somebody without the key; and what a sniffer shows of an encrypted payload.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tidecast_testkit::{
    common::{
        PATIENCE, Running, free_port, get, group, have, have_header, have_python, is_root, joined, metric,
        native, now, sender, tidecast, until, until_clients,
    },
    examples,
};
use tidecast_wire::native::{self as wire, Packet};

/// Runs a command that must succeed.
fn done(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A key for a channel, in a new file.
fn key(folder: &Path, id: u8) -> PathBuf {
    let file = folder.join(format!("channel-{id}.key"));
    let id = id.to_string();
    done(tidecast([
        "key".as_ref(),
        "new".as_ref(),
        "--id".as_ref(),
        id.as_ref(),
        "-o".as_ref(),
        file.as_os_str(),
    ]));
    file
}

/// The key of one stream, in a new file.
fn stream_key(channel: &Path, stream: u32) -> String {
    let file = channel.with_extension(format!("{stream}.key"));
    let stream = stream.to_string();
    let args = ["key".as_ref(), "stream".as_ref(), channel.as_os_str(), stream.as_ref()];
    done(tidecast(args.into_iter().chain(["-o".as_ref(), file.as_os_str()])));
    file.display().to_string()
}

fn url(group: Ipv4Addr, port: u16) -> String {
    format!("udp://{group}:{port}?if=127.0.0.1")
}

fn input(group: Ipv4Addr, port: u16) -> String {
    format!("udp://@{group}:{port}?if=127.0.0.1")
}

#[test]
fn producers_in_three_languages_seal_for_a_relay_and_for_the_next_hop() {
    if !have_python("cryptography") || !have_header("openssl/evp.h") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (key(folder.path(), 1), key(folder.path(), 2));
    let (first, second, port) = (group(), group(), free_port());
    let out = folder.path().join("out.txt");
    let keys = [&old, &new].map(|key| key.display().to_string());
    let seals = ["--seal", &keys[0], "--seal", &keys[1]];
    let mut next_hop =
        vec!["recv".to_owned(), input(second, port), "--json".to_owned(), "--for=30s".to_owned()];
    next_hop.extend(seals.map(str::to_owned));
    next_hop.extend(["--count=103".to_owned(), "-o".to_owned(), out.display().to_string()]);
    let mut next_hop = Running::tidecast(next_hop);
    let recorded = folder.path().join("recorded");
    let to = [format!("{}&fec=rs:4,1", url(second, port)), format!("pcapng:{}", recorded.display())];
    let mut relay = vec!["relay".to_owned(), input(first, port), "--to".to_owned()];
    relay.extend(to);
    relay.extend(["--http", "127.0.0.1:0"].iter().chain(&seals).map(|&arg| arg.to_owned()));
    let mut relay = Running::tidecast(relay);
    let http = relay.http();
    let readers = ["/streams/main", "/sse/main"]
        .map(|path| thread::spawn(move || read_until(http, path, "temperature=", 53)));
    until("both readers", || (metric(http, &["tidecast_subscribers{"]) == 2.0).then_some(()));

    let program = examples::compiled_with("sealed", folder.path(), &["-lcrypto"]);
    let place = [first.to_string(), port.to_string(), "127.0.0.1".to_owned()];
    // The C program is slow, with heartbeats; the Python program has the new key of all streams.
    let mut in_c = Command::new(&program);
    in_c.arg(stream_key(&old, 21)).args(&place).args(["3", "1300", "21"]);
    let mut in_python = examples::python("sealed");
    in_python.arg(&new).args(&place).args(["50", "10", "22"]);
    let mut in_rust =
        tidecast(["send", "--sensor", "1", "--interval", "10ms", "--count", "50", "--fec", "10,2"]);
    in_rust.args(["--stream", "23", "--seal", &stream_key(&new, 23), "--encrypt", &url(first, port)]);
    let programs = [in_c, in_python, in_rust].map(|command| thread::spawn(|| done(command)));
    programs.into_iter().for_each(|program| program.join().expect("succeeds"));

    assert!(next_hop.wait().success(), "{}", next_hop.stderr());
    let text = fs::read_to_string(&out).expect("the payloads");
    assert_eq!(text.matches("temperature=").count(), 53, "{text}");
    assert_eq!(text.matches(r#""sensor":"temp-0""#).count(), 50, "{text}");
    let summary = next_hop.stderr();
    let summary: Value = summary.lines().find_map(|line| serde_json::from_str(line).ok()).expect("JSON");
    let counts = ["lost", "rejected", "corrupt"].map(|key| summary[key].as_u64());
    assert_eq!(counts, [Some(0); 3], "{summary}");
    assert!(summary["repair"].as_u64() > Some(20), "the relay's own are sealed: {summary}");
    readers.into_iter().for_each(|reader| reader.join().expect("all payloads in clear"));
    assert_eq!(metric(http, &["tidecast_packets_discarded_total"]), 0.0, "{}", get(http, "/metrics").2);
    let control = metric(http, &["tidecast_packets_received_total", "kind=\"control\""]);
    assert!(control >= 2.0 + 3.0 * 3.0, "heartbeats and ends: {control}");
    relay.stop();
    let files = fs::read_dir(&recorded).expect("recordings").map(|entry| entry.expect("an entry").path());
    let recorded: Vec<u8> = files.flat_map(|file| fs::read(file).expect("a recording")).collect();
    let has = |text: &[u8]| recorded.windows(text.len()).filter(|bytes| *bytes == text).count();
    assert_eq!(has(b"TC\x10"), 103, "whole datagrams");
    assert_eq!(has(b"temperature") + has(b"sensor"), 0, "as they came");
}

/// Reads what is served at this path until it has so many readings in clear.
fn read_until(http: SocketAddr, path: &str, text: &str, count: usize) {
    let mut stream = TcpStream::connect(http).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\n\r\n").expect("write");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while String::from_utf8_lossy(&answer).matches(text).count() < count {
        let len = stream.read(&mut buffer).expect("read");
        assert!(len > 0, "{path} ended early: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..len]);
    }
}

#[test]
fn a_reload_exchanges_keys_and_cuts_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = [1, 2].map(|id| key(folder.path(), id));
    let (group, port) = (group(), free_port());
    let file = folder.path().join("relay.toml");
    let configure = |keys: &str| {
        let input = input(group, port);
        let text = format!(
            "http.listen = \"127.0.0.1:0\"\n[[channel]]\nname = \"main\"\ninput = \"{input}\"\nseal = \"required\"\nseal_keys = {keys}\n"
        );
        fs::write(&file, text).expect("write");
    };
    configure("\"channel-1.key\"");
    let mut relay = Running::tidecast(["serve".as_ref(), file.as_os_str()]);
    let http = relay.http();
    let player = thread::spawn(move || read_until(http, "/streams/main", "\"unit\"", 60));
    until_clients(http, 1);
    let send = |key: &Path, stream: &str| {
        let mut send =
            tidecast(["send", "--sensor", "1", "--interval", "5ms", "--count", "20", "--stream", stream]);
        send.arg("--seal").arg(key).arg(url(group, port));
        done(send);
    };
    send(&keys[0], "1");
    send(&keys[1], "2");
    let unknown = |count: f64| {
        let reason = ["tidecast_invalid_datagrams_total", "reason=\"unknown_key\""];
        until("what has no key", || (metric(http, &reason) == count).then_some(()));
    };
    unknown(23.0);
    configure("[\"channel-1.key\", \"channel-2.key\"]");
    relay.signal("HUP");
    relay.wait_for_line("read again: new keys of main");
    send(&keys[0], "3");
    send(&keys[1], "4");
    player.join().expect("it was not cut");
    unknown(23.0);
}

/// Reads datagrams until nothing has come for a while.
fn heard(socket: &std::net::UdpSocket) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let mut bytes = [0; 2048];
    while let Ok(len) = socket.recv(&mut bytes) {
        heard.push(bytes[..len].to_vec());
    }
    heard
}

#[test]
fn somebody_without_the_key_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = key(folder.path(), 1);
    let (group, port) = (group(), free_port());
    let file = key.display().to_string();
    let mut relay =
        Running::tidecast(["relay", &input(group, port), "--seal", &file, "--http", "127.0.0.1:0"]);
    let http = relay.http();
    let send = |count: &str| {
        let mut send =
            tidecast(["send", "--sensor", "4", "--interval", "20ms", "--count", count, "--encrypt"]);
        send.args(["--seal", &file, &url(group, port)]);
        send
    };
    let eavesdropper = joined(group, port);
    done(send("200"));
    let recorded = heard(&eavesdropper);
    assert!(recorded.len() >= 200, "{}", recorded.len());
    // The same streams again, in a new session, among what somebody sends with the same rate.
    let attacker = sender();
    let to = SocketAddr::from((group, port));
    let running = thread::spawn({
        let send = send("400");
        move || done(send)
    });
    let begun = now();
    let mut sent = 0;
    while !running.is_finished() && begun.elapsed() < PATIENCE {
        let old = &recorded[sent % recorded.len()];
        let mut forged = old.clone();
        let len = forged.len() - wire::TRAILER;
        forged[len - 1] ^= 1;
        let crc = crc32fast::hash(&forged[..len]);
        forged[len..].copy_from_slice(&crc.to_be_bytes());
        let packet = Packet::parse(old).expect("a native datagram");
        let unsealed = native(packet.stream(), packet.session(), 1_000_000, b"forged");
        let datagram = [old, &forged, &unsealed, &old[..old.len() - 7].to_vec()][sent % 4].clone();
        attacker.send_to(&datagram, to).expect("sends");
        sent += 1;
        thread::sleep(Duration::from_millis(5));
    }
    running.join().expect("succeeds");
    until("all packets", || (metric(http, &["tidecast_packets_delivered_total"]) == 600.0).then_some(()));
    assert_eq!(metric(http, &["tidecast_packets_lost_total"]), 0.0);
    for reason in ["replayed", "forged", "unsealed", "checksum"] {
        let reason = format!("reason=\"{reason}\"");
        let count = metric(http, &["tidecast_invalid_datagrams_total", &reason]);
        assert!(count >= 50.0, "{reason}: {count} of {sent}");
    }
    let (_, _, streams) = get(http, "/api/v1/streams?flows=10");
    let streams: Value = serde_json::from_str(&streams).expect("JSON");
    let flows = streams["channels"][0]["flows"].as_array().expect("flows");
    let sessions: BTreeMap<_, _> =
        flows.iter().map(|flow| (flow["flow"].to_string(), flow["counters"]["sessions"].as_u64())).collect();
    assert_eq!(sessions.len(), 4, "{sessions:?}");
    assert!(sessions.values().all(|count| *count == Some(2)), "{sessions:?}");
}

#[test]
fn a_sniffer_sees_no_encrypted_payload() {
    if !is_root() || !have("tshark") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let key = key(folder.path(), 1).display().to_string();
    for encrypt in [false, true] {
        let (group, port) = (group(), free_port());
        let file = folder.path().join(format!("{encrypt}.pcapng"));
        let mut tshark = Command::new("tshark");
        tshark.args(["-i", "lo", "-q", "-n", "-f", &format!("udp port {port}"), "-w"]).arg(&file);
        let mut tshark = Running::start(tshark);
        tshark.wait_for_line("Capturing on");
        let send = || {
            let mut send = tidecast(["send", "--sensor", "1", "--interval", "5ms", "--count", "50"]);
            send.args(["--fec", "1,1", "--seal", &key, &url(group, port)]);
            send.args(encrypt.then_some("--encrypt"));
            done(send);
        };
        // It says that it captures a moment before it does.
        let text = until("a hundred datagrams", || {
            send();
            let shown = Command::new("tshark").args(["-n", "-x", "-r"]).arg(&file).output().expect("tshark");
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            let datagrams = text.lines().filter(|line| line.starts_with("0000  ")).count();
            (datagrams >= 100).then_some(text)
        });
        tshark.signal("INT");
        tshark.wait();
        // What stands in the dump is cut into lines of 16 characters.
        let ascii: String = text.lines().filter_map(|line| line.get(56..)).collect();
        assert_eq!(ascii.contains("temp-0"), !encrypt, "encrypt {encrypt}: {ascii:.2000}");
        assert_eq!(ascii.contains("\"unit\""), !encrypt);
    }
}
