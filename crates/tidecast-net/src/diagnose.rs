//! Finds likely causes why a joined group receives nothing, from the state of this host, the
//! likeliest first.
//!
//! Only reads `/sys` and `/proc`; opens no socket and changes nothing. For `probe`, `check` and
//! `observe`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use crate::address::{Input, Interface};

/// The folders in which the kernel shows its state; tests use their own.
#[derive(Debug, Clone)]
struct Host {
    root: PathBuf,
}

/// Returns the likeliest causes, the likeliest first; each is a sentence that states a remedy.
/// `interface` is the interface on which the group was joined, if known.
pub fn silence(input: &Input, interface: Option<&str>) -> Vec<String> {
    Host { root: PathBuf::from("/") }.silence(input, interface)
}

impl Host {
    fn silence(&self, input: &Input, interface: Option<&str>) -> Vec<String> {
        let mut causes = Vec::new();
        if let Some(interface) = interface {
            causes.extend(self.link(interface));
            causes.extend(self.bridge(interface));
            causes.extend(self.joined_elsewhere(input, interface));
        }
        causes.extend(source_filter(input));
        if let Some(interface) = interface {
            causes.extend(self.reverse_path(input, interface));
            causes.extend(self.route_chose(input, interface));
        }
        causes.push(format!(
            "nobody sends to {} on this network: check the sender, the address and the port",
            input.socket_addr()
        ));
        if input.is_class_d() && interface != Some("lo") {
            causes.push(
                "no IGMP querier: switches with IGMP snooping forward a group only where a querier keeps asking; switch one on \
                 (a router, or the switch's own)"
                    .to_owned(),
            );
        }
        causes.push(format!("a firewall drops it: let UDP to port {} in", input.port));
        causes
    }

    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    fn of_interface(&self, interface: &str, file: &str) -> Option<String> {
        self.text(Path::new("sys/class/net").join(interface).join(file))
    }

    fn link(&self, interface: &str) -> Option<String> {
        let down = self.of_interface(interface, "operstate").is_some_and(|state| state == "down");
        let no_carrier = self.of_interface(interface, "carrier").is_some_and(|carrier| carrier == "0");
        (down || no_carrier)
            .then(|| format!("{interface} is down: plug it in, or `ip link set {interface} up`"))
    }

    /// Finds a bridge on this host that snoops without a querier: the interface itself, or the
    /// bridge of which the interface is a port.
    fn bridge(&self, interface: &str) -> Option<String> {
        let bridge = ["bridge", "brport/bridge/bridge"].into_iter().find_map(|folder| {
            let snooping = self.of_interface(interface, &format!("{folder}/multicast_snooping"))?;
            let querier = self.of_interface(interface, &format!("{folder}/multicast_querier"))?;
            (snooping == "1" && querier == "0").then_some(folder)
        })?;
        let name = if bridge == "bridge" {
            format!("the bridge {interface}")
        } else {
            format!("the bridge that {interface} is a port of")
        };
        Some(format!(
            "{name} snoops IGMP and has no querier of its own: unless a router asks, it forgets who joined; \
             `ip link set BRIDGE type bridge mcast_querier 1`, or mcast_snooping 0"
        ))
    }

    /// Checks whether another program on this host has joined the group on another interface,
    /// which may be the right one.
    fn joined_elsewhere(&self, input: &Input, interface: &str) -> Option<String> {
        let IpAddr::V4(group) = input.group else { return None };
        let others = memberships(&self.text("proc/net/igmp")?, group);
        let others: Vec<String> = others.into_iter().filter(|name| name != interface).collect();
        (!others.is_empty()).then(|| {
            format!(
                "the wrong interface: it was joined on {interface}, and others on this host have joined it on {}; name it with ?if=",
                others.join(", ")
            )
        })
    }

    /// Checks whether the kernel drops datagrams from senders that it would not reach through the
    /// interface (strict reverse-path filtering, RFC 3704).
    fn reverse_path(&self, input: &Input, interface: &str) -> Option<String> {
        let filter = |name: &str| {
            let text = self.text(format!("proc/sys/net/ipv4/conf/{name}/rp_filter"))?;
            text.parse::<u8>().ok()
        };
        let strict = filter("all").max(filter(interface)) == Some(1);
        (strict && input.group.is_ipv4() && interface != "lo").then(|| {
            format!(
                "the kernel's reverse path filter is strict: it drops senders that are not routed through {interface}; \
                 `sysctl -w net.ipv4.conf.{interface}.rp_filter=2` (and `all`)"
            )
        })
    }

