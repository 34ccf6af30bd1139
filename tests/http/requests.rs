//! The responses to requests, and the clients that are asked to try again later.

use super::*;

#[test]
fn every_request_gets_its_status_and_one_line_that_says_what_would_be_right() {
    let input = format!("udp://@{}:{}?if=127.0.0.1", group(), free_port());
    let relay = serve(&format!("[[channel]]\nname = \"weather\"\ninput = \"{input}\""));
    for (method, path, status, part) in [
        ("GET", "/", 200, "/streams/weather"),
        ("GET", "/healthz", 200, "ok"),
        ("GET", "/readyz", 200, "ready"),
        ("GET", "/udp/", 400, "as in /udp/239.1.1.1:5000"),
        ("GET", "/udp/239.1.1.1", 400, "no port in \"239.1.1.1\""),
        ("GET", "/udp/239.1.1.1:0", 400, "expected 1 to 65535"),
        ("GET", "/udp/camera:5000", 400, "expected an IPv4 address"),
        ("GET", "/rtp/10.0.0.1@239.1.1.1:x", 400, "as in /rtp/"),
        ("GET", "/udp/239.1.1.1:5000/more", 400, "port"),
        ("GET", "/udp/10.0.0.1:5000", 403, "no multicast group"),
        ("GET", "/udp/127.0.0.1:22", 403, "expected one of 239.0.0.0/8"),
        ("GET", "/rtp/232.1.1.1:5000", 403, "`serve --allow 232.1.1.1`"),
        ("HEAD", "/udp/232.1.1.1:5000", 403, ""),
        ("GET", "/streams/wether", 404, "there is no stream \"wether\": expected weather"),
        ("GET", "/streams/", 404, "expected weather"),
        ("GET", "/streams/wether.ts", 404, "there is no stream \"wether.ts\": expected weather"),
        ("GET", "/streams/weather?if=eth1", 400, "where its input says"),
        ("GET", "/streams/weather?start=soon", 400, "expected start=live"),
        ("GET", "/udp/239.1.1.1:5000?if=eth1", 403, "if=eth1: groups on demand are joined on 127.0.0.1"),
        ("GET", "//healthz", 200, "ok"),
        ("GET", "/status", 200, "<h1>udpxy status:</h1>"),
        ("GET", "/status/", 200, "<td>0</td>"),
        ("GET", "/favicon.ico", 200, "<svg"),
        ("GET", "/stream/weather", 404, "see / for what is here"),
        ("GET", "/../etc/passwd", 404, "nothing"),
        ("POST", "/streams/weather", 405, "expected GET or HEAD"),
        ("DELETE", "/metrics", 405, "expected GET or HEAD"),
        ("PUT", "/udp/239.1.1.1:5000", 405, "expected GET or HEAD"),
        ("GET", "/api/v1/streams?flows=many", 400, "from 0 to"),
        ("GET", "/api/v1/streams?flows=1000000000", 400, "from 0 to"),
        ("GET", "/streams/weather?flow=", 400, "expected a key"),
    ] {
        let answer = request(relay.http, method, path);
        let (got, allow) = (answer.status, answer.header("allow").map(str::to_owned));
        let body = answer.body();
        assert_eq!((got, body.contains(part)), (status, true), "{method} {path}: {body:?}");
        assert_eq!(allow.as_deref(), (status == 405).then_some("GET, HEAD"), "{method} {path}");
        let lines = usize::from(method != "HEAD");
        assert!(status < 400 || body.lines().count() == lines, "{method} {path}: {body:?}");
    }
    let old = ask(relay.http, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.head.starts_with("HTTP/1.0 200"), "{}", old.head);
    assert_eq!(old.body(), "ok\n");
    assert_eq!(ask(relay.http, "NONSENSE\r\n\r\n").status, 400);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!([414, 431].contains(&ask(relay.http, &long).status));
}

