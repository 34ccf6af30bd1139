//! Formats a report as text for the terminal.

use std::fmt::{self, Write as _};

use super::report::{ControlReport, FecReport, FlowReport, NumbersReport, PidReport, Report, TsReport};

/// Maximum number of flows and PIDs that are listed; JSON has all of them.
const FLOWS_SHOWN: usize = 20;
/// Width of the longest bar of a histogram.
const BAR: u64 = 30;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.input, self.format)?;
        writeln!(f, "  {}", traffic(self))?;
        if self.numbers.expected > 0 {
            writeln!(f, "  {}", numbers(&self.numbers))?;
            write!(f, "{}", histogram(&self.numbers))?;
        }
        for line in extras(self) {
            writeln!(f, "  {line}")?;
        }
        for flow in self.flows.iter().take(FLOWS_SHOWN) {
            write!(f, "{}", flow_lines(flow))?;
        }
        if self.flows.len() > FLOWS_SHOWN {
            writeln!(f, "and {} more flows; --json has them all", self.flows.len() - FLOWS_SHOWN)?;
        }
        write!(f, "{}", suggestion(self))
    }
}

/// Formats rates and jitter.
pub fn traffic(report: &Report) -> String {
    let mut text = format!(
        "{} packets, {:.1}/s, {}, {} flow{} in {:.1} s",
        report.packets,
        report.packets_per_second,
        bits(report.bits_per_second),
        report.flows.len(),
        if report.flows.len() == 1 { "" } else { "s" },
        report.seconds,
    );
    if let Some(jitter) = report.jitter_seconds {
        let _ = write!(text, ", jitter {:.2} ms", jitter * 1e3); // a String takes all
    }
    text
}

/// Formats the counters of sequence numbers.
pub fn numbers(numbers: &NumbersReport) -> String {
    let mut text = format!("lost {} of {} ({:.3}%)", numbers.lost, numbers.expected, numbers.loss * 100.0);
    if numbers.losses > 0 {
        let _ = write!(text, " in {} losses, the longest {}", numbers.losses, numbers.longest_loss);
    }
    if numbers.reordered > 0 {
        let _ = write!(
            text,
            "; reordered {}, by up to {} packets and {:.1} ms",
            numbers.reordered,
            numbers.reorder_distance_max,
            numbers.lateness_max_seconds * 1e3
        );
    }
    let rare = [
        ("duplicates", numbers.duplicates),
        ("sent again", numbers.retransmitted),
        ("restarts", numbers.restarts),
        ("strays", numbers.strays),
    ];
    for (name, count) in rare.into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(text, "; {name} {count}");
    }
    text
}

/// Formats the lengths of losses, one line each.
pub fn histogram(numbers: &NumbersReport) -> String {
    let most = numbers.loss_lengths.iter().map(|bar| bar.count).max().unwrap_or(0);
    let line = |length: u64, count: u64| {
        let bar = "#".repeat((count * BAR).div_ceil(most.max(1)) as usize);
        let label = if length > 64 { format!("{length}+") } else { length.to_string() };
        format!("    {label:>6} in a row {bar} {count}\n")
    };
    numbers.loss_lengths.iter().map(|bar| line(bar.length, bar.count)).collect()
}

/// Formats FEC, RTCP, and unexpected traffic.
pub fn extras(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report.fec.iter().map(fec).collect();
    lines.extend(report.rtcp.as_ref().map(rtcp));
    for beside in &report.beside {
        lines.push(format!("{} other datagrams on the port + {}", beside.packets, beside.port_above));
    }
    for (name, count) in [
        ("damaged datagrams", report.corrupt),
        ("datagrams of another format", report.foreign),
        ("datagrams of further flows, not followed", report.unfollowed),
        ("datagrams without a number", report.unnumbered),
        (
            "datagrams dropped by this host's kernel (receive buffer full), which count as lost",
            report.kernel_drops,
        ),
    ] {
        if count > 0 {
            lines.push(format!("{count} {name}"));
        }
    }
    if let Some(format) = report.refused_format {
        lines.push(format!("what is damaged or of another format looks like --format {format}"));
    }
    if let Some(guess) = &report.format_guess {
        lines.push(format!("not numbered as far as is known; they look like --format {guess}"));
    }
    lines
}

/// Formats one kind of FEC.
pub fn fec(fec: &FecReport) -> String {
    match fec {
        FecReport::St2022 { source, columns, rows, column_fec, row_fec, packets } => {
            let rows_count = rows.map_or("unknown".to_owned(), |rows| rows.to_string());
            let which = match (column_fec, row_fec) {
                (true, true) => "columns and rows",
                (true, false) => "columns only",
                _ => "rows only",
            };
            format!(
                "FEC: SMPTE ST 2022-1, L {columns}, D {rows_count} ({which}), {packets} repair packets from {source}"
            )
        }
        FecReport::Native { k, m, stride, packets } => {
            format!("FEC: native, {m} for every {k}, stride {stride}, {packets} repair packets")
        }
    }
}

