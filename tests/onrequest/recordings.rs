//! Recordings can be read by tshark and played again; a full disk ends a recording and nothing
//! else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tidecast_testkit::capture;

use crate::{
    common::{
        Running, free_port, get, group, have, is_root, joined, metric, native, now, sender, tidecast, until,
    },
    relay,
};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Returns tshark's fields for each packet of a file, which tshark must accept without complaints.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-r"]).arg(file);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark runs");
    let warnings = String::from_utf8_lossy(&output.stderr);
    let warnings: Vec<&str> =
        warnings.lines().filter(|line| !line.contains("Running as user \"root\"")).collect();
    assert!(output.status.success() && warnings.is_empty(), "{}: {warnings:?}", file.display());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Returns the duration of the acceptance test's recording: three seconds, or the value of
/// `TIDECAST_RECORD_SECONDS`.
fn seconds() -> u64 {
    std::env::var("TIDECAST_RECORD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Runs a producer of 40 Mbit/s; its datagrams have 1,316 bytes of payload.
fn produce(group: std::net::Ipv4Addr, port: u16, count: u64) {
    let socket = sender();
    let start = now();
    for number in 0..count {
        let due = Duration::from_nanos(number * 1_000_000_000 / 3800);
        if let Some(wait) = due.checked_sub(start.elapsed()).filter(|wait| *wait > Duration::from_micros(200))
        {
            std::thread::sleep(wait);
        }
        let payload: Vec<u8> = (0..1316).map(|n: u64| (n * 31 + number) as u8).collect();
        socket.send_to(&native(7, 99, number, &payload), (group, port)).expect("send");
    }
}

/// Records what `produce` sends to a relay. Returns the files.
fn record(folder: &Path, produce: impl FnOnce(std::net::Ipv4Addr, u16)) -> Vec<PathBuf> {
    let to = format!("pcapng:{}?rotate=1GB", folder.display());
    let (mut running, group, port, _) = relay(&["--to", &to]);
    produce(group, port);
    let http = running.http();
    let sent = metric(http, &["tidecast_packets_delivered_total{"]);
    until("everything to be recorded", || {
        let recorded = metric(http, &["tidecast_output_packets_total{", "pcapng:"]);
        let delivered = metric(http, &["tidecast_packets_delivered_total{"]);
        (recorded == delivered && recorded >= sent && recorded > 0.0).then_some(())
    });
    assert_eq!(metric(http, &["tidecast_output_dropped_packets_total{", "pcapng:"]), 0.0);
    running.stop();
    files(folder)
}

#[test]
fn a_recording_plays_again_byte_for_byte_with_its_timing_and_tshark_reads_it() {
    if !have("tshark") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let count = 3800 * seconds();
    let recorded = record(folder.path(), |group, port| produce(group, port, count));
    let [file] = &recorded[..] else { panic!("{recorded:?}") };
    let fields = ["frame.time_epoch", "ip.src", "udp.dstport", "udp.payload", "udp.checksum.status"];
    let first = tshark(file, &fields);
    assert_eq!(first.len() as u64, count, "every packet was recorded");
    assert!(first.iter().all(|packet| packet[1] == "127.0.0.1" && packet[4] != "0"), "{:?}", first[0]);

    // Played into a second relay, whose recording contains when each packet arrived.
    let again = tempfile::tempdir().expect("folder");
    let replayed = record(again.path(), |group, port| {
        let url = format!("udp://{group}:{port}?if=127.0.0.1&ttl=0");
        let played = tidecast(["send".as_ref(), file.as_os_str(), url.as_ref()]).output().expect("runs");
        let text = String::from_utf8_lossy(&played.stderr).into_owned();
        assert!(played.status.success() && text.contains(&format!("{count} datagrams")), "{text}");
    });
    let second = tshark(&replayed[0], &fields);
    assert_eq!(second.len(), first.len());
    assert!(first.iter().zip(&second).all(|(a, b)| a[3] == b[3]), "byte for byte");
    let times = |packets: &[Vec<String>]| {
        let time = |packet: &Vec<String>| packet[0].parse::<f64>().expect("seconds");
        let start = time(&packets[0]);
        packets.iter().map(|packet| time(packet) - start).collect::<Vec<_>>()
    };
    let mut off: Vec<f64> =
        times(&first).iter().zip(times(&second)).map(|(a, b)| (a - b).abs() * 1e3).collect();
    off.sort_by(f64::total_cmp);
    let (median, worst) = (off[off.len() / 2], off[off.len() - 1]);
    eprintln!(
        "{count} packets: median {median:.3} ms, 99% {:.3} ms, worst {worst:.3} ms",
        off[off.len() * 99 / 100]
    );
    assert!(median < 2.0, "median {median:.3} ms off");
}

#[test]
fn a_relay_that_is_killed_leaves_a_whole_file() {
    if !have("tshark") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let to = format!("pcapng:{}", folder.path().display());
    let (mut running, group, port, _) = relay(&["--to", &to]);
    let socket = sender();
    let start = now();
    let mut sent = Vec::new();
    while start.elapsed() < Duration::from_secs(3) {
        socket.send_to(&native(7, 99, sent.len() as u64, &[1; 700]), (group, port)).expect("send");
        sent.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    running.child.kill().expect("kill");
    let killed = start.elapsed();
    running.wait();
    let read = tshark(&files(folder.path())[0], &["frame.len"]).len();
    let due = sent.iter().filter(|at| **at + Duration::from_secs(1) < killed).count();
    assert!(read >= due, "{read} packets, at least {due} of {} were expected", sent.len());
}

/// Runs a relay in a separate mount namespace, with a disk of this many kilobytes at `folder`,
/// partly filled by a file `ballast`. Its recordings are copied at the end.
fn on_a_small_disk(
    [disk, ballast]: [u32; 2],
    (folder, copy): (&Path, &Path),
    (group, port): (std::net::Ipv4Addr, u16),
    to: &str,
) -> Running {
    let script = format!(
        "mount -t tmpfs -o size={disk}k none {0} && head -c {ballast}k /dev/zero >{0}/ballast && \
         {1} relay 'udp://@{group}:{port}?if=127.0.0.1' --http 127.0.0.1:0 --to {to}; cp {0}/*.pcapng {2}",
        folder.display(),
        env!("CARGO_BIN_EXE_tidecast"),
        copy.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    Running::start(command)
}

/// Returns the id of the shell's child, which is the relay itself.
fn child(running: &Running) -> String {
    let shell = running.child.id();
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
    children.expect("its children").trim().to_owned()
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    if !(is_root() && have("tshark")) {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let (group, port, target) = (group(), free_port(), free_port());
    let (out, copy) = (joined(crate::group(), target), tempfile::tempdir().expect("folder"));
    let to = out.local_addr().expect("bound");
    let to =
        format!("'pcapng:{}?rotate=300kB&keep=9' 'udp://{to}?if=127.0.0.1&ttl=0'", folder.path().display());
    let mut running = on_a_small_disk([512, 0], (folder.path(), copy.path()), (group, port), &to);
    running.wait_for_line("tidecast: ready");
    let http = running.http();
    let (socket, mut received) = (sender(), 0);
    for number in 0..1500_u64 {
        socket.send_to(&native(7, 99, number, &[1; 1000]), (group, port)).expect("send");
        received += usize::from(out.recv(&mut [0; 2048]).is_ok());
        if number % 100 == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(received, 1500, "the relay goes on");
    let line = running.wait_for_line("the recording has stopped");
    assert!(line.contains("No space left on device") && line.contains("ERROR"), "{line}");
    let state: serde_json::Value = serde_json::from_str(&get(http, "/api/v1/streams").2).expect("JSON");
    let text = state.to_string();
    assert!(text.contains("No space left on device (os error 28): the recording has stopped"), "{text}");
    let sum = until("every packet to be accounted for", || {
        let recorded = metric(http, &["tidecast_output_packets_total{", "pcapng:"]);
        let stopped = metric(http, &["tidecast_output_dropped_packets_total{", "pcapng:", "stopped"]);
        (recorded + stopped >= 1500.0).then_some((recorded, stopped))
    });
    assert!(sum.0 + sum.1 == 1500.0 && sum.0 > 200.0 && sum.1 > 200.0, "{sum:?}");
    // The signal ends the shell's child; then the shell copies the files.
    assert!(Command::new("kill").args(["-INT", &child(&running)]).status().expect("kill").success());
    running.wait();
    let read: usize = files(copy.path()).iter().map(|file| tshark(file, &["frame.len"]).len()).sum();
    assert_eq!(read as f64, sum.0, "what was counted is there, and whole");
}

#[test]
fn a_recording_goes_on_when_there_is_room_again() {
    if !(is_root() && have("tshark")) {
        return;
    }
    let (folder, copy) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let (group, port) = (group(), free_port());
    let to = format!("'pcapng:{}?rotate=300kB&keep=9'", folder.path().display());
    let mut running = on_a_small_disk([800, 400], (folder.path(), copy.path()), (group, port), &to);
    running.wait_for_line("tidecast: ready");
    let http = running.http();
    let count = |parts: &[&str]| metric(http, &[parts, &["pcapng:"]].concat());
    let recorded = || count(&["tidecast_output_packets_total{"]);
    let stopped = || count(&["tidecast_output_dropped_packets_total{", "stopped"]);
    let socket = sender();
    let mut sent = 0;
    let mut send = |packets: u64| {
        for number in sent..sent + packets {
            socket.send_to(&native(7, 99, number, &[1; 1000]), (group, port)).expect("send");
            std::thread::sleep(Duration::from_millis(1));
        }
        sent += packets;
        sent as f64
    };
    let all = send(600);
    running.wait_for_line("the recording has stopped");
    until("all to be counted", || (recorded() + stopped() == all).then_some(()));
    let before = recorded();
    assert!(before > 100.0 && before < 500.0, "{before}");

    // Space is freed.
    let relay = child(&running);
    fs::remove_file(format!("/proc/{relay}/root{}/ballast", folder.path().display())).expect("the ballast");
    let fault = || {
        let state: serde_json::Value = serde_json::from_str(&get(http, "/api/v1/streams").2).expect("JSON");
        state.to_string().contains("the recording has stopped")
    };
    until("the fault to go", || (!fault()).then_some(()));
    let all = send(100);
    let line = running.wait_for_line("the recording goes on");
    let missing = stopped();
    assert!(line.contains(&format!("{missing} packets are missing")), "{line}: {missing}");
    until("the rest", || (recorded() == before + 100.0 && recorded() + stopped() == all).then_some(()));
    assert_eq!(running.stderr().matches("the recording has stopped").count(), 1, "it is said once");

    assert!(Command::new("kill").args(["-INT", &relay]).status().expect("kill").success());
    running.wait();
    let read: Vec<Vec<String>> =
        files(copy.path()).iter().flat_map(|file| tshark(file, &["frame.len", "frame.comment"])).collect();
    assert_eq!(read.len() as f64, before + 100.0);
    let comments: Vec<&str> = read.iter().map(|packet| packet[1].as_str()).collect();
    let note = format!("{missing} packets before this one were not recorded");
    let marked: Vec<usize> = (0..read.len()).filter(|at| comments[*at].starts_with(&note)).collect();
    assert_eq!(marked, [before as usize], "{comments:?}");
}

#[test]
fn captures_of_others_are_played_and_wrong_ones_refused() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ffmpeg-rtp-fec.pcap");
    let (group, port) = (group(), free_port());
    let url = format!("udp://{group}:{port}?if=127.0.0.1&ttl=0");
    let play = |words: &[&str]| {
        let output = tidecast(["send"].iter().chain(words)).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = play(&[fixture, &url]);
    assert!(
        code == Some(2) && text.contains("has datagrams to several addresses, expected --port with one of"),
        "{text}"
    );
    let media =
        text.split("one of ").nth(1).and_then(|list| list.split(' ').next()).expect("an address").to_owned();
    let number: u16 = media.rsplit(':').next().expect("a port").parse().expect("a number");
    let receiver = joined(group, port);
    let expected = capture::to_port("ffmpeg-rtp-fec.pcap", number);
    let (code, text) = play(&[fixture, &url, "--port", &media, "--for", "20s"]);
    assert_eq!(code, Some(0), "{text}");
    let mut bytes = [0; 2048];
    let got: Vec<Vec<u8>> =
        std::iter::from_fn(|| receiver.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec()))
            .collect();
    assert!(got.len() > 10 && got.len() <= expected.len(), "{} of {}", got.len(), expected.len());
    assert!(got.iter().zip(&expected).all(|(a, b)| a == b));

    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("write");
        path.to_str().expect("UTF-8").to_owned()
    };
    let whole = fs::read(fixture).expect("the fixture");
    let cut = path("cut.pcap", &whole[..2000]);
    let (code, text) = play(&[&cut, &url, "--port", &media]);
    assert!(code == Some(1) && text.contains("is cut short after packet"), "{code:?} {text}");
    for (words, expected) in [
        (
            vec![path("text.pcap", b"hello, this is no capture at all"), url.clone()],
            "is no capture, expected pcapng or pcap",
        ),
        (vec![path("empty.pcap", b""), url.clone()], "is no capture"),
        (vec!["/no/such.pcapng".to_owned(), url.clone()], "No such file"),
        (
            vec![fixture.to_owned(), url.clone(), "--port".to_owned(), "1".to_owned()],
            "has no datagram to it, expected one of",
        ),
        (
            vec![fixture.to_owned(), url.clone(), "--fec".to_owned(), "10,2".to_owned()],
            "--fec: expected no capture",
        ),
        (vec![fixture.to_owned(), "rist://127.0.0.1:5000".to_owned()], "expected udp:// or rtp://"),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, text) = play(&words);
        assert!(code != Some(0) && text.contains(expected), "{words:?}: {text}");
    }
}
