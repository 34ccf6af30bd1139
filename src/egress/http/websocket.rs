//! The protocol of a WebSocket (RFC 6455) beside the messages, which are encoded for all subscribers at once: the
//! handshake, and what the client sends. The library reads that and answers; its answers go out between messages.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use axum::{body::Body, extract::Request, response::Response};
use tungstenite::{
    Error, WebSocket,
    handshake::server::create_response_with_body,
    protocol::{Role, WebSocketConfig},
};

use super::refusal::Refusal;
use crate::{
    egress::push::Outlet,
    limits::{PUSH_QUEUE_BYTES_MAX, WEBSOCKET_MESSAGE_BYTES_MAX},
};

/// An empty ping, as it is written.
pub(super) const PING: &[u8] = &[0x89, 0];
/// A close with the code 1001, going away.
const CLOSE: &[u8] = &[0x88, 2, 0x03, 0xe9];

/// The answer to a request for a WebSocket.
///
/// # Errors
/// It is no such request.
pub(super) fn accept(request: &Request) -> Result<Response, Refusal> {
    create_response_with_body(request, Body::empty).map_err(|error| {
        Refusal::Malformed(format!(
            "no WebSocket: {error}; expected what new WebSocket(\"ws://...\") sends, or /sse/ for plain HTTP"
        ))
    })
}

/// Says that the server ends it.
pub(super) fn leave(outlet: &Outlet) {
    if let Ok(stream) = outlet.stream() {
        // A client that has no room for it sees the end of the connection.
        let _ = stream.try_write(CLOSE);
    }
}

/// Reads what the client sends until it closes or goes; nothing of it means anything here.
pub(super) async fn read(outlet: &Arc<Outlet>, early: Vec<u8>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
        .read_buffer_size(WEBSOCKET_MESSAGE_BYTES_MAX)
        .write_buffer_size(0);
    let mut socket = WebSocket::from_partially_read(Ends(outlet), early, Role::Server, Some(config));
    loop {
        match socket.read() {
            // Small messages may come faster than they are read: others must run all the same.
            Ok(_) => tokio::task::coop::consume_budget().await,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                let Ok(stream) = outlet.stream() else { return };
                if stream.readable().await.is_err() {
                    return;
                }
            }
            // The answer to its close goes out before the end.
            Err(Error::ConnectionClosed) => {
                outlet.end();
                return std::future::pending().await;
            }
            Err(_) => return,
        }
    }
}

/// A socket for the library: it reads from ours and writes into the queue.
struct Ends<'a>(&'a Outlet);

impl Read for Ends<'_> {
    fn read(&mut self, memory: &mut [u8]) -> io::Result<usize> {
        self.0.stream()?.try_read(memory)
    }
}

impl Write for Ends<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.waiting() > 2 * PUSH_QUEUE_BYTES_MAX {
            return Err(ErrorKind::WouldBlock.into()); // whoever pings without reading the answers gets none
        }
        self.0.say(bytes.to_vec());
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
    use crate::egress::subscribers::Who;

    /// An empty text message and a close, masked with zeros as those of clients are.
    const EMPTY: &[u8] = &[0x81, 0x80, 0, 0, 0, 0];
    const CLOSED: &[u8] = &[0x88, 0x80, 0, 0, 0, 0];

    #[tokio::test]
    async fn a_client_that_never_stops_sending_leaves_time_to_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let outlet = Outlet::new(Some(listener.accept().await.unwrap().0), Who::default());
        let flood = [EMPTY.repeat(10_000), CLOSED.to_vec()].concat();
        let mut reading = pin!(read(&outlet, flood));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut turns = 0;
        // The answer to the close comes behind all that was sent before it.
        while outlet.waiting() == 0 {
            assert!(reading.as_mut().poll(&mut cx).is_pending());
            turns += 1;
            tokio::task::yield_now().await;
        }
        assert!(turns > 10, "{turns}");
    }
}
