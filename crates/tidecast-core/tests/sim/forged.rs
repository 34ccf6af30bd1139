//! One forged datagram of any kind, at any position in the numbering, compared with an undisturbed
//! twin: for each format and each protection two relays get the same packets, with the same
//! losses, and one of them also gets a forged datagram. It may cost at most one good packet, and
//! must change neither the hold nor a session.
//!
//! `TIDECAST_FORGED=all` tries every position. `TIDECAST_WRITE_DOCS=1` writes the results into
//! docs/recovery.md; otherwise the test compares them with that file.

mod kinds;
mod stream;

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use kinds::{Forged, GROUPS, What, positions};
use stream::{FORGED_AT, Format, Outcome, Protection, Stream};

use crate::harness::{Dice, Repeat, seed, setting};

const STREAMS: [(Format, &[Protection]); 5] = {
    use Protection::*;
    [
        (Format::Rtp, &[No, Fec, Again, Legs, Paced]),
        (Format::Native, &[No, Fec, Again, Legs, Paced]),
        (Format::Custom16, &[No, Legs, Paced]),
        (Format::Custom8, &[No]),
        (Format::Ts, &[No]),
    ]
};

/// Tolerance of the hold, which is measured to two packets.
const HOLD_TOLERANCE: Duration = Duration::from_millis(5);

/// Effects of the worst forgery.
#[derive(Debug, Default, Clone)]
struct Worst {
    tried: u64,
    /// Good packets that were not delivered, plus deliveries of forged ones.
    lost: u64,
    wrong: u64,
    /// How often the hold changed, and how often a session did.
    holds: u64,
    sessions: u64,
    /// The forgery with the largest loss, and the first that changed something.
    example: String,
    moved: String,
}

impl Worst {
    fn saw(&mut self, twin: &Outcome, run: &Outcome, stream: &Stream, forged: &Forged) {
        self.tried += 1;
        let lost = twin.good.difference(&run.good).count() as u64;
        let wrong = run.wrong - twin.wrong.min(run.wrong);
        if (lost, wrong) > (self.lost, self.wrong) {
            self.example = format!("{lost} lost, {wrong} wrong: {}", describe(stream, forged));
        }
        self.lost = self.lost.max(lost);
        self.wrong = self.wrong.max(wrong);
        let moved = |(twin, run): (&Duration, &Duration)| twin.abs_diff(*run) > HOLD_TOLERANCE;
        let holds = twin.holds.len() != run.holds.len() || twin.holds.iter().zip(&run.holds).any(moved);
        let sessions = twin.sessions != run.sessions;
        if (holds || sessions) && self.moved.is_empty() {
            let place = twin.holds.iter().zip(&run.holds).find(|place| moved(*place));
            self.moved = format!("{place:?}, {} sessions: {}", run.sessions, describe(stream, forged));
        }
        self.holds += u64::from(holds);
        self.sessions += u64::from(sessions);
    }
}

fn describe(stream: &Stream, forged: &Forged) -> String {
    let Forged { what, position, true_source, after, behind, .. } = forged;
    let Stream { format, protection, seed } = stream;
    format!(
        "{format:?} {protection:?} seed {seed}: {what:?} at {position} after {after} (behind: {behind}, true source: {true_source})"
    )
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Worst { tried, lost, wrong, holds, sessions, .. } = self;
        write!(f, "{tried} tried: {lost} lost, {wrong} wrong, {holds} holds, {sessions} sessions")
    }
}

/// The worst effects by format, protection and column of the table.
type Table = BTreeMap<(Format, Protection, usize), Worst>;

/// Runs all forgeries against one stream.
fn sweep(stream: &Stream, all: bool) -> Table {
    let mut table = Table::new();
    let twin = stream.run(None);
    let mut dice = Dice::new(stream.seed);
    for what in What::all(stream) {
        let places = if what.has_place() { positions(all) } else { vec![0; 6] };
        for position in places {
            let after = (FORGED_AT + dice.below(25), dice.hits(0.5));
            let true_source = dice.hits(0.5);
            let forged = Forged::new(stream, what, position, true_source, after, &mut dice);
            let run = stream.run(Some(&forged));
            table
                .entry((stream.format, stream.protection, what.group()))
                .or_default()
                .saw(&twin, &run, stream, &forged);
        }
    }
    table
}

