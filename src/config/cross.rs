//! Validation rules that involve several values: missing keys, duplicate names and addresses,
//! outputs that would loop.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::problem::Problem;
use super::raw::{Field, Raw, RawChannel, SettingPlace};
use super::{Channel, Config, Delay, Fec, Hold, Release, Retransmission};
use crate::limits::{CHANNELS_MAX, OUTPUTS_MAX};
use tidecast_core::limits::LEGS_MAX;
use tidecast_core::relay::Beside;
use tidecast_net::address::{Input, Output, OutputRtcp, Scheme, Target};
use tidecast_wire::{
    Format,
    st2022::{self, Axis},
};

/// Checks the configuration as a whole; `raw` has the place of each value.
pub(super) fn validate(raw: &Raw, config: &Config, problems: &mut Vec<Problem>) {
    if config.channels.len() > CHANNELS_MAX {
        let found = config.channels.len();
        let place = SettingPlace::Key { line: None, key: "channel".to_owned(), channel: None };
        problems.push(Problem::at(place, format_args!("{found} channels, expected at most {CHANNELS_MAX}")));
    }
    nothing_to_do(raw, config, problems);
    let mut names = HashMap::new();
    let mut unicast = HashMap::new();
    let inputs = Inputs::new(raw);
    for (raw, channel) in raw.channels.iter().zip(&config.channels) {
        let served = config.http.is_some() || config.tcp.is_some() || config.udp.is_some();
        required(raw, served, problems);
        unique_name(raw, channel, &mut names, problems);
        format(raw, channel, problems);
        described(raw, channel, problems);
        numbered_legs(raw, channel, problems);
        flow_idle(raw, channel, problems);
        idle_release(raw, channel, problems);
        fec(raw, channel, problems);
        retransmission(raw, channel, problems);
        legs(raw, channel, &mut unicast, problems);
        outputs(raw, &inputs, problems);
        recordings(raw, problems);
    }
}

fn nothing_to_do(raw: &Raw, config: &Config, problems: &mut Vec<Problem>) {
    if let (None, true, Some(listen)) = (&config.http, raw.channels.is_empty(), &raw.http.listen) {
        problems.push(Problem::of_field(listen, "nothing to do, expected HTTP or at least one [[channel]]"));
    }
}

fn required(raw: &RawChannel, served: bool, problems: &mut Vec<Problem>) {
    let mut missing = |key, expected: &str| {
        problems.push(Problem::at(key_of(raw, key), format_args!("missing, expected {expected}")));
    };
    if raw.name.is_none() {
        missing("name", "the channel's name, such as \"camera-1\"");
    }
    let is_empty = |fields: &Option<Vec<Field>>| fields.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&raw.input) {
        missing("input", "one or more addresses, such as \"udp://@239.1.1.1:5000\"");
    }
    if is_empty(&raw.output) && !served {
        missing("output", "one or more addresses, since HTTP is off");
    }
    for (key, fields, max) in [("input", &raw.input, LEGS_MAX), ("output", &raw.output, OUTPUTS_MAX)] {
        let count = fields.as_ref().map_or(0, Vec::len);
        if count > max {
            let reason = format!("{count} addresses, expected at most {max}");
            problems.push(Problem::at(key_of(raw, key), reason));
        }
    }
}

/// Returns the place of a key that the channel should have.
fn key_of(raw: &RawChannel, key: &str) -> SettingPlace {
    match &raw.place {
        SettingPlace::Key { line, key: channel_key, channel } => {
            SettingPlace::Key { line: *line, key: format!("{channel_key}.{key}"), channel: channel.clone() }
        }
        SettingPlace::Flag(_) => SettingPlace::Flag(match key {
            "name" => "--name",
            "input" => "INPUT",
            _ => "--to",
        }),
        SettingPlace::File { .. } => raw.place.clone(),
    }
}

fn unique_name<'a>(
    raw: &'a RawChannel,
    channel: &'a Channel,
    names: &mut HashMap<&'a str, &'a Field>,
    problems: &mut Vec<Problem>,
) {
    let Some(field) = raw.name.as_ref().filter(|_| !channel.name.is_empty()) else { return };
    if let Some(first) = names.insert(&channel.name, field) {
        problems.push(Problem::of_field(
            field,
            format_args!("expected a name of its own, {} has it too", Where(first)),
        ));
    }
}

/// Checks that the format does not contradict an `rtp://` or `rist://` input, which determines the
/// format.
fn format(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    let rtp = channel.legs.iter().find(|leg| leg.address.scheme.is_rtp());
    if let (Some(leg), Some(field)) = (rtp, &raw.format)
        && channel.format != Format::Rtp
    {
        let reason = format!("expected \"rtp\" (or udp:// instead of {})", leg.address);
        problems.push(Problem::of_field(field, reason));
    }
}

