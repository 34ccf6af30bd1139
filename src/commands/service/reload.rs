//! A new configuration for a running relay: applies what differs, and touches nothing else.

use std::{fmt, sync::Arc};

use super::{Service, start_channel};
use crate::{
    config::{Channel, Config},
    serve::sap::Announcer,
    shares::Resource,
    words,
};
use tidecast_net::clock;
use tidecast_wire::seal::Keyring;

/// What differs between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    added: Vec<String>,
    changed: Vec<String>,
    /// Channels with other keys for seals, and no other difference.
    rekeyed: Vec<String>,
    removed: Vec<String>,
    access: bool,
    /// Settings that count at the next start.
    later: Vec<&'static str>,
}

impl Difference {
    pub(super) fn between(old: &Config, new: &Config) -> Difference {
        let shares = |config: &Config| Resource::ALL.map(|resource| config.bounds.of(resource).share);
        let later = [
            ("tick", old.tick != new.tick),
            ("threads", old.threads != new.threads),
            ("burst", old.burst != new.burst),
            ("[http]", old.http != new.http),
            ("[tcp]", old.tcp != new.tcp),
            ("[udp]", old.udp != new.udp),
            ("[shares]", shares(old) != shares(new)),
            ("audit", old.access.audit != new.access.audit),
        ];
        let [mut added, mut changed, mut rekeyed] = [const { Vec::new() }; 3];
        for channel in &new.channels {
            match Step::of(old, channel) {
                Step::Keep => continue,
                Step::Rekey(_) => &mut rekeyed,
                Step::Replace(_) => &mut changed,
                Step::Add => &mut added,
            }
            .push(channel.name.clone());
        }
        let is_gone = |known: &&Channel| new.channels.iter().all(|channel| channel.name != known.name);
        Difference {
            added,
            changed,
            rekeyed,
            removed: old.channels.iter().filter(is_gone).map(|known| known.name.clone()).collect(),
            access: old.access != new.access,
            later: later.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect(),
        }
    }

    fn has_channels(&self) -> bool {
        !(self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty())
    }
}

/// What a channel of a new configuration takes.
enum Step {
    /// Nothing: it is the same.
    Keep,
    /// The exchange of its keys for seals; nothing else differs.
    Rekey(Arc<Keyring>),
    /// A new start, in place of the one that runs.
    Replace(Box<Channel>),
    /// A start.
    Add,
}

impl Step {
    fn of(old: &Config, channel: &Channel) -> Step {
        let Some(known) = old.channels.iter().find(|known| known.name == channel.name) else {
            return Step::Add;
        };
        if known == channel {
            return Step::Keep;
        }
        let with_its_keys = Channel { seal: channel.seal.clone(), ..known.clone() };
        match &channel.seal {
            Some(keyring) if known.seal.is_some() && with_its_keys == *channel => {
                Step::Rekey(keyring.clone())
            }
            _ => Step::Replace(Box::new(known.clone())),
        }
    }
}

