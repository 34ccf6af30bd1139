//! Clients that send requests faster than they read the responses, or whose requests cost the
//! relay more than the client.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::rig::Scene;

/// Connects to a port; the responses are read in small portions, if at all.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&to.into()).expect("connect");
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    stream
}

/// Reads the head of a response.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

fn upgrade(scene: &Scene, path: &str) -> TcpStream {
    let mut stream = connect(scene.http);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        scene.http
    )
    .expect("write");
    assert!(head(&mut stream).starts_with("HTTP/1.1 101"));
    stream
}

/// Writes the same bytes repeatedly. Returns how many bytes were accepted.
fn flood(streams: &mut [TcpStream], what: &[u8], over: &AtomicBool) -> usize {
    let mut taken = 0;
    let mut begun = vec![0; streams.len()];
    while !over.load(Relaxed) {
        for (stream, begun) in streams.iter_mut().zip(&mut begun) {
            match stream.write(&what[*begun..]) {
                Ok(bytes) => {
                    taken += bytes;
                    *begun = (*begun + bytes) % what.len();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
    taken
}

/// Returns a ping of maximum length, masked with zeros.
fn ping() -> Vec<u8> {
    [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat()
}

#[test]
fn pings_whose_pongs_nobody_reads() {
    let scene = Scene::start("", "", "");
    scene.attack("pings over WebSockets and Socket.IO", 24 << 10, |over| {
        let mut streams: Vec<_> = (0..10).map(|_| upgrade(&scene, "/ws/sensors?format=json")).collect();
        streams.extend((0..10).map(|_| upgrade(&scene, "/socket.io/?EIO=4&transport=websocket")));
        let taken = flood(&mut streams, &ping().repeat(200), over);
        println!("{taken} bytes of pings were taken");
    });
}

#[test]
fn lines_whose_answers_nobody_reads() {
    let scene = Scene::start("", "", "");
    scene.attack("lines", 8 << 10, |over| {
        let mut streams: Vec<_> = (0..10).map(|_| connect(scene.tcp)).collect();
        let taken = flood(&mut streams, &b"LIST\nSTATS\n".repeat(500), over);
        println!("{taken} bytes of lines were taken");
    });
}

#[test]
fn sessions_that_nobody_uses() {
    let scene = Scene::start("", "clients_max = 300", "");
    scene.attack("sessions", 16 << 10, |over| {
        let question =
            format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: {}\r\n\r\n", scene.http);
        let mut streams: Vec<_> = (0..4).map(|_| connect(scene.http)).collect();
        let mut memory = vec![0; 64 << 10];
        for stream in &streams {
            stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        }
        let mut sessions = 0;
        while !over.load(Relaxed) {
            for stream in &mut streams {
                if stream.write_all(question.repeat(20).as_bytes()).is_err() {
                    continue;
                }
                while let Ok(bytes @ 1..) = stream.read(&mut memory) {
                    sessions += String::from_utf8_lossy(&memory[..bytes]).matches("\"sid\"").count();
                }
            }
        }
        println!("{sessions} sessions were opened");
        assert!(sessions < 1000, "each has a place");
    });
    let refused = scene.metric(&["tidecast_refused_total{", "resource=\"streams\""]);
    assert!(refused > 0.0, "{refused} refused");
}

#[test]
fn bodies_that_never_come() {
    let scene = Scene::start("", "header_timeout = \"1s\"", "");
    scene.attack("bodies", 8 << 10, |over| {
        while !over.load(Relaxed) {
            let mut streams: Vec<_> = (0..20).map(|_| connect(scene.http)).collect();
            for stream in &mut streams {
                write!(
                    stream,
                    "POST /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\n4",
                    scene.http
                )
                .expect("write");
            }
            for stream in &mut streams {
                assert!(head(stream).starts_with("HTTP/1.1 408"), "it does not wait for ever");
            }
        }
    });
}

#[test]
fn last_values_of_many_flows_that_nobody_reads() {
    const FLOWS: u32 = 4000;
    const CLIENTS: usize = 40;
    let scene = Scene::start("", "", "");
    scene.fill_sensors(FLOWS);
    // Without a limit each takes 1.4 MB. Here a piece of 64 KiB waits for each; the buffers in the
    // kernel are not counted as the relay's.
    scene.attack("last values", 16 << 10, |over| {
        let streams: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut stream = connect(scene.tcp);
                stream.write_all(b"SUBSCRIBE sensors format=lines\n").expect("write");
                stream
            })
            .collect();
        while !over.load(Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        drop(streams);
    });
}
