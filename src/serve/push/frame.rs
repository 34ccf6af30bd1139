//! The binary form of messages, for programs that do not use JSON: a fixed head, the flow's key,
//! the payload. All numbers are big-endian. `docs/programs.md` has the layout for users.
//!
//! ```text
//!  0  u8   kind: 0 packet, 1 lost, 2 missed, 3 started, 4 ended, 5 reply
//!  1  u8   flags: 1 recovered by FEC, 2 retransmitted, 4 the timestamp is the producer's, 8 the flow's last value
//!  2  u16  the stream's place in the configuration, from 1; 0 in replies
//!  4  u16  bytes of the flow's key
//!  6  u16  0
//!  8  u64  number; for lost and missed, the first number
//! 16  u64  timestamp in microseconds since the Unix epoch; for lost and missed, the last number
//! 24       the flow's key (UTF-8), then the payload; for missed: u64 packets, u64 lost
//! ```

use super::message::{About, Message};
use tidecast_core::relay::How;

/// Bytes before the flow's key.
pub(super) const HEAD: usize = 24;

const REPLY: u8 = 5;
const BY_FEC: u8 = 1;
const BY_RETRANSMISSION: u8 = 2;
const OWN_TIMESTAMP: u8 = 4;
const LAST_VALUE: u8 = 8;

/// Appends the head and the key.
fn head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u16, flow: &str, numbers: [u64; 2]) {
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&(flow.len() as u16).to_be_bytes()); // keys are far shorter
    out.extend_from_slice(&[0, 0]);
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(flow.as_bytes());
}

impl Message<'_> {
    /// Length of its frame, in bytes.
    pub(super) fn frame_len(&self, about: About<'_>) -> usize {
        let payload = match self {
            Message::Packet { payload, .. } => payload.len(),
            Message::Missed(_) => 16,
            Message::Lost(_) | Message::Started | Message::Ended => 0,
        };
        HEAD + about.flow.len() + payload
    }

    /// Appends it as a frame.
    pub(super) fn frame(&self, about: About<'_>, out: &mut Vec<u8>) {
        let mut put = |kind, flags, numbers| head(out, kind, flags, about.id, about.flow, numbers);
        match *self {
            Message::Packet { info, payload, last } => {
                let how = match info.how {
                    How::Received => 0,
                    How::Fec => BY_FEC,
                    How::Retransmission => BY_RETRANSMISSION,
                };
                let own = if info.timestamp.is_some() { OWN_TIMESTAMP } else { 0 };
                let time = info.timestamp.unwrap_or(info.arrived.as_micros() as u64);
                put(0, how | own | if last { LAST_VALUE } else { 0 }, [info.seq, time]);
                out.extend_from_slice(payload);
            }
            Message::Lost(range) => put(1, 0, [range.from, range.to]),
            Message::Missed(range) => {
                put(2, 0, [range.from, range.to]);
                out.extend_from_slice(&range.packets.to_be_bytes());
                out.extend_from_slice(&range.lost.to_be_bytes());
            }
            Message::Started => put(3, 0, [0, 0]),
            Message::Ended => put(4, 0, [0, 0]),
        }
    }
}

/// The answer to a command line, as a frame with its length before it.
pub(in crate::serve) fn reply(text: &str) -> Vec<u8> {
    let mut out = ((HEAD + text.len()) as u32).to_be_bytes().to_vec(); // answers are short
    head(&mut out, REPLY, 0, 0, "", [0, 0]);
    out.extend_from_slice(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::tap::Info;
    use crate::serve::push::message::Range;
    use tidecast_core::relay::PacketFormat;

    const ABOUT: About<'_> = About { stream: "s", id: 0x0102, flow: "ab" };

    fn framed(message: Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.frame(ABOUT, &mut out);
        assert_eq!(out.len(), message.frame_len(ABOUT));
        out
    }

    #[test]
    fn frames_have_the_documented_layout() {
        let info = Info::new(7, How::Retransmission, PacketFormat::Native, Some(8), Duration::ZERO, true);
        let packet = framed(Message::Packet { info: &info, payload: b"xyz", last: true });
        let expected = [
            &[0, 2 | 4 | 8, 1, 2, 0, 2, 0, 0][..],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 0, 0, 0, 0, 0, 0, 8],
            b"abxyz",
        ];
        assert_eq!(packet, expected.concat());
        let info = Info::new(7, How::Fec, PacketFormat::Native, None, Duration::from_micros(9), true);
        let packet = framed(Message::Packet { info: &info, payload: b"", last: false });
        assert_eq!((packet[1], packet[23]), (1, 9));
    }

    #[test]
    fn gaps_have_two_ends() {
        let lost = framed(Message::Lost(Range::lost(5, 3)));
        assert_eq!((lost[0], lost[15], lost[23], lost.len()), (1, 5, 7, HEAD + 2));
        let missed = framed(Message::Missed(Range { from: 1, to: 9, packets: 6, lost: 3 }));
        assert_eq!((missed[0], &missed[26..]), (2, &[0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 3][..]));
        assert_eq!((framed(Message::Started)[0], framed(Message::Ended)[0]), (3, 4));
    }

    #[test]
    fn replies_are_frames_too() {
        let reply = reply("OK");
        assert_eq!((&reply[..5], &reply[28..]), (&[0, 0, 0, 26, 5][..], &b"OK"[..]));
    }
}