/// `added cam-3; changed cam-1; new rules of access; [tcp] counts at the next start`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("added", &self.added),
            ("changed", &self.changed),
            ("new keys of", &self.rekeyed),
            ("removed", &self.removed),
        ];
        let mut parts: Vec<String> = lists
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} {}", names.join(", ")))
            .collect();
        parts.extend(self.access.then(|| "new rules of access".to_owned()));
        if !self.later.is_empty() {
            let verb = if self.later.len() == 1 { "counts" } else { "count" };
            parts.push(format!("{} {verb} at the next start", self.later.join(", ")));
        }
        f.write_str(if parts.is_empty() { "nothing is new" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

impl Service {
    /// Applies a new configuration: ends, starts and replaces channels, and the rules of access.
    /// Channels that do not differ go on, with all that is connected to them. A channel that cannot
    /// be started is logged; one that was to be replaced goes on as it was.
    pub(super) async fn apply(&mut self, new: Config) {
        let difference = Difference::between(&self.config, &new);
        // First, so that nothing that is new is open under the old rules.
        if difference.access {
            self.replace_access(&new);
        }
        let mut kept = Vec::new();
        for name in &difference.removed {
            self.end_channel(name).await;
        }
        for channel in &new.channels {
            let name = &channel.name;
            match Step::of(&self.config, channel) {
                Step::Keep => kept.push(channel.clone()),
                Step::Rekey(keyring) => {
                    if let Err(error) = self.registry.rekey(name, keyring).await {
                        tracing::warn!(channel = name, "cannot exchange the keys: {error}");
                    }
                    kept.push(channel.clone());
                }
                Step::Replace(old) => {
                    self.end_channel(name).await;
                    if self.begin_channel(channel).await {
                        kept.push(channel.clone());
                    } else if self.begin_channel(&old).await {
                        kept.push(*old);
                    }
                }
                Step::Add => kept.extend(self.begin_channel(channel).await.then(|| channel.clone())),
            }
        }
        let names: Vec<&str> = kept.iter().map(|channel| channel.name.as_str()).collect();
        self.registry.arrange(&names);
        let old = std::mem::replace(&mut self.config.channels, kept);
        if difference.has_channels() && old.iter().chain(&self.config.channels).any(|channel| channel.sap) {
            self.announce_anew().await;
        }
        self.channels = self.config.channels.len();
        tracing::info!("the configuration was read again: {difference}");
        self.audit.changed(&Default::default(), &format!("read the configuration again: {difference}"));
    }

    fn replace_access(&mut self, new: &Config) {
        let control = self.config.http.as_ref().is_some_and(|http| http.control);
        self.access.replace(new.access.clone(), control);
        let (old, now) = (self.config.access.clone(), clock::unix());
        let ended = self.registry.disconnect_users(|user| old.ends(&new.access, user, now));
        if ended > 0 {
            let clients = words::count(ended as u64, "client");
            tracing::info!("disconnected {clients}, whose tokens allow less by now");
        }
        let audit = self.config.access.audit.clone();
        self.config.access = crate::config::Access { audit, ..new.access.clone() };
        super::warn_if_open(&self.config);
    }

    async fn end_channel(&mut self, name: &str) {
        if let Err(error) = self.registry.remove(name).await {
            tracing::warn!(channel = name, "cannot end the channel: {error}");
        }
        for recorder in self.recorders.remove(name).unwrap_or_default() {
            recorder.ended().await;
        }
    }

    /// Returns whether it runs.
    async fn begin_channel(&mut self, channel: &Channel) -> bool {
        match start_channel(&self.registry, channel).await {
            Ok((started, recorders)) => {
                for waiting in started.waiting {
                    tracing::warn!(channel = channel.name, "waiting: {waiting}");
                }
                self.recorders.insert(channel.name.clone(), recorders);
                true
            }
            Err(error) => {
                tracing::error!(channel = channel.name, "cannot start the channel: {error}");
                false
            }
        }
    }

    /// Announces the channels that there are now.
    async fn announce_anew(&mut self) {
        if let Some(announcer) = self.announcer.take() {
            announcer.end().await;
        }
        let announcer = Announcer::new(self.registry.clone(), &self.config.channels);
        self.announcer = announcer.map(|announcer| super::Task::start(|stop| announcer.run(stop)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_each_part() {
        let channel = |name: &str, port: u16| {
            format!("[[channel]]\nname = \"{name}\"\ninput = \"udp://@239.1.1.1:{port}\"\n")
        };
        let config = |text: String| text.parse::<Config>().unwrap();
        let old = config(channel("a", 1000) + &channel("b", 1002) + &channel("c", 1004));
        let new = config(
            "access.anonymous = [\"watch\"]\ntcp.listen = \"127.0.0.1:9000\"\n".to_owned()
                + &channel("c", 1004)
                + &channel("b", 1006)
                + &channel("d", 1008),
        );
        let difference = Difference::between(&old, &new);
        let sealed = |id: &str| {
            let key = format!("{id}:{}", "ab".repeat(32));
            config(channel("a", 1000) + &format!("seal = \"required\"\nseal_keys = \"{key}\"\n"))
        };
        let keys = Difference::between(&sealed("1"), &sealed("2"));
        assert_eq!((keys.to_string().as_str(), keys.has_channels()), ("new keys of a", false));
        let unsealed = Difference::between(&sealed("1"), &config(channel("a", 1000)));
        assert_eq!(unsealed.to_string(), "changed a");
        let expected = "added d; changed b; removed a; new rules of access; [tcp] counts at the next start";
        assert_eq!(difference.to_string(), expected);
        let same = Difference::between(&old, &old);
        assert_eq!((same.to_string().as_str(), same.has_channels()), ("nothing is new", false));
    }
}
