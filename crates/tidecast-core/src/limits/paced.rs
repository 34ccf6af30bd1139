//! Paced release (`relay::paced`): delays, and the tolerated behaviour of a source's clock.

use std::time::Duration;

/// Initial automatic delay: the initial hold, 100 ms of jitter, and a PCR interval of 40 ms.
pub(crate) const PACED_DELAY_START: Duration = Duration::from_millis(200);
/// Initial automatic delay in addition to the hold, if that is longer.
pub(crate) const PACED_JITTER_START: Duration = Duration::from_millis(150);
/// Maximum automatic delay: a longer gap is an outage, which no delay hides.
pub(crate) const PACED_DELAY_MAX: Duration = Duration::from_secs(2);
/// Maximum configured delay: twice the longest hold's, and memory for 20 s of the stream.
pub const PACED_DELAY_CONFIG_MAX: Duration = Duration::from_secs(20);
/// Added to the delay that packets have needed: covers a late turn of the packet thread.
pub(crate) const PACED_MARGIN: Duration = Duration::from_millis(10);
/// Time after a source's start during which the delay rises at once: receivers have just started,
/// too.
pub(crate) const PACED_YOUNG: Duration = Duration::from_secs(5);
/// Rise of the delay after that, per unit of time: 1 ms a second, which no decoder hears.
pub(crate) const PACED_SLEW: f64 = 1e-3;
/// Window in which the needs of packets are observed; a need that shows up in two consecutive
/// windows counts.
pub(crate) const PACED_NEED_WINDOW: Duration = Duration::from_secs(10);
/// How early a packet may leave: timers are about as exact, and a timer that fires this early
/// would only be set again.
pub(crate) const PACED_SLACK: Duration = Duration::from_micros(50);
/// A packet that arrives this much after its time is late.
pub(crate) const PACED_LATE: Duration = Duration::from_millis(1);
/// A source's clock that differs by this much from both its own rate and ours has jumped. Above
/// any jitter, below the lead time of a splice.
pub(crate) const PACED_JUMP: Duration = Duration::from_millis(500);
/// Maximum time over which packets of one timestamp are spread: a picture at 10 a second.
pub(crate) const PACED_SPREAD_MAX: Duration = Duration::from_millis(100);
/// The same as [`PACED_JUMP`] for a clock with a constant rate, and the tolerance for continuing
/// after it stood still. Above the lateness of usual paths.
pub(crate) const PACED_STEP: Duration = Duration::from_millis(100);
/// Consecutive packets of another payload type after which that type leads a stream without a
/// clock.
pub(crate) const PACED_LEAD_PACKETS: u32 = 4;
/// Deviation of a time that is always accepted, in addition to jitter.
pub(crate) const PACED_OFF: Duration = Duration::from_millis(20);
/// Packets that arrive this much before the fastest path could bring them may have wrong times.
/// Several must show it ([`PACED_DOUBT_PACKETS`]),
pub(crate) const PACED_EARLY_STEP: Duration = Duration::from_millis(12);
/// or one that is this early.
pub(crate) const PACED_EARLY: Duration = Duration::from_millis(300);
/// Several must also show a step to later times of this size. A queue on the path delays packets
/// by less from one to the next.
pub(crate) const PACED_LATE_STEP: Duration = Duration::from_millis(40);
/// Number of packets that must show a step,
pub(crate) const PACED_DOUBT_PACKETS: u32 = 4;
/// and time during which late ones must show it, or until the first of them is due: after a stall,
/// the waiting packets arrive sooner.
pub(crate) const PACED_DOUBT_TIME: Duration = Duration::from_millis(100);
/// A clock that does not move for this long while packets arrive has stopped (ISO/IEC 13818-1
/// requires a PCR every 100 ms),
pub(crate) const PACED_CLOCK_STANDS: Duration = Duration::from_millis(150);
/// or that does not move for twice its usual interval, limited to this.
pub(crate) const PACED_CLOCK_SILENT: Duration = Duration::from_secs(2);
/// Maximum share of a pause between two packets that counts towards it: without packets no clock
/// can be read.
pub(crate) const PACED_PAUSE: Duration = Duration::from_millis(50);
/// Time over which the rate of a static payload type is compared with the first packets: in most
/// configurations this ends before the first of them leaves.
pub(crate) const RATE_START_TIME: Duration = Duration::from_millis(80);
/// Minimum number of packets in that comparison.
pub(crate) const RATE_START_PACKETS: u32 = 4;
/// Time from which on the rate is compared with the arrivals as well.
pub(crate) const RATE_CHECK_TIME: Duration = Duration::from_secs(1);
/// Time after which that comparison restarts; the bursts of a sender hardly count over it.
pub(crate) const RATE_CHECK_LONGEST: Duration = Duration::from_secs(10);
/// Time over which the clock rate of a dynamic RTP payload type is measured: with 40 ms of jitter,
/// to 1.6 %.
pub(crate) const RATE_GUESS_TIME: Duration = Duration::from_millis(2500);
/// Measurement starts this long after the first packet: senders start with a burst.
pub(crate) const RATE_GUESS_AFTER: Duration = Duration::from_millis(500);
/// An arrival this far off the smoothed line starts a new line: the rate is not steady.
pub(crate) const SMOOTH_OFF_MAX: Duration = Duration::from_millis(250);
/// Maximum number of pictures sent before one that is displayed first: the largest picture buffer
/// of H.264 and H.265.
pub(crate) const PICTURES_REORDERED_MAX: usize = 16;
/// Minimum length of a window in which the smallest transit time is searched.
pub(crate) const CLOCK_WINDOW: Duration = Duration::from_secs(1);
/// Minimum number of packets in such a window, so that a fast one is likely among them.
pub(crate) const CLOCK_WINDOW_SAMPLES: u32 = 16;
/// Maximum length of such a window.
pub(crate) const CLOCK_WINDOW_MAX: Duration = Duration::from_secs(16);
/// The drift is fitted to this many windows if they agree within microseconds,
pub(crate) const CLOCK_FIT_MIN: f64 = 32.0;
/// and to this many more for each millisecond of scatter, up to the maximum: minutes, in which
/// temperatures hardly change.
pub(crate) const CLOCK_FIT_MAX: f64 = 256.0;
/// Maximum drift between two clocks that is followed: ten times that of a bad quartz.
pub(crate) const CLOCK_DRIFT_MAX: f64 = 1e-3;
/// Maximum speed at which a phase error is corrected: decoders can follow it.
pub(crate) const CLOCK_PULL_MAX: f64 = 5e-4;
/// When all packets of a window come this much earlier than before, the delay makes one step; a
/// smaller change is corrected slowly.
pub(crate) const CLOCK_STEP: Duration = Duration::from_secs(1);
const _: () = assert!(PACED_CLOCK_STANDS.as_millis() < PACED_CLOCK_SILENT.as_millis());
const _: () = assert!(PACED_DELAY_START.as_millis() <= PACED_DELAY_MAX.as_millis());
