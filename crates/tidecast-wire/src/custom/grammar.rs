//! Grammar of layouts in a configuration: parses a text to a checked [`Layout`], and prints it.
//!
//! Kinds of datagrams, separated by `|`; the first one whose matches all hold reads a datagram.
//! Each is comma-separated parts, in any order:
//! - `seq=TYPE@OFFSET[&MASK]`: the number; once. TYPE is u8, or u16, u24, u32, u64 followed by be
//!   or le; OFFSET counts from the first byte of the UDP payload; numbers are decimal, or
//!   hexadecimal with 0x;
//! - `pass` instead: such datagrams have no number, and are sent on in their place;
//! - `wrap=LOW..HIGH`: the number does not use all its bits; a number outside of it says "not
//!   numbered";
//! - `step=TYPE@OFFSET[&MASK]`: how many numbers a datagram takes (otherwise 1); 0 marks a
//!   heartbeat and the largest value an end of session, which take none and name the next number;
//! - `step=N`: all take as many; `step=WHAT[-N][/N]`: computed, WHAT being a field or `len`, the
//!   datagram's bytes, less N, and divided: `/` rounds up, `//` rounds down; 0 is a heartbeat;
//! - `end=VALUE`: another value of a `step` that is a field marks the end of session;
//! - `id=TYPE@OFFSET[&MASK]` or `id=NB@OFFSET` (N bytes): several are joined into one stream id;
//!   `id=ip` joins the sender's address, `id=src` its address and port, which alone is the default;
//! - `match=TYPE@OFFSET[&MASK]=VALUE`, or `=LOW..HIGH`, or `match=TEXT@OFFSET`: only such
//!   datagrams, all of them must hold; a text with commas, or one that looks like a type, stands in
//!   double quotes;
//! - `step=ipfix`: as many as an IPFIX message has data records, by the templates that came before
//!   it;
//! - `part=FIELD/FIELD`: the datagram is a part of a message that has the number: which one, from
//!   0, and of how many; either may be a number;
//! - `term=FIELD`: the numbers start at 0 in each term, whose length is a power of two (Aeron);
//! - `bundle=TYPE@OFFSET[&MASK][+N][%N]`: the datagram is a row of messages, each as long as the
//!   field says, and N more, up to a multiple of N; each is read by the kind that fits it, and
//!   takes its number;
//! - `time=TYPE@OFFSET[&MASK]:UNIT`: a timestamp in s, ms, us or ns.

use std::{fmt, str::FromStr};

use super::{
    DatagramLayout, Field, IdPart, Layout, Length, Match, Sender, Step, Unit, Value, profiles::PROFILES,
};
use crate::{
    limits::{
        CUSTOM_ID_BYTES_MAX, CUSTOM_KINDS_MAX, CUSTOM_PARTS_MAX, CUSTOM_TEXT_BYTES_MAX, DATAGRAM_BYTES_MAX,
        SPAN_NUMBERS_MAX,
    },
    seq::Space,
};

/// An invalid layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("layout: {part}={value}: expected {expected}")]
pub struct LayoutError {
    /// The part: the word before its first `=`.
    pub part: String,
    /// The text after it.
    pub value: String,
    /// What was expected.
    pub expected: String,
}

const EXPECTED_PART: &str =
    "a part: seq=, pass, wrap=, step=, end=, id=, match=, part=, term=, bundle= or time=";
const EXPECTED_FIELD: &str = "TYPE@OFFSET or TYPE@OFFSET&MASK, such as u16be@4 or u16be@2&0x3fff";
const EXPECTED_TYPE: &str = "u8, or u16, u24, u32 or u64 followed by be or le";
const EXPECTED_NUMBER: &str = "a number, decimal or hexadecimal with 0x";
const EXPECTED_ID: &str = "TYPE@OFFSET, NB@OFFSET (N bytes, such as 16B@22), ip or src";
const EXPECTED_MATCH: &str = "TYPE@OFFSET=VALUE, =LOW..HIGH or TEXT@OFFSET, the text in double quotes";
const EXPECTED_STEP: &str =
    "a number from 1, TYPE@OFFSET, ipfix, or TYPE@OFFSET or len with -N, /N (rounded up) or //N (down)";
const EXPECTED_BUNDLE: &str =
    "TYPE@OFFSET, +N, %N: a message's length, such as u16be@4+7, or u32le@0%32 up to a multiple of 32";
const EXPECTED_PART_OF: &str =
    "TYPE@OFFSET/TYPE@OFFSET, either of which may be a number: which part it is, from 0, and of how many";
const EXPECTED_WRAP: &str = "LOW..HIGH within the number's bits, at least 4 numbers, such as 1..255";
const EXPECTED_TIME: &str = "TYPE@OFFSET:UNIT with the unit s, ms, us or ns";