    /// Checks whether no interface was named although there are several.
    fn route_chose(&self, input: &Input, interface: &str) -> Option<String> {
        if input.interface.is_some() || !input.is_class_d() {
            return None;
        }
        let mut others = self.up();
        others.retain(|name| name != interface && name != "lo");
        (!others.is_empty()).then(|| {
            format!(
                "the wrong interface: none is named, and the route led to {interface}; name another one with ?if= ({})",
                others.join(", ")
            )
        })
    }

    fn up(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.root.join("sys/class/net")) else { return Vec::new() };
        let names = folder.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| self.of_interface(name, "operstate").is_some_and(|s| s == "up")).collect();
        names.sort();
        names
    }
}

fn source_filter(input: &Input) -> Option<String> {
    let source = input.source?;
    Some(format!("only {source} is let through (source-specific): does that host send, with this address?"))
}

/// Returns the interfaces on which a group is joined according to `/proc/net/igmp`, which writes
/// the group in hexadecimal, with the bytes in memory order.
fn memberships(igmp: &str, group: Ipv4Addr) -> Vec<String> {
    let wanted = format!("{:08X}", u32::from_ne_bytes(group.octets()));
    let mut interface = String::new();
    let mut found = Vec::new();
    for line in igmp.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            interface = words.nth(1).unwrap_or_default().trim_end_matches(':').to_owned();
        } else if words.next() == Some(&wanted) {
            found.push(interface.clone());
        }
    }
    found
}

/// Returns the name of the interface as typed, if it was named by a name.
pub fn named(input: &Input) -> Option<&str> {
    match &input.interface {
        Some(Interface::Name(name)) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGMP: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
2\teth0      :     2      V3
\t\t\t\t010101EF     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
3\teth1      :     1      V3
\t\t\t\t010101EF     1 0:00000000\t\t0
";

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, format!("{text}\n")).expect("a file");
        }
        let root = folder.path().to_owned();
        (folder, Host { root })
    }

    fn first(files: &[(&str, &str)], input: &str, interface: &str) -> String {
        let (_folder, host) = host(files);
        host.silence(&input.parse().expect("an address"), Some(interface)).swap_remove(0)
    }

    #[test]
    fn what_the_host_shows_comes_first() {
        let group = "udp://@239.1.1.1:5000";
        let down = first(&[("sys/class/net/eth0/operstate", "down")], group, "eth0");
        assert!(down.starts_with("eth0 is down"), "{down}");
        let bridge = [
            ("sys/class/net/br0/bridge/multicast_snooping", "1"),
            ("sys/class/net/br0/bridge/multicast_querier", "0"),
        ];
        assert!(first(&bridge, group, "br0").contains("br0 snoops IGMP and has no querier"));
        let elsewhere = first(&[("proc/net/igmp", IGMP)], group, "eth0");
        assert!(elsewhere.contains("joined it on eth1"), "{elsewhere}");
        let strict =
            first(&[("proc/sys/net/ipv4/conf/all/rp_filter", "1")], "udp://@239.1.1.1:5000?if=eth0", "eth0");
        assert!(strict.contains("net.ipv4.conf.eth0.rp_filter=2"), "{strict}");
        let two = [("sys/class/net/eth0/operstate", "up"), ("sys/class/net/eth1/operstate", "up")];
        assert!(first(&two, group, "eth0").contains("with ?if= (eth1)"));
        assert!(first(&[], "udp://10.0.0.5@232.1.1.1:5000?if=eth0", "eth0").starts_with("only 10.0.0.5"));
    }

    #[test]
    fn what_cannot_be_seen_comes_last() {
        let (_folder, host) = host(&[]);
        let causes = host.silence(&"udp://@239.1.1.1:5000".parse().expect("an address"), None);
        assert_eq!(causes.len(), 3, "{causes:?}");
        assert!(causes[0].contains("nobody sends to 239.1.1.1:5000"));
        assert!(causes[1].contains("IGMP querier") && causes[2].contains("port 5000"));
    }

    #[test]
    fn memberships_of_this_host_can_be_read() {
        assert_eq!(memberships(IGMP, Ipv4Addr::new(239, 1, 1, 1)), ["eth0", "eth1"]);
        let all_systems = Ipv4Addr::new(224, 0, 0, 1);
        let own = fs::read_to_string("/proc/net/igmp").expect("Linux with IPv4");
        assert!(memberships(&own, all_systems).contains(&"lo".to_owned()) || !own.contains("lo"), "{own}");
    }
}