/// Checks that a described stream is RTP.
fn described(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    let field = raw.sdp.as_ref().or_else(|| raw.rtpmap.as_ref().and_then(|maps| maps.first()));
    let other = channel.described.is_some() && channel.format != Format::Rtp;
    if let (Some(_), Some(format), true) = (field, &raw.format, other) {
        let key = if raw.sdp.is_some() { "sdp" } else { "rtpmap" };
        let reason = format!("expected \"rtp\" or \"auto\", since {key} describes RTP");
        problems.push(Problem::of_field(format, reason));
    }
}

/// Checks that the sender can answer retransmission requests: only RIST senders and native
/// producers do.
fn retransmission(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    let asked = raw.retransmission.as_ref().filter(|_| channel.retransmission == Retransmission::On);
    let rist = channel.legs.iter().any(|leg| leg.address.scheme == Scheme::Rist);
    if let (Some(field), false) = (asked, rist || matches!(channel.format, Format::Auto | Format::Native)) {
        let format = channel.format.to_string();
        let reason = format!(
            "expected a rist:// input, or the format auto or native instead of {format:?}: nobody else answers"
        );
        problems.push(Problem::of_field(field, reason));
    }
}

/// Checks that a channel with FEC for RTP has RTP input, and ports above that of the media.
fn fec(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    let Some(field) = raw.fec.as_ref().filter(|_| channel.fec == Fec::St2022) else { return };
    if channel.format != Format::Rtp {
        let reason =
            format!("expected \"off\", or format = \"rtp\" instead of {:?}", channel.format.to_string());
        problems.push(Problem::of_field(field, reason));
    }
    for (field, leg) in addresses::<Input>(&raw.input) {
        if repair_ports(&leg).count() < st2022::PORTS_ABOVE.len() {
            let reason = "expected a port up to 65531, since repair packets come on the port + 2 and + 4";
            problems.push(Problem::of_field(field, reason));
        }
    }
}

fn repair_ports(leg: &Input) -> impl Iterator<Item = SocketAddr> {
    st2022::PORTS_ABOVE.into_iter().filter_map(|offset| Some(leg.on_port_above(offset)?.socket_addr()))
}

/// Checks that a channel with several legs has numbered datagrams: without numbers, copies from
/// different legs cannot be recognized, and all would be sent.
fn numbered_legs(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    if let Some(field) = &raw.format
        && channel.legs.len() > 1
        && matches!(channel.format, Format::Ts | Format::Raw)
    {
        let reason = "expected a format with packet numbers, since there is more than one leg";
        problems.push(Problem::of_field(field, reason));
    }
}

/// Checks that a flow is not removed before its gap is over, because its held packets would be
/// lost.
fn flow_idle(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    let (Hold::Fixed(hold) | Hold::Auto { max: hold, .. }) = channel.hold;
    if let Some(field) = raw.flow_idle.as_ref().filter(|_| channel.limits.flow_idle <= hold) {
        let hold = humantime::format_duration(hold);
        problems.push(Problem::of_field(field, format_args!("expected more than the longest hold ({hold})")));
    }
}

/// Checks that a flow is not removed before its last packets are due, because they would be
/// released early.
fn idle_release(raw: &RawChannel, channel: &Channel, problems: &mut Vec<Problem>) {
    let Release::Paced(Delay::Fixed(delay)) = channel.release else { return };
    if let Some(field) = raw.flow_idle.as_ref().filter(|_| channel.limits.flow_idle <= delay) {
        let delay = humantime::format_duration(delay);
        problems
            .push(Problem::of_field(field, format_args!("expected more than the release_delay ({delay})")));
    }
}

/// Checks for duplicate legs: a leg given twice would count each packet as its own duplicate, and
/// a unicast port delivers each datagram to one socket only.
fn legs<'a>(
    raw: &'a RawChannel,
    channel: &Channel,
    unicast: &mut HashMap<SocketAddr, &'a Field>,
    problems: &mut Vec<Problem>,
) {
    let mut seen: HashMap<Input, &Field> = HashMap::new();
    for (field, leg) in addresses::<Input>(&raw.input) {
        let unicast_key = (!leg.is_class_d()).then(|| leg.socket_addr());
        let repairs =
            repair_ports(&leg).filter(|_| channel.fec == Fec::St2022).map(|at| (at, "repair packets"));
        let rtcp = leg.rtcp_addr().map(|at| (at, "RTCP"));
        let beside: Vec<_> = repairs.chain(rtcp).filter(|_| unicast_key.is_some()).collect();
        let leg = Input { scheme: Scheme::Udp, ..leg };
        let first = seen.insert(leg, field).or_else(|| unicast.insert(unicast_key?, field));
        if let Some(first) = first {
            problems.push(Problem::of_field(
                field,
                format_args!("expected an address of its own, {} has it too", Where(first)),
            ));
        }
        for (at, what) in beside {
            if let Some(first) = unicast.insert(at, field) {
                let reason =
                    format!("expected port {} for {what} alone, {} has it too", at.port(), Where(first));
                problems.push(Problem::of_field(field, reason));
            }
        }
    }
}

