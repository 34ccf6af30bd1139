//! permessage-deflate of WebSockets (RFC 7692), which the library does not support: the
//! negotiation, and the client's compressed messages. Messages to clients are compressed once per
//! class (`crate::serve::push`), each independently: neither side keeps a window from one to the
//! next.

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};

const NAME: &str = "permessage-deflate";
const ANSWER: HeaderValue =
    HeaderValue::from_static("permessage-deflate; server_no_context_takeover; client_no_context_takeover");

/// Whether the client offers the extension with parameters that are supported.
pub(super) fn is_offered(request: &Request) -> bool {
    let lists = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|offer| {
        let mut words = offer.split(';').map(str::trim);
        words.next() == Some(NAME) && words.all(is_kept_to)
    })
}

/// A window smaller than that of our compressor is not supported.
fn is_kept_to(parameter: &str) -> bool {
    let (name, value) =
        parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
    match (name.trim(), value.map(|value| value.trim().trim_matches('"'))) {
        ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {
            true
        }
        ("client_max_window_bits", Some(bits)) => matches!(bits.parse(), Ok(8_u8..=15)),
        ("server_max_window_bits", Some(bits)) => bits == "15",
        _ => false,
    }
}

/// Accepts the extension in the response.
pub(super) fn agree(response: &mut Response) {
    response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, ANSWER);
}

/// Clears the compression bit of a client's messages. Their contents are ignored, so they may be
/// read as binary messages.
#[derive(Debug, Default)]
pub(super) struct Marks {
    head: [u8; 14],
    /// Bytes of the frame head received so far.
    have: usize,
    /// Remaining bytes of the frame's payload.
    payload: u64,
}

impl Marks {
    /// Processes the next bytes.
    pub(super) fn take_off(&mut self, bytes: &mut [u8]) {
        const COMPRESSED: u8 = 0x40;
        let mut at = 0;
        while at < bytes.len() {
            if self.payload > 0 {
                let rest = (bytes.len() - at) as u64;
                let over = rest.min(self.payload);
                self.payload -= over;
                at += over as usize; // at most the bytes that are there
                continue;
            }
            let byte = &mut bytes[at];
            if self.have == 0 && *byte & COMPRESSED != 0 && matches!(*byte & 0xf, 1 | 2) {
                *byte = *byte & 0x80 | 2;
            }
            self.head[self.have] = *byte;
            self.have += 1;
            at += 1;
            self.payload = self.length().unwrap_or(0);
        }
    }

    /// Length of the payload, once the head is complete.
    fn length(&mut self) -> Option<u64> {
        let [_, second, ..] = self.head;
        let (short, mask) = (second & 0x7f, usize::from(second & 0x80 != 0) * 4);
        let more = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.have < 2 || self.have < 2 + more + mask {
            return None;
        }
        self.have = 0;
        let long = self.head[2..2 + more].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(if more > 0 { long } else { short.into() })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn offered(text: &'static str) -> bool {
        let request = Request::builder().header("sec-websocket-extensions", text);
        is_offered(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn only_what_can_be_kept_to_is_agreed_to() {
        for good in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=10; server_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=\"15\"",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert!(offered(good), "{good}");
        }
        for bad in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; unheard_of",
        ] {
            assert!(!offered(bad), "{bad}");
        }
    }

    #[test]
    fn marks_are_taken_off_the_first_frames_of_messages_however_they_are_cut() {
        let frame = |first: u8, length: usize| {
            let mut frame = vec![first];
            match length {
                0..126 => frame.push(0x80 | length as u8),
                126..65_536 => frame.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
                _ => frame.extend([&[0x80 | 127][..], &(length as u64).to_be_bytes()].concat()),
            }
            frame.extend([1, 2, 3, 4]);
            frame.extend(std::iter::repeat_n(0xc1, length));
            frame
        };
        let sent = [
            frame(0xc1, 5),
            frame(0x41, 300),
            frame(0x80, 0),
            frame(0x89, 2),
            frame(0xc2, 70_000),
            frame(0x81, 9),
        ];
        let expected = [
            frame(0x82, 5),
            frame(0x02, 300),
            frame(0x80, 0),
            frame(0x89, 2),
            frame(0x82, 70_000),
            frame(0x81, 9),
        ];
        let (sent, expected) = (sent.concat(), expected.concat());
        for cut in [1, 2, 3, 7, 1000, sent.len()] {
            let (mut marks, mut bytes) = (Marks::default(), sent.clone());
            bytes.chunks_mut(cut).for_each(|part| marks.take_off(part));
            assert!(bytes == expected, "cut by {cut}");
        }
    }
}
