//! Ends a client's connection that makes no progress: if the client takes no data for too long,
//! the connection fails. While a write waits, nothing is read from it, so that a client cannot ask
//! faster than it takes the answers: the HTTP library and the Socket.IO library buffer what they
//! cannot write.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::shares::Place;

/// Wraps a stream; see the module documentation.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    stall_max: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Reader to wake when the write is done.
    reader: Option<Waker>,
    /// All written data has been flushed.
    flushed: bool,
    /// Place of the connection, shared with the code that takes over the connection.
    _place: Option<Arc<Mutex<Place>>>,
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(stream: S, stall_max: Duration) -> Watched<S> {
        Watched { stream, stall_max, stalled: None, reader: None, flushed: true, _place: None }
    }

    /// Keeps the place as long as the connection is open.
    pub(super) fn keeping(self, place: Arc<Mutex<Place>>) -> Watched<S> {
        Watched { _place: Some(place), ..self }
    }

    /// Whether the writer has flushed.
    pub(super) fn is_flushed(&self) -> bool {
        self.flushed
    }

    /// Returns the wrapped stream.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn watch<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            self.reader.take().into_iter().for_each(Waker::wake);
            return written;
        }
        let stall_max = self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stalled.is_some() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.flushed = false;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flushed = false;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A pending write stays pending: a TCP socket has nothing to flush.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushed = matches!(flushed, Poll::Ready(Ok(())));
        flushed
    }

    /// Leaves the connection open, since a stream may follow the response's head. It is closed
    /// when the wrapped stream is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const STALL: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_connection_that_takes_nothing_fails() {
        let (near, _far) = duplex(16);
        let mut near = Watched::new(near, STALL);
        let start = tidecast_net::clock::now();
        let error = near.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= STALL);
    }

    #[tokio::test]
    async fn a_slow_one_that_moves_does_not() {
        let (near, mut far) = duplex(16);
        let reader = tokio::spawn(async move {
            let mut got = 0;
            while got < 128 {
                sleep(STALL / 2).await;
                got += far.read(&mut [0; 16]).await.unwrap();
            }
        });
        Watched::new(near, STALL).write_all(&[0; 128]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_read_while_a_write_waits() {
        let (near, mut far) = duplex(16);
        let mut near = Watched::new(near, 100 * STALL);
        far.write_all(b"question").await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut near).poll_write(&mut cx, &[0; 16]).is_ready());
        assert!(Pin::new(&mut near).poll_write(&mut cx, &[0; 16]).is_pending());
        assert!(Pin::new(&mut near).poll_flush(&mut cx).is_ready());
        let mut memory = [0; 8];
        assert!(Pin::new(&mut near).poll_read(&mut cx, &mut ReadBuf::new(&mut memory)).is_pending());
        let (mut reading, mut writing) = tokio::io::split(near);
        let question = tokio::spawn(async move { reading.read_exact(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        far.read_exact(&mut [0; 16]).await.unwrap();
        writing.write_all(&[0; 16]).await.unwrap();
        assert_eq!(question.await.unwrap().unwrap(), 8);
    }
}
