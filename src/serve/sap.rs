//! Announces groups that channels are sent to (SAP, RFC 2974), so that players list them: each
//! description of [`super::sdp`] is sent periodically from the interface and with the TTL of its
//! output, and deleted at the end.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::sdp::{Contents, Description, Stream};
use crate::{
    channel::udp::Sender,
    config::Channel,
    limits::{SAP_INTERVAL, SAP_PACKET_BYTES_MAX},
    registry::Registry,
};
use tidecast_net::{address::Output, clock, interface::Interfaces, log_limiter::LogLimiter};

/// Port of all announcements.
const PORT: u16 = 9875;
/// Version 1 in the first byte, and its flags: an IPv6 origin, a deletion.
const VERSION: u8 = 1 << 5;
const IPV6: u8 = 1 << 4;
const DELETION: u8 = 1 << 2;

/// Group for announcements of sessions in `group`: the highest address of its scope (RFC 2974
/// section 3, RFC 2365 section 6, RFC 4291 section 2.7).
fn announced_in(group: IpAddr) -> IpAddr {
    match group {
        IpAddr::V4(group) => match group.octets() {
            [239, 255, ..] => Ipv4Addr::new(239, 255, 255, 255),
            [239, 192..=195, ..] => Ipv4Addr::new(239, 195, 255, 255),
            [224, 0, 0, _] => Ipv4Addr::new(224, 0, 0, 255),
            _ => Ipv4Addr::new(224, 2, 127, 254),
        }
        .into(),
        IpAddr::V6(group) => {
            let scope = group.segments()[0] & 0xf;
            Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, 2, 0x7ffe).into()
        }
    }
}

/// Group on which AES67 devices (Dante, Ravenna and others) listen, regardless of the groups of
/// their streams.
const AES67: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 255);

/// Groups in which a description is announced.
fn groups_of(description: &Description) -> Vec<IpAddr> {
    let group = description.target().ip();
    let mut groups = vec![announced_in(group)];
    if group.is_ipv4() && description.is_for_aes67() && groups[0] != IpAddr::V4(AES67) {
        groups.push(AES67.into());
    }
    groups
}

/// A packet that announces a description, or deletes it.
fn packet(description: &Description, deletion: bool) -> Vec<u8> {
    let text = description.to_string();
    let (family, origin) = match description.origin() {
        IpAddr::V4(origin) => (0, origin.octets().to_vec()),
        IpAddr::V6(origin) => (IPV6, origin.octets().to_vec()),
    };
    let hash = crc32fast::hash(text.as_bytes());
    let id = ((hash >> 16 ^ hash) as u16).max(1); // 0 would mean that there is no hash
    let flags = VERSION | family | if deletion { DELETION } else { 0 };
    let mut packet = vec![flags, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(origin);
    packet.extend(b"application/sdp\0");
    packet.extend(text.as_bytes());
    packet
}

/// Announces the groups that channels are sent to, until it is stopped.
#[derive(Debug)]
pub struct Announcer {
    registry: Registry,
    channels: Vec<Arc<Channel>>,
    version: u64,
    /// The latest announcements, by output.
    announced: BTreeMap<(usize, usize), Description>,
    /// Errors of announcements, by output.
    troubles: BTreeMap<(usize, usize), LogLimiter>,
}

impl Announcer {
    /// Creates an announcer for the channels that ask for it and send to a group; `None` without
    /// any.
    pub fn new(registry: Registry, channels: &[Channel]) -> Option<Announcer> {
        let asks = |channel: &&Channel| channel.sap && channel.outputs.iter().any(Output::is_class_d);
        let channels: Vec<_> = channels.iter().filter(asks).cloned().map(Arc::new).collect();
        let version = clock::unix().as_secs();
        let (announced, troubles) = (BTreeMap::new(), BTreeMap::new());
        (!channels.is_empty()).then_some(Announcer { registry, channels, version, announced, troubles })
    }

    /// Announces everything every [`SAP_INTERVAL`], with a random offset so that hosts do not
    /// announce at the same time; deletes the announcements when `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.announce().await;
            let pause = SAP_INTERVAL.mul_f64(rand::random_range(2.0 / 3.0..4.0 / 3.0));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        for (place, description) in std::mem::take(&mut self.announced) {
            self.send(place, &description, true);
        }
    }

    async fn announce(&mut self) {
        for index in 0..self.channels.len() {
            let channel = self.channels[index].clone();
            let session: Vec<_> = self.session_of(index).cloned().collect();
            let mut contents = Vec::new();
            for part in &session {
                contents.push((part, Contents::of_running(&self.registry, part).await));
            }
            for output in 0..channel.outputs.len() {
                let current = self.describe(&channel, &contents, output);
                self.update((index, output), current);
            }
        }
    }

    /// The channels announced in one session with this one, in their order.
    fn session_of(&self, index: usize) -> impl Iterator<Item = &Arc<Channel>> {
        let own = &self.channels[index];
        let others =
            self.channels.iter().filter(|other| own.session().is_some() && other.session() == own.session());
        let alone = own.session().is_none().then_some(own);
        others.chain(alone)
    }

    /// Describes the outputs to groups at this position. The first channel of a session with such
    /// an output announces those of the other channels, too.
    fn describe(
        &self,
        channel: &Arc<Channel>,
        session: &[(&Arc<Channel>, Contents)],
        output: usize,
    ) -> Option<Description> {
        let class_d = |part: &&Arc<Channel>| part.outputs.get(output).is_some_and(Output::is_class_d);
        let first = session.iter().map(|(part, _)| *part).find(class_d)?;
        if first.name != channel.name {
            return None;
        }
        let streams = session.iter().filter(|(part, _)| class_d(part));
        let streams =
            streams.filter_map(|(part, contents)| Stream::of_output(&part.outputs[output], contents).ok());
        Description::new(&channel.name, streams.collect(), self.version)
    }

    /// Announces a description, if there is one, and deletes a previous announcement that differs.
    fn update(&mut self, place: (usize, usize), current: Option<Description>) {
        let before = self.announced.remove(&place);
        if let Some(before) = before.filter(|before| current.as_ref() != Some(before)) {
            self.send(place, &before, true);
        }
        if let Some(current) = current {
            self.send(place, &current, false);
            self.announced.insert(place, current);
        }
    }

    /// Sends one packet. A failed one is treated like a lost one: the next one follows.
    fn send(&mut self, place: (usize, usize), description: &Description, deletion: bool) {
        let (channel, output) = place;
        let channel = &self.channels[channel];
        let packet = packet(description, deletion);
        let mut outputs = groups_of(description).into_iter().map(|group| Output {
            target: SocketAddr::new(group, PORT),
            fec: None,
            ..channel.outputs[output].clone()
        });
        let sent = match packet.len() {
            length if length > SAP_PACKET_BYTES_MAX => {
                Err(format!("{length} bytes, expected at most {SAP_PACKET_BYTES_MAX}: shorten its sdp"))
            }
            _ => outputs.try_for_each(|output| send_to(&output, &packet)),
        };
        if let Err(error) = sent
            && self.troubles.entry(place).or_default().admits(clock::now())
        {
            tracing::warn!(channel = channel.name, "cannot announce {}: {error}", description.target());
        }
    }
}

