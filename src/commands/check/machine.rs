//! The last stage of `check`: whether this machine has everything that the configuration requires.
//! Each group is joined and each port bound for a moment, as by the relay, and released.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use crate::{
    channel::udp::UdpOutputs,
    cli::{Cli, Command},
    config::{Channel, Config, Fec},
    holder::Holder,
};
use tidecast_net::{
    SocketError,
    address::{Endpoint, Input, Interface, Output},
    clock,
    interface::{self, Interfaces},
    limits::RECEIVE_BUFFER_BYTES,
    multicast::Subscription,
};
use tidecast_wire::{rtcp, st2022};

/// Result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It works.
    Ok,
    /// It works, but not as well as it could; or it cannot be checked while a relay runs.
    Warn,
    /// It does not work.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) mark: Mark,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.mark {
            Mark::Ok => "ok",
            Mark::Warn => "warn",
            Mark::Fail => "FAIL",
        };
        write!(f, "{mark:<5} {}", self.text)
    }
}

impl Line {
    pub(super) fn new(mark: Mark, text: String) -> Line {
        Line { mark, text }
    }
}

/// Checks everything: interfaces, the channels' inputs and outputs, receive buffers, and the ports
/// of the servers. `file`: the configuration's.
pub(super) fn try_out(config: &Config, file: &Path) -> Vec<Line> {
    let mut interfaces = Interfaces::read(clock::now());
    let mut lines = interface_lines(config, &interfaces);
    let mut buffers = BTreeSet::new();
    for channel in &config.channels {
        for input in inputs(channel) {
            let asked = channel.receive_buffer.unwrap_or(RECEIVE_BUFFER_BYTES);
            lines.push(input_line(&channel.name, &input, asked, &interfaces, &mut buffers, file));
        }
        lines.extend(output_lines(channel, &mut interfaces));
    }
    lines.extend(buffers.into_iter().map(|warning| Line::new(Mark::Warn, warning)));
    let http = config.http.as_ref();
    let tcp = [
        ("http", http.map(|http| &http.listen)),
        ("admin", http.and_then(|http| http.admin.as_ref())),
        ("tcp", config.tcp.as_ref().map(|tcp| &tcp.listen)),
    ];
    let listens = tcp.into_iter().filter_map(|(name, listen)| Some((name, listen?)));
    lines.extend(listens.map(|(name, listen)| listen_line(name, listen, bind_tcp, Holder::of_tcp, file)));
    let udp = config.udp.as_ref().map(|udp| &udp.listen);
    lines.extend(udp.map(|listen| listen_line("udp subscribers", listen, bind_udp, Holder::of_udp, file)));
    lines
}

/// Each configured interface, once.
fn interface_lines(config: &Config, interfaces: &Interfaces) -> Vec<Line> {
    let legs = config.channels.iter().flat_map(|channel| channel.legs.iter().map(|leg| &leg.address));
    let mut named: Vec<(&Interface, std::net::IpAddr)> =
        legs.filter_map(|input| Some((input.interface.as_ref()?, input.group))).collect();
    let outputs = config.channels.iter().flat_map(|channel| &channel.outputs);
    named.extend(outputs.filter_map(|output| Some((output.interface.as_ref()?, output.target.ip()))));
    let group = config.http.as_ref().and_then(|http| http.allow.first()).map(|prefix| prefix.addr());
    let on_demand = config.http.as_ref().and_then(|http| http.interface.as_ref());
    named.extend(on_demand.zip(group));
    let mut seen: Vec<&Interface> = Vec::new();
    let mut lines = Vec::new();
    for (interface, target) in named {
        if !seen.contains(&interface) {
            seen.push(interface);
            lines.push(interface_line(interface, target, interfaces));
        }
    }
    lines
}

fn interface_line(interface: &Interface, target: std::net::IpAddr, interfaces: &Interfaces) -> Line {
    match interfaces.find(Some(interface), target) {
        Ok(found) => match interfaces.fault(found.index) {
            None => Line::new(Mark::Ok, format!("interface {interface} exists and is up")),
            Some(fault) => Line::new(Mark::Fail, format!("interface {fault}")),
        },
        Err(error) => {
            let advice = "the relay would wait for it; correct `if`, or make it";
            Line::new(Mark::Fail, format!("interface {interface}: {error}; {advice}"))
        }
    }
}

/// The port for media of each leg, and the required ports beside it.
fn inputs(channel: &Channel) -> Vec<Input> {
    let mut all = Vec::new();
    for leg in &channel.legs {
        let beside = match (channel.fec, leg.address.scheme) {
            (Fec::St2022, _) => st2022::PORTS_ABOVE.to_vec(),
            (_, tidecast_net::address::Scheme::Rist) => vec![rtcp::PORT_ABOVE],
            _ => Vec::new(),
        };
        all.push(leg.address.clone());
        all.extend(beside.into_iter().filter_map(|above| leg.address.on_port_above(above)));
    }
    all
}