fn parallel(streams: &[Stream], all: bool) -> Table {
    let (next, table) = (AtomicUsize::new(0), Mutex::new(Table::new()));
    let work = || {
        while let Some(stream) = streams.get(next.fetch_add(1, Ordering::Relaxed)) {
            let _repeat = Repeat(stream.seed);
            let found = sweep(stream, all);
            let mut table = table.lock().expect("no other panic");
            for (place, worst) in found {
                table.entry(place).or_default().merge(worst);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    table.into_inner().expect("no panic")
}

impl Worst {
    fn merge(&mut self, other: Worst) {
        if (other.lost, other.wrong) > (self.lost, self.wrong) {
            self.example = other.example;
        }
        if self.moved.is_empty() {
            self.moved = other.moved;
        }
        self.tried += other.tried;
        self.lost = self.lost.max(other.lost);
        self.wrong = self.wrong.max(other.wrong);
        self.holds += other.holds;
        self.sessions += other.sessions;
    }
}

/// Returns the figures of the table: for each stream the maximum loss in each column, and how many
/// forgeries in a thousand changed the hold and a session.
fn figures(table: &Table) -> BTreeMap<String, Vec<Option<u64>>> {
    let mut rows = BTreeMap::new();
    for (format, protection, _) in table.keys() {
        let of = |group| table.get(&(*format, *protection, group));
        let lost = (0..GROUPS.len()).map(|group| of(group).map(|worst| worst.lost));
        let all: Vec<&Worst> = (0..GROUPS.len()).filter_map(of).collect();
        let tried: u64 = all.iter().map(|worst| worst.tried).sum();
        let share = |moved: u64| Some((1000 * moved).div_ceil(tried));
        let wrong = all.iter().map(|worst| worst.wrong).max();
        let holds = share(all.iter().map(|worst| worst.holds).sum());
        let sessions = share(all.iter().map(|worst| worst.sessions).sum());
        let row = lost.chain([wrong, holds, sessions]).collect();
        rows.insert(name(*format, *protection), row);
    }
    rows
}

fn name(format: Format, protection: Protection) -> String {
    let format = match format {
        Format::Rtp => "RTP",
        Format::Native => "native",
        Format::Custom16 => "16-bit numbers",
        Format::Custom8 => "8-bit numbers",
        Format::Ts => "TS without RTP",
    };
    let protection = match (protection, format) {
        (Protection::No, _) => "no protection",
        (Protection::Fec, "RTP") => "ST 2022-1 5x5",
        (Protection::Fec, _) => "native FEC 10,2",
        (Protection::Again, "RTP") => "RIST",
        (Protection::Again, _) => "asking again",
        (Protection::Legs, _) => "two legs",
        (Protection::Paced, _) => "paced",
    };
    format!("{format}, {protection}")
}

fn markdown(figures: &BTreeMap<String, Vec<Option<u64>>>) -> String {
    let columns = GROUPS.into_iter().chain(["wrong", "hold", "session"]).collect::<Vec<_>>();
    let mut text = format!(
        "| one forged datagram | {} |\n|---|{}\n",
        columns.join(" | "),
        "---:|".repeat(columns.len())
    );
    for (name, row) in figures {
        let cell = |figure: &Option<u64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
        text.push_str(&format!("| {name} | {} |\n", row.iter().map(cell).collect::<Vec<_>>().join(" | ")));
    }
    text
}

const MARKS: [&str; 2] = [
    "<!-- forged: begin, written by `TIDECAST_WRITE_DOCS=1 cargo test -p tidecast-core --test sim forged` -->\n\n",
    "\n<!-- forged: end -->",
];

/// Returns the documentation, and the position of the table in it.
fn documented() -> (String, std::ops::Range<usize>) {
    let text = fs::read_to_string(DOCUMENT).expect(DOCUMENT);
    let begin = text.find(MARKS[0]).expect("where the table begins") + MARKS[0].len();
    let end = begin + text[begin..].find(MARKS[1]).expect("where it ends");
    (text, begin..end)
}

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recovery.md");

#[test]
fn forged_datagrams_cost_at_most_what_is_documented() {
    let all = env::var("TIDECAST_FORGED").is_ok_and(|value| value == "all");
    let (first, seeds) = (seed(1), setting("TIDECAST_FORGED_SEEDS", 1));
    let only = env::var("TIDECAST_FORGED_ONLY").unwrap_or_default();
    let streams: Vec<Stream> = (first..first + seeds)
        .flat_map(|seed| {
            let of = move |(format, protections): &(Format, &'static [Protection])| {
                let format = *format;
                protections.iter().map(move |protection| Stream { format, protection: *protection, seed })
            };
            STREAMS.iter().flat_map(of)
        })
        .filter(|stream| name(stream.format, stream.protection).contains(&only))
        .collect();
    let table = parallel(&streams, all);
    for ((format, protection, group), worst) in &table {
        println!("{}, {}: {worst}", name(*format, *protection), GROUPS[*group]);
        for text in [&worst.example, &worst.moved].into_iter().filter(|text| !text.is_empty()) {
            println!("    {text}");
        }
    }
    let measured = figures(&table);
    let (mut text, place) = documented();
    if env::var_os("TIDECAST_WRITE_DOCS").is_some() {
        text.replace_range(place, &markdown(&measured));
        return fs::write(DOCUMENT, text).expect(DOCUMENT);
    }
    for line in text[place].lines().skip(2) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().expect("a name");
        let Some(row) = measured.get(name) else {
            assert!(!only.is_empty(), "{name} is documented, and not measured");
            continue;
        };
        for (column, (cell, figure)) in cells.zip(row).enumerate() {
            let most = cell.parse().unwrap_or(0).max(u64::from(column <= GROUPS.len()));
            assert!(figure.unwrap_or(0) <= most, "{name}, column {column}: {figure:?} instead of {cell}");
        }
    }
}
