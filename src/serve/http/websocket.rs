//! WebSocket protocol (RFC 6455) except for the messages, which are encoded once for all
//! subscribers: the handshake, and the frames of the client. The library reads those and answers;
//! its answers are sent between messages.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
use tokio::time::{Instant, interval_at, sleep};
use tungstenite::{
    Error, WebSocket,
    error::ProtocolError,
    handshake::server::create_response_with_body,
    protocol::{
        Role, WebSocketConfig,
        frame::{
            FrameHeader,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

use super::{deflate::Marks, refusal::Refusal};
use crate::{
    limits::{
        PONGS_MISSED_MAX, PUSH_KEEPALIVE, WEBSOCKET_MESSAGE_BYTES_MAX, WEBSOCKET_MESSAGES_AT_ONCE,
        WEBSOCKET_PAUSE,
    },
    serve::{
        listen,
        queue::{ClientQueue, End, Policy},
    },
};

/// An encoded empty ping.
const PING: &[u8] = &[0x89, 0];
/// First byte of an encoded close frame.
pub(super) const CLOSES: u8 = 0x88;

/// The frame head of a server's message (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    bytes: [u8; 10],
    length: usize,
}

impl Head {
    /// Head of a binary message with this payload length.
    pub(super) fn binary(payload: usize) -> Head {
        let frame = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let mut bytes = [0; 10];
        let mut room = &mut bytes[..];
        let _ = frame.format(payload as u64, &mut room); // the longest head has ten bytes
        let length = 10 - room.len();
        Head { bytes, length }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The response to a request for a WebSocket.
///
/// # Errors
/// The request is not a WebSocket handshake.
pub(super) fn accept(request: &Request) -> Result<Response, Refusal> {
    create_response_with_body(request, Body::empty).map_err(|error| {
        Refusal::Malformed(format!(
            "no WebSocket: {error}; expected what new WebSocket(\"ws://...\") sends, or /sse/ for plain HTTP"
        ))
    })
}

/// Accepts the first subprotocol that the client offers, as most servers do. It has no effect, but
/// browsers end a connection whose offer is not answered. jsmpeg offers "null".
pub(super) fn agree(request: &Request, response: &mut Response) {
    let offered =
        request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
    let first = offered.and_then(|offered| offered.split(',').next()).map(str::trim);
    if let Some(first) = first.and_then(|first| HeaderValue::from_str(first).ok()) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, first);
    }
}

/// State of the client.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// It has sent something since this was last checked.
    heard: AtomicBool,
    /// A close frame was sent to it.
    closed: AtomicBool,
}

/// Ends the connection after the last message, with a close frame if none was sent. A client that
/// has not taken all messages, or has gone, only sees the end of the connection.
pub(super) async fn leave<P: Policy>(far: &ClientQueue<P>, peer: &Peer, end: End) {
    let code = match end {
        End::Done => CloseCode::Away,
        End::Disconnected if far.is_clear() => CloseCode::Policy,
        _ => return,
    };
    let Ok(stream) = far.stream() else { return };
    if !peer.closed.load(Ordering::Relaxed) {
        // A client without room for it sees the end of the connection.
        let _ = stream.try_write(&close(code));
    }
    listen::part(stream).await;
}

/// Pings a silent connection, so that proxies keep it. Returns when the client is gone: it has not
/// answered the last pings.
pub(super) async fn ping<P: Policy>(far: &ClientQueue<P>, peer: &Peer) {
    let mut times = interval_at(Instant::now() + PUSH_KEEPALIVE, PUSH_KEEPALIVE);
    let (mut asked, mut missed) = (false, 0);
    while missed < PONGS_MISSED_MAX {
        times.tick().await;
        let heard = peer.heard.swap(false, Ordering::Relaxed);
        missed = if heard { 0 } else { missed + u32::from(asked) };
        // A ping behind a backlog would reveal nothing about the client.
        asked = far.is_clear();
        if asked {
            far.say(PING.to_vec());
        }
    }
}

/// Reads the client's frames until it closes or goes; their contents are ignored. An invalid
/// frame, invalid UTF-8 or a message that is too long ends the connection with a close frame that
/// says so (RFC 6455, section 7.4.1). `deflated`: the client may send compressed messages.
pub(super) async fn read<P: Policy>(far: &ClientQueue<P>, mut early: Vec<u8>, deflated: bool, peer: &Peer) {
    let mut marks = deflated.then(Marks::default);
    if let Some(marks) = &mut marks {
        marks.take_off(&mut early);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
        .read_buffer_size(WEBSOCKET_MESSAGE_BYTES_MAX)
        .write_buffer_size(0);
    let mut socket = WebSocket::from_partially_read(Duplex { far, marks }, early, Role::Server, Some(config));
    let mut read = 0u32;
    loop {
        // At most two answers wait: the library writes one when it is asked for the next message.
        far.answered().await;
        match socket.read() {
            Ok(_) => {
                peer.heard.store(true, Ordering::Relaxed);
                read = read.wrapping_add(1);
                if read.is_multiple_of(WEBSOCKET_MESSAGES_AT_ONCE) {
                    sleep(WEBSOCKET_PAUSE).await;
                }
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                let Ok(stream) = far.stream() else { return };
                if stream.readable().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                match code(&error) {
                    Some(code) => far.say(close(code)),
                    // The answer to its close frame is already queued.
                    None if matches!(error, Error::ConnectionClosed) => {}
                    None => return,
                }
                peer.closed.store(true, Ordering::Relaxed);
                far.close();
                return std::future::pending().await;
            }
        }
    }
}

/// Close code for a client's error; `None` if the client has gone.
fn code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Capacity(_) => Some(CloseCode::Size),
        _ => None,
    }
}

