//! The log: lines go through a bounded queue to a separate thread, which writes them to standard
//! error, beside what the terminal shows ([`crate::terminal`]). Logging never waits for a slow
//! reader: a line that does not fit into the queue is dropped, counted in a metric, and reported in
//! the log.

use std::{
    io::{self, Write},
    mem::ManuallyDrop,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::SystemTime,
};

use serde_json::json;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::cli::LogFormat;
use crate::limits::{LOG_FLUSH_CHECK, LOG_FLUSH_MAX, LOG_LINES_MAX};
use crate::terminal::Stderr;
use tidecast_net::clock;

/// The queue of the process, once it logs.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Whether lines are JSON objects.
static JSON: AtomicBool = AtomicBool::new(false);

/// Logs to standard error from now on, with this filter.
pub fn to_stderr(filter: EnvFilter, colours: bool, format: LogFormat) -> Guard {
    let (queue, guard) = Queue::before(Stderr, LOG_LINES_MAX);
    let queue = QUEUE.get_or_init(|| queue).clone();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue.clone())
        .with_ansi(colours)
        .log_internal_errors(false); // it would panic once standard error is closed
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => {
            JSON.store(true, Relaxed);
            log.json().init();
        }
    }
    Guard { queue, _thread: ManuallyDrop::new(guard) }
}

/// Prints a line for the user, regardless of the filter, after the lines logged before.
pub fn say(line: &str) {
    let line = if JSON.load(Relaxed) { format!("{}\n", as_json(line)) } else { format!("{line}\n") };
    // An error means that standard error is closed, so it cannot be reported.
    let _ = match QUEUE.get() {
        Some(queue) => queue.clone().write_all(line.as_bytes()),
        None => Stderr.write_all(line.as_bytes()),
    };
}

/// A line as the log writes its own.
fn as_json(line: &str) -> serde_json::Value {
    let timestamp = humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + clock::unix()).to_string();
    let target = env!("CARGO_PKG_NAME");
    json!({ "timestamp": timestamp, "level": "INFO", "fields": { "message": line }, "target": target })
}

/// Count of lines dropped so far.
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, Queue::dropped)
}

/// On drop, waits for a limited time until all lines are written.
#[derive(Debug)]
pub struct Guard {
    queue: Queue,
    /// Not dropped: its destructor would print to standard output when the queue is full.
    _thread: ManuallyDrop<WorkerGuard>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let end = clock::now() + LOG_FLUSH_MAX;
        while !self.queue.is_empty() && clock::now() < end {
            thread::sleep(LOG_FLUSH_CHECK);
        }
    }
}

/// Target of all log writers.
#[derive(Debug, Clone)]
struct Queue {
    lines: NonBlocking,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    written: AtomicU64,
    dropped: OnceLock<ErrorCounter>,
}

impl Counts {
    fn dropped(&self) -> u64 {
        self.dropped.get().map_or(0, |counter| counter.dropped_lines() as u64)
    }
}

impl Queue {
    fn before(to: impl Write + Send + 'static, lines_max: usize) -> (Queue, WorkerGuard) {
        let counts = Arc::new(Counts::default());
        let sink = Sink { to, counts: counts.clone(), told: 0 };
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines_max);
        let (lines, guard) = builder.thread_name("log").finish(sink);
        counts.dropped.get_or_init(|| lines.error_counter());
        (Queue { lines, counts }, guard)
    }

    fn dropped(&self) -> u64 {
        self.counts.dropped()
    }

    fn is_empty(&self) -> bool {
        self.counts.written.load(Relaxed) + self.dropped() >= self.counts.queued.load(Relaxed)
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.counts.queued.fetch_add(1, Relaxed);
        self.lines.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;

    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

/// Consumer of the queue: writes the lines, and reports missing ones.
struct Sink<W> {
    to: W,
    counts: Arc<Counts>,
    /// Dropped lines that were reported.
    told: u64,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.to.write_all(line);
        // A failed write also counts, because then the output has no reader any more.
        self.counts.written.fetch_add(1, Relaxed);
        let dropped = self.counts.dropped();
        if dropped > self.told {
            let new = dropped - self.told;
            tracing::warn!("{new} lines are missing here: the reader of standard error was too slow");
            // Not if this line was dropped as well.
            if self.counts.dropped() == dropped {
                self.told = dropped;
            }
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// A reader that takes a line when it gets a permit.
    struct Reader {
        permits: mpsc::Receiver<()>,
        lines: Arc<Mutex<Vec<String>>>,
    }

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.permits.recv();
            self.lines.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_for_who_reads_and_each_line_is_written_or_counted() {
        let (permit, permits) = mpsc::channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (queue, guard) = Queue::before(Reader { permits, lines: lines.clone() }, 4);
        for number in 0..20 {
            queue.clone().write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let dropped = queue.dropped();
        // One line is being written, four wait.
        assert!((15..=16).contains(&dropped), "{dropped}");
        assert!(!queue.is_empty());
        drop(permit);
        while !queue.is_empty() {
            thread::sleep(LOG_FLUSH_CHECK);
        }
        let written = lines.lock().unwrap().len() as u64;
        assert_eq!(written + queue.dropped(), 20);
        drop(guard);
    }
}
