//! Reserves one file descriptor: when all others are in use, monitoring still gets an answer to
//! `/healthz`, and other clients get the reason.

use std::{fs::File, io, os::fd::OwnedFd, sync::Arc};

use axum::http::StatusCode;
use nix::unistd::dup2;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::refusal::plain;
use crate::{
    limits::{RESERVE_HEAD_BYTES_MAX, RESERVE_HEAD_PATIENCE, RESERVE_PATIENCE},
    registry::Registry,
};

/// Answer to other clients.
const NONE_LEFT: &str = "no file descriptor is left: expected a higher limit (LimitNOFILE=, ulimit -n) or fewer clients (clients_max)";

/// The reserved descriptor, or the connection that uses it.
#[derive(Debug)]
pub(super) struct Reserve {
    /// File that the descriptor refers to while no connection uses it.
    null: Arc<File>,
    kept: Option<OwnedFd>,
    lent: JoinSet<Option<OwnedFd>>,
}

impl Reserve {
    /// Reserves a descriptor.
    pub(super) fn new() -> io::Result<Reserve> {
        let null = Arc::new(File::open("/dev/null")?);
        let kept = null.try_clone()?.into();
        Ok(Reserve { null, kept: Some(kept), lent: JoinSet::new() })
    }

    /// Waits until a connection returns the descriptor; forever if none uses it.
    pub(super) async fn returned(&mut self) {
        match self.lent.join_next().await {
            Some(back) => self.kept = back.ok().flatten(),
            None => std::future::pending().await,
        }
    }

    /// Answers a connection that could not be accepted for lack of a descriptor. `false`: it was
    /// another error, or a connection uses the descriptor.
    pub(super) async fn answer(
        &mut self,
        error: &io::Error,
        listener: &TcpListener,
        registry: &Registry,
        base: &str,
    ) -> bool {
        if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) || !self.lent.is_empty() {
            return false;
        }
        if self.kept.take().is_none() {
            // Another part of the program took the descriptor when it was returned.
            self.kept = self.null.try_clone().ok().map(OwnedFd::from);
            return false;
        }
        // A connection is waiting, otherwise there would have been another error.
        let Ok(Ok((stream, _))) = timeout(RESERVE_PATIENCE, listener.accept()).await else {
            self.kept = self.null.try_clone().ok().map(OwnedFd::from);
            return false;
        };
        let (registry, base, null) = (registry.clone(), base.to_owned(), self.null.clone());
        self.lent.spawn(async move {
            let stream = last(stream, &registry, &base).await;
            // The descriptor passes from the connection to the reserve without being free in
            // between.
            let mut back = OwnedFd::from(stream.into_std().ok()?);
            dup2(&*null, &mut back).ok()?;
            Some(back)
        });
        true
    }
}

/// Answers a single request, unless it is late or too long.
async fn last(mut stream: TcpStream, registry: &Registry, base: &str) -> TcpStream {
    let mut head = Vec::new();
    let read = async {
        while head.len() < RESERVE_HEAD_BYTES_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    if matches!(timeout(RESERVE_HEAD_PATIENCE, read).await, Ok(Ok(()))) {
        let answer = if asks_for_health(&head, base) {
            match registry.health().await {
                Ok(()) => plain(StatusCode::OK, "ok"),
                Err(stalled) => plain(StatusCode::SERVICE_UNAVAILABLE, &stalled.to_string()),
            }
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, NONE_LEFT)
        };
        // A client that does not take it in time has gone.
        let _ = timeout(RESERVE_PATIENCE, stream.write_all(answer.as_bytes())).await;
        let _ = stream.shutdown().await;
    }
    stream
}

/// Whether a request's head starts with `GET /healthz` below the base.
fn asks_for_health(head: &[u8], base: &str) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path) = (words.next(), words.next().unwrap_or_default());
    let path = path.strip_prefix(base.trim_end_matches('/').as_bytes()).unwrap_or(path);
    matches!(method, Some(b"GET" | b"HEAD")) && path.split(|byte| *byte == b'?').next() == Some(b"/healthz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_known_below_every_base() {
        assert!(asks_for_health(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "/"));
        assert!(asks_for_health(b"HEAD /tv/healthz?x=1 HTTP/1.0\r\n\r\n", "/tv/"));
        for other in
            ["GET /healthzz HTTP/1.1\r\n", "POST /healthz HTTP/1.1\r\n", "GET /metrics HTTP/1.1\r\n", ""]
        {
            assert!(!asks_for_health(other.as_bytes(), "/"), "{other:?}");
        }
    }
}
