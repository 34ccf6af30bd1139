//! Messages whose numbers count data records (IPFIX, RFC 7011 section 3.1): the count of a message
//! follows from earlier templates.

use std::collections::HashMap;

use super::Scaled;
use crate::{
    limits::{IPFIX_FIELDS_MAX, IPFIX_TEMPLATES_MAX},
    seq::Space,
};

const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
const TEMPLATES: u16 = 2;
const OPTIONS_TEMPLATES: u16 = 3;
/// Bytes before the fields of a template, and of an options template.
const TEMPLATE_HEADER: usize = 4;
const OPTIONS_HEADER: usize = 6;
const DATA_MIN: u16 = 256;
/// Marks a field whose length precedes it (section 7).
const VARYING: u16 = u16::MAX;

/// Fields of the records in a set.
#[derive(Debug)]
struct Template {
    /// Lengths of the fields.
    fields: Box<[u16]>,
    /// The records describe the exporter.
    options: bool,
}

/// Maximum count of agreeing messages that a change of the counting mode must outweigh.
const AGREED_MAX: u8 = 3;

/// Templates of one stream, and the counting mode of its exporter.
#[derive(Debug, Default)]
pub(super) struct Records {
    templates: HashMap<u16, Template>,
    /// Number of the last message, if its records could not be counted.
    open: Option<u64>,
    /// Wire number of the last message, its count of records, and its position.
    last: Option<(u64, u64, u64)>,
    /// Numbers include the records of their own message (softflowd), not only those before it.
    own: bool,
    /// Confidence in that: counts agreeing messages, and down for others.
    agreed: u8,
    /// Difference between positions and wire numbers.
    shift: u64,
}

impl Records {
    /// Position of a message.
    pub(super) fn place(&mut self, number: u64, space: Space, bytes: &[u8]) -> Scaled {
        let (count, beside) = self.count(bytes).unzip();
        let distance = |open: u64| match space.modulus() {
            Some(_) => space.distance(open, number),
            None => number.saturating_sub(open),
        };
        let taken = self.open.map(|open| (open, distance(open)));
        let Some(step) = count.flatten() else {
            (self.open, self.last) = (self.open.or(Some(number)), None);
            return Scaled::Unknown;
        };
        self.open = None;
        self.weigh(number, step, beside.unwrap_or(0), space);
        let placed = self.placed(number, step, space);
        self.last = Some((number, step, placed));
        let taken = taken.map(|(open, count)| (wrapped(open.wrapping_add(self.shift), space), count));
        Scaled::Numbers { number: placed, step, taken: taken.filter(|(_, count)| *count > 0) }
    }

    fn placed(&self, number: u64, step: u64, space: Space) -> u64 {
        let own = if self.own { step } else { 0 };
        wrapped(number.wrapping_sub(own).wrapping_add(self.shift), space)
    }

    /// Decides whether numbers include the records of their own message; in that mode the records
    /// in `beside`, other than flows, may count as well. Earlier positions stay valid.
    fn weigh(&mut self, number: u64, step: u64, beside: u64, space: Space) {
        let Some((before, records, _)) = self.last else { return };
        let ahead = wrapped(number.wrapping_sub(before), space);
        if self.own && ahead.abs_diff(step) <= beside {
            return self.go_on(number, step, space);
        }
        let own = match (ahead == records, ahead == step) {
            (true, false) => false,
            (false, true) => true,
            _ => return,
        };
        if own == self.own {
            self.agreed = self.agreed.saturating_add(1).min(AGREED_MAX);
        } else if self.agreed > 0 {
            self.agreed -= 1;
        } else {
            self.own = own;
            self.go_on(number, step, space);
        }
    }

    /// Places this message after the last one.
    fn go_on(&mut self, number: u64, step: u64, space: Space) {
        let Some((_, records, placed)) = self.last else { return };
        self.shift = 0;
        let there = self.placed(number, step, space);
        self.shift = wrapped(placed.wrapping_add(records).wrapping_sub(there), space);
    }

    /// Count of data records in a message, and count of records about the exporter and of
    /// templates, which it stores. The first count is `None` if a template is unknown.
    fn count(&mut self, bytes: &[u8]) -> Option<(Option<u64>, u64)> {
        let length = usize::from(word(bytes, 2)?);
        let mut rest = bytes.get(MESSAGE_HEADER..length.min(bytes.len()))?;
        let (mut count, mut beside) = (Some(0), 0);
        while let (Some(id), Some(length)) = (word(rest, 0), word(rest, 2)) {
            let Some(set) = rest.get(SET_HEADER..usize::from(length).min(rest.len())) else { break };
            match id {
                TEMPLATES => beside += self.learn(set, TEMPLATE_HEADER),
                OPTIONS_TEMPLATES => beside += self.learn(set, OPTIONS_HEADER),
                DATA_MIN.. => {
                    let records = self.records(id, set);
                    count = count.zip(records).map(|(before, more)| before + more);
                    if self.templates.get(&id).is_some_and(|template| template.options) {
                        beside += records.unwrap_or(0);
                    }
                }
                _ => {}
            }
            rest = &rest[SET_HEADER + set.len()..];
        }
        Some((count, beside))
    }