/// Result of parsing a value; the caller adds the part to the error.
type Parsed<T> = Result<T, String>;

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Layout, LayoutError> {
        let text = text.trim();
        match PROFILES.iter().find(|(name, _)| *name == text) {
            Some((name, grammar)) => Ok(Layout { profile: Some(name), ..parse(grammar)? }),
            None => parse(text),
        }
    }
}

/// Parsed parts, before they are checked together.
#[derive(Default)]
struct Parts {
    matches: Vec<Match>,
    seq: Option<Field>,
    passes: Option<()>,
    wrap: Option<(u64, u64)>,
    sender: Option<Sender>,
    ids: Vec<IdPart>,
    step: Option<Step>,
    end: Option<u64>,
    bundle: Option<Length>,
    time: Option<(Field, Unit)>,
    part: Option<(Value, Value)>,
    term: Option<Field>,
}

fn parse(text: &str) -> Result<Layout, LayoutError> {
    let mut kinds = split(text, '|').map(parse_kind).collect::<Result<Vec<DatagramLayout>, LayoutError>>()?;
    if kinds.len() > CUSTOM_KINDS_MAX {
        return Err(error("match", "", format!("at most {CUSTOM_KINDS_MAX} kinds, separated by |")));
    }
    let numbered = |kind: &&DatagramLayout| kind.seq.is_some();
    if !kinds.iter().any(|kind| numbered(&kind)) {
        return Err(error("seq", "", format!("{EXPECTED_FIELD}: the number is required")));
    }
    // All kinds of one stream share its number space.
    let shape = |kind: &DatagramLayout| (kind.sender, kind.ids.iter().map(IdPart::len).sum::<usize>());
    for (place, kind) in kinds.iter().enumerate() {
        let mut before = kinds[..place].iter().filter(numbered).filter(|_| kind.seq.is_some());
        if before.any(|other| shape(other) == shape(kind) && other.space != kind.space) {
            let seq = kind.seq.map(|seq| seq.to_string()).unwrap_or_default();
            return Err(error(
                "seq",
                &seq,
                "as many numbers as in the other kinds, or an id of another length",
            ));
        }
    }
    // A datagram without a number may start a stream whose numbers come later.
    let numbered: Vec<_> =
        kinds.iter().filter(numbered).map(|kind| (shape(kind), kind.stream_space())).collect();
    for kind in kinds.iter_mut().filter(|kind| kind.seq.is_none()) {
        let own = numbered.iter().find(|(other, _)| *other == shape(kind));
        kind.space = own.map_or(Space::FULL, |(_, space)| *space);
    }
    Ok(Layout { profile: None, kinds })
}

fn parse_kind(text: &str) -> Result<DatagramLayout, LayoutError> {
    let mut parts = Parts::default();
    for part in split(text, ',') {
        let part = part.trim();
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (key, value) = (key.trim(), value.trim());
        parts.add(key, value).map_err(|expected| error(key, value, expected))?;
    }
    parts.finish()
}

fn error(part: &str, value: &str, expected: impl Into<String>) -> LayoutError {
    LayoutError { part: part.into(), value: value.into(), expected: expected.into() }
}

/// Splits outside of double quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