/// Sends a packet in the same way as an output.
fn send_to(output: &Output, packet: &[u8]) -> Result<(), String> {
    let sender =
        Sender::open(output, 1, &Interfaces::read(clock::now())).map_err(|error| error.to_string())?;
    let sent = sender.send_to(sender.address(output), packet);
    sent.map(|_| ()).map_err(|error| format!("{}: {error}", output.target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::sdp::Content;
    use tidecast_wire::sdp::Media;

    fn description(target: &str, map: &str) -> Description {
        let content = Content::Rtp { lines: Vec::new(), media: Media::of(&[map.parse().unwrap()]) };
        let origin = "10.0.0.1".parse().unwrap();
        let stream = Stream { target: target.parse().unwrap(), content, ttl: Some(4), source: None, origin };
        Description::new("cam", vec![stream], 1).unwrap()
    }

    #[test]
    fn linear_audio_is_announced_where_devices_for_aes67_listen() {
        let groups = |target, map| {
            let groups = groups_of(&description(target, map)).into_iter().map(|group| group.to_string());
            groups.collect::<Vec<_>>()
        };
        assert_eq!(groups("239.69.1.1:5004", "98 L24/48000/8"), ["224.2.127.254", "239.255.255.255"]);
        assert_eq!(groups("239.255.1.1:5004", "98 L16/48000"), ["239.255.255.255"]);
        assert_eq!(groups("239.69.1.1:5004", "33 MP2T/90000"), ["224.2.127.254"]);
        assert_eq!(groups("[ff15::1]:5004", "98 L24/48000/8"), ["ff05::2:7ffe"]);
    }

    #[test]
    fn sessions_are_announced_in_their_scope() {
        for (group, expected) in [
            ("239.255.1.2", "239.255.255.255"),
            ("239.193.1.2", "239.195.255.255"),
            ("239.1.2.3", "224.2.127.254"),
            ("224.2.130.1", "224.2.127.254"),
            ("224.0.0.77", "224.0.0.255"),
            ("ff15::1", "ff05::2:7ffe"),
            ("ff0e::1", "ff0e::2:7ffe"),
        ] {
            assert_eq!(announced_in(group.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{group}");
        }
    }

    #[test]
    fn packets_say_where_they_are_from_and_what_they_are() {
        let description = description("239.2.2.2:6020", "33 MP2T/90000");
        let (announced, deleted) = (packet(&description, false), packet(&description, true));
        assert_eq!((announced[0], deleted[0], announced[1]), (0x20, 0x24, 0));
        assert_eq!((&announced[4..8], &announced[1..]), (&[10, 0, 0, 1][..], &deleted[1..]));
        let text = description.to_string();
        assert_eq!(announced[8..], [b"application/sdp\0", text.as_bytes()].concat());
        let other = Description { version: 2, ..description.clone() };
        assert_ne!(packet(&other, false)[2..4], announced[2..4], "another text, another id");
        let mut six = description;
        six.streams[0].origin = "2001:db8::1".parse().unwrap();
        assert_eq!((packet(&six, false)[0], packet(&six, false)[19]), (0x30, 1));
    }
}
