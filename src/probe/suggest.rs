//! Suggests a hold and an FEC that would have covered the observed losses, with the command lines.

use std::time::Duration;

use serde::Serialize;

use super::{
    losses::Losses,
    simulate::{self, Matrix, Model},
};
use crate::limits::{PROBE_BLOCK_TIME_MAX, PROBE_SIMULATED};
use tidecast_core::limits::{BLOCK_CLOSE_AFTER, FEC_SPAN_MAX, HOLD_MIN};
use tidecast_net::address::{Input, Scheme};
use tidecast_wire::{
    fec::matrix::Shape,
    limits::{ST2022_COLUMNS_MAX, ST2022_ROWS_MAX, ST2022_ROWS_MIN},
};

/// Block sizes (k) of native FEC that are tried.
const KS: [usize; 11] = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 100];
const STRIDES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Maximum repair packets for a single data packet; otherwise, more repair packets than data
/// packets are useless.
const M_OF_SINGLE: usize = 6;
/// Cost of the maximum delay, expressed as overhead: a block that takes the whole allowed delay
/// costs as much as this overhead, so that shorter delays are preferred.
const DELAY_COST: f64 = 0.1;
/// Safety factor: a few seconds of observation do not contain the worst case.
const MARGIN: f64 = 1.25;
/// Allowance for ticks and scheduling in sender and relay.
const SLACK: Duration = Duration::from_millis(20);

/// Kind of FEC that a stream can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    Native,
    Rtp,
    Custom,
    Unnumbered,
}

/// Data on which a suggestion is based.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) expected: u64,
    pub(super) losses: Losses,
    pub(super) lateness: Duration,
    /// Packets per second of one flow; if they differ, of the slowest that has at least a quarter
    /// as many packets as the largest.
    pub(super) rate: f64,
    pub(super) format: StreamKind,
    pub(super) flows: usize,
}

/// Settings that would have recovered the losses.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Suggestion {
    /// Value for `--hold`, as typed.
    pub hold: String,
    /// The same in seconds.
    pub hold_seconds: f64,
    /// Value for `?fec=` of an output near the sender; `None` if FEC is not needed or none helps.
    pub output_fec: Option<String>,
    /// Value for `--fec` of the relay after the lossy link.
    pub relay_fec: Option<String>,
    /// Repair packets per data packet.
    pub overhead: f64,
    /// Share of packets that stay lost, in a simulation with such losses and a margin.
    pub residual_loss: f64,
    /// Command lines: near the sender (if there is FEC), then after the lossy link.
    pub commands: Vec<String>,
    /// Limitations of the suggestion.
    pub notes: Vec<String>,
}

/// A code with its cost.
#[derive(Debug, Clone, PartialEq)]
struct Choice {
    output_fec: String,
    overhead: f64,
    /// Time from a lost packet to the last packet that is needed to recover it.
    takes: Duration,
    residual: f64,
}

/// Returns a suggestion, or `None` if nothing is numbered or there are too few packets.
pub(super) fn suggest(seen: &Seen, input: &str) -> Option<Suggestion> {
    if seen.format == StreamKind::Unnumbered || seen.expected == 0 {
        return None;
    }
    let mut notes = Vec::new();
    let choice = choose(seen, &mut notes);
    let takes = choice.as_ref().map_or(Duration::ZERO, |choice| choice.takes);
    let hold = round((seen.lateness + takes).mul_f64(MARGIN) + SLACK).max(HOLD_MIN);
    let mut suggestion = Suggestion {
        hold: humantime::format_duration(hold).to_string().replace(' ', ""),
        hold_seconds: hold.as_secs_f64(),
        relay_fec: choice.as_ref().filter(|_| seen.format == StreamKind::Rtp).map(|_| "st2022-1".to_owned()),
        overhead: choice.as_ref().map_or(0.0, |choice| choice.overhead),
        residual_loss: choice.as_ref().map_or(0.0, |choice| choice.residual),
        output_fec: choice.map(|choice| choice.output_fec),
        commands: Vec::new(),
        notes,
    };
    suggestion.commands = commands(&suggestion, input, seen.format);
    Some(suggestion)
}