    /// Stores template records and returns their count; `header`: length of a record's head.
    fn learn(&mut self, mut set: &[u8], header: usize) -> u64 {
        let mut templates = 0;
        while let (Some(id), Some(fields)) = (word(set, 0), word(set, 2)) {
            if id < DATA_MIN {
                break; // padding
            }
            if fields == 0 {
                self.templates.remove(&id);
                set = &set[4..];
                continue;
            }
            let Some(mut rest) = set.get(header..) else { break };
            let mut lengths = Vec::new();
            for _ in 0..fields {
                let (Some(element), Some(length)) = (word(rest, 0), word(rest, 2)) else { return templates };
                // the highest bit indicates that an enterprise number follows
                let Some(behind) = rest.get(if element & 0x8000 == 0 { 4 } else { 8 }..) else {
                    return templates;
                };
                (rest, _) = (behind, lengths.push(length));
            }
            let known = self.templates.contains_key(&id) || self.templates.len() < IPFIX_TEMPLATES_MAX;
            if known && lengths.len() <= IPFIX_FIELDS_MAX {
                let options = header == OPTIONS_HEADER;
                self.templates.insert(id, Template { fields: lengths.into(), options });
            }
            (set, templates) = (rest, templates + 1);
        }
        templates
    }

    /// Count of records in a data set.
    fn records(&self, id: u16, set: &[u8]) -> Option<u64> {
        let fields = &self.templates.get(&id)?.fields;
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

/// The number within the space.
fn wrapped(number: u64, space: Space) -> u64 {
    space.modulus().map_or(number, |modulus| number & (modulus - 1))
}

/// The bytes after a field.
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

    #[test]
    fn beyond_the_maximum_known_templates_change_and_new_ones_wait_for_a_place() {
        let mut records = Records::default();
        let template = |id: u16, len: u16| words(&[id, 1, 8, len]);
        let beyond = DATA_MIN + IPFIX_TEMPLATES_MAX as u16;
        let all = (DATA_MIN..=beyond).map(|id| template(id, 4)).collect::<Vec<_>>().concat();
        assert_eq!(place(&mut records, 0, &[(2, all)]), numbers(0, 0, None));
        assert_eq!(place(&mut records, 0, &[(beyond - 1, vec![0; 8])]), numbers(0, 2, None));
        assert_eq!(place(&mut records, 2, &[(2, template(DATA_MIN, 2))]), numbers(2, 0, None));
        assert_eq!(place(&mut records, 2, &[(DATA_MIN, vec![0; 8])]), numbers(2, 4, None));
        assert_eq!(place(&mut records, 6, &[(beyond, vec![0; 8])]), Scaled::Unknown);
        let withdrawn = words(&[DATA_MIN, 0]);
        place(&mut records, 8, &[(2, [withdrawn, template(beyond, 4)].concat())]);
        assert_eq!(place(&mut records, 8, &[(beyond, vec![0; 8])]), numbers(8, 2, None));
    }

    /// The numbers of softflowd include the records of their own message.
    #[test]
    fn numbers_may_count_their_own_message() {
        let mut records = Records::default();
        let template = words(&[256, 1, 8, 4]);
        let (mut sent, mut next) = (0_u32, None);
        for n in 0..40_u32 {
            let count = 1 + n % 4;
            let before = sent;
            sent = sent.wrapping_add(count);
            let own = (10..30).contains(&n);
            if n % 9 == 8 && own {
                // it counts templates, too
                sent += 1;
            }
            let number = if own { sent } else { before };
            let data = (256, vec![0; 4 * count as usize]);
            let sets = if n == 0 || n % 9 == 8 { vec![(2, template.clone()), data] } else { vec![data] };
            let Scaled::Numbers { number, step, .. } = place(&mut records, number, &sets) else { panic!() };
            if !(10..14).contains(&n) && !(30..34).contains(&n) {
                assert_eq!((number, step), (next.unwrap_or(number), count.into()), "{n}");
            }
            next = Some(number + step);
        }
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