fn input_line(
    channel: &str,
    input: &Input,
    receive_buffer: usize,
    interfaces: &Interfaces,
    buffers: &mut BTreeSet<String>,
    file: &Path,
) -> Line {
    match Subscription::open(input, receive_buffer, interfaces) {
        Ok(subscription) => {
            buffers.extend(subscription.receive_buffer().warning());
            let done = if input.is_class_d() { "joined" } else { "bound" };
            let text = format!("channel {channel}: {input} can be {done}");
            match subscription.interface().and_then(|on| interfaces.fault(on.index)) {
                None => Line::new(Mark::Ok, text),
                Some(fault) => Line::new(Mark::Fail, format!("{text}, but {fault}")),
            }
        }
        Err(SocketError::PortInUse { address }) => {
            taken(&format!("channel {channel}: {input}"), Holder::of_udp(address), file)
        }
        Err(error) => Line::new(Mark::Fail, format!("channel {channel}: {input}: {error}")),
    }
}

/// Opens the outputs without sending.
fn output_lines(channel: &Channel, interfaces: &mut Interfaces) -> Vec<Line> {
    let now = clock::now();
    let line = |output: &Output| {
        let opened = UdpOutputs::new(vec![output.clone()], None, 1, now, interfaces);
        let fault = opened.iter().find_map(|(_, fault)| fault.map(ToString::to_string));
        match fault {
            None => Line::new(Mark::Ok, format!("channel {}: {output} can be sent to", channel.name)),
            Some(fault) => {
                let text =
                    format!("channel {}: {output}: {fault}; check the route and the interface", channel.name);
                Line::new(Mark::Fail, text)
            }
        }
    };
    channel.outputs.iter().map(line).collect()
}

