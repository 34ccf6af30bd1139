//! `recv`: joins like a relay, writes the payloads in order, and says what was lost on the way.
//!
//! The packets come through the same packet path as in a relay; the payloads are written on its thread, so a
//! slow reader of the output shows as kernel drops, which are reported too.

mod summary;

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use tokio::sync::oneshot;

use super::{Failure, service::say};
use crate::{
    address::Scheme,
    cli,
    limits::RECEIVE_BUFFER_BYTES,
    net::worker::{ChannelSpec, Pace, Sink, Worker},
    relay::{self, Hold},
    shutdown::Signals,
};
use summary::Summary;

/// Runs `recv` to its end.
///
/// # Errors
/// The file cannot be written, a leg cannot be opened, or more was lost than allowed.
pub(super) fn run(args: &cli::Recv) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(receive(args))
}

async fn receive(args: &cli::Recv) -> Result<(), Failure> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let output = args.output.as_deref().map(open).transpose()?;
    let (sink, mut done) = sink(output, args.count.unwrap_or(u64::MAX));
    let pace = Pace { tick: Duration::ZERO, ..Pace::default() };
    let (worker, thread) = Worker::spawn(0, pace).context("cannot start the packet thread")?;
    let started = worker.add(channel(args, sink)).await.context("cannot receive")?;
    let inputs: Vec<String> = args.inputs.iter().map(ToString::to_string).collect();
    if started.waiting.len() == args.inputs.len() {
        // A relay waits for an interface that may come; who measures now wants to know now.
        return Err(anyhow::anyhow!("cannot receive: {}", started.waiting.join("; ")).into());
    }
    for waiting in &started.waiting {
        say(&format!("waiting: {waiting}"));
    }
    say(&format!("ready: receiving {}", inputs.join(" ")));
    let began = crate::clock::now();
    let limit = args.duration.unwrap_or(Duration::MAX);
    let written = tokio::select! {
        result = &mut done.ended => result.unwrap_or(Ok(())),
        () = tokio::time::sleep(limit) => Ok(()),
        () = signals.wait() => Ok(()),
    };
    let states = worker.stop().await;
    let elapsed = crate::clock::now().saturating_duration_since(began);
    let _ = thread.join();
    let late_failure = done.failure.lock().ok().and_then(|mut failure| failure.take());
    let state = states.into_iter().next().context("the packet thread has ended")?;
    let summary = Summary::new(&state, elapsed);
    let text = if args.json { summary.json() } else { summary.to_string() };
    // A closed standard error is no reason to fail: nobody wants the summary.
    let _ = writeln!(io::stderr(), "{text}");
    if let Err(error) = written.and_then(|()| late_failure.map_or(Ok(()), Err)) {
        return Err(match args.output.as_deref() {
            Some(path) if path != Path::new("-") => {
                anyhow::Error::new(error).context(format!("cannot write {}", path.display())).into()
            }
            _ => Failure::output(error),
        });
    }
    match args.max_loss {
        Some(max) if summary.loss() > max => Err(Failure::Loss { lost: summary.loss(), max }),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    if path == Path::new("-") {
        // Not std's handle: it is line-buffered, and payloads are not lines.
        let stdout = io::stdout();
        return Ok(Box::new(RawStdout(stdout)));
    }
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(Box::new(file))
}

/// Standard output, flushed after every payload.
struct RawStdout(io::Stdout);

impl Write for RawStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.0.lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How the sink tells that it has written enough, or cannot write any more.
struct Done {
    ended: oneshot::Receiver<io::Result<()>>,
    /// A failure after `ended` was answered.
    failure: Arc<Mutex<Option<io::Error>>>,
}

/// Writes the payloads of up to `count` packets.
fn sink(mut output: Option<Box<dyn Write + Send>>, count: u64) -> (Sink, Done) {
    let (sender, ended) = oneshot::channel();
    let failure = Arc::new(Mutex::new(None));
    let late = failure.clone();
    let mut sender = Some(sender);
    let mut left = count;
    let sink: Sink = Box::new(move |delivery, followed| {
        if left == 0 || !followed {
            return;
        }
        left -= 1;
        let written = output.as_mut().map_or(Ok(()), |output| output.write_all(delivery.packet.payload()));
        if written.is_ok() && left > 0 {
            return;
        }
        left = 0;
        if let Some(sender) = sender.take()
            && let Err(Err(error)) = sender.send(written)
            && let Ok(mut late) = late.lock()
        {
            *late = Some(error);
        }
    });
    (sink, Done { ended, failure })
}

fn channel(args: &cli::Recv, sink: Sink) -> ChannelSpec {
    let rist = args.inputs.iter().any(|input| input.scheme == Scheme::Rist);
    let hold = if args.hold == Hold::default() { Hold::auto(rist) } else { args.hold };
    ChannelSpec {
        name: "recv".to_owned(),
        inputs: args.inputs.clone(),
        relay: relay::Config { format: args.format.clone(), hold, ..relay::Config::default() },
        retransmission: args.retransmission,
        outputs: Vec::new(),
        receive_buffer: RECEIVE_BUFFER_BYTES,
        failover: crate::limits::FAILOVER,
        on_demand: false,
        gap_wait: ::metrics::Histogram::noop(),
        sink: Some(sink),
    }
}
