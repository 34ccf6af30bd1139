//! RTP that carries no transport stream: the relay's description of it, the accepted notations of
//! an SSRC, and its RTCP.

use std::os::fd::AsRawFd;

use tidecast_wire::rtp;

use super::*;

/// Sends RTP of one payload type.
struct Talker {
    socket: UdpSocket,
    to: SocketAddr,
    payload_type: u8,
    sequence: u16,
}

impl Talker {
    fn new(to: SocketAddr, payload_type: u8) -> Talker {
        Talker { socket: sender(), to, payload_type, sequence: 0 }
    }

    fn send(&mut self, payload: &[u8]) {
        self.sequence += 1;
        let (payload_type, sequence) = (self.payload_type, self.sequence);
        let timestamp = u32::from(sequence) * 160;
        let mut bytes = Vec::new();
        rtp::Repr { marker: false, payload_type, sequence, timestamp, ssrc: 0x0002_3c58, payload }
            .emit(&mut bytes);
        self.socket.send_to(&bytes, self.to).expect("send");
    }

    /// Sends until the relay has counted some packets.
    fn until_delivered(&mut self, http: SocketAddr, channel: &str) {
        for _ in 0..8 {
            self.send(&[0x55; 160]);
        }
        until("packets pass", || {
            sum(&series(http), "tidecast_packets_delivered_total", &format!("\"{channel}\"")) >= 8.0
        });
    }
}

/// Starts a relay of one RTP group with these lines in its channel, and its sender.
fn relay(lines: &str, payload_type: u8) -> (Relay, Talker) {
    let (group, port) = (group(), free_port() & !1);
    let relay = serve(&format!(
        "[[channel]]\nname = \"stage\"\ninput = \"rtp://@{group}:{port}?if=127.0.0.1\"\n\
         output = \"rtp://127.0.0.1:{}\"\n{lines}\n",
        free_port() & !1
    ));
    (relay, Talker::new((group, port).into(), payload_type))
}

fn body(http: SocketAddr, path: &str, status: u16) -> String {
    let answer = request(http, "GET", path);
    let got = answer.status;
    let body = answer.body();
    assert_eq!(got, status, "{path}: {body}");
    body
}

fn content_type(http: SocketAddr) -> String {
    request(http, "HEAD", "/streams/stage").header("content-type").expect("a type").to_owned()
}

#[test]
fn what_is_described_is_told_to_players_and_nothing_else_is() {
    let (said, _) = relay("rtpmap = \"98 L24/48000/2\"", 98);
    let text = body(said.http, "/streams/stage.sdp?output=0", 200);
    assert!(
        text.contains(" RTP/AVP 98\r\na=rtpmap:98 L24/48000/2\r\n") && text.contains("m=audio "),
        "{text}"
    );
    assert_eq!(content_type(said.http), "audio/L24;rate=48000;channels=2");

    let (known, mut talker) = relay("", 8);
    let why = body(known.http, "/streams/stage.sdp", 404);
    assert!(why.contains("nothing has come so far"), "{why}");
    talker.until_delivered(known.http, "stage");
    let text = body(known.http, "/streams/stage.sdp?output=0", 200);
    assert!(text.ends_with(" RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"), "{text}");
    assert_eq!(content_type(known.http), "audio/PCMA;rate=8000;channels=1");

    let (dynamic, mut talker) = relay("", 98);
    talker.until_delivered(dynamic.http, "stage");
    let why = body(dynamic.http, "/streams/stage.sdp?output=0", 404);
    assert!(why.contains("payload type 98") && why.contains("rtpmap = \"98 NAME/CLOCK_RATE\""), "{why}");
    assert_eq!(content_type(dynamic.http), "application/octet-stream");
}

#[test]
fn every_notation_of_an_ssrc_gets_its_stream_and_no_other_text_does() {
    let (relay, mut talker) = relay("", 8);
    talker.until_delivered(relay.http, "stage");
    for text in ["146520", "0x23c58", "0x00023C58", "00023c58"] {
        let mut answer = open(relay.http, &format!("/streams/stage?flow={text}"));
        until("its client is there", || sum(&series(relay.http), "tidecast_subscribers", "http") >= 1.0);
        talker.send(text.as_bytes());
        assert_eq!(answer.read(text.len()), text.as_bytes(), "{text}");
        drop(answer);
        until("its client is gone", || sum(&series(relay.http), "tidecast_subscribers", "http") == 0.0);
    }
    for text in ["stage", "0x", "4294967296", "0x123456789", "-1"] {
        for path in [format!("/streams/stage?flow={text}"), format!("/rtp/239.1.1.1:5000?flow={text}")] {
            let why = body(relay.http, &path, 400);
            assert!(why.contains("expected an SSRC such as 0x00023c58 or 146520"), "{path}: {why}");
        }
        let why = body(relay.http, &format!("/sse/stage?flow={text}"), 400);
        assert!(why.contains("expected an SSRC"), "{why}");
    }
}

