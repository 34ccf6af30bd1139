//! `recv`: joins like a relay, writes the payloads in order, and reports losses.
//!
//! The packets pass the same packet path as in a relay. A separate thread writes the payloads
//! (`writer`), so that a slow reader of the output loses payloads but delays nothing else.

mod progress;
mod remote;
mod summary;
mod writer;

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Failure, service::say, shutdown::Signals};
use crate::{
    channel::{ChannelSpec, PathSettings, Sink, state::ChannelState, thread::PacketThread},
    cli,
    config::seal,
    observe,
};
use summary::Summary;
use tidecast_core::relay::{self, Fec, Hold};
use tidecast_core::subscriber::ASK_AGAIN;
use tidecast_net::{
    address::{Input, Remote, Scheme, Source},
    limits::RECEIVE_BUFFER_BYTES,
};
use tidecast_wire::{
    Format,
    seal::{Key, Keyring},
    st2022::PORTS_ABOVE,
};
use writer::{Writer, Written};

/// Name of the channel on the packet thread.
const CHANNEL: &str = "recv";

/// Runs `recv` until it ends.
///
/// # Errors
/// The file cannot be written, a leg cannot be opened, nothing was received, or more was lost than
/// allowed.
pub(super) fn run(args: &cli::Recv) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(receive(args))
}

async fn receive(args: &cli::Recv) -> Result<(), Failure> {
    let (legs, remote) = sources(args)?;
    check_fec(args, &legs)?;
    let keyring = keyring(args)?;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let output = args.output.as_deref().map(open).transpose()?;
    let (sink, mut writer) =
        Writer::start(output, args.count.unwrap_or(u64::MAX)).context("cannot start a thread")?;
    let settings = PathSettings { tick: Duration::ZERO, ..PathSettings::default() };
    let (packet_thread, thread) =
        PacketThread::spawn(0, settings).context("cannot start the packet thread")?;
    let started =
        packet_thread.add(channel(args, legs.clone(), keyring, sink)).await.context("cannot receive")?;
    let inputs: Vec<String> = args.inputs.iter().map(ToString::to_string).collect();
    if !legs.is_empty() && started.waiting.len() == legs.len() {
        // A relay would wait for the interface; a measurement should fail at once.
        return Err(anyhow::anyhow!("cannot receive: {}", started.waiting.join("; ")).into());
    }
    for waiting in &started.waiting {
        say(&format!("waiting: {waiting}"));
    }
    let limit = args.duration.unwrap_or(Duration::MAX);
    let mut asking = match remote {
        None => None,
        Some(remote) => Some(ask(remote, &packet_thread, &mut signals, limit).await?),
    };
    say(&format!("ready: receiving {}", inputs.join(" ")));
    let began = tidecast_net::clock::now();
    let shown = progress::show(args, &packet_thread);
    let written = tokio::select! {
        result = &mut writer.ended => result.unwrap_or(Ok(())),
        () = tokio::time::sleep(limit) => Ok(()),
        _ = signals.wait() => Ok(()),
        Some(refused) = refusal(&mut asking) => return Err(refused.into()),
    };
    drop(shown);
    if let Some(Asking { leave, task }) = asking {
        drop(leave);
        let _ = task.await; // it has sent the last message to the relay
    }
    let states = packet_thread.stop().await;
    let elapsed = tidecast_net::clock::now().saturating_duration_since(began);
    let _ = thread.join();
    let Written { result, left } = writer.finish();
    let state = states.into_iter().next().context("the packet thread has ended")?;
    let summary = Summary::new(&state, elapsed);
    say_summary(args, &summary);
    if let Err(error) = written.and(result) {
        return Err(match args.output.as_deref() {
            Some(path) if path != Path::new("-") => {
                anyhow::Error::new(error).context(format!("cannot write {}", path.display())).into()
            }
            _ => Failure::output(error),
        });
    }
    if left > 0 {
        return Err(anyhow::anyhow!(
            "{left} of {} packets were not written: the reader of the output is too slow, or has stopped",
            state.counters.delivered
        )
        .into());
    }
    match args.max_loss {
        Some(max) if summary.loss() > max => Err(Failure::Loss { lost: summary.loss(), max }),
        _ if state.counters.delivered == 0 => {
            Err(anyhow::anyhow!("{}", nothing(&state, &inputs.join(" "), elapsed)).into())
        }
        _ => Ok(()),
    }
}

/// Prints the summary: also as JSON on standard output, for programs, unless the payloads go
/// there.
fn say_summary(args: &cli::Recv, summary: &Summary) {
    let payloads_go_there = args.output.as_deref() == Some(Path::new("-"));
    match args.json {
        true if payloads_go_there => crate::log::say(&summary.json()),
        true => {
            // If standard output is closed, the summary is not needed.
            let _ = writeln!(io::stdout(), "{}", summary.json());
        }
        false => crate::log::say(&summary.to_string()),
    }
}

/// Possible reasons for receiving nothing.
fn nothing(state: &ChannelState, inputs: &str, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let came = state.counters.media_received;
    let down = state.legs.iter().find_map(|leg| leg.fault.as_deref());
    match (observe::why_nothing(state), down) {
        (Some(why), _) => {
            format!(
                "none of the {came} datagrams that came from {inputs} in {seconds:.1} s could be passed on: {why}"
            )
        }
        (None, Some(down)) => format!("nothing came from {inputs} in {seconds:.1} s: {down}"),
        (None, None) => {
            format!("nothing came from {inputs} in {seconds:.1} s: `tidecast probe` says why that may be")
        }
    }
}

