//! What the page shows (`observe`, `serve/http`), and what a channel has lost lately.

use std::time::Duration;

/// How often the channels are looked at: what the page moves by, and no cost beside any stream.
pub const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);
/// A channel that is seen for the first time and not older than this has begun since the last look,
/// or nearly so.
pub const OBSERVE_YOUNG: Duration = Duration::from_secs(2);
/// Samples of a channel that are kept: ten minutes, so that whoever comes after a disturbance still
/// sees it.
pub const HISTORY_SAMPLES: usize = 600;
/// Channels whose samples are all kept, about 40 KB each; those that come on top keep a minute.
pub const HISTORY_CHANNELS_MAX: usize = 512;
/// Samples that a channel's state is judged by: a minute, which is also the strip in its row.
pub const RECENT_SAMPLES: usize = 60;
/// The silence after which a channel counts as silent, unless its packets come less often than
/// that.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);
/// A channel is silent when it has missed so many packets of its usual rate: ten, as a flow is.
pub const SILENT_PACKETS: f64 = 10.0;
/// Samples over which what is not passed on is judged: it shows well within ten seconds, and clears
/// that soon after it ends.
pub const REFUSED_SAMPLES: usize = 10;
/// The share of useless datagrams within them that counts as trouble: a handful among thousands is
/// what networks do.
pub const REFUSED_SHARE: f64 = 0.01;
/// So many of them at least, unless nothing else comes: a slow stream with one damaged packet is
/// well.
pub const REFUSED_LEAST: u64 = 10;
/// Samples in which players got nothing although packets came, until that is told: longer than a
/// player's `failover`, by default.
pub const UNSERVED_SAMPLES: usize = 5;
/// Events that are kept, a few hundred bytes each: a bad hour of some channels.
pub const EVENTS_MAX: usize = 1000;
/// Events of one kind and channel that come within this time of each other are one event that goes
/// on.
pub const EVENT_MERGE: Duration = Duration::from_secs(30);
/// Pages that are served at the same time: each costs some 100 KB/s at most.
pub const PAGES_MAX: usize = 32;
/// Rows of a table in one answer, by default: more than a screen shows.
pub const TABLE_ROWS: usize = 100;
/// Rows of a table in one answer at most: all flows of a large group, as CSV.
pub const TABLE_ROWS_MAX: usize = 10_000;
/// Channels whose flows are kept until the next tick, for all who look at them: some MB each at
/// most.
pub const FLOW_TABLES_MAX: usize = 8;
/// Rows that a page may ask for each second: a screen of them, and what is scrolled to next.
pub const PAGE_ROWS_MAX: usize = 200;
/// Clients that a page shows of a channel; all of them are in the API.
pub const PAGE_CLIENTS_MAX: usize = 20;
/// Bytes of a search text: longer than any name.
pub const SEARCH_BYTES_MAX: usize = 128;
/// Bytes of a flow's last payload that a page gets: a reading; of longer ones the beginning.
pub const VALUE_BYTES_MAX: usize = 512;
/// How long after its first answer a page gets the flows' first readings: they come while it draws.
pub const VALUES_FIRST: Duration = Duration::from_millis(250);
/// Channels that are looked into at once to find out what they carry.
pub const LOOKS_MAX: usize = 8;
/// How long such a look waits for a packet.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// How many ticks pass before the next look into a channel whose packets told nothing.
pub const LOOK_TICKS: u64 = 10;
/// Losses kept of a channel; a page of them.
pub const LOSSES_MAX: usize = 200;
/// So many of the newest may go on; with more flows that lose at once, each loss is one of its own.
pub const LOSSES_OPEN_MAX: usize = 16;
/// Losses of a flow that follow each other sooner are told as one.
pub const LOSS_MERGE: Duration = Duration::from_secs(1);
/// The cause of a loss shows in counters so long before and after: they are read once a second, and
/// a hold lies between.
pub const LOSS_CAUSE_AROUND: Duration = Duration::from_secs(2);
