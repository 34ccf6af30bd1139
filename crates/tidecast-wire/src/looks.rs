//! What a datagram looks like, whatever format was expected: to explain to users why it was
//! refused, never to process it.

use super::{native, rtcp, rtp, ts};

/// What a datagram looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looks {
    /// MPEG-TS packets without a header.
    Ts,
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
    /// The native datagram.
    Native,
    /// Anything else.
    Other,
}

impl Looks {
    /// The apparent format of these bytes.
    pub fn of(bytes: &[u8]) -> Looks {
        if bytes.starts_with(&native::MAGIC) {
            return Looks::Native;
        }
        // A datagram may start in the middle of a TS packet; then the next packet starts later.
        let is_ts = |at: usize| {
            let mut starts = bytes.iter().skip(at).step_by(ts::PACKET);
            bytes.len() >= at + 2 * ts::PACKET && starts.all(|byte| *byte == ts::SYNC)
        };
        if ts::looks_like(bytes) || (0..ts::PACKET).any(is_ts) {
            return Looks::Ts;
        }
        match rtp::Packet::parse(bytes) {
            Ok(_) => Looks::Rtp,
            Err(rtp::RtpError::Rtcp { .. }) if rtcp::Compound::parse(bytes).is_ok() => Looks::Rtcp,
            Err(_) => Looks::Other,
        }
    }
}

impl Looks {
    /// The format setting that receives such datagrams.
    pub fn format(self) -> Option<&'static str> {
        match self {
            Looks::Ts => Some("ts"),
            Looks::Rtp => Some("rtp"),
            Looks::Native => Some("native"),
            Looks::Rtcp | Looks::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_look_like_what_they_are() {
        let mut stream = vec![0x11; 14 * ts::PACKET];
        stream.iter_mut().step_by(ts::PACKET).for_each(|byte| *byte = ts::SYNC);
        assert_eq!(Looks::of(&stream[..7 * ts::PACKET]), Looks::Ts);
        assert_eq!(Looks::of(&stream[1472..2632]), Looks::Ts, "no whole packets");
        let mut packet = Vec::new();
        let repr = rtp::Repr {
            payload_type: 33,
            sequence: 1,
            timestamp: 2,
            ssrc: 3,
            marker: false,
            payload: &stream[..188],
        };
        repr.emit(&mut packet);
        assert_eq!(Looks::of(&packet), Looks::Rtp);
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        assert_eq!(Looks::of(&report), Looks::Rtcp);
        assert_eq!(Looks::of(&[&native::MAGIC[..], b"and more"].concat()), Looks::Native);
        assert_eq!(
            (Looks::of(b""), Looks::of(b"{\"value\":1}"), Looks::of(&[0x47; 3])),
            (Looks::Other, Looks::Other, Looks::Other)
        );
    }
}
