//! Formats a report as text for the terminal.

use std::fmt::{self, Write as _};

use super::report::{ControlReport, FecReport, FlowReport, NumbersReport, PidReport, Report, TsReport};
use crate::words::{bits, count};

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
            let more = count((self.flows.len() - FLOWS_SHOWN) as u64, "more flow");
            writeln!(f, "and {more}; --json has them all")?;
        }
        write!(f, "{}", suggestion(self))
    }
}

/// Formats rates and jitter.
pub fn traffic(report: &Report) -> String {
    let mut text = format!(
        "{}, {:.1}/s, {}, {} in {:.1} s",
        count(report.packets, "packet"),
        report.packets_per_second,
        bits(report.bits_per_second),
        count(report.flows.len() as u64, "flow"),
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
        let _ = match (numbers.losses, numbers.lost) {
            (1, 1) => Ok(()),
            (1, _) => write!(text, " in a row"),
            (losses, _) => write!(text, " in {losses} losses, the longest {}", numbers.longest_loss),
        };
    }
    if numbers.reordered > 0 {
        let _ = write!(
            text,
            "; reordered {}, by up to {} and {:.1} ms",
            numbers.reordered,
            count(numbers.reorder_distance_max, "packet"),
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
        lines.push(format!(
            "{} on the port + {}",
            count(beside.packets, "other datagram"),
            beside.port_above
        ));
    }
    for (datagrams, noun, more) in [
        (report.corrupt, "damaged datagram", ""),
        (report.foreign, "datagram", " of another format"),
        (report.unfollowed, "datagram", " of further flows, not followed"),
        (report.unnumbered, "datagram", " without a number"),
        (
            report.kernel_drops,
            "datagram",
            " dropped by this host's kernel (receive buffer full), counted as lost",
        ),
    ] {
        if datagrams > 0 {
            lines.push(format!("{}{more}", count(datagrams, noun)));
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
                "FEC: SMPTE ST 2022-1, L {columns}, D {rows_count} ({which}), {} from {source}",
                count(*packets, "repair packet")
            )
        }
        FecReport::Native { k, m, stride, packets } => {
            let packets = count(*packets, "repair packet");
            format!("FEC: native, {m} for every {k}, stride {stride}, {packets}")
        }
    }
}

fn rtcp(control: &ControlReport) -> String {
    let kind = if control.rist { "RIST" } else { "RTCP" };
    format!(
        "{kind}: {}, {}, {}, {} for lost packets",
        count(control.datagrams, "datagram"),
        count(control.sender_reports, "sender report"),
        count(control.receiver_reports, "receiver report"),
        count(control.requests, "request")
    )
}

fn flow_lines(flow: &FlowReport) -> String {
    let mut text = format!("flow {} ({} from {}", flow.flow, flow.format, flow.source);
    if let Some(payload_type) = flow.payload_type {
        let _ = write!(text, ", payload type {payload_type}");
    }
    let sizes = if flow.size_min == flow.size_max {
        count(flow.size_max as u64, "byte")
    } else {
        format!("{} to {} bytes", flow.size_min, flow.size_max)
    };
    let _ = write!(
        text,
        "): {} of {sizes}, {:.1}/s, {}",
        count(flow.packets, "packet"),
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

/// Formats a transport stream: its errors, its programmes and its PIDs.
fn ts_lines(ts: &TsReport) -> Vec<String> {
    let mut lines = ts_summary(ts);
    lines.extend(ts.pids.iter().map(pid_line));
    lines
}

/// Formats a transport stream without its PIDs: its errors and its programmes.
pub fn ts_summary(ts: &TsReport) -> Vec<String> {
    let mut first = format!(
        "MPEG-TS: {}, {}, continuity errors {}",
        bits(ts.bits_per_second),
        count(ts.pids.len() as u64, "PID"),
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
    std::iter::once(first).chain(programs).collect()
}

/// Formats one PID.
fn pid_line(pid: &PidReport) -> String {
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