/// The legs, or the single stream to request from a relay.
fn sources(args: &cli::Recv) -> Result<(Vec<Input>, Option<&Remote>), Failure> {
    let (mut legs, mut remotes) = (Vec::new(), Vec::new());
    for source in &args.inputs {
        match source {
            Source::Input(input) => legs.push(input.clone()),
            Source::Remote(remote) => remotes.push(remote),
        }
    }
    if let ([remote, ..], true) = (&remotes[..], args.inputs.len() > 1) {
        return Err(Failure::Usage(format!("{remote}: expected no other input beside it")));
    }
    Ok((legs, remotes.pop()))
}

/// A running subscription, until `leave` is dropped.
struct Asking {
    leave: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Requests a stream from a relay, and waits until it is granted, a signal comes, or `limit` has
/// passed.
async fn ask(
    remote: &Remote,
    packet_thread: &PacketThread,
    signals: &mut Signals,
    limit: Duration,
) -> Result<Asking, Failure> {
    let (running, granted) = remote::open(remote, packet_thread)?;
    let (leave, left) = oneshot::channel();
    let mut task = tokio::spawn(running.run(left));
    let mut patience = std::pin::pin!(tokio::time::sleep(ASK_AGAIN * 3));
    let mut limit = std::pin::pin!(tokio::time::sleep(limit));
    let mut granted = std::pin::pin!(granted);
    let unanswered = || {
        let relay = &remote.relay;
        anyhow::anyhow!(
            "no answer from {relay}: expected a relay that listens there (--udp, or listen in [udp])"
        )
    };
    loop {
        tokio::select! {
            Ok(()) = &mut granted => return Ok(Asking { leave, task }),
            ended = &mut task => {
                let refused = ended.context("the subscription has failed")?;
                refused?;
                return Err(anyhow::anyhow!("the subscription has ended").into());
            }
            () = &mut patience => {
                say(&format!("waiting: no answer from {}", remote.relay));
                patience.set(tokio::time::sleep(Duration::MAX));
            }
            () = &mut limit => return Err(unanswered().into()),
            _ = signals.wait() => return Err(unanswered().into()),
        }
    }
}

/// Why the relay has ended the subscription; never returns while it runs. `None`: there is no
/// subscription.
async fn refusal(asking: &mut Option<Asking>) -> Option<anyhow::Error> {
    let asking = asking.as_mut()?;
    match (&mut asking.task).await {
        Ok(Err(error)) => Some(error),
        Ok(Ok(())) => None,
        Err(error) => Some(error.into()),
    }
}

/// ST 2022-1 needs RTP, and ports above the media's.
fn check_fec(args: &cli::Recv, legs: &[Input]) -> Result<(), Failure> {
    if args.fec != Fec::St2022 {
        return Ok(());
    }
    if !matches!(args.format, Format::Auto | Format::Rtp) {
        return Err(Failure::Usage(format!("--fec st2022-1: expected --format rtp, not {}", args.format)));
    }
    let above = *PORTS_ABOVE.iter().max().unwrap_or(&0);
    if let Some(input) = legs.iter().find(|input| input.on_port_above(above).is_none()) {
        let last = u16::MAX - above;
        return Err(Failure::Usage(format!(
            "{input}: expected a port up to {last}, since repair packets come on the port + 2 and + 4"
        )));
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    if path == Path::new("-") {
        // Not the handle of std, which is line-buffered: payloads are not lines.
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

/// The keys for datagrams that must be sealed.
fn keyring(args: &cli::Recv) -> Result<Option<Arc<Keyring>>, Failure> {
    if args.seal.is_empty() {
        return Ok(None);
    }
    if !matches!(args.format, Format::Auto | Format::Native) || args.fec == Fec::St2022 {
        return Err(Failure::Usage(
            "--seal: expected --format native: nothing else can be sealed".to_owned(),
        ));
    }
    let read =
        |file: &PathBuf| seal::read(file).map_err(|reason| Failure::Usage(format!("--seal: {reason}")));
    let keys: Vec<Vec<Key>> = args.seal.iter().map(read).collect::<Result<_, _>>()?;
    let keyring = Keyring::new(keys.concat()).map_err(|error| Failure::Usage(format!("--seal: {error}")))?;
    Ok(Some(Arc::new(keyring)))
}

fn channel(args: &cli::Recv, inputs: Vec<Input>, seal: Option<Arc<Keyring>>, sink: Sink) -> ChannelSpec {
    let rist = inputs.iter().any(|input| input.scheme == Scheme::Rist);
    let hold = if args.hold == Hold::default() { Hold::auto(rist) } else { args.hold };
    let is_rtp = args.fec == Fec::St2022 && args.format == Format::Auto;
    let format = match (is_rtp, &seal) {
        (true, _) => Format::Rtp,
        (false, Some(_)) => Format::Native,
        (false, None) => args.format.clone(),
    };
    ChannelSpec {
        name: CHANNEL.to_owned(),
        inputs,
        reports: Vec::new(),
        relay: relay::Config { format, fec: args.fec, hold, seal, ..relay::Config::default() },
        retransmission: args.retransmission,
        outputs: Vec::new(),
        receive_buffer: RECEIVE_BUFFER_BYTES,
        rejoin: None,
        failover: crate::limits::FAILOVER,
        tick: None,
        on_demand: false,
        gap_wait: ::metrics::Histogram::noop(),
        sink: Some(sink),
    }
}
