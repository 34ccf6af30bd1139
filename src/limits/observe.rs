//! Status displays (`observe`, `serve/http`), and a channel's recent losses.

use std::time::Duration;

/// Interval of observations, and of the page's updates; its cost is negligible beside a stream.
pub const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);
/// Age up to which a channel that is seen for the first time counts as started since the last
/// observation.
pub const OBSERVE_YOUNG: Duration = Duration::from_secs(2);
/// Samples kept per channel: ten minutes, so that a disturbance can still be seen afterwards.
pub const HISTORY_SAMPLES: usize = 600;
/// Maximum channels with all samples, about 40 KB each; further channels keep a minute.
pub const HISTORY_CHANNELS_MAX: usize = 512;
/// Samples from which a channel's state is judged: a minute, which is also the strip in its row.
pub const RECENT_SAMPLES: usize = 60;
/// Silence after which a channel counts as silent, unless its usual packet interval is longer.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);
/// A channel counts as silent when this many packets of its usual rate are missing, like a flow.
pub const SILENT_PACKETS: f64 = 10.0;
/// Samples from which refused datagrams are judged: they show within ten seconds, and clear as
/// soon after their end.
pub const REFUSED_SAMPLES: usize = 10;
/// Share of useless datagrams in these samples that counts as trouble: a handful among thousands
/// is normal in networks.
pub const REFUSED_SHARE: f64 = 0.01;
/// Minimum number of useless datagrams for that, unless nothing else comes: a slow stream with one
/// damaged packet is fine.
pub const REFUSED_LEAST: u64 = 10;
/// Samples in which players got nothing although packets came, after which it is reported: longer
/// than the default `failover` of players.
pub const UNSERVED_SAMPLES: usize = 5;
/// Maximum events kept, a few hundred bytes each: a bad hour of some channels.
pub const EVENTS_MAX: usize = 1000;
/// Interval within which events of one kind and channel count as one continuing event.
pub const EVENT_MERGE: Duration = Duration::from_secs(30);
/// Maximum pages served at the same time: each takes some 100 KB/s at most.
pub const PAGES_MAX: usize = 32;
/// Default number of rows of a table in one answer: more than a screen shows.
pub const TABLE_ROWS: usize = 100;
/// Maximum rows of a table in one answer: all flows of a large group, as CSV.
pub const TABLE_ROWS_MAX: usize = 10_000;
/// Maximum channels whose flows are kept until the next tick, for all readers: some MB each at
/// most.
pub const FLOW_TABLES_MAX: usize = 8;
/// Maximum rows that a page may request each second: a screen, and the rows to scroll to next.
pub const PAGE_ROWS_MAX: usize = 200;
/// Maximum legs in the picture of a page: there is no room for more names.
pub const PAGE_INPUTS_MAX: usize = 6;
/// Clients of a channel that a page shows; the API has all of them.
pub const PAGE_CLIENTS_MAX: usize = 20;
/// Maximum bytes of a search text: longer than any name.
pub const SEARCH_BYTES_MAX: usize = 128;
/// Maximum bytes of a flow's last payload sent to a page: a reading, or the start of a longer
/// payload.
pub const VALUE_BYTES_MAX: usize = 512;
/// Maximum channels whose last reading a page shows among the channels: each costs a reader of its
/// records.
pub const PAGE_READINGS_MAX: usize = 16;
/// Time from its first answer until a page gets the flows' first readings: they arrive while it
/// draws.
pub const VALUES_FIRST: Duration = Duration::from_millis(250);
/// Maximum channels examined at once to find out what they carry.
pub const LOOKS_MAX: usize = 8;
/// Time that such an examination waits for a packet.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Ticks before a channel is examined again if its packets revealed nothing.
pub const LOOK_TICKS: u64 = 10;
/// Maximum losses kept per channel: one page of them.
pub const LOSSES_MAX: usize = 200;
/// Number of the newest losses that may still grow; if more flows lose at once, each loss is
/// separate.
pub const LOSSES_OPEN_MAX: usize = 16;
/// Interval within which losses of a flow are merged.
pub const LOSS_MERGE: Duration = Duration::from_secs(1);
/// Time before and after a loss in which counters may show its cause: they are read once a second,
/// and the hold delays the loss.
pub const LOSS_CAUSE_AROUND: Duration = Duration::from_secs(2);
