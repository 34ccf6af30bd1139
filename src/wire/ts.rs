//! MPEG-TS packets (ISO/IEC 13818-1) without RTP: not numbered by datagram, so what was lost shows in their
//! continuity counters only.
//!
//! `wire::parse` makes a [`Packet`] of a received datagram; whoever delivers it runs [`Continuity`] over it, and
//! whoever paces a file reads its clock with [`pcr`].

/// Bytes of a TS packet.
pub const PACKET: usize = 188;
/// The first byte of every TS packet.
pub const SYNC: u8 = 0x47;
const PIDS: usize = 1 << 13;
const PID_NULL: usize = 0x1fff;

/// Whether a payload is TS packets and nothing else: a whole number of 188 bytes, at least one, each beginning with
/// [`SYNC`].
pub fn looks_like(payload: &[u8]) -> bool {
    let (packets, rest) = payload.as_chunks::<PACKET>();
    !packets.is_empty() && rest.is_empty() && packets.iter().all(|packet| packet[0] == SYNC)
}

/// A datagram that is TS packets and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a>(&'a [u8]);

impl<'a> Packet<'a> {
    /// Checks a datagram; none when it is not as [`looks_like`] says.
    pub fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        looks_like(bytes).then_some(Packet(bytes))
    }

    /// The whole datagram.
    pub fn payload(&self) -> &'a [u8] {
        self.0
    }
}

/// Finds discontinuities of the continuity counters (ISO/IEC 13818-1 section 2.4.3.3), which are a lower bound for
/// what was lost: the counters have 4 bits, so a loss of 16 packets of a PID cannot be seen, and one of 15 looks like
/// the permitted duplicate.
#[derive(Clone, Debug, Default)]
pub struct Continuity {
    /// State of each PID; empty until the first packet, 8 KiB from then on.
    pids: Vec<Counter>,
    total: u64,
}

/// The last counter of a PID, and whether its packet came twice already.
#[derive(Clone, Copy, Debug, Default)]
enum Counter {
    #[default]
    Unknown,
    Once(u8),
    Twice(u8),
}

impl Continuity {
    /// Checks the TS packets of one payload, in order, and returns how many of them did not continue their PID.
    /// What is no TS packet is passed over.
    pub fn check(&mut self, payload: &[u8]) -> u64 {
        self.pids.resize(PIDS, Counter::Unknown);
        let packets = payload.as_chunks::<PACKET>().0.iter();
        let found = packets.filter(|packet| packet[0] == SYNC && !self.continues(packet)).count() as u64;
        self.total += found;
        found
    }

    /// Discontinuities found in all payloads so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn continues(&mut self, packet: &[u8; PACKET]) -> bool {
        let pid = pid(packet);
        let transport_error = packet[1] & 0x80 != 0;
        let adaptation_control = packet[3] >> 4 & 3;
        if pid == PID_NULL || transport_error || adaptation_control == 0 {
            return true;
        }
        let actual = packet[3] & 0x0f;
        let has_payload = adaptation_control & 1 != 0;
        let announced = adaptation(packet).is_some_and(|(flags, _)| flags & 0x80 != 0);
        let (next, continues) = match self.pids[pid] {
            Counter::Once(last) if has_payload && actual == last => (Counter::Twice(actual), true),
            Counter::Once(last) | Counter::Twice(last) if has_payload => {
                (Counter::Once(actual), actual == (last + 1) & 0x0f)
            }
            same @ (Counter::Once(last) | Counter::Twice(last)) if actual == last => (same, true),
            Counter::Once(_) | Counter::Twice(_) => (Counter::Once(actual), false),
            Counter::Unknown => (Counter::Once(actual), true),
        };
        self.pids[pid] = if announced { Counter::Once(actual) } else { next };
        continues || announced
    }
}

/// A program clock reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcr {
    /// The PID that carries it.
    pub pid: u16,
    /// Ticks of 27 MHz; wraps at 300 * 2^33, after 26.5 hours.
    pub ticks: u64,
    /// Whether the clock starts anew here (`discontinuity_indicator`).
    pub discontinuity: bool,
}

impl Pcr {
    /// Ticks per second.
    pub const HZ: u64 = 27_000_000;
    /// Ticks after which the clock starts again at 0.
    pub const WRAP: u64 = 300 << 33;
}

/// The program clock reference of a TS packet, if it carries one (ISO/IEC 13818-1 section 2.4.3.5).
pub fn pcr(packet: &[u8; PACKET]) -> Option<Pcr> {
    let (flags, fields) = adaptation(packet)?;
    let [b0, b1, b2, b3, b4, b5] = *fields.first_chunk::<6>()?;
    if packet[0] != SYNC || flags & 0x10 == 0 {
        return None;
    }
    let base = u64::from(u32::from_be_bytes([b0, b1, b2, b3])) << 1 | u64::from(b4 >> 7);
    let extension = u64::from(u16::from_be_bytes([b4 & 1, b5]));
    let ticks = base * 300 + extension;
    Some(Pcr { pid: pid(packet) as u16, ticks, discontinuity: flags & 0x80 != 0 })
}

fn pid(packet: &[u8; PACKET]) -> usize {
    usize::from(packet[1] & 0x1f) << 8 | usize::from(packet[2])
}

/// Flags and the following fields of the adaptation field, if there is one that is not empty.
fn adaptation(packet: &[u8; PACKET]) -> Option<(u8, &[u8])> {
    if packet[3] & 0x20 == 0 {
        return None;
    }
    let (flags, fields) = packet[5..].get(..usize::from(packet[4]))?.split_first()?;
    Some((*flags, fields))
}
