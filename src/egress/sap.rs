//! Announcements of the groups that channels are sent to (RFC 2974), so that players list them: each description of
//! [`super::sdp`], from the interface and with the TTL of its output, again and again, and its deletion at the end.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{sync::watch, time::sleep};

use super::{sdp::Description, trouble::Trouble, udp::Sender};
use crate::{
    address::Output,
    clock,
    config::Channel,
    control::Control,
    limits::{SAP_INTERVAL, SAP_PACKET_BYTES_MAX},
    net::interface::Interfaces,
};

/// The port of all announcements.
const PORT: u16 = 9875;
/// Version 1 in the first byte, and its flags: an IPv6 origin, a deletion.
const VERSION: u8 = 1 << 5;
const IPV6: u8 = 1 << 4;
const DELETION: u8 = 1 << 2;

/// The group in which sessions of this group are announced: the highest address of its scope (RFC 2974 section 3,
/// RFC 2365 section 6, RFC 4291 section 2.7).
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

/// A packet that announces a description, or takes it back.
fn packet(description: &Description, deletion: bool) -> Vec<u8> {
    let text = description.to_string();
    let (family, origin) = match description.origin {
        IpAddr::V4(origin) => (0, origin.octets().to_vec()),
        IpAddr::V6(origin) => (IPV6, origin.octets().to_vec()),
    };
    let hash = crc32fast::hash(text.as_bytes());
    let id = ((hash >> 16 ^ hash) as u16).max(1); // 0 would mean that there is none
    let flags = VERSION | family | if deletion { DELETION } else { 0 };
    let mut packet = vec![flags, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(origin);
    packet.extend(b"application/sdp\0");
    packet.extend(text.as_bytes());
    packet
}

/// Announces what channels send to groups, until it is stopped.
#[derive(Debug)]
pub struct Announcer {
    control: Control,
    channels: Vec<Arc<Channel>>,
    version: u64,
    /// What was announced last, by its output.
    announced: BTreeMap<(usize, usize), Description>,
    /// What cannot be announced, likewise.
    troubles: BTreeMap<(usize, usize), Trouble>,
}

impl Announcer {
    /// One for those of the channels that ask for it and send to a group. Absent: there are none.
    pub fn new(control: Control, channels: &[Channel]) -> Option<Announcer> {
        let asks = |channel: &&Channel| channel.sap && channel.outputs.iter().any(Output::is_class_d);
        let channels: Vec<_> = channels.iter().filter(asks).cloned().map(Arc::new).collect();
        let version = clock::unix().as_secs();
        let (announced, troubles) = (BTreeMap::new(), BTreeMap::new());
        (!channels.is_empty()).then_some(Announcer { control, channels, version, announced, troubles })
    }

    /// Announces everything each [`SAP_INTERVAL`], or a little earlier or later so that hosts do not do it in step;
    /// takes it back when `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.announce().await;
            let pause = SAP_INTERVAL.mul_f64(rand::random_range(2.0 / 3.0..4.0 / 3.0));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
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
            let datagrams = self.control.carriage(&channel).await;
            for (output, address) in channel.outputs.iter().enumerate().filter(|(_, o)| o.is_class_d()) {
                let current = Description::of_output(&channel.name, address, datagrams, self.version);
                self.update((index, output), current);
            }
        }
    }

    /// Announces this, and takes back what was announced before if it is something else.
    fn update(&mut self, place: (usize, usize), current: Option<Description>) {
        let Some(current) = current else { return };
        let before = self.announced.insert(place, current.clone());
        if let Some(before) = before.filter(|before| *before != current) {
            self.send(place, &before, true);
        }
        self.send(place, &current, false);
    }

    /// Sends one packet. One that cannot be sent is like one that is lost: the next one follows.
    fn send(&mut self, place: (usize, usize), description: &Description, deletion: bool) {
        let (channel, output) = place;
        let channel = &self.channels[channel];
        let packet = packet(description, deletion);
        let output = Output {
            target: SocketAddr::new(announced_in(description.target.ip()), PORT),
            fec: None,
            ..channel.outputs[output].clone()
        };
        if packet.len() > SAP_PACKET_BYTES_MAX {
            return; // names are shorter than that
        }
        let sent = Sender::open(&output, 1, &Interfaces::read(clock::now()))
            .map_err(|error| error.to_string())
            .and_then(|sender| {
                sender.send_to(sender.address(&output), &packet).map_err(|error| error.to_string())
            });
        if let Err(error) = sent
            && self.troubles.entry(place).or_default().is_news(clock::now())
        {
            tracing::warn!(channel = channel.name, "cannot announce to {}: {error}", output.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::sdp::Carriage;

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
        let description = Description {
            name: "cam".into(),
            target: "239.2.2.2:6020".parse().unwrap(),
            carriage: Carriage::Rtp,
            ttl: Some(4),
            source: None,
            origin: "10.0.0.1".parse().unwrap(),
            version: 1,
        };
        let (announced, deleted) = (packet(&description, false), packet(&description, true));
        assert_eq!((announced[0], deleted[0], announced[1]), (0x20, 0x24, 0));
        assert_eq!((&announced[4..8], &announced[1..]), (&[10, 0, 0, 1][..], &deleted[1..]));
        let text = description.to_string();
        assert_eq!(announced[8..], [b"application/sdp\0", text.as_bytes()].concat());
        let other = Description { version: 2, ..description.clone() };
        assert_ne!(packet(&other, false)[2..4], announced[2..4], "another text, another id");
        let six = Description { origin: "2001:db8::1".parse().unwrap(), ..description };
        assert_eq!((packet(&six, false)[0], packet(&six, false)[19]), (0x30, 1));
    }
}
