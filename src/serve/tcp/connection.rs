//! One TCP client: reads and answers its lines here, while its queue is written.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Shared, command::Command};
use crate::{
    access::{Denied, Grant},
    config::Role,
    limits::{PUSH_STALL_MAX, REFUSAL_LINGER, SUBSCRIPTIONS_MAX, TCP_HANDSHAKE_TIMEOUT, TCP_LINE_BYTES_MAX},
    registry::{
        Joining,
        audience::{Transport, Who},
    },
    serve::{
        http, listen,
        push::{self, PushQueue, SubscribeOptions, Wire},
        queue::End,
    },
    shares::Caller,
};
use tidecast_net::address::Input;
use tidecast_wire::Format;

/// The connection of one TCP client.
#[derive(Debug)]
pub(super) struct Connection {
    queue: Arc<PushQueue>,
    shared: Arc<Shared>,
    peer: String,
    /// Owner of the share from which its groups on demand are taken.
    caller: Caller,
    /// What its token allows.
    grant: Grant,
    /// Form of everything after the first answer to SUBSCRIBE.
    wire: Option<Wire>,
    subscriptions: Vec<(String, u64)>,
    /// Until when the client may stay without a subscription, whatever it sends.
    patience: Instant,
    /// Received bytes that are not a whole line yet.
    begun: Vec<u8>,
}

