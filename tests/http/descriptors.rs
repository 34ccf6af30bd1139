//! No file descriptors are free.

use super::*;

#[test]
fn the_last_descriptor_answers_whether_it_is_well() {
    let (group, port) = (group(), free_port());
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("tidecast.toml");
    let config = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"a\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n"
    );
    std::fs::write(&file, config).expect("write");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 64; exec \"$0\" serve -c \"$1\"", env!("CARGO_BIN_EXE_tidecast")])
        .arg(&file);
    let mut running = Running::start(command);
    let ready = running.wait_for_line("tidecast: ready");
    let address = ready.split("http://").nth(1).and_then(|rest| rest.split(';').next());
    let http: SocketAddr = address.and_then(|address| address.trim().parse().ok()).expect("an address");
    // These connections send no request.
    let _idle: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(http).expect("connect")).collect();
    until("a request that finds no descriptor", || {
        let (status, _, body) = get(http, "/metrics");
        status == 503 && body.contains("no file descriptor is left")
    });
    for _ in 0..3 {
        let (status, _, body) = get(http, "/healthz");
        assert_eq!((status, body.trim()), (200, "ok"));
    }
}