#[test]
fn streams_say_what_they_are_and_end_with_the_connection() {
    let (group, port) = (group(), free_port());
    let input = format!("@{group}:{port}?if=127.0.0.1");
    let relay = serve(&format!(
        "linger = \"0s\"\n[[channel]]\nname = \"rtp\"\ninput = \"rtp://{input}\"\n[[channel]]\nname = \"sensors\"\nformat = \"native\"\ninput = \"udp://{input}\"\n[[channel]]\nname = \"unknown\"\ninput = \"udp://{input}\""
    ));
    let other = common::group();
    for (path, content_type) in [
        ("/streams/rtp".to_owned(), "video/mp2t"),
        ("/streams/sensors".to_owned(), "application/octet-stream"),
        ("/streams/unknown".to_owned(), "video/mp2t"),
        (format!("/udp/{other}:{port}"), "video/mp2t"),
        (format!("/rtp/@{other}%3A{port}/"), "video/mp2t"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = request(relay.http, method, &path);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("content-type"), Some(content_type), "{method} {path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
            assert_eq!(answer.header("connection"), Some("close"), "{method} {path}");
            assert_eq!(answer.header("content-length"), None, "{method} {path}");
            assert_eq!(answer.header("transfer-encoding"), None, "{method} {path}");
            if method == "HEAD" {
                assert_eq!(answer.body(), "", "{path}");
            }
        }
    }
    until("HEAD and clients that are gone leave no group joined", || memberships(other) == 0);
}

/// URLs from playlists for udpxy, msd_lite and rtp2httpd, and as written by players.
#[test]
fn urls_of_playlists_are_taken_as_they_are() {
    let (group, port) = (group(), free_port());
    let relay = serve(&format!(
        "[[channel]]\nname = \"news.ts\"\nformat = \"ts\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\"\n\
         [[channel]]\nname = \"sport\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""
    ));
    let address = format!("{group}:{port}");
    for path in [
        format!("/udp/{address}$NEWS"),
        format!("/udp/{address}$央视-1"),
        format!("/udp/{address}%24NEWS-24"),
        format!("/rtp/{address}/stream.ts"),
        format!("/udp/{address}/news.ts$NEWS"),
        format!("//udp/{address}"),
        format!("//udp//{address}/"),
        format!("/rtp/{address}?fcc=10.0.0.1:8027&fcc-type=telecom$NEWS"),
        format!("/rtp/{address}?playseek=20240101120000-20240101130000"),
        format!("/udp/{address}?start=1704106800&end=1704110400"),
        format!("/udp/{address}?start=${{start}}&end=${{end}}"),
        format!("/udp/{address}?start=live$NEWS"),
        format!("/udp/{address}?if=127.0.0.1"),
        format!("/udp/{address}?ifname=127.0.0.1&flow=7$NEWS"),
        "/streams/sport.ts".to_owned(),
        "/streams/sport/stream.ts".to_owned(),
        "/streams/sport$SPORT".to_owned(),
        "//streams/sport.ts$SPORT".to_owned(),
        "/streams/news.ts".to_owned(),
        "/streams/news.ts.ts".to_owned(),
    ] {
        for method in ["HEAD", "GET"] {
            let answer = request(relay.http, method, &path);
            let kind = answer.header("content-type");
            assert_eq!((answer.status, kind), (200, Some("video/mp2t")), "{method} {path}");
        }
    }
}

#[test]
fn the_playlist_shows_channels_as_they_are_configured_and_takes_in_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("channels.m3u");
    let list = "#EXTM3U x-tvg-url=\"http://epg.example/guide.xml\"\n#EXTINF:-1 group-title=\"Sport\",Sport\nudp://@239.1.1.9:5000\n";
    std::fs::write(&file, list).expect("write");
    let input = |port| format!("udp://@{}:{port}?if=127.0.0.1", group());
    let relay = serve(&format!(
        "playlist = {file:?}\n\
         [[channel]]\nname = \"b\"\ninput = \"{}\"\n\
         m3u = {{ tvg_id = \"news.example\", tvg_name = \"News\", tvg_logo = \"http://logos.example/n.png\", group_title = \"Info\", number = 7 }}\n\
         [[channel]]\nname = \"a\"\ninput = \"{}\"",
        input(free_port()),
        input(free_port())
    ));
    let (_, _, text) = get(relay.http, "/playlist.m3u");
    let http = relay.http;
    let expected = format!(
        "#EXTM3U x-tvg-url=\"http://epg.example/guide.xml\"\n\
         #EXTINF:-1 tvg-id=\"news.example\" tvg-name=\"News\" tvg-chno=\"7\" tvg-logo=\"http://logos.example/n.png\" group-title=\"Info\",News\n\
         http://{http}/streams/b\n\
         #EXTINF:-1 tvg-id=\"a\" tvg-name=\"a\",a\nhttp://{http}/streams/a\n\
         #EXTINF:-1 group-title=\"Sport\",Sport\nhttp://{http}/udp/239.1.1.9:5000\n"
    );
    assert_eq!(text, expected);
}