/// Whether to read more lines.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    End,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>) -> Connection {
        let address = stream.peer_addr().ok();
        let caller = address.map_or(Caller::Own, |address| Caller::at(address.ip()));
        let who = Who::new(address, None);
        let grant = shared.access.anonymous();
        listen::prepare(&stream);
        let peer = who.address.clone();
        let queue = PushQueue::new(Some(stream), who);
        let patience = Instant::now() + TCP_HANDSHAKE_TIMEOUT;
        let (subscriptions, begun) = (Vec::new(), Vec::new());
        Connection { queue, shared, peer, caller, grant, wire: None, subscriptions, patience, begun }
    }

    /// Serves the client until it ends.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let queue = self.queue.clone();
        let peer = self.peer.clone();
        let end = tokio::select! {
            end = queue.write() => end,
            () = self.read() => End::Gone,
            () = stopped_idle(&stop, &queue) => End::Gone,
            end = queue.disconnected() => end,
        };
        if end == End::Disconnected {
            self.answer(Err("an operator has disconnected this client".to_owned()));
            queue.close();
            // A client that takes nothing sees the end of the connection.
            let _ = timeout(REFUSAL_LINGER, queue.write()).await;
        }
        if matches!(end, End::Done | End::Disconnected)
            && let Ok(stream) = queue.stream()
        {
            listen::part(stream).await;
        }
        if end == End::Behind {
            tracing::debug!(client = peer, "a TCP client has taken nothing for {PUSH_STALL_MAX:?}: cut off");
        }
    }

    /// Reads lines until the client has gone. After the last one, the queue ends when it is empty.
    async fn read(&mut self) {
        let end = loop {
            match self.lines().await {
                Ok(Next::Line) => {}
                end => break end,
            }
        };
        if end.is_err() {
            return;
        }
        if self.subscriptions.is_empty() {
            self.queue.close();
            return std::future::pending().await;
        }
        if let Ok(stream) = self.queue.stream() {
            listen::broken(stream).await;
        }
    }

    /// Reads the available bytes, and answers the lines in them.
    async fn lines(&mut self) -> io::Result<Next> {
        let stream = self.queue.clone();
        let stream = stream.stream()?;
        if self.subscriptions.is_empty() {
            let readable = timeout_at(self.patience, stream.readable()).await;
            if readable.is_err() || Instant::now() >= self.patience {
                let time = humantime::format_duration(TCP_HANDSHAKE_TIMEOUT);
                return Ok(self.fail(&format!("no subscription for {time}: expected SUBSCRIBE name")));
            }
        } else {
            stream.readable().await?;
        }
        let mut memory = [0; TCP_LINE_BYTES_MAX];
        match stream.try_read(&mut memory) {
            Ok(0) => return Ok(Next::End),
            Ok(bytes) => self.begun.extend_from_slice(&memory[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Line),
            Err(error) => return Err(error),
        }
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = self.begun.drain(..=end).collect();
            line.truncate(line.trim_ascii_end().len());
            if line.len() > TCP_LINE_BYTES_MAX {
                return Ok(self.too_long());
            }
            if self.obey(&line).await == Next::End {
                return Ok(Next::End);
            }
        }
        Ok(if self.begun.len() > TCP_LINE_BYTES_MAX { self.too_long() } else { Next::Line })
    }

    fn too_long(&mut self) -> Next {
        self.fail(&format!(
            "a line of more than {TCP_LINE_BYTES_MAX} bytes: expected a command and a line feed"
        ))
    }

    /// Sends the last answer.
    fn fail(&mut self, reason: &str) -> Next {
        self.answer(Err(reason.to_owned()));
        self.close();
        Next::End
    }

    fn close(&mut self) {
        for (_, id) in self.subscriptions.drain(..) {
            self.queue.remove(id);
        }
    }

    async fn obey(&mut self, line: &[u8]) -> Next {
        self.queue.answered().await;
        // The rules may have changed since the token was presented.
        self.grant = self.shared.access.renew(&self.grant).unwrap_or_else(|_| self.shared.access.anonymous());
        let command = Command::parse(line);
        if self.wire == Some(Wire::Raw) && !matches!(command, Ok(Command::Close)) {
            return Next::Line; // raw payloads leave no place for an answer
        }
        let answer = match command {
            Ok(Command::List) => self.list(),
            Ok(Command::Auth { token }) => match self.authenticate(&token) {
                Err(Denied::TooMany) => return self.fail(&Denied::TooMany.to_string()),
                answer => answer.map_err(|denied| denied.to_string()),
            },
            Ok(Command::Stats) => Ok(self.stats()),
            Ok(Command::Unsubscribe { name }) => self.unsubscribe(&name),
            Ok(Command::Subscribe { name, options }) => return self.subscribe(name, options).await,
            Ok(Command::Close) => {
                self.close();
                self.answer(Ok(json!("closed")));
                return Next::End;
            }
            Err(reason) => Err(reason),
        };
        self.answer(answer);
        Next::Line
    }

    fn answer(&self, answer: Result<serde_json::Value, String>) {
        let text = match answer {
            Ok(value) => format!("OK {value}"),
            Err(reason) => format!("ERR {reason}"),
        };
        match self.wire {
            None | Some(Wire::Lines) => self.queue.say((text + "\n").into_bytes()),
            Some(Wire::Raw) => {}
            Some(_) => self.queue.say(push::reply(&text)),
        }
    }

    /// Takes a token, which counts for what follows.
    fn authenticate(&mut self, token: &str) -> Result<serde_json::Value, Denied> {
        let granted = self.shared.access.with_token(self.caller, token);
        self.grant = granted.inspect_err(|denied| self.audit("AUTH", denied))?;
        let user = self.grant.user();
        if let Some(user) = &user {
            self.queue.introduce(user.clone());
        }
        Ok(json!({ "user": user.as_deref() }))
    }

    fn list(&self) -> Result<serde_json::Value, String> {
        self.grant.needs(Role::Watch).map_err(|denied| {
            self.audit("LIST", &denied);
            self.denied(&denied)
        })?;
        let format =
            |name: &str| self.shared.registry.format(name).map_or_else(|_| String::new(), |f| f.to_string());
        let names = self.shared.registry.names();
        let entry = |(place, name): (usize, &String)| json!({ "id": place + 1, "name": name, "format": format(name) });
        let all = names.iter().enumerate();
        Ok(all.filter(|(_, name)| self.grant.may_watch(name)).map(entry).collect())
    }

    fn stats(&self) -> serde_json::Value {
        let tally = |(name, id): &(String, u64)| {
            let tally = self.queue.tally(*id).unwrap_or_default();
            json!({ "name": name, "packets": tally.packets, "bytes": tally.bytes, "missed": tally.missed })
        };
        let subscriptions: Vec<serde_json::Value> = self.subscriptions.iter().map(tally).collect();
        json!({ "subscriptions": subscriptions, "waiting_bytes": self.queue.waiting() })
    }

    fn unsubscribe(&mut self, name: &str) -> Result<serde_json::Value, String> {
        let Some(place) = self.subscriptions.iter().position(|(known, _)| known == name) else {
            let names: Vec<&str> = self.subscriptions.iter().map(|(name, _)| name.as_str()).collect();
            let names = if names.is_empty() { "SUBSCRIBE first".to_owned() } else { names.join(", ") };
            return Err(format!("UNSUBSCRIBE {name}: not subscribed, expected {names}"));
        };
        let (_, id) = self.subscriptions.remove(place);
        self.patience = Instant::now() + TCP_HANDSHAKE_TIMEOUT;
        let tally = self.queue.remove(id).unwrap_or_default();
        Ok(json!({ "name": name, "packets": tally.packets, "bytes": tally.bytes, "missed": tally.missed }))
    }

    async fn subscribe(&mut self, name: String, options: SubscribeOptions) -> Next {
        if let Err(reason) = self.may_subscribe(&name, &options) {
            self.answer(Err(reason));
            return Next::Line;
        }
        if name.starts_with('/') {
            return self.subscribe_on_demand(name, options).await;
        }
        let place = self.shared.registry.names().iter().position(|known| *known == name).unwrap_or_default();
        let format = form(options.wire);
        // The answer comes before the first message, as a line.
        let answer = json!({ "id": place + 1, "name": name, "format": format });
        self.answer(Ok(answer));
        self.wire = Some(options.wire);
        match self.shared.hubs.subscribe(&name, Transport::Tcp, options, &self.queue).await {
            Ok(id) => {
                self.subscriptions.push((name, id));
                Next::Line
            }
            // The relay is ending.
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Subscribes to a group, named by its path as over HTTP.
    async fn subscribe_on_demand(&mut self, path: String, options: SubscribeOptions) -> Next {
        let joined = match self.group(&path) {
            Ok((input, joining)) => {
                let registry = self.shared.registry.clone();
                let joined = registry.join_on_demand(input, joining, Transport::Tcp, self.caller).await;
                joined.map_err(|error| error.to_string())
            }
            Err(reason) => Err(reason),
        };
        let (channel, share) = match joined {
            Ok(joined) => joined,
            Err(reason) => {
                self.answer(Err(reason));
                return Next::Line;
            }
        };
        self.answer(Ok(json!({ "id": 0, "name": path, "format": form(options.wire) })));
        self.wire = Some(options.wire);
        match self.shared.hubs.subscribe_shared(&channel, share, options, &self.queue, None).await {
            Ok(id) => {
                self.subscriptions.push((path, id));
                Next::Line
            }
            // The relay is ending.
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// The group that a path names, if it is allowed.
    fn group(&self, path: &str) -> Result<(Input, Joining), String> {
        let expected = || {
            format!("stream {path:?}: expected a name, or a group such as /udp/239.1.1.1:5000 with [http]")
        };
        let config = self.shared.on_demand.as_ref().ok_or_else(expected)?;
        let input = http::group::of_path(path, config).ok_or_else(expected)??;
        Ok((input, http::group::joining(config)))
    }

    fn audit(&self, what: &str, denied: &Denied) {
        let who = Who { address: self.peer.clone(), user: self.grant.user(), agent: None };
        self.shared.audit.refused_tcp(&who, what, &denied.to_string());
    }

    /// Why something is denied, and how a TCP client presents a token.
    fn denied(&self, denied: &Denied) -> String {
        match denied {
            Denied::NoToken(role) => format!("this needs the role {role}: expected AUTH token first"),
            other => other.to_string(),
        }
    }

    fn may_subscribe(&self, name: &str, options: &SubscribeOptions) -> Result<(), String> {
        let granted = match name.strip_prefix('/') {
            // What is allowed here is not for everyone.
            Some(_) => match self.grant.needs(Role::Watch) {
                Ok(()) => self.group(name).map(|(input, _)| self.grant.group(input.group))?,
                denied => denied,
            },
            None => self.grant.channel(name, self.shared.registry.knows(name)),
        };
        granted.map_err(|denied| {
            self.audit(&format!("SUBSCRIBE {name}"), &denied);
            self.denied(&denied)
        })?;
        let known = match name.strip_prefix('/') {
            Some(path) if path.starts_with("rtp/") => Format::Rtp,
            Some(_) => Format::Auto,
            None => self.shared.registry.format(name).map_err(|error| error.to_string())?,
        };
        options.check(&known)?;
        let wire = options.wire;
        if self.subscriptions.iter().any(|(known, _)| known == name) {
            return Err(format!("SUBSCRIBE {name}: subscribed already, expected UNSUBSCRIBE {name} first"));
        }
        if let Some(known) = self.wire.filter(|known| *known != wire) {
            let (known, wanted) = (form(known), form(wire));
            return Err(format!("format {wanted}: expected {known}, the first one of this connection"));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(format!("{SUBSCRIPTIONS_MAX} streams already: expected another connection for more"));
        }
        Ok(())
    }
}

fn form(wire: Wire) -> &'static str {
    match wire {
        Wire::Lines => "lines",
        Wire::Raw => "raw",
        _ => "frames",
    }
}

/// Returns when the server ends and the client has no subscription that would end by itself.
async fn stopped_idle(stop: &CancellationToken, queue: &PushQueue) {
    stop.cancelled().await;
    if queue.is_idle() {
        return;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        access::Access, audit::AuditLog, channel::PathSettings, registry::Registry, serve::push::Hubs,
        shares::Shares,
    };

    #[tokio::test]
    async fn a_client_without_subscriptions_is_sent_away_whatever_it_asks() {
        let (tick, chunk) = (Duration::ZERO, Duration::ZERO);
        let settings = PathSettings { tick, burst: 1, chunk, last_values: false, start_bytes_max: 0 };
        let registry = Registry::start(1, settings, Duration::ZERO, Shares::default(), Arc::new(())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let hubs = Arc::new(Hubs::new(registry.clone()));
        let access = Access::new(crate::config::Access::default(), false);
        let shared = Arc::new(Shared {
            hubs,
            registry: registry.clone(),
            access,
            audit: AuditLog::default(),
            on_demand: None,
        });
        let mut connection = Connection::new(listener.accept().await.unwrap().0, shared);
        let queue = connection.queue.clone();
        let writing = tokio::spawn(async move { queue.write().await });
        far.write_all(b"LIST\nLIST\n").await.unwrap();
        assert_eq!(connection.lines().await.unwrap(), Next::Line);
        far.write_all(b"LIST\n").await.unwrap();
        connection.queue.stream().unwrap().readable().await.unwrap();
        connection.patience = Instant::now();
        assert_eq!(connection.lines().await.unwrap(), Next::End);
        connection.queue.close();
        assert_eq!(writing.await.unwrap(), End::Done);
        let mut memory = [0; 1024];
        let bytes = far.read(&mut memory).await.unwrap();
        let answer = std::str::from_utf8(&memory[..bytes]).unwrap().lines().last().unwrap();
        assert_eq!(answer, "ERR no subscription for 1m: expected SUBSCRIBE name");
        registry.stop().await;
    }
}
