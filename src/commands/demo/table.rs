//! Output of the demo: an introduction, the live table, and the summary.

use std::{collections::HashMap, fmt::Write, net::SocketAddr, time::Instant};

use super::scene::Scene;
use crate::{
    channel::state::ChannelState,
    commands::impair,
    registry::{ChannelView, audience::Transport},
};

/// The first lines.
pub(super) fn introduction(http: SocketAddr, scenes: &[Scene]) -> String {
    let mut text = String::from(
        "tidecast demo: producers -> a link that loses 3%, swaps 2%, doubles 1% -> the relay -> HTTP\n\n",
    );
    for scene in scenes {
        let _ = writeln!(text, "  http://{http}/streams/{:<10} {}", scene.name, scene.about);
    }
    let _ = write!(
        text,
        "\n  watch it:    vlc http://{http}/streams/film\n  readings:    curl -N http://{http}/streams/sensors\n  \
         state:       http://{http}/api/v1/streams   http://{http}/metrics\n"
    );
    text
}

/// A table that is redrawn in place on a terminal.
#[derive(Debug)]
pub(super) struct Table {
    live: bool,
    lines: usize,
    before: HashMap<String, (Instant, u64)>,
}

const HEAD: [&str; 9] =
    ["channel", "packets/s", "received", "recovered", "lost", "reordered", "duplicates", "hold", "clients"];

impl Table {
    pub(super) fn new(live: bool) -> Table {
        Table { live, lines: 0, before: HashMap::new() }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The current table, preceded by the control sequences that overwrite the previous one.
    pub(super) fn draw(&mut self, now: Instant, channels: &[ChannelView]) -> String {
        let mut lines = vec![line(&HEAD.map(str::to_owned))];
        lines.extend(channels.iter().map(|channel| self.channel(now, channel)));
        let mut text = String::new();
        if self.live && self.lines > 0 {
            let _ = write!(text, "\x1b[{}A", self.lines);
        }
        for line in &lines {
            let _ = writeln!(text, "{line}{}", if self.live { "\x1b[K" } else { "" });
        }
        if !self.live {
            text.push('\n');
        }
        self.lines = lines.len();
        text
    }

    fn channel(&mut self, now: Instant, channel: &ChannelView) -> String {
        let (state, counters) = (&channel.state, &channel.state.counters);
        let before = self.before.insert(state.name.clone(), (now, counters.media_received));
        let rate = before.map_or(0.0, |(then, count)| {
            (counters.media_received - count) as f64
                / now.saturating_duration_since(then).as_secs_f64().max(1e-3)
        });
        line(&[
            state.name.clone(),
            format!("{rate:.0}"),
            counters.media_received.to_string(),
            counters.recovered().to_string(),
            counters.lost.to_string(),
            counters.reordered.to_string(),
            counters.duplicate.to_string(),
            format!("{:.0} ms", state.hold_seconds * 1e3),
            channel.subscribers.of(Transport::Http).clients.to_string(),
        ])
    }
}

/// Cells in columns, the first one aligned to the left.
fn line(cells: &[String]) -> String {
    let (name, rest) = cells.split_first().expect("a row has cells");
    rest.iter().fold(format!("{name:<10}"), |line, cell| format!("{line} {cell:>10}"))
}

const SUMMARY: [&str; 8] =
    ["channel", "sent", "link lost", "recovered", "lost", "delivered", "reordered", "duplicates"];

/// The last lines: what each link did, and what the relay recovered.
pub(super) fn summary(scenes: &[Scene], links: &[impair::Report], states: &[ChannelState]) -> String {
    let mut text = format!("\n{}\n", line(&SUMMARY.map(str::to_owned)));
    for (scene, link) in scenes.iter().zip(links) {
        let Some(state) = states.iter().find(|state| state.name == scene.name) else { continue };
        let ((sent, dropped), counters) = (link.kinds.media(), &state.counters);
        let needed = counters.recovered() - counters.recovered_spurious;
        let counts = [
            sent,
            dropped,
            needed,
            counters.lost,
            counters.delivered,
            counters.reordered,
            counters.duplicate,
        ];
        let cells: Vec<String> =
            std::iter::once(scene.name.to_owned()).chain(counts.map(|count| count.to_string())).collect();
        let _ = writeln!(text, "{}", line(&cells));
    }
    text + "\nRecovered: rebuilt from repair packets (FEC). Lost: skipped, after the hold at the latest."
}
