//! The layouts' grammar, as a configuration has it: text to a checked [`Layout`], and back.
//!
//! Comma-separated parts, in any order:
//! - `seq=TYPE@OFFSET[&MASK]`: the number; required, once. TYPE is u8, or u16, u24, u32, u64 followed by be or le;
//!   OFFSET counts from the first byte of the UDP payload; numbers are decimal, or hexadecimal with 0x;
//! - `wrap=LOW..HIGH`: the number does not use all its bits; a number outside of it says "not numbered";
//! - `step=TYPE@OFFSET[&MASK]`: how many numbers a datagram takes (otherwise 1); 0 marks a heartbeat and the largest
//!   value an end of session, which take none and name the next number;
//! - `end=VALUE`: another value of `step` marks the end of session;
//! - `id=TYPE@OFFSET[&MASK]` or `id=NB@OFFSET` (N bytes): several are joined into one stream id; or `id=src`, the
//!   sender's address and port, which is the default;
//! - `match=TYPE@OFFSET[&MASK]=VALUE` or `match=TEXT@OFFSET`: only such datagrams, all of them must hold; a text with
//!   commas, or one that looks like a type, stands in double quotes;
//! - `time=TYPE@OFFSET[&MASK]:UNIT`: a time stamp in s, ms, us or ns.

use std::{fmt, str::FromStr};

use super::{Field, IdPart, Layout, Match, PROFILES, Unit};
use crate::{
    limits::{CUSTOM_ID_BYTES_MAX, CUSTOM_PARTS_MAX, CUSTOM_TEXT_BYTES_MAX, DATAGRAM_BYTES_MAX},
    wire::seq::Space,
};

/// A layout that is written wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("layout: {part}={value}: expected {expected}")]
pub struct Error {
    /// The part: the word before its first `=`.
    pub part: String,
    /// What was written after it.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

const EXPECTED_PART: &str = "a part: seq=, wrap=, step=, end=, id=, match= or time=";
const EXPECTED_FIELD: &str = "TYPE@OFFSET or TYPE@OFFSET&MASK, such as u16be@4 or u16be@2&0x3fff";
const EXPECTED_TYPE: &str = "u8, or u16, u24, u32 or u64 followed by be or le";
const EXPECTED_NUMBER: &str = "a number, decimal or hexadecimal with 0x";
const EXPECTED_ID: &str = "TYPE@OFFSET, NB@OFFSET (N bytes, such as 16B@22) or src";
const EXPECTED_MATCH: &str = "TYPE@OFFSET=VALUE or TEXT@OFFSET, the text in double quotes";
const EXPECTED_WRAP: &str = "LOW..HIGH within the number's bits, at least 4 numbers, such as 1..255";
const EXPECTED_TIME: &str = "TYPE@OFFSET:UNIT with the unit s, ms, us or ns";

/// Why a value is wrong; the caller adds which part it belongs to.
type Parsed<T> = Result<T, String>;

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layout, Error> {
        let text = text.trim();
        match PROFILES.iter().find(|(name, _)| *name == text) {
            Some((name, grammar)) => Ok(Layout { profile: Some(name), ..parse(grammar)? }),
            None => parse(text),
        }
    }
}

/// The parts as they are read, before they are known to make a layout.
#[derive(Default)]
struct Parts {
    matches: Vec<Match>,
    seq: Option<Field>,
    wrap: Option<(u64, u64)>,
    ids: Vec<IdPart>,
    id_source: bool,
    step: Option<Field>,
    end: Option<u64>,
    time: Option<(Field, Unit)>,
}

fn parse(text: &str) -> Result<Layout, Error> {
    let mut parts = Parts::default();
    for part in split_parts(text) {
        let part = part.trim();
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (key, value) = (key.trim(), value.trim());
        parts.add(key, value).map_err(|expected| error(key, value, expected))?;
    }
    parts.finish()
}

fn error(part: &str, value: &str, expected: impl Into<String>) -> Error {
    Error { part: part.into(), value: value.into(), expected: expected.into() }
}

