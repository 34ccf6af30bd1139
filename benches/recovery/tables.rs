//! Tables as Markdown.

use std::time::Duration;

use crate::run::{Cell, Effort, Grid};

/// Columns of the short table of residual losses.
const LOSSES: [&str; 6] = ["1 %", "5 %", "10 %", "bursts of 3", "bursts of 8", "bursts of 20"];

/// Returns all figures: a table per link.
pub(crate) fn complete(grid: &Grid, effort: &Effort) -> String {
    let Effort { packets, seed, .. } = effort;
    let mut text = format!(
        "# What is left of losses: all figures\n\n\
         {packets} media packets a run, 760 a second (8 Mbit/s), seed {seed}; written by\n\
         `cargo bench --bench recovery`. [docs/recovery.md](../../docs/recovery.md) says what they mean.\n"
    );
    for (index, model) in grid.models.iter().enumerate() {
        text.push_str(&format!("\n## {}: {}\n\n", model.name, model.about));
        text.push_str(&header(&[
            "protection",
            "lost",
            "theory",
            "ideal decoder",
            "runs",
            "mean",
            "longest",
            "delay p50",
            "p99",
            "max",
            "hold",
            "overhead",
        ]));
        for (at, protection) in grid.protections.iter().enumerate() {
            text.push_str(&row(&protection.to_string(), &figures(grid.cell(index, at))));
        }
    }
    text
}

fn figures(cell: &Cell) -> Vec<String> {
    let Cell { outcome, theory } = cell;
    let (runs, mean, longest) = outcome.runs;
    let mean = if runs > 0 { format!("{mean:.1}") } else { "-".to_owned() };
    vec![
        percent(outcome.residual()),
        theory.map_or("-".to_owned(), percent),
        percent(outcome.ideal_residual()),
        runs.to_string(),
        mean,
        longest.to_string(),
        time(outcome.delay(0.5)),
        time(outcome.delay(0.99)),
        time(outcome.delay(1.0)),
        time(outcome.hold),
        format!("{:.0} %", 100.0 * outcome.overhead),
    ]
}

/// Returns the residual losses beside those of theory: protections by losses.
pub(crate) fn left(grid: &Grid) -> String {
    let columns: Vec<&str> = ["protection", "overhead"].into_iter().chain(LOSSES).collect();
    let mut text = header(&columns);
    for (at, protection) in grid.protections.iter().enumerate() {
        let lost = LOSSES.map(|name| {
            let cell = grid.cell(grid.model(name), at);
            let theory = cell.theory.map_or(String::new(), |theory| format!(" ({})", percent(theory)));
            format!("{}{theory}", percent(cell.outcome.residual()))
        });
        let overhead = match protection.round_trip {
            Some(_) => "what was lost".to_owned(),
            None => format!("{:.0} %", 100.0 * protection.overhead()),
        };
        text.push_str(&row(&protection.to_string(), &[vec![overhead], lost.to_vec()].concat()));
    }
    text
}

/// Returns the delays of packets and the lengths of loss runs, for some links.
pub(crate) fn delays(grid: &Grid) -> String {
    let mut text = header(&[
        "protection",
        "hold",
        "1 %: p50, p99, max",
        "run",
        "bursts of 8: p50, p99, max",
        "run",
        "jitter: p50, p99, max",
    ]);
    for (at, protection) in grid.protections.iter().enumerate() {
        let cell = |name| &grid.cell(grid.model(name), at).outcome;
        let delay = |name| [0.5, 0.99, 1.0].map(|share| time(cell(name).delay(share))).join(", ");
        let run = |name| match cell(name).runs {
            (0, ..) => "-".to_owned(),
            (_, mean, longest) => format!("{mean:.1}, at most {longest}"),
        };
        let cells = [
            time(cell("1 %").hold),
            delay("1 %"),
            run("1 %"),
            delay("bursts of 8"),
            run("bursts of 8"),
            delay("jitter"),
        ];
        text.push_str(&row(&protection.to_string(), &cells));
    }
    text
}

fn header(columns: &[&str]) -> String {
    format!("| {} |\n|---|{}\n", columns.join(" | "), "---:|".repeat(columns.len() - 1))
}

fn row(name: &str, cells: &[String]) -> String {
    format!("| {name} | {} |\n", cells.join(" | "))
}

/// Formats a share in percent with two significant digits.
pub(crate) fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value == 0.0 {
        return "0 %".to_owned();
    }
    let decimals = (1 - value.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        0.0 => "0".to_owned(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
