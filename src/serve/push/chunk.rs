//! Chunks of messages for all subscribers of a class, encoded once; one chunk is one write.

use std::{cell::RefCell, io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use serde_json::value::RawValue;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

use super::{
    message::{About, Message, Range},
    options::Wire,
    position::Position,
};
use crate::{
    channel::tap::FlowName,
    limits::{CHUNK_COST_BYTES, PUSH_CHUNK_BYTES_MAX},
};

/// Encoded messages.
#[derive(Debug, Default)]
pub(in crate::serve) struct EncodedChunk {
    /// The bytes for the socket.
    pub(in crate::serve) bytes: Vec<u8>,
    /// Messages for Socket.IO, which its library writes.
    pub(in crate::serve) updates: Vec<Update>,
    /// Count of their packets.
    pub(in crate::serve) packets: u64,
    /// Payload bytes of these packets.
    pub(in crate::serve) payload: u64,
    /// Packets that were already missing before encoding: each receiver of the chunk misses this
    /// many.
    pub(super) skipped: u64,
    /// Numbers that a client misses if it does not get the chunk.
    spans: Vec<Span>,
}

/// One event of Socket.IO.
#[derive(Debug)]
pub(in crate::serve) struct Update {
    pub(in crate::serve) event: &'static str,
    pub(in crate::serve) about: Box<RawValue>,
    /// The raw payload, if it is not part of `about`.
    pub(in crate::serve) payload: Option<Bytes>,
}

impl Update {
    /// Memory of both parts, in bytes.
    fn cost(&self) -> usize {
        self.about.get().len() + self.payload.as_ref().map_or(0, Bytes::len)
    }
}

/// Consecutive numbers of one flow.
#[derive(Debug)]
struct Span {
    flow: Arc<FlowName>,
    range: Range,
}

impl EncodedChunk {
    /// A chunk without messages, such as the answer to a command.
    pub(super) fn control(bytes: Vec<u8>) -> EncodedChunk {
        EncodedChunk { bytes, ..EncodedChunk::default() }
    }

    /// An empty chunk with memory for `bytes` bytes.
    pub(super) fn with_room(bytes: usize) -> EncodedChunk {
        EncodedChunk { bytes: Vec::with_capacity(bytes), ..EncodedChunk::default() }
    }

    /// Starts a server-sent event with its id.
    pub(super) fn mark(&mut self, position: Position) {
        let _ = writeln!(self.bytes, "id: {position}"); // a Vec takes all
    }

    /// The server-sent events after the first `count` ones.
    pub(super) fn behind_events(&self, count: u64) -> EncodedChunk {
        let mut ends =
            self.bytes.windows(2).enumerate().filter(|(_, two)| two == b"\n\n").map(|(at, _)| at + 2);
        let from = count.checked_sub(1).and_then(|last| ends.nth(usize::try_from(last).ok()?)).unwrap_or(0);
        EncodedChunk::control(self.bytes[from..].to_vec())
    }

    /// Whether it holds no message. A message may have no bytes: a raw payload of length zero.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.updates.is_empty() && self.spans.is_empty()
    }

    /// Whether it must be sent before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() as u64 + self.payload > PUSH_CHUNK_BYTES_MAX as u64
    }

    /// Memory in use, in bytes.
    pub(super) fn cost(&self) -> usize {
        let updates = self.updates.iter().map(Update::cost);
        let encoded = self.bytes.len() + updates.sum::<usize>();
        encoded + self.spans.len() * size_of::<Span>() + CHUNK_COST_BYTES
    }

    /// Numbers that a client misses if it does not get the chunk, by flow.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&Arc<FlowName>, Range)> {
        self.spans.iter().map(|span| (&span.flow, span.range))
    }

    /// Adds a message.
    pub(super) fn add(&mut self, wire: Wire, about: About<'_>, flow: &Arc<FlowName>, message: Message<'_>) {
        match message {
            Message::Packet { info, payload, .. } => {
                self.packets += 1;
                self.payload += payload.len() as u64;
                self.span(flow, Range::packet(info));
            }
            Message::Lost(range) | Message::Missed(range) => self.span(flow, range),
            Message::Started | Message::Ended => {}
        }
        self.encode(wire, about, message);
    }

    fn span(&mut self, flow: &Arc<FlowName>, range: Range) {
        match self.spans.last_mut().filter(|span| Arc::ptr_eq(&span.flow, flow)) {
            Some(span) => span.range = span.range.and(range),
            None => self.spans.push(Span { flow: flow.clone(), range }),
        }
    }

    fn encode(&mut self, wire: Wire, about: About<'_>, message: Message<'_>) {
        let out = &mut self.bytes;
        match wire {
            Wire::Frames => {
                out.extend_from_slice(&(message.frame_len(about) as u32).to_be_bytes()); // at most a datagram and a key
                message.frame(about, out);
            }
            Wire::Lines => {
                message.json(about, true, out);
                out.push(b'\n');
            }
            Wire::Raw => {
                if let Message::Packet { payload, .. } = message {
                    out.extend_from_slice(payload);
                }
            }
            Wire::WebSocketFrames => {
                websocket(Data::Binary, false, message.frame_len(about), out);
                message.frame(about, out);
            }
            Wire::WebSocketJson => {
                let mut text = Vec::with_capacity(256);
                message.json(about, true, &mut text);
                websocket(Data::Text, false, text.len(), out);
                out.extend_from_slice(&text);
            }
            Wire::WebSocketDeflated => {
                let mut text = Vec::with_capacity(256);
                message.json(about, true, &mut text);
                let deflated = deflated(&text);
                let (compressed, bytes) = match &deflated {
                    Some(deflated) if deflated.len() < text.len() => (true, deflated),
                    _ => (false, &text),
                };
                websocket(Data::Text, compressed, bytes.len(), out);
                out.extend_from_slice(bytes);
            }
            Wire::Sse => {
                if !matches!(message, Message::Packet { .. }) {
                    out.extend_from_slice(b"event: ");
                    out.extend_from_slice(message.kind().as_bytes());
                    out.push(b'\n');
                }
                out.extend_from_slice(b"data: ");
                message.json(about, true, out);
                out.extend_from_slice(b"\n\n");
            }
            Wire::SocketIoJson | Wire::SocketIoBinary => self.update(wire, about, message),
        }
    }

    fn update(&mut self, wire: Wire, about: About<'_>, message: Message<'_>) {
        let as_it_is = match message {
            Message::Packet { payload, .. } if wire == Wire::SocketIoBinary => Some(payload),
            _ => None,
        };
        let mut text = Vec::with_capacity(256);
        message.json(about, as_it_is.is_none(), &mut text);
        // All other transports send the text as JSON, so it is valid.
        let Ok(about) = String::from_utf8(text).map(RawValue::from_string) else { return };
        let Ok(about) = about else { return };
        let payload = as_it_is.map(Bytes::copy_from_slice);
        self.updates.push(Update { event: message.kind(), about, payload });
    }
}