/// Request heads of these players, written manually, not recorded: the response must be the stream
/// regardless of the other headers.
#[test]
fn requests_of_players_get_their_stream() {
    let (group, port) = (group(), free_port());
    let relay = serve("linger = \"0s\"");
    let producer = Producer::new(group, port);
    let path = format!("/udp/{group}:{port}");
    let host = relay.http;
    let players = [
        (
            "Kodi 20",
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Kodi/20.2 (X11; Linux x86_64) App_Bitness/64 Version/20.2-(20.2.0)-Git:nogitfound\r\nAccept: */*\r\nAccept-Charset: UTF-8,*;q=0.8\r\n\r\n"
            ),
        ),
        (
            "Plex, ffmpeg 6",
            format!(
                "GET {path} HTTP/1.1\r\nUser-Agent: Lavf/60.16.100\r\nAccept: */*\r\nRange: bytes=0-\r\nConnection: close\r\nHost: {host}\r\nIcy-MetaData: 1\r\n\r\n"
            ),
        ),
        (
            "VLC 3",
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nAccept-Language: en_US\r\nUser-Agent: VLC/3.0.18 LibVLC/3.0.18\r\nRange: bytes=0-\r\n\r\n"
            ),
        ),
        ("a set-top box", format!("GET {path} HTTP/1.0\r\n\r\n")),
    ];
    // The previous packet may not have been delivered yet; a number that arrived already would be
    // a copy.
    for (number, (player, head)) in (0..).zip(players) {
        let mut answer = ask(relay.http, &head);
        assert_eq!(answer.status, 200, "{player}: {}", answer.head);
        producer.send(number, b"picture");
        assert_eq!(answer.read(7), b"picture", "{player}");
    }
}

