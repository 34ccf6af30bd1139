//! The list of clients: each transport's clients are listed with the names that they send, as long
//! as they are connected.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::common::{PATIENCE, Running, free_port, get, group, native, sender, until};

fn serve(list_clients: bool) -> (Running, SocketAddr, SocketAddr, impl Fn(u64)) {
    let (to, tcp) = ((group(), free_port()), SocketAddr::from(([127, 0, 0, 1], free_port())));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("relay.toml");
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\nlist_clients = {list_clients}\n[tcp]\nlisten = \"{tcp}\"\n\
         [[channel]]\nname = \"main\"\ninput = \"udp://@{}:{}?if=127.0.0.1\"\nformat = \"native\"\n",
        to.0, to.1
    );
    fs::write(&config, text).expect("write");
    let mut relay = Running::tidecast(["serve".as_ref(), "-c".as_ref(), config.as_os_str()]);
    let http = relay.http();
    let send = move |number| {
        sender().send_to(&native(7, 1, number, b"21.5"), to).expect("send");
    };
    (relay, http, tcp, send)
}

/// Opens a connection and sends a request on it.
fn open(to: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    stream.write_all(request.as_bytes()).expect("write");
    stream
}

fn ask(http: SocketAddr, path: &str, agent: &str, more: &str) -> TcpStream {
    open(http, &format!("GET {path} HTTP/1.1\r\nHost: {http}\r\nUser-Agent: {agent}\r\n{more}\r\n"))
}

/// Sends a message as a Socket.IO client by long polling. Returns the response.
fn poll(http: SocketAddr, sid: &str, message: Option<&str>) -> String {
    let path = format!("/socket.io/?EIO=4&transport=polling{sid}");
    let body = message.unwrap_or_default();
    let method = if message.is_some() { "POST" } else { "GET" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {http}\r\nUser-Agent: sio\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut answer = String::new();
    open(http, &request).read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

fn socketio(http: SocketAddr) {
    let hello = poll(http, "", None);
    let sid = hello.split('"').nth(3).unwrap_or_else(|| panic!("no session: {hello}"));
    let sid = format!("&sid={sid}");
    poll(http, &sid, Some("40"));
    poll(http, &sid, None);
    poll(http, &sid, Some("42[\"subscribe\",{\"stream\":\"main\"}]"));
}

fn clients(http: SocketAddr, query: &str) -> Value {
    let (status, _, body) = get(http, &format!("/api/v1/streams/main/clients{query}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn each_client_is_listed_while_it_is_there() {
    let (_relay, http, tcp, send) = serve(true);
    let mut player = ask(http, "/streams/main", "VLC/3.0", "");
    let address = player.local_addr().expect("an address").to_string();
    let _events = ask(http, "/sse/main", "browser", "");
    let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let _socket = ask(http, "/ws/main", "=script", key);
    let _program = open(tcp, "SUBSCRIBE main format=lines\n");
    socketio(http);
    until("five clients", || (clients(http, "")["total"] == 5).then_some(()));

    let all = clients(http, "?sort=transport");
    let told: Vec<(String, Value)> = all["clients"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|client| (client["transport"].as_str().expect("text").to_owned(), client["agent"].clone()))
        .collect();
    let expected =
        [("http", "VLC/3.0"), ("socketio", "sio"), ("sse", "browser"), ("tcp", ""), ("websocket", "=script")];
    for ((transport, agent), (wanted, name)) in told.iter().zip(expected) {
        assert_eq!((transport.as_str(), agent.as_str().unwrap_or("")), (wanted, name));
    }

    send(0);
    until("a packet", || (clients(http, "?search=vlc")["clients"][0]["packets"] == 1).then_some(()));
    let found = clients(http, "?search=vlc");
    let one = &found["clients"][0];
    assert_eq!((&found["total"], &one["bytes"], &one["missed"]), (&1.into(), &4.into(), &0.into()));
    assert_eq!(one["address"], address.as_str());
    let (_, _, table) = get(http, "/api/v1/streams/main/clients?format=csv");
    assert!(table.starts_with("address,transport,agent,since,packets,bytes,missed,id,user\r\n"), "{table}");
    assert!(table.contains(",websocket,'=script,"), "nothing that a spreadsheet would compute: {table}");

    let mut first = String::new();
    BufReader::new(&mut player).read_line(&mut first).expect("an answer");
    assert!(first.starts_with("HTTP/1.0 200"), "{first}");
    drop(player);
    until("it to be gone", || (clients(http, "?search=vlc")["total"] == 0).then_some(()));
}

#[test]
fn they_are_only_counted_where_the_operator_says_so() {
    let (_relay, http, _, _) = serve(false);
    let _player = ask(http, "/streams/main", "VLC/3.0", "");
    until("a client", || {
        let (_, _, counted) = get(http, "/api/v1/streams/main/subscribers?format=csv");
        counted.contains("\nhttp,1,").then_some(())
    });
    let (status, _, why) = get(http, "/api/v1/streams/main/clients");
    assert!(status == 403 && why.contains("list_clients in [http]"), "{status} {why}");
    let mut live = BufReader::new(ask(http, "/api/v1/live?channel=main", "page", ""));
    let mut message = String::new();
    while !message.starts_with("data: {") {
        message.clear();
        assert!(live.read_line(&mut message).expect("a line") > 0, "the stream has ended");
    }
    assert!(message.contains("\"subscribers\":") && !message.contains("VLC"), "{message}");
}
