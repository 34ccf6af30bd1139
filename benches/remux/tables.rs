//! The figures as Markdown.

use crate::{
    remux::Subject,
    run::Outcome,
    statistics::Spread,
    traits::{SERVICES, Traits},
};

fn of(sheet: &[Outcome], subject: Subject, lost: bool) -> Vec<&Outcome> {
    sheet.iter().filter(|one| one.subject == subject && one.lost.is_some() == lost).collect()
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = format!("| {} |\n|---|{}\n", columns.join(" | "), "---:|".repeat(columns.len() - 1));
    rows.fold(head, |text, cells| format!("{text}| {} |\n", cells.join(" | ")))
}

/// Returns the damage of one lost packet.
pub(crate) fn cost(sheet: &[Outcome], subjects: &[Subject]) -> String {
    let columns = [
        "",
        "bytes untouched",
        "damaged pictures: median (least to most)",
        "mean",
        "of them missing",
        "more than without a relay",
        "audio frames",
        "complaints",
        "nothing lost",
    ];
    let direct = of(sheet, Subject::Nobody, true);
    let row = |subject: &Subject| {
        let all = of(sheet, *subject, true);
        let count = all.len();
        let mean = |value: fn(&Outcome) -> usize| {
            let sum: usize = all.iter().map(|one| value(one)).sum();
            format!("{:.1}", sum as f64 / count.max(1) as f64)
        };
        let worse = all.iter().filter(|one| {
            let same = direct.iter().find(|other| other.lost == one.lost);
            same.is_some_and(|other| one.damage.pictures > other.damage.pictures)
        });
        let exact = all.iter().filter(|one| one.exact).count();
        let pictures = Spread::of(all.iter().map(|one| one.damage.pictures as f64)).expect("showings");
        let whole = of(sheet, *subject, false).iter().map(|one| one.damage.pictures).max().unwrap_or(0);
        vec![
            subject.name().to_owned(),
            match exact {
                0 => "no".to_owned(),
                _ if exact == count => "yes".to_owned(),
                _ => format!("{exact} of {count}"),
            },
            format!("{:.0} ({} to {})", pictures.median, pictures.min, pictures.max),
            mean(|one| one.damage.pictures),
            mean(|one| one.damage.missing),
            format!("{} of {count}", worse.count()),
            mean(|one| one.damage.audio),
            mean(|one| one.damage.complaints),
            whole.to_string(),
        ]
    };
    table(&columns, subjects.iter().filter(|subject| subject.keeps_up()).map(row))
}

/// Returns the changes when nothing is lost.
pub(crate) fn whole(sheet: &[Outcome], subjects: &[Subject]) -> String {
    let columns = [
        "",
        "first byte after",
        "delay",
        "bytes out / in",
        "null packets",
        "besides picture and sound",
        "PIDs",
        "PCR every (at most)",
        "PCR against arrival",
        "time stamps off by",
    ];
    let row = |subject: &Subject| {
        let all: Vec<&Traits> =
            of(sheet, *subject, false).into_iter().filter_map(|one| one.traits.as_ref()).collect();
        let middle = |value: fn(&Traits) -> f64| {
            Spread::of(all.iter().map(|traits| value(traits))).map_or(f64::NAN, |spread| spread.median)
        };
        let any = all[0];
        let services = match any.services.len() {
            0 => "nothing".to_owned(),
            n if n == SERVICES.len() => "all".to_owned(),
            _ => any.services.join(", "),
        };
        vec![
            subject.name().to_owned(),
            time(1000.0 * middle(|traits| traits.first_byte)),
            time(1000.0 * middle(|traits| traits.delay)),
            format!("{:.2}", middle(|traits| traits.bytes)),
            format!("{:.0} %", 100.0 * middle(|traits| traits.nulls)),
            services,
            format!("{}, {}", any.pids.0, any.pids.1),
            format!(
                "{} ({})",
                time(middle(|traits| traits.pcr_interval.0)),
                time(middle(|t| t.pcr_interval.1))
            ),
            time(middle(|traits| traits.pcr_jitter)),
            time(middle(|traits| traits.moved)),
        ]
    };
    table(&columns, subjects.iter().map(row))
}

/// Returns each showing separately: pictures damaged or missing.
pub(crate) fn positions(sheet: &[Outcome], subjects: &[Subject]) -> String {
    let subjects: Vec<Subject> = subjects.iter().copied().filter(|subject| subject.keeps_up()).collect();
    let columns: Vec<&str> = ["datagram"].into_iter().chain(subjects.iter().map(|one| one.name())).collect();
    let mut lost: Vec<usize> = sheet.iter().filter_map(|one| one.lost).collect();
    lost.sort_unstable();
    lost.dedup();
    let row = |place: usize| {
        let of = |subject: &Subject| {
            let one = sheet.iter().find(|one| one.lost == Some(place) && one.subject == *subject);
            one.map_or(String::new(), |one| one.damage.pictures.to_string())
        };
        [place.to_string()].into_iter().chain(subjects.iter().map(of)).collect()
    };
    table(&columns, lost.into_iter().map(row))
}

fn time(ms: f64) -> String {
    match ms {
        ms if ms.abs() < 0.05 => "0".to_owned(),
        ms if ms.abs() < 10.0 => format!("{ms:.1} ms"),
        ms if ms.abs() < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}