fn rtcp(control: &ControlReport) -> String {
    let kind = if control.rist { "RIST" } else { "RTCP" };
    format!(
        "{kind}: {} datagrams, {} sender reports, {} receiver reports, {} requests for lost packets",
        control.datagrams, control.sender_reports, control.receiver_reports, control.requests
    )
}

fn flow_lines(flow: &FlowReport) -> String {
    let mut text = format!("flow {} ({} from {}", flow.flow, flow.format, flow.source);
    if let Some(payload_type) = flow.payload_type {
        let _ = write!(text, ", payload type {payload_type}");
    }
    let sizes = if flow.size_min == flow.size_max {
        flow.size_max.to_string()
    } else {
        format!("{} to {}", flow.size_min, flow.size_max)
    };
    let _ = write!(
        text,
        "): {} packets of {sizes} bytes, {:.1}/s, {}",
        flow.packets,
        flow.packets_per_second,
        bits(flow.bits_per_second)
    );
    if let Some(of_flow) = &flow.numbers {
        let _ = write!(text, ", {}", numbers(of_flow));
    }
    if let Some(jitter) = flow.jitter_seconds {
        let _ = write!(text, ", jitter {:.2} ms", jitter * 1e3);
    }
    text.push('\n');
    flow.ts.as_ref().map(ts_lines).unwrap_or_default().into_iter().for_each(|line| {
        let _ = writeln!(text, "  {line}");
    });
    text
}

/// Formats a transport stream: its errors and its PIDs.
pub fn ts_lines(ts: &TsReport) -> Vec<String> {
    let mut first = format!(
        "MPEG-TS: {}, {} PIDs, continuity errors {}",
        bits(ts.bits_per_second),
        ts.pids.len(),
        ts.continuity_errors
    );
    for (name, count) in [
        ("transport errors", ts.transport_errors),
        ("misaligned", ts.misaligned),
        ("null packets", ts.null_packets),
    ] {
        if count > 0 {
            let _ = write!(first, ", {name} {count}");
        }
    }
    let programs = ts.programs.iter().map(|program| {
        let clock = program.pcr_pid.map_or("none".to_owned(), |pid| pid.to_string());
        format!("programme {}: PMT on PID {}, PCR on PID {clock}", program.program, program.pmt_pid)
    });
    std::iter::once(first).chain(programs).chain(ts.pids.iter().map(pid_line)).collect()
}

/// Formats one PID.
pub fn pid_line(pid: &PidReport) -> String {
    let mut text = format!("PID {:>4} {}: {}", pid.pid, pid.kind, bits(pid.bits_per_second));
    if pid.scrambled {
        text.push_str(", scrambled");
    }
    if pid.continuity_errors > 0 {
        let _ = write!(text, ", continuity errors {}", pid.continuity_errors);
    }
    if let Some(pcr) = &pid.pcr {
        let _ = write!(
            text,
            ", PCR every {:.0} ms at most, jitter {:.2} ms (at most {:.2} ms), discontinuities {}, more than 100 ms apart {}",
            pcr.interval_max_seconds * 1e3,
            pcr.jitter_seconds * 1e3,
            pcr.jitter_max_seconds * 1e3,
            pcr.discontinuities,
            pcr.too_rare
        );
    }
    text
}

/// Formats the suggestion, with its command lines.
pub fn suggestion(report: &Report) -> String {
    let Some(suggestion) = &report.suggestion else { return String::new() };
    let mut text = format!("suggestion: hold {}", suggestion.hold);
    if let Some(fec) = &suggestion.output_fec {
        let _ = write!(text, ", FEC {fec} ({:.0}% more packets)", suggestion.overhead * 100.0);
    }
    text.push('\n');
    for note in &suggestion.notes {
        let _ = writeln!(text, "  {note}");
    }
    let places: &[&str] =
        if suggestion.commands.len() == 2 { &["near the sender:", "behind the losses:"] } else { &["here:"] };
    for (place, command) in places.iter().zip(&suggestion.commands) {
        let _ = writeln!(text, "  {place:<18} {command}");
    }
    text
}

/// Formats bits per second with a unit.
pub fn bits(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.3} Mbit/s", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} kbit/s", rate / 1e3),
        rate => format!("{rate:.0} bit/s"),
    }
}
