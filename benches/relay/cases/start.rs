//! Start: time from the start of the process until all groups are joined and HTTP answers; and the
//! binary's size.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddrV4, TcpStream},
    thread,
    time::Duration,
};

use tidecast_net::clock;

use super::{Case, compare::TICK, effort};
use crate::{
    bare::Stream,
    cli::Options,
    process::Processes,
    relay::{self, Relay},
    report::{Section, Table},
    run::fresh_group,
    socket::{LOOPBACK, free_tcp_port},
    statistics::Spread,
    subject::Subject,
};

const CHANNELS: usize = 8;
const STARTS: usize = 20;
const WAIT: Duration = Duration::from_secs(5);
/// Interval of polling for readiness, which limits the precision of the figure.
const POLL: Duration = Duration::from_micros(300);

/// Runs the case.
pub(super) fn run(case: &Case, options: &Options) -> io::Result<Section> {
    let starts = if options.quick { 3 } else { STARTS };
    let times: Vec<f64> = (0..starts).map(|_| start(options)).collect::<io::Result<_>>()?;
    let ready = Spread::of(times);
    let binary = Spread::of([fs::metadata(relay::BINARY)?.len() as f64 / 1e6]);
    let mut section = Section::new(case.name, case.about, effort(options));
    let mut table = Table::new(format!("{starts} starts with {CHANNELS} channels"), &["", "measured"]);
    table.push(["listening and joined, ms".into(), super::compare::cell(ready)]);
    table.push(["binary, MB".into(), super::compare::cell(binary)]);
    section.tables.push(table);
    section.figure("start/ready", ready);
    section.figure("start/binary", binary);
    Ok(section)
}

/// Returns the milliseconds until `/readyz` succeeds.
fn start(options: &Options) -> io::Result<f64> {
    let server = SocketAddrV4::new(LOOPBACK, free_tcp_port()?);
    let streams: Vec<Stream> =
        (0..CHANNELS).map(|_| Stream { group: fresh_group(), targets: Vec::new() }).collect();
    let subject = Subject::Relay(Relay { tick: TICK, http: Some(server), ..Relay::default() });
    let before = clock::now();
    let mut processes = subject.start(&streams, &options.out)?;
    await_ready(server, &mut processes)?;
    Ok((clock::now() - before).as_secs_f64() * 1e3)
}

fn await_ready(server: SocketAddrV4, processes: &mut Processes) -> io::Result<()> {
    let deadline = clock::now() + WAIT;
    while !is_ready(server).unwrap_or(false) {
        processes.check()?;
        if clock::now() > deadline {
            return Err(io::Error::other("/readyz does not say yes"));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn is_ready(server: SocketAddrV4) -> io::Result<bool> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}
