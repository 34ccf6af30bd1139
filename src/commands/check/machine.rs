//! The last stage of `check`: whether this machine has everything that the configuration requires.
//! Each group is joined and each port bound for a moment, as by the relay, and released.

use std::{collections::BTreeSet, fmt, io, net::TcpListener};

use crate::{
    channel::udp::UdpOutputs,
    config::{Channel, Config, Fec, Http},
    holder::Holder,
};
use tidecast_net::{
    address::{Input, Interface, Output},
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

/// Checks everything: interfaces, the channels' inputs and outputs, receive buffers, HTTP.
pub(super) fn try_out(config: &Config) -> Vec<Line> {
    let mut interfaces = Interfaces::read(clock::now());
    let mut lines = interface_lines(config, &interfaces);
    let mut buffers = BTreeSet::new();
    for channel in &config.channels {
        for input in inputs(channel) {
            let asked = channel.receive_buffer.unwrap_or(RECEIVE_BUFFER_BYTES);
            lines.push(input_line(&channel.name, &input, asked, &interfaces, &mut buffers));
        }
        lines.extend(output_lines(channel, &mut interfaces));
    }
    lines.extend(buffers.into_iter().map(|warning| Line::new(Mark::Warn, warning)));
    lines.extend(config.http.as_ref().map(http_line));
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
        Err(error) => {
            let holder = Holder::of_udp(input.socket_addr());
            taken(format!("channel {channel}: {input}: {error}"), is_in_use(&error.to_string()), holder)
        }
    }
}

/// Opens the outputs without sending.
fn output_lines(channel: &Channel, interfaces: &mut Interfaces) -> Vec<Line> {
    let now = clock::now();
    let line = |output: &Output| {
        let opened = UdpOutputs::new(vec![output.clone()], 1, now, interfaces);
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

fn http_line(http: &Http) -> Line {
    let listen = &http.listen;
    let address = match interface::resolve(listen) {
        Ok(address) => address,
        Err(error) => return Line::new(Mark::Fail, format!("http: {listen}: {error}")),
    };
    match TcpListener::bind(address) {
        Ok(_) => Line::new(Mark::Ok, format!("http: {listen} is free")),
        Err(error) => {
            let in_use = error.kind() == io::ErrorKind::AddrInUse;
            taken(format!("http: {listen}: {error}"), in_use, Holder::of_tcp(address))
        }
    }
}

fn is_in_use(error: &str) -> bool {
    error.contains("in use")
}

/// A port that a running relay uses becomes free when that is restarted, so it is no failure.
fn taken(text: String, in_use: bool, holder: Option<Holder>) -> Line {
    match holder.filter(|_| in_use) {
        Some(holder) if holder.is_tidecast() => {
            Line::new(Mark::Warn, format!("{text}: {holder} has it, and a restart of that frees it"))
        }
        Some(holder) => Line::new(Mark::Fail, format!("{text}: {holder} has it")),
        None if in_use => Line::new(
            Mark::Fail,
            format!("{text}; as root, `ss -lnup` and `ss -lntp` say which program has it"),
        ),
        None => Line::new(Mark::Fail, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_testkit::sockets::{free_port, group};

    fn lines(text: &str) -> Vec<Line> {
        try_out(&text.parse::<Config>().expect("a good file"))
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
        assert!(lines[1].mark != Mark::Ok && text[1].contains("in use"), "{text:#?}");
        assert!(text[2].starts_with("FAIL  channel a") && text[2].contains("nosuch0"), "{text:#?}");
        assert!(lines[3].mark != Mark::Ok && text[3].contains("http: 127.0.0.1:"), "{text:#?}");
        drop(held);
    }
}