impl Parts {
    fn add(&mut self, key: &str, value: &str) -> Parsed<()> {
        match key {
            "seq" => set_once(&mut self.seq, counter(value)?),
            "pass" if value.is_empty() => set_once(&mut self.passes, ()),
            "wrap" => set_once(&mut self.wrap, wrap(value)?),
            "step" => set_once(&mut self.step, step(value)?),
            "end" => set_once(&mut self.end, number(value).ok_or(EXPECTED_NUMBER)?),
            "bundle" => set_once(&mut self.bundle, bundle(value)?),
            "time" => set_once(&mut self.time, time(value)?),
            "part" => set_once(&mut self.part, part(value)?),
            "term" => set_once(&mut self.term, counter(value)?),
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
        match value {
            "src" => self.add_sender(Sender::Port)?,
            "ip" => self.add_sender(Sender::Host)?,
            _ => self.ids.push(id_part(value)?),
        }
        if self.ids.len() > CUSTOM_PARTS_MAX {
            return Err(format!("at most {CUSTOM_PARTS_MAX} parts id="));
        }
        let sender = self.sender.map_or(0, Sender::len_max);
        if sender + self.ids.iter().map(IdPart::len).sum::<usize>() > CUSTOM_ID_BYTES_MAX {
            return Err(format!(
                "at most {CUSTOM_ID_BYTES_MAX} bytes of all parts id=, {sender} of them the sender's"
            ));
        }
        Ok(())
    }

    fn add_sender(&mut self, sender: Sender) -> Parsed<()> {
        if self.sender.replace(sender).is_some() {
            return Err("one of id=ip and id=src, once".into());
        }
        Ok(())
    }

    fn finish(self) -> Result<DatagramLayout, LayoutError> {
        if self.passes.is_some() {
            return self.finish_passing();
        }
        let missing = || error("seq", "", format!("{EXPECTED_FIELD}: the number is required, or pass"));
        let seq = self.seq.ok_or_else(missing)?;
        let space = space(seq, self.wrap)?;
        if let Some(end) = self.end {
            let field = if let Some(Step::Field(field)) = self.step { field.max() } else { 0 };
            if end == 0 || end > field {
                return Err(error(
                    "end",
                    &end.to_string(),
                    "a value of step from 1 on, which must be a field",
                ));
            }
        }
        let places = [self.part.is_some(), self.term.is_some(), self.step == Some(Step::Records)];
        if places.iter().filter(|is_there| **is_there).count() > 1 {
            return Err(error("seq", &seq.to_string(), "one of part=, term= and step=ipfix"));
        }
        if self.part.is_some() && self.step.is_some() {
            return Err(error("step", "", "none with part=: each part is one"));
        }
        Ok(self.into_kind(Some(seq), space))
    }

    fn finish_passing(self) -> Result<DatagramLayout, LayoutError> {
        let numbered = [
            ("seq", self.seq.is_some()),
            ("wrap", self.wrap.is_some()),
            ("step", self.step.is_some()),
            ("end", self.end.is_some()),
            ("time", self.time.is_some()),
            ("part", self.part.is_some()),
            ("term", self.term.is_some()),
        ];
        if let Some((part, _)) = numbered.iter().find(|(_, is_there)| *is_there) {
            return Err(error("pass", "", format!("no {part}= in a kind that has no number")));
        }
        Ok(self.into_kind(None, Space::FULL))
    }

    fn into_kind(self, seq: Option<Field>, space: Space) -> DatagramLayout {
        let Parts { matches, wrap, sender, ids, step, end, bundle, time, part, term, .. } = self;
        let step = step.unwrap_or(Step::Constant(1));
        let fields = [seq, step.field(), time.map(|(field, _)| field), bundle.map(|length| length.field)];
        let (index, count) = part.unzip();
        let places = [index.and_then(|value| value.field()), count.and_then(|value| value.field()), term];
        let ends = fields.iter().chain(&places).flatten().map(Field::end).chain(ids.iter().map(IdPart::end));
        let len_min = ends.chain(matches.iter().map(Match::end)).max().unwrap_or(0);
        let sender = sender.unwrap_or(if ids.is_empty() { Sender::Port } else { Sender::Any });
        DatagramLayout {
            matches,
            seq,
            wrap,
            space,
            sender,
            ids,
            step,
            end,
            time,
            part,
            term,
            bundle,
            len_min,
        }
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Parsed<()> {
    if slot.is_some() {
        return Err("this part once".into());
    }
    *slot = Some(value);
    Ok(())
}

fn space(seq: Field, wrap: Option<(u64, u64)>) -> Result<Space, LayoutError> {
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
    // `from_str_radix` would accept a sign
    let valid = digits.chars().all(|c| c.is_digit(radix));
    if valid { u64::from_str_radix(digits, radix).ok() } else { None }
}

fn offset(text: &str, len: usize) -> Parsed<usize> {
    let last = DATAGRAM_BYTES_MAX - len;
    let offset = number(text).and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| *offset <= last).ok_or_else(|| format!("an offset from 0 to {last}"))
}

/// Width in bytes, and whether the type is little-endian.
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

/// A field that counts, so its mask has no holes.
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

/// A number of at least 1.
fn natural(text: &str) -> Option<u64> {
    number(text).filter(|number| *number > 0)
}

fn part(text: &str) -> Parsed<(Value, Value)> {
    let value = |text: &str| match number(text) {
        Some(constant) => Ok(Value::Constant(constant)),
        None => counter(text).map(Value::Field),
    };
    let (index, count) = text.split_once('/').ok_or(EXPECTED_PART_OF)?;
    Ok((value(index)?, value(count)?))
}

fn step(text: &str) -> Parsed<Step> {
    if text == "ipfix" {
        return Ok(Step::Records);
    }
    if let Some(constant) = number(text) {
        let possible = (1..=SPAN_NUMBERS_MAX).contains(&constant);
        return if possible {
            Ok(Step::Constant(constant))
        } else {
            Err(format!("a number from 1 to {SPAN_NUMBERS_MAX}"))
        };
    }
    let (rest, divisor) = match text.split_once('/') {
        None => (text, None),
        Some((rest, divisor)) => (rest, Some(divisor)),
    };
    let (divisor, up) = match divisor.map(|divisor| divisor.strip_prefix('/').ok_or(divisor)) {
        None => (1, true),
        Some(Ok(divisor)) => (natural(divisor).ok_or(EXPECTED_STEP)?, false),
        Some(Err(divisor)) => (natural(divisor).ok_or(EXPECTED_STEP)?, true),
    };
    // Offsets have no sign, so a minus is a separator.
    let (what, less) = match rest.split_once('-') {
        Some((what, less)) if !what.ends_with('@') => (what, number(less).ok_or(EXPECTED_STEP)?),
        _ => (rest, 0),
    };
    if what != "len" && (less, divisor) == (0, 1) {
        return counter(what).map(Step::Field);
    }
    let of = if what == "len" { None } else { Some(counter(what)?) };
    Ok(Step::Computed { of, less, divisor, up: up || divisor == 1 })
}

fn bundle(text: &str) -> Parsed<Length> {
    let (rest, unit) = match text.split_once('%') {
        Some((rest, unit)) => (rest, natural(unit).ok_or(EXPECTED_BUNDLE)?),
        None => (text, 1),
    };
    let (place, more) = match rest.split_once('+') {
        Some((place, more)) if !place.ends_with('@') => (place, number(more).ok_or(EXPECTED_BUNDLE)?),
        _ => (rest, 0),
    };
    Ok(Length { field: counter(place)?, more, unit })
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
    let (low, high) = value.split_once("..").unwrap_or((value, value));
    let (low, high) = number(low).zip(number(high)).ok_or(EXPECTED_NUMBER)?;
    if low > high {
        return Err("LOW..HIGH, the lower one first".into());
    }
    let bits = field.mask >> field.mask.trailing_zeros();
    let possible = |value: u64| value & bits == value;
    if possible(low) && (high > low && high <= bits || possible(high)) {
        Ok(Match::Number(field, low, high))
    } else {
        Err(format!("a value within {:#x}", field.max()))
    }
}

impl fmt::Display for Layout {
    /// Prints the profile's name, or the grammar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(profile) = self.profile {
            return f.write_str(profile);
        }
        for (place, kind) in self.kinds.iter().enumerate() {
            if place > 0 {
                f.write_str(" | ")?;
            }
            kind.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for DatagramLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.matches {
            write!(f, "match={part},")?;
        }
        match self.seq {
            Some(seq) => write!(f, "seq={seq}")?,
            None => f.write_str("pass")?,
        }
        if let Some((low, high)) = self.wrap {
            write!(f, ",wrap={low}..{high}")?;
        }
        if self.step != Step::Constant(1) {
            write!(f, ",step={}", self.step)?;
        }
        if let Some(end) = self.end {
            write!(f, ",end={end}")?;
        }
        match self.sender {
            Sender::Any => {}
            Sender::Host => f.write_str(",id=ip")?,
            Sender::Port if self.ids.is_empty() => {}
            Sender::Port => f.write_str(",id=src")?,
        }
        for part in &self.ids {
            match part {
                IdPart::Number(field) => write!(f, ",id={field}")?,
                IdPart::Bytes { offset, len } => write!(f, ",id={len}B@{offset}")?,
            }
        }
        if let Some((index, count)) = self.part {
            write!(f, ",part={index}/{count}")?;
        }
        if let Some(term) = self.term {
            write!(f, ",term={term}")?;
        }
        if let Some(bundle) = self.bundle {
            write!(f, ",bundle={bundle}")?;
        }
        match self.time {
            Some((field, unit)) => write!(f, ",time={field}:{unit}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::Number(field, low, high) if low == high => write!(f, "{field}={low:#x}"),
            Match::Number(field, low, high) => write!(f, "{field}={low:#x}..{high:#x}"),
            Match::Text(offset, text) => write!(f, "\"{text}\"@{offset}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Constant(value) => write!(f, "{value}"),
            Value::Field(field) => write!(f, "{field}"),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.field)?;
        if self.more > 0 {
            write!(f, "+{}", self.more)?;
        }
        if self.unit > 1 { write!(f, "%{}", self.unit) } else { Ok(()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Constant(step) => write!(f, "{step}"),
            Step::Field(field) => write!(f, "{field}"),
            Step::Records => f.write_str("ipfix"),
            Step::Computed { of, less, divisor, up } => {
                match of {
                    Some(field) => write!(f, "{field}")?,
                    None => f.write_str("len")?,
                }
                if *less > 0 {
                    write!(f, "-{less}")?;
                }
                match divisor {
                    1 => Ok(()),
                    _ => write!(f, "{}{divisor}", if *up { "/" } else { "//" }),
                }
            }
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