fn outputs(raw: &RawChannel, inputs: &Inputs<'_>, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<SocketAddr, Vec<(Output, &Field)>> = HashMap::new();
    let with_ports_above = |(field, output): (_, Output)| {
        let repairs = [Axis::Column, Axis::Row].into_iter().filter_map(|axis| output.repair_output(axis));
        let rtcp = output.rtcp_addr().map(|target| Output { target, ..output.clone() });
        let above =
            (output.rtcp == Some(OutputRtcp::Above)).then(|| output.reports_to(Beside::Above)).flatten();
        let above = above.map(|target| Output { target, ..output.clone() });
        let all = std::iter::once(output.clone()).chain(repairs).chain(rtcp).chain(above);
        all.map(move |output| (field, output)).collect::<Vec<_>>()
    };
    for (field, output) in addresses::<Output>(&raw.output).flat_map(with_ports_above) {
        if let Some(input) = inputs.fed_by(output.target) {
            problems.push(Problem::of_field(
                field,
                format_args!(
                    "expected an address that is no input: {} has it, packets would loop",
                    Where(input)
                ),
            ));
        }
        let others = seen.entry(output.target).or_default();
        if let Some((_, first)) = others.iter().find(|(other, _)| other.interface == output.interface) {
            problems.push(Problem::of_field(
                field,
                format_args!("expected an address of its own, {} has it too", Where(first)),
            ));
        }
        others.push((output, field));
    }
}

/// Checks that recordings use different folders: two recordings of a channel in one folder would
/// remove each other's files.
fn recordings(raw: &RawChannel, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<PathBuf, &Field> = HashMap::new();
    for (field, target) in addresses::<Target>(&raw.output) {
        let Target::Recording(recording) = target else { continue };
        if let Some(first) = seen.insert(recording.folder, field) {
            let reason = format!("expected a folder of its own, {} has it too", Where(first));
            problems.push(Problem::of_field(field, reason));
        }
    }
}

/// Returns the valid addresses of a list (the others have been reported already).
fn addresses<T: std::str::FromStr>(fields: &Option<Vec<Field>>) -> impl Iterator<Item = (&Field, T)> {
    fields.iter().flatten().filter_map(|field| match &field.value {
        super::raw::Value::Text(text) => Some((field, text.parse().ok()?)),
        _ => None,
    })
}

/// All addresses from which channels receive.
struct Inputs<'a> {
    by_address: HashMap<SocketAddr, &'a Field>,
    /// Ports that are received on every local address.
    by_port: HashMap<u16, &'a Field>,
}

impl<'a> Inputs<'a> {
    fn new(raw: &'a Raw) -> Inputs<'a> {
        let mut inputs = Inputs { by_address: HashMap::new(), by_port: HashMap::new() };
        for (field, input) in raw.channels.iter().flat_map(|channel| addresses::<Input>(&channel.input)) {
            for at in std::iter::once(input.socket_addr()).chain(input.rtcp_addr()) {
                inputs.by_address.insert(at, field);
                if input.group.is_unspecified() {
                    inputs.by_port.insert(at.port(), field);
                }
            }
        }
        inputs
    }

    /// Returns the input that would receive datagrams sent to the target.
    fn fed_by(&self, target: SocketAddr) -> Option<&'a Field> {
        let local = target.ip().is_loopback().then(|| self.by_port.get(&target.port())).flatten();
        self.by_address.get(&target).or(local).copied()
    }
}

/// Displays the place of another value within a sentence.
struct Where<'a>(&'a Field);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            SettingPlace::Key { key, line: Some(line), .. } => write!(f, "{key} in line {line}"),
            SettingPlace::Key { key, .. } => f.write_str(key),
            SettingPlace::Flag(flag) => write!(f, "{flag} {}", self.0.value),
            SettingPlace::File { .. } => f.write_str("the file"),
        }
    }
}