/// Rounds up to a multiple of 10 ms.
fn round(hold: Duration) -> Duration {
    Duration::from_millis((hold.as_millis() as u64).div_ceil(10) * 10)
}

fn choose(seen: &Seen, notes: &mut Vec<String>) -> Option<Choice> {
    if seen.losses.lost() == 0 {
        notes.push("nothing was lost: no FEC is needed for what was seen".to_owned());
        return None;
    }
    if seen.format == StreamKind::Custom {
        notes.push(
            "FEC is made for RTP and native datagrams only; a second path (another leg) would help"
                .to_owned(),
        );
        return None;
    }
    let longest = longest_covered(seen);
    let model = Model::new(seen.expected, &seen.losses, longest);
    if seen.losses.longest() > longest {
        notes.push(format!(
            "losses of more than {longest} in a row (the longest: {}) are left out: no FEC within a short delay covers them; \
             a second path (another leg) would",
            seen.losses.longest()
        ));
    }
    let choice = match seen.format {
        StreamKind::Rtp => matrix(seen.rate, &model?),
        _ => Some(blocks(seen.rate, &model?)),
    }?;
    if choice.residual > 0.0 {
        notes.push(format!(
            "no FEC of this kind covers such losses entirely: {:.3}% would stay lost",
            choice.residual * 100.0
        ));
    }
    if seen.flows > 1 {
        notes.push("made for each flow by itself; a burst that hits many flows at once is worse".to_owned());
    }
    Some(choice)
}

/// Returns the longest loss that a code can cover within the allowed delay.
fn longest_covered(seen: &Seen) -> u64 {
    let in_time = (seen.rate * PROBE_BLOCK_TIME_MAX.as_secs_f64() / 3.0) as u64;
    match seen.format {
        StreamKind::Rtp => in_time.clamp(1, ST2022_COLUMNS_MAX.into()),
        _ => in_time.max(1),
    }
}

/// Chooses native FEC: the cheapest parameters that leave no losses, or the strongest.
fn blocks(rate: f64, model: &Model) -> Choice {
    let alone = rate < 1.0 / BLOCK_CLOSE_AFTER.as_secs_f64();
    let span_max = (rate * PROBE_BLOCK_TIME_MAX.as_secs_f64()).clamp(1.0, FEC_SPAN_MAX as f64) as usize;
    let span_max = if alone { 1 } else { span_max };
    let shapes = KS.iter().flat_map(|k| STRIDES.iter().map(move |stride| (*k, *stride)));
    let mut best: Option<(f64, Choice)> = None;
    for (k, stride) in shapes.filter(|(k, stride)| k * stride <= span_max) {
        let takes = (k * stride) as f64 / rate.max(1e-3);
        let cost = |m: usize| m as f64 / k as f64 + DELAY_COST * takes / PROBE_BLOCK_TIME_MAX.as_secs_f64();
        if best.as_ref().is_some_and(|(best, _)| *best <= cost(1)) {
            continue;
        }
        let Some(m) = repairs(model, k, stride) else { continue };
        if best.as_ref().is_none_or(|(best, _)| cost(m) < *best) {
            best = Some((cost(m), native(k, m, stride, if alone { 0.0 } else { takes }, 0)));
        }
    }
    best.map(|(_, choice)| choice).unwrap_or_else(|| {
        let (k, m) = (1, M_OF_SINGLE);
        native(k, m, 1, 0.0, simulate::native(model, (k, m, 1), PROBE_SIMULATED, u64::MAX))
    })
}

fn native(k: usize, m: usize, stride: usize, takes: f64, left: u64) -> Choice {
    let stride_text = if stride > 1 { format!(",{stride}") } else { String::new() };
    Choice {
        output_fec: format!("rs:{k},{m}{stride_text}"),
        overhead: m as f64 / k as f64,
        takes: Duration::from_secs_f64(takes),
        residual: left as f64 / PROBE_SIMULATED as f64,
    }
}

