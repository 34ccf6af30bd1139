//! The audit log: who did what, when, and how much, as JSON lines. Lines go through a bounded queue
//! to a thread of their own, so that nobody waits for the disk.
//!
//! `docs/security.md` is the reference for its fields.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use serde_json::{Value, json};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::{
    budget::PerSecond,
    config::Audit,
    limits::{AUDIT_LINES_MAX, AUDIT_REFUSALS_PER_SECOND, AUDIT_REOPEN, AUDIT_TEXT_MAX},
    metrics::AccessRefused,
    registry::audience::{ClientState, Who},
};
use tidecast_net::clock;

/// Where events are written; off unless it is configured. Refusals are counted in any case.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    log: Option<Arc<Inner>>,
    counts: AccessRefused,
}

#[derive(Debug)]
struct Inner {
    queue: NonBlocking,
    /// Writes what waits when it is dropped.
    _thread: WorkerGuard,
    refusals: Mutex<Refusals>,
}

/// Limits lines about refused attempts, which anyone can cause.
#[derive(Debug)]
struct Refusals {
    budget: PerSecond,
    omitted: u64,
}

impl AuditLog {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(target: Option<&Audit>, counts: AccessRefused) -> io::Result<AuditLog> {
        let Some(target) = target else { return Ok(AuditLog { log: None, counts }) };
        let builder = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(AUDIT_LINES_MAX)
            .thread_name("tidecast-audit");
        let (queue, thread) = match target {
            Audit::StandardError => builder.finish(io::stderr()),
            Audit::File(path) => builder.finish(Rotated::open(path)?),
        };
        let refusals = Mutex::new(Refusals {
            budget: PerSecond::new(AUDIT_REFUSALS_PER_SECOND, clock::now()),
            omitted: 0,
        });
        Ok(AuditLog { log: Some(Arc::new(Inner { queue, _thread: thread, refusals })), counts })
    }

    /// Whether it is configured.
    pub fn is_on(&self) -> bool {
        self.log.is_some()
    }

    /// Somebody has received a stream until now.
    pub fn watched(&self, channel: &str, client: &ClientState) {
        let seconds = (clock::unix().as_millis() as u64).saturating_sub(client.since) as f64 / 1000.0;
        self.write(
            "watched",
            &client.who,
            json!({
                "channel": channel, "transport": client.transport.as_str(), "seconds": seconds,
                "packets": client.packets, "bytes": client.bytes, "missed": client.missed,
            }),
        );
    }

    /// Somebody has logged in at the page.
    pub fn logged_in(&self, who: &Who) {
        self.write("logged_in", who, json!({}));
    }

    /// Somebody has changed something.
    pub fn changed(&self, who: &Who, what: &str) {
        self.write("changed", who, json!({ "what": what }));
    }

    /// A request over HTTP was refused.
    pub fn refused_http(&self, who: &Who, what: &str, why: &str) {
        self.counts.http();
        self.refused(who, what, why);
    }

    /// A line over TCP was refused.
    pub fn refused_tcp(&self, who: &Who, what: &str, why: &str) {
        self.counts.tcp();
        self.refused(who, what, why);
    }

    fn refused(&self, who: &Who, what: &str, why: &str) {
        let Some(inner) = &self.log else { return };
        let omitted = {
            // Single assignments, so a panic cannot leave it inconsistent.
            let mut refusals = inner.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if !refusals.budget.take(clock::now()) {
                refusals.omitted += 1;
                return;
            }
            std::mem::take(&mut refusals.omitted)
        };
        let mut more = json!({ "what": shown(what), "why": shown(why) });
        if omitted > 0 {
            more["omitted"] = omitted.into();
        }
        self.write("refused", who, more);
    }

    fn write(&self, event: &str, who: &Who, more: Value) {
        let Some(inner) = &self.log else { return };
        let time = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + clock::unix()).to_string();
        let mut line = json!({
            "time": time, "event": event, "user": who.user.as_deref(), "address": who.address,
        });
        if let Some(agent) = &who.agent {
            line["agent"] = agent.as_str().into();
        }
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        // A full queue drops the line: a slow disk must not stop what is served.
        let _ = inner.queue.clone().write_all(format!("{line}\n").as_bytes());
        let lost = inner.queue.error_counter().dropped_lines();
        if lost > 0 {
            tracing::debug!("the audit log has lost {lost} lines so far: the disk is too slow");
        }
    }
}

/// A text that others have chosen: its beginning, and none of a token that stands in it.
fn shown(text: &str) -> String {
    let starts = ["token=", "token%3", "tidecast_"];
    let token = starts.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let end = text.floor_char_boundary(token.min(AUDIT_TEXT_MAX));
    if end < text.len() { format!("{}...", &text[..end]) } else { text.to_owned() }
}

/// A file that others move away (logrotate): the next line goes to a new one of its name.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    checked: Instant,
}

impl Rotated {
    fn open(path: &Path) -> io::Result<Rotated> {
        Ok(Rotated { path: path.to_owned(), file: append(path)?, checked: clock::now() })
    }

    fn is_moved(&self) -> bool {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        fs::metadata(&self.path).map(id).ok() != self.file.metadata().map(id).ok()
    }
}

impl Write for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = clock::now();
        if now.saturating_duration_since(self.checked) >= AUDIT_REOPEN {
            self.checked = now;
            if self.is_moved() {
                // Until there is a new one, the old one takes what comes.
                match append(&self.path) {
                    Ok(file) => self.file = file,
                    Err(error) => tracing::warn!("cannot open {}: {error}", self.path.display()),
                }
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn lines_name_who_did_what_and_refusals_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(Some(&Audit::File(path.clone())), AccessRefused::default()).unwrap();
        let who = Who { address: "10.0.0.7:5".to_owned(), user: Some("lobby".into()), agent: None };
        log.changed(&who, "disconnected a client");
        for _ in 0..AUDIT_REFUSALS_PER_SECOND + 5 {
            log.refused(&who, "GET /metrics", "role");
        }
        drop(log); // writes all that waits
        let lines = lines(&path);
        assert_eq!((lines[0]["event"].as_str(), lines[0]["user"].as_str()), (Some("changed"), Some("lobby")));
        assert!(lines[0]["time"].as_str().unwrap().ends_with('Z') && lines[0]["address"] == "10.0.0.7:5");
        let refused = lines.iter().filter(|line| line["event"] == "refused").count();
        assert!((1..=2 * AUDIT_REFUSALS_PER_SECOND as usize).contains(&refused), "{refused}");
        assert!(refused >= AUDIT_REFUSALS_PER_SECOND as usize);
        assert!(
            AuditLog::open(
                Some(&Audit::File(folder.path().join("no/such/folder"))),
                AccessRefused::default()
            )
            .is_err()
        );
    }

    #[test]
    fn texts_of_others_are_short_and_have_no_token() {
        assert_eq!(shown("GET /streams/a"), "GET /streams/a");
        assert_eq!(shown("GET /streams/a&token=b"), "GET /streams/a&...");
        assert_eq!(shown("SUBSCRIBE tidecast_abc"), "SUBSCRIBE ...");
        assert_eq!(shown(&"ä".repeat(1000)).len(), AUDIT_TEXT_MAX + 3);
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = Rotated::open(&path).unwrap();
        file.write_all(b"1\n").unwrap();
        fs::rename(&path, folder.path().join("audit.jsonl.1")).unwrap();
        file.checked -= AUDIT_REOPEN;
        file.write_all(b"2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        assert_eq!(fs::read_to_string(folder.path().join("audit.jsonl.1")).unwrap(), "1\n");
    }
}
