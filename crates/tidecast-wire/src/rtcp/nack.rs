//! NACKs: requested numbers in the form of RFC 4585 (a number and a mask of the next 16) or of
//! RIST (ranges). Both are converted from and to ranges of 16-bit numbers.

use super::{RtcpError, fixed};
use crate::bytes_at;

/// Ranges that one range NACK may hold (TR-06-1).
pub const RANGES_MAX: usize = 16;
/// Maximum entries of one generic NACK that [`super::Repr`] emits: a datagram of 1,100 bytes,
/// which passes every path.
pub const ENTRIES_MAX: usize = 256;
const ENTRY: usize = 4;
/// Numbers after the first one that an entry's mask covers.
const MASK: u32 = 16;

/// Form of a NACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// RFC 4585: a number and a mask.
    Generic,
    /// TR-06-1: a number and the count of those that follow.
    Range,
}

/// Consecutive numbers on the wire: 16 bits, and they wrap. [`crate::seq::Space::RTP`] extends
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbers {
    /// The first number.
    pub first: u16,
    /// Count of numbers after it.
    pub more: u16,
}

impl Numbers {
    /// Count of numbers, 1 to 65,536.
    pub fn count(&self) -> u32 {
        u32::from(self.more) + 1
    }

    /// All numbers.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.first;
        (0..=self.more).map(move |i| first.wrapping_add(i))
    }
}

/// Numbers that a receiver requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    form: Form,
    sender: Option<u32>,
    media: u32,
    entries: &'a [[u8; ENTRY]],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(form: Form, body: &'a [u8]) -> Result<Nack<'a>, RtcpError> {
        let (head, list) = fixed::<8>(body)?;
        let (entries, []) = list.as_chunks() else {
            return Err(RtcpError::Entries { actual: list.len(), entry: ENTRY });
        };
        let (first, second) = (u32::from_be_bytes(bytes_at(head, 0)), u32::from_be_bytes(bytes_at(head, 4)));
        Ok(match form {
            Form::Generic => Nack { form, sender: Some(first), media: second, entries },
            Form::Range => Nack { form, sender: None, media: first, entries },
        })
    }

    /// Form of the numbers.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The requester; a range NACK does not contain it.
    pub fn sender(&self) -> Option<u32> {
        self.sender
    }

    /// SSRC of the stream with the missing packets.
    pub fn media(&self) -> u32 {
        self.media
    }

    /// The requested numbers, in the NACK's order. Nothing in it is validated: numbers may be
    /// repeated, and one entry may request all 65,536 of them.
    pub fn ranges(&self) -> impl Iterator<Item = Numbers> + use<'a> {
        let form = self.form;
        self.entries.iter().flat_map(move |entry| {
            let (first, second) =
                (u16::from_be_bytes(bytes_at(entry, 0)), u16::from_be_bytes(bytes_at(entry, 2)));
            // bit i is number first + i
            let mask = if form == Form::Generic { u32::from(second) << 1 | 1 } else { 0 };
            let range = (form == Form::Range).then_some(Numbers { first, more: second });
            range.into_iter().chain(Runs { first, mask })
        })
    }
}

/// The runs of ones in a mask, as numbers.
struct Runs {
    first: u16,
    mask: u32,
}

impl Iterator for Runs {
    type Item = Numbers;

    fn next(&mut self) -> Option<Numbers> {
        if self.mask == 0 {
            return None;
        }
        let at = self.mask.trailing_zeros();
        let len = (self.mask >> at).trailing_ones();
        self.mask &= !(((1 << len) - 1) << at);
        Some(Numbers { first: self.first.wrapping_add(at as u16), more: (len - 1) as u16 })
    }
}

/// Entries of a generic NACK for these numbers; in ascending order, neighbours share an entry.
pub(super) fn entries(numbers: &[Numbers]) -> impl Iterator<Item = [u8; ENTRY]> {
    let mut wanted = numbers.iter().flat_map(Numbers::iter).peekable();
    std::iter::from_fn(move || {
        let first = wanted.next()?;
        let mut mask = 0u16;
        let near = |number: &u16| (1..=MASK as u16).contains(&number.wrapping_sub(first));
        while let Some(number) = wanted.next_if(near) {
            mask |= 1 << (number.wrapping_sub(first) - 1);
        }
        Some(join(first, mask))
    })
}

/// The entries of a range NACK for these numbers.
pub(super) fn ranges(numbers: &[Numbers]) -> impl Iterator<Item = [u8; ENTRY]> {
    numbers.iter().map(|numbers| join(numbers.first, numbers.more))
}

fn join(first: u16, second: u16) -> [u8; ENTRY] {
    let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
    [a, b, c, d]
}