/// The request that Chromium sends before a page of an admitted site reads something with custom
/// headers, and the request itself.
#[test]
fn pages_of_admitted_sites_may_read_and_no_others() {
    let (group, port) = (group(), free_port());
    let relay = serve(&format!(
        "origins = [\"https://dash.example\"]\n[[channel]]\nname = \"news\"\ninput = \"udp://@{group}:{port}?if=127.0.0.1\""
    ));
    let asked = |method: &str, path: &str, more: &str| {
        ask(relay.http, &format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", relay.http))
    };
    for path in [
        "/streams/news".to_owned(),
        format!("/udp/{group}:{port}"),
        format!("/rtp/{group}:{port}"),
        "/sse/news".to_owned(),
        "/api/v1/streams".to_owned(),
        "/playlist.m3u".to_owned(),
    ] {
        let origin = "Origin: https://dash.example\r\n";
        let wish = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range\r\nAccess-Control-Request-Private-Network: true\r\n";
        let preflight = asked("OPTIONS", &path, &format!("{wish}{origin}"));
        assert_eq!(preflight.status, 200, "{path}: {}", preflight.head);
        for (name, value) in [
            ("access-control-allow-origin", "https://dash.example"),
            ("access-control-allow-methods", "GET,HEAD"),
            ("access-control-allow-headers", "range"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(preflight.header(name), Some(value), "{path}: {}", preflight.head);
        }
        let answer = asked("GET", &path, origin);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://dash.example"), "{path}");
        assert!(answer.head.to_ascii_lowercase().contains("origin"), "{path}: {}", answer.head);
        let evil = asked("OPTIONS", &path, &format!("{wish}Origin: https://evil.example\r\n"));
        assert_eq!(evil.header("access-control-allow-origin"), None, "{path}: {}", evil.head);
        assert_eq!(asked("HEAD", &path, "").header("access-control-allow-origin"), None, "{path}");
    }
}

/// Native datagrams with TS packets are a film, those of sensors are not: HEAD reports this as
/// soon as a client receives them.
#[test]
fn a_group_on_demand_says_what_it_brings() {
    let (film, sensors, port) = (group(), group(), free_port());
    let relay = serve("");
    for (group, payload, content_type) in
        [(film, vec![0x47; 188], "video/mp2t"), (sensors, b"21.5".to_vec(), "application/octet-stream")]
    {
        let path = format!("/udp/{group}:{port}");
        let mut client = open(relay.http, &path);
        let producer = Producer::new(group, port);
        producer.send(0, &payload);
        assert_eq!(client.read(payload.len()), payload);
        until("the content type", || {
            request(relay.http, "HEAD", &path).header("content-type") == Some(content_type)
        });
    }
}

#[test]
fn the_status_page_lists_clients_as_udpxy_does() {
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let mut client = open(relay.http, &format!("/udp/{group}:{port}"));
    let from = client.stream.local_addr().expect("an address");
    Producer::new(group, port).send(0, &[1; 10_000]);
    client.read(10_000);
    let row = format!("<td>{from}</td><td>{group}:{port}</td><td>");
    let (_, head, page) = get(relay.http, "/status/");
    assert!(head.contains("text/html"), "{head}");
    assert!(page.contains("<td>1</td>\n</tr>") && page.contains(&row) && page.contains(" Kb/sec"), "{page}");
    let quiet = serve("list_clients = false");
    let _client = open(quiet.http, &format!("/udp/{group}:{port}"));
    let (_, _, page) = get(quiet.http, "/status");
    assert!(page.contains("<td>1</td>\n</tr>") && !page.contains("Active clients:</h3>"), "{page}");
}

#[test]
fn one_flow_of_many_can_be_asked_for_before_it_begins() {
    let (group, port) = (group(), free_port());
    let relay = serve("");
    let path = format!("/udp/{group}:{port}");
    let mut all = open(relay.http, &path);
    let mut one = open(relay.http, &format!("{path}?flow=8"));
    let send = |stream: u32, payload: &[u8]| {
        let mut bytes = Vec::new();
        let repr =
            Repr { kind: Kind::Data, flags: 0, stream, session: 1, sequence: 0, timestamp: 0, payload };
        repr.emit(&mut bytes);
        sender().send_to(&bytes, (group, port)).expect("send");
    };
    send(7, b"seven");
    assert_eq!(all.read(5), b"seven");
    send(8, b"eight");
    assert_eq!(all.read(5), b"eight");
    assert_eq!(one.read(5), b"eight");
}

#[test]
fn a_client_that_sends_half_a_request_is_cut_off() {
    let relay = serve("header_timeout = \"300ms\"");
    for half in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(relay.http).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.write_all(half.as_bytes()).expect("write");
        let start = now();
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        assert!(
            end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
            "{half:?}"
        );
        let waited = start.elapsed();
        assert!(
            (Duration::from_millis(250)..Duration::from_secs(5)).contains(&waited),
            "{half:?}: {waited:?}"
        );
    }
    assert_eq!(get(relay.http, "/healthz").0, 200);
}

#[test]
fn beyond_the_limit_clients_are_told_to_come_again() {
    let port = free_port();
    let relay = serve("clients_max = 2\nlinger = \"0s\"");
    let path = format!("/udp/{}:{port}", group());
    let first = open(relay.http, &path);
    let _second = open(relay.http, &path);
    let refused = request(relay.http, "GET", &path);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.body().starts_with("2 clients are served already"));
    assert_eq!(get(relay.http, "/healthz").0, 200);
    assert_eq!(state(relay.http)["clients"], 2);
    drop(first);
    until("a place is free again", || state(relay.http)["clients"] == 1);
    open(relay.http, &path);
}

#[test]
fn beyond_the_limit_of_connections_nobody_is_read() {
    let relay = serve("clients_max = 1");
    let mut idle: Vec<TcpStream> =
        (0..65).map(|_| TcpStream::connect(relay.http).expect("connect")).collect();
    let one_more = TcpStream::connect(relay.http).expect("connect");
    one_more.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let refused = read_head(one_more);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    idle.truncate(60);
    until("there is room again", || {
        let mut stream = TcpStream::connect(relay.http).expect("connect");
        let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.contains("200 OK")
    });
}

#[test]
fn it_may_open_as_many_files_as_it_may_ask_for() {
    let relay = serve("");
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", relay.running.child.id())).expect("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{files}");
}