/// Returns the minimum number of repair packets with which no packet stays lost.
fn repairs(model: &Model, k: usize, stride: usize) -> Option<usize> {
    let covers = |m: usize| simulate::native(model, (k, m, stride), PROBE_SIMULATED, 0) == 0;
    let (mut low, mut high) = (0, k.max(M_OF_SINGLE));
    if !covers(high) {
        return None;
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if covers(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Chooses ST 2022-1: the cheapest matrix that leaves no losses, or the one that leaves the
/// fewest.
fn matrix(rate: f64, model: &Model) -> Option<Choice> {
    let mut shapes: Vec<Shape> = shapes().collect();
    let takes = |shape: &Shape| 2.0 * shape.packets() as f64 / rate.max(1e-3);
    shapes.retain(|shape| takes(shape) <= 2.0 * PROBE_BLOCK_TIME_MAX.as_secs_f64());
    let cost =
        |shape: &Shape| overhead(shape) + DELAY_COST * takes(shape) / PROBE_BLOCK_TIME_MAX.as_secs_f64();
    shapes.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    let choice = |shape: &Shape, left: u64| Choice {
        output_fec: st2022(shape),
        overhead: overhead(shape),
        takes: Duration::from_secs_f64(takes(shape)),
        residual: left as f64 / PROBE_SIMULATED as f64,
    };
    // a column recovers one packet, so rows that are shorter than the mean loss do not help
    let wide = |shape: &&Shape| f64::from(shape.columns()) >= model.mean();
    let covers = |shape: &&Shape| simulated(shape).residual(model, PROBE_SIMULATED, 0) == 0;
    if let Some(shape) = shapes.iter().filter(wide).find(covers) {
        return Some(choice(shape, 0));
    }
    let strongest = shapes.iter().filter(|shape| shape.row_fec());
    let strongest =
        strongest.map(|shape| (simulated(shape).residual(model, PROBE_SIMULATED / 10, u64::MAX) * 10, shape));
    strongest.min_by_key(|(left, _)| *left).map(|(left, shape)| choice(shape, left))
}

fn shapes() -> impl Iterator<Item = Shape> {
    let sizes =
        (1..=ST2022_COLUMNS_MAX).flat_map(|l| (ST2022_ROWS_MIN..=ST2022_ROWS_MAX).map(move |d| (l, d)));
    sizes.flat_map(|(l, d)| [false, true].into_iter().filter_map(move |rows| Shape::new(l, d, rows).ok()))
}

fn overhead(shape: &Shape) -> f64 {
    let rows = if shape.row_fec() { 1.0 / f64::from(shape.columns()) } else { 0.0 };
    1.0 / f64::from(shape.rows()) + rows
}

fn simulated(shape: &Shape) -> Matrix {
    Matrix { columns: shape.columns().into(), rows: shape.rows().into(), row_fec: shape.row_fec() }
}

fn st2022(shape: &Shape) -> String {
    let columns_only = if shape.row_fec() { "" } else { ",columns" };
    format!("st2022-1:{},{}{columns_only}", shape.columns(), shape.rows())
}

/// Returns the command lines, in which `GROUP:PORT` stands for a group that the user chooses, and
/// `OUTPUT` for the destination of the recovered stream.
fn commands(suggestion: &Suggestion, input: &str, format: StreamKind) -> Vec<String> {
    let scheme = match (format, input.parse::<Input>().map(|input| input.scheme)) {
        (StreamKind::Rtp, Ok(Scheme::Rist)) => "rist",
        (StreamKind::Rtp, _) => "rtp",
        _ => "udp",
    };
    let hold = &suggestion.hold;
    let Some(fec) = &suggestion.output_fec else {
        return vec![format!("tidecast relay '{input}' --hold {hold} --to OUTPUT")];
    };
    let relay_fec = suggestion.relay_fec.as_ref().map(|fec| format!(" --fec {fec}")).unwrap_or_default();
    let scheme = if scheme == "rist" { "rtp" } else { scheme };
    vec![
        format!("tidecast relay '{input}' --to '{scheme}://GROUP:PORT?fec={fec}'"),
        format!("tidecast relay '{scheme}://@GROUP:PORT' --hold {hold}{relay_fec} --to OUTPUT"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(format: StreamKind, rate: f64, every: u64, length: u64) -> Seen {
        let mut losses = Losses::default();
        (0..60).for_each(|i| losses.add(every - 10 + i % 20, length));
        Seen { expected: (every + length) * 60, losses, lateness: Duration::ZERO, rate, format, flows: 1 }
    }

    #[test]
    fn nothing_lost_needs_a_hold_for_what_came_late_only() {
        let mut seen = seen(StreamKind::Rtp, 500.0, 100, 1);
        (seen.losses, seen.lateness) = (Losses::default(), Duration::from_millis(50));
        let suggestion = suggest(&seen, "rtp://@239.1.1.1:5000").expect("numbered");
        assert_eq!((suggestion.hold.as_str(), &suggestion.output_fec), ("90ms", &None));
        assert_eq!(suggestion.commands, ["tidecast relay 'rtp://@239.1.1.1:5000' --hold 90ms --to OUTPUT"]);
        seen.format = StreamKind::Unnumbered;
        assert_eq!(suggest(&seen, "udp://@239.1.1.1:5000"), None);
    }

    #[test]
    fn rare_losses_need_little_and_many_more() {
        let overhead = |every, length| {
            let suggestion =
                suggest(&seen(StreamKind::Native, 1000.0, every, length), "udp://@239.1.1.1:5000").unwrap();
            assert_eq!(suggestion.residual_loss, 0.0, "{suggestion:?}");
            suggestion.overhead
        };
        let (rare, many, bursts) = (overhead(1000, 1), overhead(30, 1), overhead(100, 5));
        assert!(rare < many && many < 0.6 && rare < 0.1 && bursts < 0.6, "{rare} {many} {bursts}");
    }

    #[test]
    fn a_slow_sensor_repeats_single_packets() {
        let suggestion = suggest(&seen(StreamKind::Native, 1.0, 50, 1), "udp://@239.1.1.1:5000").unwrap();
        let fec = suggestion.output_fec.unwrap();
        assert!(fec.starts_with("rs:1,"), "{fec}");
        assert!(suggestion.hold_seconds < 0.2, "a single packet's repair comes at once");
    }

    #[test]
    fn rtp_gets_a_matrix_that_the_standard_has() {
        let suggestion = suggest(&seen(StreamKind::Rtp, 1000.0, 400, 4), "rtp://@239.1.1.1:5000").unwrap();
        let fec = suggestion.output_fec.clone().unwrap();
        let output = format!("rtp://239.2.2.2:5000?fec={fec}");
        assert!(output.parse::<tidecast_net::address::Output>().is_ok(), "{fec}");
        assert_eq!((suggestion.relay_fec.as_deref(), suggestion.residual_loss), (Some("st2022-1"), 0.0));
        assert_eq!(suggestion.commands.len(), 2);
    }

    #[test]
    fn what_no_matrix_covers_is_said() {
        let suggestion = suggest(&seen(StreamKind::Rtp, 1000.0, 20, 4), "rtp://@239.1.1.1:5000").unwrap();
        assert!(suggestion.residual_loss > 0.001, "{suggestion:?}");
        assert!(suggestion.notes.iter().any(|note| note.contains("would stay lost")), "{suggestion:?}");
        let mut outage = seen(StreamKind::Rtp, 1000.0, 500, 1);
        outage.losses.add(100, 900);
        let suggestion = suggest(&outage, "rtp://@239.1.1.1:5000").unwrap();
        assert!(suggestion.notes[0].contains("the longest: 900"), "{suggestion:?}");
    }
}