/// Returns a sender report with the sender's name.
fn report(ssrc: u32, number: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, 200, 0, 6];
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend([number; 20]);
    bytes
}

#[test]
fn rtcp_goes_on_beside_its_media_as_it_came() {
    let (group, port) = (group(), free_port());
    let receive = || {
        let media = free_port();
        let open = |port| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("bind");
            socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
            socket
        };
        (media, open(media), open(media + 1))
    };
    let ((plain, plain_media, plain_rtcp), (muxed, muxed_media, _)) = (receive(), receive());
    let relay = serve(&format!(
        "[[channel]]\nname = \"stage\"\ninput = \"rtp://@{group}:{port}?if=127.0.0.1\"\n\
         output = [\"rtp://127.0.0.1:{plain}\", \"udp://127.0.0.1:{muxed}?rtcp=mux\"]\n"
    ));
    let mut talker = Talker::new((group, port).into(), 0);
    talker.until_delivered(relay.http, "stage");
    let next = |socket: &UdpSocket| {
        let mut bytes = [0; 2000];
        let length = socket.recv(&mut bytes).expect("a datagram in time");
        bytes[..length].to_vec()
    };
    let report_at = |socket: &UdpSocket| loop {
        let bytes = next(socket);
        if bytes[1] == 200 {
            return bytes;
        }
        assert_eq!(bytes[1] & 0x7f, 0, "media");
    };
    let (above, among) = (report(0x0002_3c58, 1), report(0x0002_3c58, 2));
    // not from a sender, so it is not forwarded
    talker.socket.send_to(&report(7, 3), (group, port + 1)).expect("send");
    talker.socket.send_to(&above, (group, port + 1)).expect("send");
    assert_eq!(next(&plain_rtcp), above);
    assert_eq!(report_at(&muxed_media), above, "the output says where");
    talker.socket.send_to(&among, (group, port)).expect("send");
    assert_eq!(report_at(&plain_media), among, "muxed stays muxed");
    assert_eq!(report_at(&muxed_media), among);
    let counted = sum(&series(relay.http), "tidecast_packets_received_total", "kind=\"control\"");
    assert_eq!(counted, 3.0);
    assert_eq!(sum(&series(relay.http), "tidecast_packets_discarded_total", "foreign"), 0.0);
}

/// Returns the DSCP of the next datagram that ends with this byte.
fn dscp_of(socket: &UdpSocket, mark: u8) -> u8 {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    loop {
        let (mut bytes, mut control) = ([0; 2000], nix::cmsg_space!(i32));
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::empty();
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
        let message = message.expect("a datagram in time");
        let class = message.cmsgs().expect("whole").find_map(|told| match told {
            ControlMessageOwned::Ipv4Tos(class) => Some(class >> 2),
            _ => None,
        });
        let length = message.bytes;
        if bytes[length - 1] == mark {
            return class.expect("a class of service");
        }
    }
}

#[test]
fn outputs_have_the_class_of_service_that_they_name_or_that_came_in() {
    let (group, port) = (group(), free_port());
    let receivers = [(); 3].map(|()| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, free_port())).expect("bind");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket2::SockRef::from(&socket).set_recv_tos_v4(true).expect("recv tos");
        socket
    });
    let options = ["", "?dscp=EF", "?dscp=keep"];
    let outputs = receivers
        .iter()
        .zip(options)
        .map(|(socket, options)| format!("\"rtp://{}{options}\"", socket.local_addr().expect("address")));
    let relay = serve(&format!(
        "[[channel]]\nname = \"stage\"\ninput = \"rtp://@{group}:{port}?if=127.0.0.1\"\noutput = [{}]\n",
        outputs.collect::<Vec<_>>().join(", ")
    ));
    let mut talker = Talker::new((group, port).into(), 0);
    talker.until_delivered(relay.http, "stage");
    for (mark, class) in [(1, 34), (2, 18), (3, 0)] {
        socket2::SockRef::from(&talker.socket).set_tos_v4(class << 2).expect("tos");
        talker.send(&[mark; 160]);
        let got = [0, 1, 2].map(|receiver: usize| u32::from(dscp_of(&receivers[receiver], mark)));
        assert_eq!(got, [0, 46, class]);
    }
}