fn bind_tcp(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

fn bind_udp(address: SocketAddr) -> io::Result<()> {
    UdpSocket::bind(address).map(drop)
}

/// The port of a server.
fn listen_line(
    name: &str,
    listen: &Endpoint,
    bind: fn(SocketAddr) -> io::Result<()>,
    holder: fn(SocketAddr) -> Option<Holder>,
    file: &Path,
) -> Line {
    let address = match interface::resolve(listen) {
        Ok(address) => address,
        Err(error) => return Line::new(Mark::Fail, format!("{name}: {listen}: {error}")),
    };
    match bind(address) {
        Ok(()) => Line::new(Mark::Ok, format!("{name}: {listen} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            taken(&format!("{name}: {listen}"), holder(address), file)
        }
        Err(error) => Line::new(Mark::Fail, format!("{name}: cannot listen on {listen}: {error}")),
    }
}

/// A port that somebody has. One that a relay of this file has becomes free when it is restarted,
/// so it is no failure.
fn taken(what: &str, holder: Option<Holder>, file: &Path) -> Line {
    let Some(holder) = holder else {
        let text = format!("{what} is in use; as root, `ss -lnup` and `ss -lntp` say which program has it");
        return Line::new(Mark::Fail, text);
    };
    let Holder { name, pid, .. } = &holder;
    let (mark, who, remedy) = match (holder.is_tidecast(), configuration(&holder)) {
        (true, Some(own)) if is_same(&own, file) => (
            Mark::Warn,
            own.display().to_string(),
            "it is the relay that runs this file, and a restart of it frees the port",
        ),
        (true, Some(other)) => (
            Mark::Warn,
            other.display().to_string(),
            "it runs another file: restart it with this one, stop it, or choose another port",
        ),
        (true, None) => (Mark::Fail, command_line(&holder), "stop it, or choose another port"),
        (false, _) => (Mark::Fail, String::new(), "stop it, or choose another port"),
    };
    let who = if who.is_empty() { who } else { format!(", {who}") };
    Line::new(mark, format!("{what} is in use: {name} (process {pid}{who}) has it: {remedy}"))
}

/// The configuration file that a tidecast runs.
fn configuration(holder: &Holder) -> Option<PathBuf> {
    let Command::Serve(serve) = Cli::try_of(holder.arguments.iter().map(OsString::from)).ok()?.command else {
        return None;
    };
    Some(holder.folder.as_ref()?.join(serve.configuration.path()?))
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Its command line, without the words of a subscription that others must not see.
fn command_line(holder: &Holder) -> String {
    let word = |word: &String| match word.split_once("token=") {
        Some((before, _)) => format!("{before}token=..."),
        None => word.clone(),
    };
    let name = std::iter::once(holder.name.clone());
    name.chain(holder.arguments.iter().skip(1).map(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_testkit::sockets::{free_port, group};

    fn lines(text: &str) -> Vec<Line> {
        try_out(&text.parse::<Config>().expect("a good file"), Path::new("/no/such/file.toml"))
    }

    fn marks(lines: &[Line]) -> Vec<Mark> {
        lines.iter().map(|line| line.mark).collect()
    }

    #[test]
    fn what_works_is_marked_so() {
        let (group, port, http) = (group(), free_port(), free_port());
        let lines = lines(&format!(
            "http.listen = \"127.0.0.1:{http}\"\n[[channel]]\nname = \"a\"\nreceive_buffer = \"64KiB\"\n\
             input = \"rtp://@{group}:{port}?if=lo\"\nfec = \"st2022-1\"\noutput = \"udp://127.0.0.1:9\""
        ));
        assert_eq!(marks(&lines), [Mark::Ok; 6], "{lines:#?}");
        assert_eq!(lines[0].to_string(), "ok    interface lo exists and is up");
        assert!(lines[3].to_string().contains(&format!(":{}?if=lo can be joined", port + 4)), "{lines:#?}");
    }

    #[test]
    fn every_port_of_a_server_is_tried() {
        let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
        let [http, admin, tcp, udp] = ports[..] else { panic!("four ports") };
        let text = format!(
            "http.listen = \"127.0.0.1:{http}\"\nhttp.admin = \"127.0.0.1:{admin}\"\n\
             tcp.listen = \"127.0.0.1:{tcp}\"\nudp.listen = \"127.0.0.1:{udp}\"\n"
        );
        let free: Vec<String> = lines(&text).iter().map(ToString::to_string).collect();
        let names = [("http", http), ("admin", admin), ("tcp", tcp), ("udp subscribers", udp)];
        assert_eq!(free, names.map(|(name, port)| format!("ok    {name}: 127.0.0.1:{port} is free")));
        let _tcp =
            [http, admin, tcp].map(|port| TcpListener::bind(("127.0.0.1", port)).expect("a free port"));
        let _udp = UdpSocket::bind(("127.0.0.1", udp)).expect("a free port");
        let (lines, pid) = (lines(&text), std::process::id());
        for (line, (name, port)) in lines.iter().zip(names) {
            let expected = format!("FAIL  {name}: 127.0.0.1:{port} is in use: ");
            let line = line.to_string();
            assert!(line.starts_with(&expected) && line.contains(&format!("(process {pid}, ")), "{line}");
        }
    }

    #[test]
    fn a_tidecast_is_named_by_its_file_or_its_command_line() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = Holder::of_tcp(listener.local_addr().expect("an address")).expect("this test");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, "").expect("a file");
        let taken_by = |words: &str| {
            let arguments = words.split(' ').map(str::to_owned).collect();
            let holder = Holder { arguments, folder: Some(folder.path().to_owned()), ..own.clone() };
            taken("http: 127.0.0.1:8080", Some(holder), &file).to_string()
        };
        let path = file.display();
        for words in ["tidecast relay.toml", "/usr/bin/tidecast -v serve -c ./relay.toml --http :80"] {
            let line = taken_by(words);
            assert!(line.starts_with("warn  http: 127.0.0.1:8080 is in use: "), "{line}");
            assert!(line.contains("relay.toml) has it: it is the relay that runs this file"), "{line}");
        }
        let other = taken_by("tidecast serve other.toml");
        assert!(
            other.starts_with("warn") && other.contains("other.toml) has it: it runs another file"),
            "{other}"
        );
        assert!(!other.contains(&path.to_string()), "{other}");
        let relay = taken_by("tidecast relay udp://@239.1.1.1:5000 --http :8080");
        assert!(relay.starts_with("FAIL"), "{relay}");
        assert!(relay.contains(" relay udp://@239.1.1.1:5000 --http :8080) has it: stop it, or"), "{relay}");
        let secret = taken_by("tidecast recv tidecast://10.0.0.7:4023/a?token=secret -o a.ts");
        assert!(secret.contains("/a?token=... -o a.ts)") && !secret.contains("secret"), "{secret}");
    }

    #[test]
    fn what_does_not_work_says_what_to_do() {
        let port = free_port();
        let held = std::net::UdpSocket::bind(("127.0.0.1", port)).expect("a free port");
        let http = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let lines = lines(&format!(
            "http.listen = \"{}\"\n[[channel]]\nname = \"a\"\nreceive_buffer = \"64KiB\"\n\
             input = [\"udp://127.0.0.1:{port}\", \"udp://@239.1.1.1:5000?if=nosuch0\"]",
            http.local_addr().expect("an address")
        ));
        let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 4, "{text:#?}");
        assert!(
            text[0].starts_with("FAIL  interface nosuch0") && text[0].contains("correct `if`"),
            "{text:#?}"
        );
        assert!(lines[1].mark == Mark::Fail && text[1].contains("is in use: "), "{text:#?}");
        assert!(text[2].starts_with("FAIL  channel a") && text[2].contains("nosuch0"), "{text:#?}");
        assert!(text[3].starts_with("FAIL  http: 127.0.0.1:"), "{text:#?}");
        drop(held);
    }
}