/// Splits at commas outside of double quotes.
fn split_parts(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

impl Parts {
    fn add(&mut self, key: &str, value: &str) -> Parsed<()> {
        match key {
            "seq" => set_once(&mut self.seq, counter(value)?),
            "wrap" => set_once(&mut self.wrap, wrap(value)?),
            "step" => set_once(&mut self.step, counter(value)?),
            "end" => set_once(&mut self.end, number(value).ok_or(EXPECTED_NUMBER)?),
            "time" => set_once(&mut self.time, time(value)?),
            "id" => self.add_id(value),
            "match" if self.matches.len() == CUSTOM_PARTS_MAX => {
                Err(format!("at most {CUSTOM_PARTS_MAX} parts match="))
            }
            "match" => {
                self.matches.push(matcher(value)?);
                Ok(())
            }
            _ => Err(EXPECTED_PART.into()),
        }
    }

    fn add_id(&mut self, value: &str) -> Parsed<()> {
        if self.id_source || (value == "src" && !self.ids.is_empty()) {
            return Err("id=src alone, or other parts id= without it".into());
        }
        if value == "src" {
            self.id_source = true;
            return Ok(());
        }
        self.ids.push(id_part(value)?);
        if self.ids.len() > CUSTOM_PARTS_MAX {
            return Err(format!("at most {CUSTOM_PARTS_MAX} parts id="));
        }
        if self.ids.iter().map(IdPart::len).sum::<usize>() > CUSTOM_ID_BYTES_MAX {
            return Err(format!("at most {CUSTOM_ID_BYTES_MAX} bytes of all parts id="));
        }
        Ok(())
    }

    fn finish(self) -> Result<Layout, Error> {
        let missing = || error("seq", "", format!("{EXPECTED_FIELD}: the number is required"));
        let seq = self.seq.ok_or_else(missing)?;
        let space = space(seq, self.wrap)?;
        let ends = [Some(seq.end()), self.step.map(|field| field.end()), self.time.map(|(f, _)| f.end())];
        let ends = ends.into_iter().flatten().chain(self.ids.iter().map(IdPart::end));
        let len_min = ends.chain(self.matches.iter().map(Match::end)).max().unwrap_or(0);
        let Parts { matches, wrap, ids, step, end, time, .. } = self;
        if let Some(end) = end
            && step.is_none_or(|step| end == 0 || end > step.max())
        {
            return Err(error("end", &end.to_string(), "a value of step from 1 on, which must be there"));
        }
        Ok(Layout { profile: None, matches, seq, wrap, space, ids, step, end, time, len_min })
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Parsed<()> {
    if slot.is_some() {
        return Err("this part once".into());
    }
    *slot = Some(value);
    Ok(())
}

fn space(seq: Field, wrap: Option<(u64, u64)>) -> Result<Space, Error> {
    let (low, high) = wrap.unwrap_or((0, seq.max()));
    if high > seq.max() {
        return Err(error(
            "wrap",
            &format!("{low}..{high}"),
            format!("at most {}, as seq has it", seq.max()),
        ));
    }
    match (high - low).checked_add(1) {
        None => Ok(Space::FULL),
        Some(modulus) => Space::new(modulus).ok_or_else(|| {
            let expected = format!("at least {} numbers, found {modulus}", Space::MODULUS_MIN);
            error("seq", &seq.to_string(), expected)
        }),
    }
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign
    let valid = digits.chars().all(|c| c.is_digit(radix));
    if valid { u64::from_str_radix(digits, radix).ok() } else { None }
}

fn offset(text: &str, len: usize) -> Parsed<usize> {
    let last = DATAGRAM_BYTES_MAX - len;
    let offset = number(text).and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| *offset <= last).ok_or_else(|| format!("an offset from 0 to {last}"))
}

/// Bytes and whether the first one is the lowest.
fn integer_type(text: &str) -> Option<(usize, bool)> {
    let (bits, little_endian) = match text {
        "u8" => ("u8", false),
        _ => match text.strip_suffix("le") {
            Some(bits) => (bits, true),
            None => (text.strip_suffix("be")?, false),
        },
    };
    let width = match bits {
        "u8" if text == "u8" => 1,
        "u16" => 2,
        "u24" => 3,
        "u32" => 4,
        "u64" => 8,
        _ => return None,
    };
    Some((width, little_endian))
}

fn field(text: &str) -> Parsed<Field> {
    let (kind, place) = text.split_once('@').ok_or(EXPECTED_FIELD)?;
    let (width, little_endian) = integer_type(kind).ok_or(EXPECTED_TYPE)?;
    let all = u64::MAX >> (64 - 8 * width);
    let (place, mask) = match place.split_once('&') {
        Some((place, mask)) => (place, number(mask).filter(|mask| *mask != 0 && *mask <= all)),
        None => (place, Some(all)),
    };
    let mask = mask.ok_or_else(|| format!("a mask from 1 to {all:#x}"))?;
    Ok(Field { offset: offset(place, width)?, width, little_endian, mask })
}

/// A field that counts: its mask has no holes.
fn counter(text: &str) -> Parsed<Field> {
    let field = field(text)?;
    let no_holes = field.max() & field.max().wrapping_add(1) == 0;
    if no_holes { Ok(field) } else { Err("a mask of adjacent bits, such as 0x3fff".into()) }
}

fn wrap(text: &str) -> Parsed<(u64, u64)> {
    let (low, high) = text.split_once("..").ok_or(EXPECTED_WRAP)?;
    let range = number(low).zip(number(high));
    range
        .filter(|(low, high)| high.saturating_sub(*low) >= Space::MODULUS_MIN - 1)
        .ok_or(EXPECTED_WRAP.into())
}

fn time(text: &str) -> Parsed<(Field, Unit)> {
    let (place, unit) = text.rsplit_once(':').ok_or(EXPECTED_TIME)?;
    let unit = match unit {
        "s" => Unit::Seconds,
        "ms" => Unit::Milliseconds,
        "us" => Unit::Microseconds,
        "ns" => Unit::Nanoseconds,
        _ => return Err(EXPECTED_TIME.into()),
    };
    Ok((counter(place)?, unit))
}

fn id_part(text: &str) -> Parsed<IdPart> {
    let (kind, place) = text.split_once('@').ok_or(EXPECTED_ID)?;
    let Some(len) = kind.strip_suffix('B') else {
        return field(text).map(IdPart::Number);
    };
    let len = number(len).and_then(|len| usize::try_from(len).ok()).filter(|len| *len >= 1);
    let len = len.filter(|len| *len <= CUSTOM_ID_BYTES_MAX);
    let len = len.ok_or_else(|| format!("1B to {CUSTOM_ID_BYTES_MAX}B"))?;
    Ok(IdPart::Bytes { offset: offset(place, len)?, len })
}

fn matcher(text: &str) -> Parsed<Match> {
    let (quoted, place) = match text.strip_prefix('"') {
        Some(rest) => (true, rest.split_once("\"@")),
        None => (false, text.rsplit_once('@')),
    };
    let (word, place) = place.ok_or(EXPECTED_MATCH)?;
    if !quoted && let Some((place, value)) = text.rsplit_once('=') {
        return match_number(place, value);
    }
    if !quoted && integer_type(word).is_some() {
        return Err(EXPECTED_MATCH.into());
    }
    if word.is_empty() || word.len() > CUSTOM_TEXT_BYTES_MAX || word.contains('"') {
        return Err(format!("a text of 1 to {CUSTOM_TEXT_BYTES_MAX} bytes without double quotes"));
    }
    Ok(Match::Text(offset(place, word.len())?, word.into()))
}

fn match_number(place: &str, value: &str) -> Parsed<Match> {
    let field = field(place)?;
    let value = number(value).ok_or(EXPECTED_NUMBER)?;
    let possible = value & (field.mask >> field.mask.trailing_zeros()) == value;
    if possible { Ok(Match::Number(field, value)) } else { Err(format!("a value within {:#x}", field.max())) }
}

impl fmt::Display for Layout {
    /// The profile's name, or the grammar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(profile) = self.profile {
            return f.write_str(profile);
        }
        for part in &self.matches {
            match part {
                Match::Number(field, value) => write!(f, "match={field}={value:#x},")?,
                Match::Text(offset, text) => write!(f, "match=\"{text}\"@{offset},")?,
            }
        }
        write!(f, "seq={}", self.seq)?;
        if let Some((low, high)) = self.wrap {
            write!(f, ",wrap={low}..{high}")?;
        }
        if let Some(step) = self.step {
            write!(f, ",step={step}")?;
        }
        if let Some(end) = self.end {
            write!(f, ",end={end}")?;
        }
        for part in &self.ids {
            match part {
                IdPart::Number(field) => write!(f, ",id={field}")?,
                IdPart::Bytes { offset, len } => write!(f, ",id={len}B@{offset}")?,
            }
        }
        match self.time {
            Some((field, unit)) => write!(f, ",time={field}:{unit}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match (self.width, self.little_endian) {
            (1, _) => "",
            (_, true) => "le",
            (_, false) => "be",
        };
        write!(f, "u{}{order}@{}", 8 * self.width, self.offset)?;
        let masked = self.mask != u64::MAX >> (64 - 8 * self.width);
        if masked { write!(f, "&{:#x}", self.mask) } else { Ok(()) }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
            Unit::Microseconds => "us",
            Unit::Nanoseconds => "ns",
        })
    }
}
