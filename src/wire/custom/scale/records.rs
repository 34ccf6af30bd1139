//! Messages whose numbers count data records (IPFIX, RFC 7011 section 3.1): how many a message has is known from the templates
//! that were sent before it.

use std::collections::HashMap;

use super::Scaled;
use crate::{
    limits::{IPFIX_FIELDS_MAX, IPFIX_TEMPLATES_MAX},
    wire::seq::Space,
};

const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
const TEMPLATES: u16 = 2;
const OPTIONS_TEMPLATES: u16 = 3;
const DATA_MIN: u16 = 256;
/// A field of this length says its length in front of it (section 7).
const VARYING: u16 = u16::MAX;

/// The templates of one stream.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The lengths of the fields.
    templates: HashMap<u16, Box<[u16]>>,
    /// The number of the last message whose records could not be counted.
    open: Option<u64>,
}

impl Records {
    /// Where a message stands.
    pub(super) fn place(&mut self, number: u64, space: Space, bytes: &[u8]) -> Scaled {
        let count = self.count(bytes);
        let distance = |open: u64| match space.modulus() {
            Some(_) => space.distance(open, number),
            None => number.saturating_sub(open),
        };
        let taken = self.open.map(|open| (open, distance(open)));
        let Some(step) = count else {
            self.open = self.open.or(Some(number));
            return Scaled::Unknown;
        };
        self.open = None;
        Scaled::Numbers { number, step, taken: taken.filter(|(_, count)| *count > 0) }
    }

    /// Data records of a message; learns its templates. None: a template is not known.
    fn count(&mut self, bytes: &[u8]) -> Option<u64> {
        let length = usize::from(word(bytes, 2)?);
        let mut rest = bytes.get(MESSAGE_HEADER..length.min(bytes.len()))?;
        let mut count = Some(0);
        while let (Some(id), Some(length)) = (word(rest, 0), word(rest, 2)) {
            let Some(set) = rest.get(SET_HEADER..usize::from(length).min(rest.len())) else { break };
            match id {
                TEMPLATES => self.learn(set, 4),
                OPTIONS_TEMPLATES => self.learn(set, 6),
                DATA_MIN.. => count = count.zip(self.records(id, set)).map(|(a, b)| a + b),
                _ => {}
            }
            rest = &rest[SET_HEADER + set.len()..];
        }
        count
    }

    /// Template records; `header` is how long the head of one is.
    fn learn(&mut self, mut set: &[u8], header: usize) {
        while let (Some(id), Some(fields)) = (word(set, 0), word(set, 2)) {
            if id < DATA_MIN {
                return; // padding
            }
            if fields == 0 {
                self.templates.remove(&id);
                set = &set[4..];
                continue;
            }
            let Some(mut rest) = set.get(header..) else { return };
            let mut lengths = Vec::new();
            for _ in 0..fields {
                let (Some(element), Some(length)) = (word(rest, 0), word(rest, 2)) else { return };
                // the highest bit says that an enterprise number follows
                let Some(behind) = rest.get(if element & 0x8000 == 0 { 4 } else { 8 }..) else { return };
                (rest, _) = (behind, lengths.push(length));
            }
            let known = self.templates.contains_key(&id) || self.templates.len() < IPFIX_TEMPLATES_MAX;
            if known && lengths.len() <= IPFIX_FIELDS_MAX {
                self.templates.insert(id, lengths.into());
            }
            set = rest;
        }
    }

    /// Records of a data set.
    fn records(&self, id: u16, set: &[u8]) -> Option<u64> {
        let fields = self.templates.get(&id)?;
        let least: usize =
            fields.iter().map(|field| if *field == VARYING { 1 } else { usize::from(*field) }).sum();
        if !fields.contains(&VARYING) {
            return set.len().checked_div(least).map(|count| count as u64);
        }
        let (mut rest, mut count) = (set, 0);
        while rest.len() >= least {
            let Some(behind) = fields.iter().try_fold(rest, |rest, field| skip(rest, *field)) else { break };
            (rest, count) = (behind, count + 1);
        }
        Some(count)
    }
}

/// What stands behind a field.
fn skip(bytes: &[u8], field: u16) -> Option<&[u8]> {
    if field != VARYING {
        return bytes.get(usize::from(field)..);
    }
    match *bytes.first()? {
        u8::MAX => bytes.get(3 + usize::from(word(bytes, 1)?)..),
        length => bytes.get(1 + usize::from(length)..),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|word| u16::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn message(number: u32, sets: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let sets: Vec<u8> = sets
            .iter()
            .flat_map(|(id, set)| {
                [&id.to_be_bytes()[..], &(set.len() as u16 + 4).to_be_bytes(), set].concat()
            })
            .collect();
        let length = (MESSAGE_HEADER + sets.len()) as u16;
        [&[0, 10][..], &length.to_be_bytes(), &[0; 4], &number.to_be_bytes(), &[0; 4], &sets].concat()
    }

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn place(records: &mut Records, number: u32, sets: &[(u16, Vec<u8>)]) -> Scaled {
        records.place(number.into(), Space::new(1 << 32).unwrap(), &message(number, sets))
    }

    fn numbers(number: u64, step: u64, taken: Option<(u64, u64)>) -> Scaled {
        Scaled::Numbers { number, step, taken }
    }

    #[test]
    fn records_are_counted_by_their_templates() {
        let mut records = Records::default();
        let fixed = words(&[256, 2, 8, 4, 0x8001, 2, 0, 9]);
        let varying = words(&[257, 2, 82, VARYING, 2, 8]);
        let options = words(&[258, 2, 1, 149, 4, 41, 8]);
        let unknown = place(&mut records, 5, &[(256, vec![0; 12])]);
        assert_eq!(unknown, Scaled::Unknown);
        assert_eq!(
            place(&mut records, 7, &[(2, [fixed, varying].concat()), (3, options)]),
            numbers(7, 0, Some((5, 2)))
        );
        assert_eq!(place(&mut records, 7, &[(256, vec![0; 12])]), numbers(7, 2, None));
        // padding to a multiple of four
        assert_eq!(place(&mut records, 9, &[(256, vec![0; 20])]), numbers(9, 3, None));
        let long = [&[255, 1, 44][..], &[0; 308], &[3, 1, 2, 3], &[0; 8]].concat();
        assert_eq!(place(&mut records, 12, &[(257, long), (258, vec![0; 12])]), numbers(12, 3, None));
        assert_eq!(place(&mut records, 15, &[(2, words(&[256, 0]))]), numbers(15, 0, None));
        assert_eq!(place(&mut records, 15, &[(256, vec![0; 12])]), Scaled::Unknown);
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(
            messages in vec(vec((0u16..260, vec(any::<u8>(), 0..60)), 0..5), 0..20),
            noise in vec(any::<u8>(), 0..200),
        ) {
            let mut records = Records::default();
            for sets in messages {
                place(&mut records, 1, &sets);
            }
            records.place(1, Space::FULL, &noise);
            prop_assert!(records.templates.len() <= IPFIX_TEMPLATES_MAX);
        }
    }
}
