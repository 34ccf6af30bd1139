//! `tidecast relay`: relays one channel without a configuration file, and prints a summary at the
//! end.

use anyhow::Context;

use super::{
    Failure, flags,
    service::{Service, block_on, say},
    shutdown::Signals,
    watch,
};
use crate::{channel::state::ChannelState, cli};

/// Relays until a signal, then prints a summary to standard error.
///
/// # Errors
/// Errors in the flags, or why it cannot start.
pub(super) fn run(args: &cli::Relay) -> Result<(), Failure> {
    if args.view.watch() {
        watch::check()?;
    }
    let config = flags::of_relay(args)?;
    let states = block_on(async {
        let signals = Signals::listen().context("cannot wait for signals")?;
        let mut service = Service::start(&config).await?;
        service.run(signals, args.view, || flags::of_relay(args)).await;
        Ok(service.stop().await)
    })?;
    for state in &states {
        say(&summary(state));
    }
    Ok(())
}

fn summary(state: &ChannelState) -> String {
    let c = &state.counters;
    let mut line = format!(
        "{}: received {}, delivered {}, lost {}, recovered {}, reordered {}, duplicates {}",
        state.name,
        c.media_received,
        c.delivered,
        c.lost,
        c.recovered(),
        c.reordered,
        c.duplicate
    );
    let others = [("late", c.late), ("corrupt", c.corrupt), ("foreign", c.foreign), ("rejected", c.rejected)];
    for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        line.push_str(&format!(", {what} {count}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_core::relay::Counters;

    #[test]
    fn the_summary_names_what_is_unusual_only_if_it_happened() {
        let counters = Counters { media_received: 9, delivered: 7, duplicate: 2, ..Counters::default() };
        let mut state = crate::channel::testing::channel_state("main", counters);
        let usual = "main: received 9, delivered 7, lost 0, recovered 0, reordered 0, duplicates 2";
        assert_eq!(summary(&state), usual);
        state.counters.late = 3;
        state.counters.recovered_fec = 1;
        let unusual = "main: received 9, delivered 7, lost 0, recovered 1, reordered 0, duplicates 2, late 3";
        assert_eq!(summary(&state), unusual);
    }
}
