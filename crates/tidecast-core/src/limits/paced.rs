//! Paced release (`relay::paced`): delays, and what a source's clock may do.

use std::time::Duration;

/// The automatic delay at the start: a hold at its start, 100 ms of jitter, and a PCR interval of
/// 40 ms.
pub(crate) const PACED_DELAY_START: Duration = Duration::from_millis(200);
/// The same beyond a longer hold.
pub(crate) const PACED_JITTER_START: Duration = Duration::from_millis(150);
/// The longest automatic delay: a longer gap is an outage, which no delay hides.
pub(crate) const PACED_DELAY_MAX: Duration = Duration::from_secs(2);
/// The longest delay that a configuration may name: twice the longest hold's, and memory for 20 s
/// of the stream.
pub const PACED_DELAY_CONFIG_MAX: Duration = Duration::from_secs(20);
/// What the automatic delay adds to what packets have needed: a late turn of the packet path.
pub(crate) const PACED_MARGIN: Duration = Duration::from_millis(10);
/// For so long after its start a source's delay rises at once: receivers have just begun, too.
pub(crate) const PACED_YOUNG: Duration = Duration::from_secs(5);
/// After that it rises by so much per time: 1 ms a second, which no decoder hears.
pub(crate) const PACED_SLEW: f64 = 1e-3;
/// What packets needed is looked at in windows of this length; what two in a row needed counts.
pub(crate) const PACED_NEED_WINDOW: Duration = Duration::from_secs(10);
/// A packet may leave so much before its time: timers are about as exact, and one too early by less
/// would only be set again.
pub(crate) const PACED_SLACK: Duration = Duration::from_micros(50);
/// A packet that comes so much after its time is late.
pub(crate) const PACED_LATE: Duration = Duration::from_millis(1);
/// A source's clock that is so far off both its own rate and ours has jumped. Beyond any jitter,
/// below the lead of a splice.
pub(crate) const PACED_JUMP: Duration = Duration::from_millis(500);
/// Packets of one time stamp are spread over no more than this: a picture at 10 a second.
pub(crate) const PACED_SPREAD_MAX: Duration = Duration::from_millis(100);
/// The same for one whose rate has been constant, and where it goes on after it stood: beyond what
/// a path is late by.
pub(crate) const PACED_STEP: Duration = Duration::from_millis(100);
/// Packets in a row of another payload type that lead the stream where there is no clock.
pub(crate) const PACED_LEAD_PACKETS: u32 = 4;
/// What a time may be off without a doubt, beyond jitter: what the delay is kept within.
pub(crate) const PACED_OFF: Duration = Duration::from_millis(20);
/// Packets that come so much before the fastest path could bring them may have wrong times; it must
/// show again,
pub(crate) const PACED_EARLY_STEP: Duration = Duration::from_millis(12);
/// unless it is so much;
pub(crate) const PACED_EARLY: Duration = Duration::from_millis(300);
/// and so must a step to later times from this on: a queue on the path makes packets late by less
/// from one to the next.
pub(crate) const PACED_LATE_STEP: Duration = Duration::from_millis(40);
/// So many packets must show it,
pub(crate) const PACED_DOUBT_PACKETS: u32 = 4;
/// and late ones for this long, or until the first of them is due: after a stall, what has waited
/// comes sooner.
pub(crate) const PACED_DOUBT_TIME: Duration = Duration::from_millis(100);
/// A clock that stands still for so long while packets come is none (ISO/IEC 13818-1 asks for a PCR
/// every 100 ms),
pub(crate) const PACED_CLOCK_STANDS: Duration = Duration::from_millis(150);
/// or for twice its usual interval, but no longer than this.
pub(crate) const PACED_CLOCK_SILENT: Duration = Duration::from_secs(2);
/// The most of a pause between two packets that counts for that: while nothing comes no clock can
/// be read.
pub(crate) const PACED_PAUSE: Duration = Duration::from_millis(50);
/// The rate of a static payload type is compared with the first packets over this long: before the
/// first of them leaves in most configurations,
pub(crate) const RATE_START_TIME: Duration = Duration::from_millis(80);
/// and over so many packets,
pub(crate) const RATE_START_PACKETS: u32 = 4;
/// then with the arrivals from so much time on,
pub(crate) const RATE_CHECK_TIME: Duration = Duration::from_secs(1);
/// and anew after this, in which the bursts of a sender hardly count.
pub(crate) const RATE_CHECK_LONGEST: Duration = Duration::from_secs(10);
/// The clock rate of a dynamic RTP payload type is measured over this long: with 40 ms of jitter to
/// 1.6 %,
pub(crate) const RATE_GUESS_TIME: Duration = Duration::from_millis(2500);
/// and not before: senders begin with a burst.
pub(crate) const RATE_GUESS_AFTER: Duration = Duration::from_millis(500);
/// Smoothed arrivals that are further off begin anew: not a steady rate.
pub(crate) const SMOOTH_OFF_MAX: Duration = Duration::from_millis(250);
/// Pictures sent before one that is shown first: H.264's and H.265's largest picture buffer.
pub(crate) const PICTURES_REORDERED_MAX: usize = 16;
/// The smallest transit time is looked for in windows of at least this length,
pub(crate) const CLOCK_WINDOW: Duration = Duration::from_secs(1);
/// and so many packets, so that a fast one is likely among them,
pub(crate) const CLOCK_WINDOW_SAMPLES: u32 = 16;
/// but no longer than this.
pub(crate) const CLOCK_WINDOW_MAX: Duration = Duration::from_secs(16);
/// The drift is fitted to so many windows if they agree within microseconds,
pub(crate) const CLOCK_FIT_MIN: f64 = 32.0;
/// and to as many more as they scatter, in milliseconds, up to so many: minutes, in which
/// temperatures hardly change.
pub(crate) const CLOCK_FIT_MAX: f64 = 256.0;
/// The largest drift between two clocks that is followed: ten times that of a bad quartz.
pub(crate) const CLOCK_DRIFT_MAX: f64 = 1e-3;
/// How fast an error of the phase is made good at most: decoders follow that.
pub(crate) const CLOCK_PULL_MAX: f64 = 5e-4;
/// When all packets of a window come so much earlier than before, the delay makes one step; less is
/// made good slowly.
pub(crate) const CLOCK_STEP: Duration = Duration::from_secs(1);
const _: () = assert!(PACED_CLOCK_STANDS.as_millis() < PACED_CLOCK_SILENT.as_millis());
const _: () = assert!(PACED_DELAY_START.as_millis() <= PACED_DELAY_MAX.as_millis());
