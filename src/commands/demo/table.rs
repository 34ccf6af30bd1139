//! Output of the demo: an introduction, the live table, and the summary.

use std::{collections::HashMap, fmt::Write, net::SocketAddr, time::Instant};

use super::scene::Scene;
use crate::{
    channel::state::ChannelState,
    commands::impair,
    observe::by_other_leg,
    registry::{ChannelView, audience::Transport},
};

/// Columns of the longest name.
const NAME: usize = 16;

/// The first lines.
pub(super) fn introduction(http: SocketAddr, scenes: &[Scene]) -> String {
    let mut text = String::from(
        "tidecast demo: one bad link, four ways. It loses 1%, swaps 2% and doubles 1% of the packets.\n\n",
    );
    for scene in scenes {
        let _ = writeln!(text, "  {:<NAME$}  {}", scene.name, scene.about);
    }
    let _ = write!(
        text,
        "\n  the page      http://{http}/\n  \
         a film        vlc http://{http}/streams/film-fec\n  \
         readings      curl -N http://{http}/streams/sensors\n  \
         for programs  http://{http}/api/v1/streams   http://{http}/metrics\n"
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

const HEAD: [&str; 7] = ["channel", "packets/s", "rescued", "lost", "reordered", "hold", "clients"];

impl Table {
    pub(super) fn new(live: bool) -> Table {
        Table { live, lines: 0, before: HashMap::new() }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The lines of the current table.
    pub(super) fn rows(&mut self, now: Instant, channels: &[ChannelView]) -> Vec<String> {
        let mut lines = vec![line(&HEAD.map(str::to_owned))];
        lines.extend(channels.iter().map(|channel| self.channel(now, channel)));
        lines.push(headline(channels));
        lines
    }

    /// The current table, preceded by the control sequences that overwrite the previous one.
    pub(super) fn draw(&mut self, now: Instant, channels: &[ChannelView]) -> String {
        let lines = self.rows(now, channels);
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
            rescued(state).to_string(),
            counters.lost.to_string(),
            counters.reordered.to_string(),
            format!("{:.0} ms", state.hold_seconds * 1e3),
            channel.subscribers.of(Transport::Http).clients.to_string(),
        ])
    }
}

/// Cells in columns, the first one aligned to the left.
fn line(cells: &[String]) -> String {
    let (name, rest) = cells.split_first().expect("a row has cells");
    rest.iter().fold(format!("{name:<NAME$}"), |line, cell| format!("{line} {cell:>9}"))
}

/// Packets that would be lost without what protects the channel: rebuilt, received over the other
/// path, or sent again.
fn rescued(state: &ChannelState) -> u64 {
    let counters = &state.counters;
    counters.recovered() - counters.recovered_spurious + by_other_leg(state)
}

/// What the protected channels recovered of their losses.
fn headline(channels: &[ChannelView]) -> String {
    let protected = channels.iter().map(|channel| &channel.state).filter(|state| rescued(state) > 0);
    let counts = protected.map(|state| (rescued(state), state.counters.lost));
    let (rescued, lost) = counts.fold((0, 0), |sum, (rescued, lost)| (sum.0 + rescued, sum.1 + lost));
    format!("rescued {rescued} of {} lost packets in the protected channels", rescued + lost)
}

const SUMMARY: [&str; 7] = ["channel", "sent", "link lost", "rescued", "lost", "delivered", "reordered"];

/// The last lines: what the links did, and what the relay recovered.
pub(super) fn summary(scenes: &[Scene], links: &[Vec<impair::Report>], states: &[ChannelState]) -> String {
    let mut text = format!("\n{}\n", line(&SUMMARY.map(str::to_owned)));
    for (scene, links) in scenes.iter().zip(links) {
        let Some(state) = states.iter().find(|state| state.name == scene.name) else { continue };
        let sent = links.iter().map(|link| link.kinds.media().0).max().unwrap_or(0);
        let dropped: u64 = links.iter().map(|link| link.kinds.media().1).sum();
        let counters = &state.counters;
        let counts = [sent, dropped, rescued(state), counters.lost, counters.delivered, counters.reordered];
        let cells: Vec<String> =
            std::iter::once(scene.name.to_owned()).chain(counts.map(|count| count.to_string())).collect();
        let _ = writeln!(text, "{}", line(&cells));
    }
    text + "\nRescued: rebuilt by FEC, received over the other path, or sent again. Lost: skipped, after the\n\
            hold at the latest."
}
