//! URLs in the form of playlists for udpxy and similar programs, opened by real players.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use super::{
    Sent,
    common::{Running, free_port, group, have, tidecast, until_clients},
    players::Vlc,
};

/// Runs a player to its end; it must succeed.
fn plays(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("a player");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

fn ffmpeg(url: &str) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "fatal", "-i", url, "-t", "1", "-f", "null", "-"]);
    plays(ffmpeg);
}

fn mpv(url: &str) {
    let mut mpv = Command::new("mpv");
    mpv.args(["--no-config", "--vo=null", "--ao=null", "--frames=25", "--msg-level=all=error", url]);
    plays(mpv);
}

/// Checks that the response starts with the tables of a transport stream.
fn curl(url: &str, folder: &Path) {
    let file = folder.join("curl.ts");
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "--path-as-is", "--globoff", "--max-time", "2", "-o"]).arg(&file).arg(url);
    let status = curl.status().expect("curl");
    assert_eq!(status.code(), Some(28), "{url}: not until its time is over");
    let bytes = std::fs::read(&file).expect("a file");
    assert!(bytes.len() > 188 && bytes[0] == 0x47, "{url}: {} bytes", bytes.len());
    std::fs::remove_file(&file).expect("remove");
}

fn head(url: &str) -> String {
    let output = Command::new("curl").args(["-sSI", url]).output().expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn players_open_them_as_they_stand() {
    if !["ffmpeg", "curl", "cvlc"].into_iter().all(have) {
        return;
    }
    let (group, port) = (group(), free_port());
    let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut relay = Running::start(tidecast(["serve", "--http", &http.to_string(), "--if", "127.0.0.1"]));
    relay.wait_for_line("tidecast: ready");
    let over = Arc::new(AtomicBool::new(false));
    let watched = over.clone();
    let film = thread::spawn(move || {
        while !watched.load(Relaxed) {
            Sent::finish(Sent::Ts.start(group, port));
        }
    });
    let (host, address) = (format!("http://{http}"), format!("{group}:{port}"));
    let folder = tempfile::tempdir().expect("a folder");
    assert!(head(&format!("{host}/udp/{address}/stream.ts")).contains("content-type: video/mp2t"));
    curl(&format!("{host}//udp/{address}?fcc=10.0.0.1:8027$NEWS"), folder.path());
    curl(&format!("{host}/udp/{address}$NEWS"), folder.path());
    ffmpeg(&format!("{host}/udp/{address}$NEWS"));
    ffmpeg(&format!("{host}/udp/{address}/stream.ts?start=1704106800&end=1704110400"));
    let vlc = Vlc::open(&format!("{host}/udp/{address}/stream.ts$NEWS"), folder.path(), &[]);
    vlc.until_pictures(10);
    drop(vlc);
    if have("mpv") {
        mpv(&format!("{host}/udp/{address}$NEWS"));
        mpv(&format!("{host}//udp/{address}/stream.ts"));
    }
    until_clients(http, 0);
    over.store(true, Relaxed);
    film.join().expect("the film");
}
