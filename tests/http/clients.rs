//! Clients that stay, clients that are disconnected, and a thousand of them.

use super::*;

#[test]
fn a_client_stays_while_the_producer_pauses_and_gets_the_rest() {
    let seconds = std::env::var("TIDECAST_PAUSE_SECONDS").map_or(12, |text| text.parse().expect("seconds"));
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let producer = Producer::new(group, port);
    for n in 0..20u64 {
        producer.send(n, &n.to_be_bytes());
    }
    assert_eq!(client.read(160)[152..], 19u64.to_be_bytes());
    thread::sleep(Duration::from_secs(seconds));
    let start = now();
    for n in 20..40u64 {
        producer.send(n, &n.to_be_bytes());
    }
    assert_eq!(client.read(160)[152..], 39u64.to_be_bytes());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_silent_stream_ends_after_the_idle_timeout() {
    let relay = serve("idle_timeout = \"1s\"");
    let start = now();
    let client = open(relay.http, &format!("/udp/{}:{}", group(), free_port()));
    assert_eq!(client.body(), "");
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_stops_reading_is_cut_off_and_costs_the_others_nothing() {
    const PACKETS: usize = 12_000;
    let (group, port) = (group(), free_port());
    let relay = serve("lag_max = \"1s\"");
    let path = format!("/udp/{group}:{port}");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.set_recv_buffer_size(16 << 10).expect("buffer");
    socket.connect(&relay.http.into()).expect("connect");
    let mut stream: TcpStream = socket.into();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("write");
    let stalled = read_head(stream);
    let mut reading = open(relay.http, &path);
    let reader = thread::spawn(move || reading.read(PACKETS * 1024));
    let producer = Producer::new(group, port);
    for n in 0..PACKETS {
        producer.send(n as u64, &[n as u8; 1024]);
        if n % 20 == 19 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    let got = reader.join().expect("no panic");
    assert!(got.chunks(1024).enumerate().all(|(n, packet)| packet.iter().all(|byte| *byte == n as u8)));
    let clients = || state(relay.http)["channels"][0]["subscribers"]["http"]["clients"].as_u64();
    until("the client that does not read is cut off", || clients() == Some(0));
    let http = state(relay.http)["channels"][0]["subscribers"]["http"].clone();
    let (lag, closed) = (&http["dropped"]["lag"], &http["dropped"]["closed"]);
    let fates = http["packets"].as_u64().zip(lag.as_u64()).zip(closed.as_u64());
    let total = fates.map(|((packets, lag), closed)| packets + lag + closed);
    assert!(closed.as_u64() > Some(0), "{http}");
    assert_eq!(http["cut_off"], serde_json::json!({ "lag": 1, "idle": 0, "operator": 0 }), "{http}");
    assert_eq!(sum(&series(relay.http), "tidecast_subscribers_cut_off_total", "reason=\"lag\""), 1.0);
    let line = "a client has been behind its stream for 1s: cut off";
    until("the log says why", || relay.running.stderr().contains(line));
    // Packets skipped after the client's last packet do not show in any packet's number.
    assert!(total.is_some_and(|total| total <= 2 * PACKETS as u64), "{http}");
    drop(stalled);
}

/// Reads a stream's head, then this many bytes of its body.
async fn read_stream(http: SocketAddr, path: &str, heads: &Semaphore, bytes: usize) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(http).await.expect("connect");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("write");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    assert!(head.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&head));
    heads.add_permits(1);
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body).await.expect("more of the stream");
    body
}

/// Raises the limit for the test's own connections; the relay raises its limit itself.
fn allow_files(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(
        hard >= count,
        "the hard limit of open files is {hard}, expected at least {count}: ulimit -Hn {count}"
    );
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit");
}

#[test]
fn a_thousand_clients_of_one_channel_all_get_the_same_bytes() {
    const CLIENTS: u32 = 1000;
    const PACKETS: usize = 100;
    const LENGTH: usize = 1000;
    allow_files(u64::from(CLIENTS) + 100);
    let (group, port) = (group(), free_port());
    let relay = serve(&format!("[[channel]]\nname = \"a\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let http = relay.http;
    runtime.block_on(async {
        let heads = Arc::new(Semaphore::new(0));
        let client = || {
            let heads = heads.clone();
            async move { read_stream(http, "/streams/a", &heads, PACKETS * LENGTH).await }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client())).collect();
        let heads = heads.acquire_many(CLIENTS).await.expect("not closed");
        let sending = thread::spawn(move || {
            let producer = Producer::new(group, port);
            for n in 0..PACKETS {
                producer.send(n as u64, &[n as u8; LENGTH]);
                thread::sleep(Duration::from_millis(2));
            }
        });
        for client in clients {
            let body = client.await.expect("no panic");
            assert!(body.chunks(LENGTH).enumerate().all(|(n, packet)| packet == [n as u8; LENGTH]));
        }
        sending.join().expect("no panic");
        drop(heads);
    });
    let of = |metric: &str| sum(&series(http), metric, "output=\"http\"");
    let packets = f64::from(CLIENTS) * PACKETS as f64;
    until("every packet is counted", || of("tidecast_output_packets_total") == packets);
    assert_eq!(of("tidecast_output_dropped_packets_total"), 0.0);
}