/// An encoded close frame without a reason.
fn close(code: CloseCode) -> Vec<u8> {
    [&[CLOSES, 2], &u16::from(code).to_be_bytes()[..]].concat()
}

/// A socket for the library: it reads from the client's socket and writes into the queue.
struct Duplex<'a, P: Policy> {
    far: &'a ClientQueue<P>,
    marks: Option<Marks>,
}

impl<P: Policy> Read for Duplex<'_, P> {
    fn read(&mut self, memory: &mut [u8]) -> io::Result<usize> {
        let bytes = self.far.stream()?.try_read(memory)?;
        if let Some(marks) = &mut self.marks {
            marks.take_off(&mut memory[..bytes]);
        }
        Ok(bytes)
    }
}

impl<P: Policy> Write for Duplex<'_, P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.far.say(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{registry::audience::Who, serve::push::PushQueue};

    /// An empty text message and a close frame, masked with zeros, as clients mask theirs.
    const EMPTY: &[u8] = &[0x81, 0x80, 0, 0, 0, 0];
    const CLOSED: &[u8] = &[0x88, 0x80, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_client_that_never_stops_sending_leaves_time_to_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let queue = PushQueue::new(Some(listener.accept().await.unwrap().0), Who::default());
        let flood = [EMPTY.repeat(10_000), CLOSED.to_vec()].concat();
        let peer = Peer::default();
        let mut reading = pin!(read(&*queue, flood, false, &peer));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut turns = 0;
        // The answer to the close frame comes after everything that was sent before.
        while queue.waiting() == 0 {
            assert!(reading.as_mut().poll(&mut cx).is_pending());
            turns += 1;
            tokio::task::yield_now().await;
        }
        assert!(turns > 10, "{turns}");
    }

    /// The client's socket is full, and so is the queue of pongs: the remaining pings stay in the
    /// kernel's buffer and with the client.
    #[tokio::test]
    async fn pings_of_a_client_that_never_reads_are_not_read() {
        const PING: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let queue = PushQueue::new(Some(listener.accept().await.unwrap().0), Who::default());
        let peer = Peer::default();
        // The queue is not being written.
        let mut reading = pin!(read(&*queue, Vec::new(), false, &peer));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        far.writable().await.unwrap();
        let sent = far.try_write(&PING.repeat(1000)).unwrap();
        assert_eq!(sent, 6000);
        let mut peek = [0; 6000];
        while queue.waiting() == 0 {
            assert!(reading.as_mut().poll(&mut cx).is_pending());
            tokio::task::yield_now().await;
        }
        let few = queue.waiting();
        for _ in 0..100 {
            assert!(reading.as_mut().poll(&mut cx).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(queue.waiting(), few);
        assert!(queue.stream().unwrap().peek(&mut peek).await.unwrap() > 0, "the kernel has the rest");
    }
}