/// Compresses a message independently of others (RFC 7692, section 7.2.1).
fn deflated(text: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        // Its tables are large, so one instance serves all messages of a thread.
        static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    }
    /// End of a flush, which is removed from messages.
    const END: &[u8] = &[0, 0, 0xff, 0xff];
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        // A message that would grow by more is sent uncompressed.
        let mut out = Vec::with_capacity(text.len() + 64);
        compress.compress_vec(text, &mut out, FlushCompress::Sync).ok()?;
        let whole = compress.total_in() == text.len() as u64 && out.ends_with(END);
        out.truncate(out.len().saturating_sub(END.len()));
        whole.then_some(out)
    })
}

/// The head of an unfragmented message from a server (RFC 6455, section 5.2).
fn websocket(data: Data, compressed: bool, length: usize, out: &mut Vec<u8>) {
    let head = FrameHeader { rsv1: compressed, opcode: OpCode::Data(data), ..FrameHeader::default() };
    // Writing to a Vec cannot fail.
    let _ = head.format(length as u64, out);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::tap::Info;
    use tidecast_core::relay::{How, PacketFormat};

    fn chunk(wire: Wire, payload: &[u8]) -> EncodedChunk {
        let flow = Arc::new(FlowName { key: "7".into(), source: "10.0.0.1:1".parse().unwrap() });
        let about = About { stream: "s", id: 1, flow: "7" };
        let info = Info::new(4, How::Received, PacketFormat::Raw, None, Duration::ZERO, true);
        let mut chunk = EncodedChunk::default();
        chunk.add(wire, about, &flow, Message::Packet { info: &info, payload, last: false });
        chunk.add(wire, about, &flow, Message::Lost(Range::lost(5, 2)));
        chunk
    }

    #[test]
    fn a_chunk_knows_what_is_missed_without_it() {
        let chunk = chunk(Wire::Raw, b"abc");
        assert_eq!((&*chunk.bytes, chunk.packets, chunk.payload), (&b"abc"[..], 1, 3));
        let spans: Vec<Range> = chunk.spans().map(|(_, range)| range).collect();
        assert_eq!(spans, [Range { from: 4, to: 6, packets: 1, lost: 2 }]);
    }

    #[test]
    fn each_form_has_its_own_ends() {
        let text = |wire| String::from_utf8(chunk(wire, b"1").bytes).unwrap();
        assert_eq!(text(Wire::Lines).lines().count(), 2);
        let sse = text(Wire::Sse);
        assert!(
            sse.starts_with("data: {\"type\":\"packet\"") && sse.contains("\n\nevent: lost\ndata: {"),
            "{sse}"
        );
        assert!(sse.ends_with("}\n\n"));
        let frames = chunk(Wire::Frames, b"1").bytes;
        assert_eq!((&frames[..4], frames.len()), (&[0, 0, 0, 26][..], 4 + 26 + 4 + 25));
        let websocket = chunk(Wire::WebSocketFrames, &[0; 200]).bytes;
        assert_eq!(&websocket[..4], &[0x82, 126, 0, 225]);
        assert_eq!(chunk(Wire::WebSocketJson, b"1").bytes[0], 0x81);
    }

    #[test]
    fn compressed_messages_are_whole_and_those_that_do_not_shrink_stay_plain() {
        let read = |bytes: &[u8]| {
            let (head, body) = bytes.split_at(if bytes[1] == 126 { 4 } else { 2 });
            let length =
                if head.len() == 4 { u16::from_be_bytes([head[2], head[3]]).into() } else { head[1].into() };
            let body: &[u8] = &body[..length];
            if head[0] == 0x81 {
                return (false, body.to_vec());
            }
            assert_eq!(head[0], 0xc1);
            let mut inflate = flate2::Decompress::new(false);
            let mut out = Vec::with_capacity(1 << 16);
            let whole = [body, &[0, 0, 0xff, 0xff]].concat();
            inflate.decompress_vec(&whole, &mut out, flate2::FlushDecompress::Sync).unwrap();
            (true, out)
        };
        let payload = "21.5,".repeat(500);
        for payload in [payload.as_bytes(), b"1", b"", &[0xff; 2000]] {
            let (compressed, plain) =
                (chunk(Wire::WebSocketDeflated, payload).bytes, chunk(Wire::WebSocketJson, payload).bytes);
            let (was, message) = read(&compressed);
            assert_eq!(message, read(&plain).1);
            assert!(was || payload.len() < 2, "{} bytes", payload.len());
        }
        assert!(chunk(Wire::WebSocketDeflated, payload.as_bytes()).bytes.len() < payload.len() / 4);
    }

    #[test]
    fn messages_cost_what_they_are_as_text() {
        let many = format!("[{}1]", "1,".repeat(999));
        let (text, object) = (
            chunk(Wire::WebSocketJson, many.as_bytes()).cost(),
            chunk(Wire::SocketIoJson, many.as_bytes()).cost(),
        );
        assert!((many.len()..2 * many.len()).contains(&text), "{text}");
        assert!((many.len()..2 * many.len()).contains(&object), "{object}");
        let words = chunk(Wire::SocketIoJson, &[b'a'; 5000]).cost();
        assert!((5000..7000).contains(&words), "{words}");
        let binary = chunk(Wire::SocketIoBinary, &[0xff; 5000]).cost();
        assert!((5000..7000).contains(&binary), "{binary}");
    }

    #[test]
    fn socket_io_gets_objects_and_bytes() {
        let json = chunk(Wire::SocketIoJson, b"[1]");
        let about = |chunk: &EncodedChunk| {
            serde_json::from_str::<serde_json::Value>(chunk.updates[0].about.get()).unwrap()
        };
        assert_eq!((json.updates[0].event, &about(&json)["payload"]), ("packet", &serde_json::json!([1])));
        let binary = chunk(Wire::SocketIoBinary, b"[1]");
        assert_eq!(binary.updates[0].payload.as_deref(), Some(&b"[1]"[..]));
        assert!(about(&binary).get("payload").is_none() && binary.bytes.is_empty());
    }

    /// Includes deep nesting, numbers beyond the range of memory formats, and invalid JSON.
    #[test]
    fn socket_io_says_the_same_as_the_other_transports() {
        let nested = "[".repeat(1000) + &"]".repeat(1000);
        for payload in
            [nested.as_bytes(), b"1e999", b"{\"a\":1,\"a\":2}", b"[1", b"\xff", b"12345678901234567890123"]
        {
            let line = String::from_utf8(chunk(Wire::Lines, payload).bytes).unwrap();
            let socketio = chunk(Wire::SocketIoJson, payload);
            assert_eq!(line.lines().next(), Some(socketio.updates[0].about.get()));
        }
    }
}
