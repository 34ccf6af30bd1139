//! Handles one connection: the HTTP library handles its requests, until one is for a stream.
//! After the head of that response, this code writes to the socket itself.

use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_util::sync::CancellationToken;

use super::{
    app::Shared,
    handover::{Handover, Messages, Ordered},
    player::{Patience, PlayerQueue},
    push,
    requests::{ConnectionPlace, Requests},
    via::{Door, Ends},
    watched::Watched,
};
use crate::{
    limits::{CLIENT_STALL_MAX, REQUEST_HEAD_BYTES_MAX},
    serve::{listen, queue::End},
    shares::Place,
};
use tidecast_net::clock;

/// Handles one connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    door: Door,
    place: Place,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let place = Arc::new(Mutex::new(place));
    listen::prepare(&stream);
    // Boxed, so that its memory is freed before a stream starts.
    match Box::pin(answer(stream, door, &place, &shared, stop)).await {
        Ok(None) => {}
        Ok(Some(Behind { stream, early, ordered })) => carry(stream, early, ordered, &shared).await,
        Err(error) => tracing::debug!("a connection has ended: {error}"),
    }
}

/// A connection after the head of a response, and what to send on it.
struct Behind {
    stream: TcpStream,
    /// Bytes that the client has already sent.
    early: Vec<u8>,
    ordered: Ordered,
}

/// Answers requests until one is for a stream; then returns the connection, positioned after the
/// response's head. Socket.IO keeps the connections that it upgrades.
async fn answer(
    stream: TcpStream,
    door: Door,
    place: &ConnectionPlace,
    shared: &Arc<Shared>,
    stop: CancellationToken,
) -> hyper::Result<Option<Behind>> {
    let handover = Handover::default();
    let ends = Ends { door, peer: stream.peer_addr().ok(), local: stream.local_addr().ok() };
    let router = TowerToHyperService::new(shared.router.clone());
    let (place, shared) = (place.clone(), shared.clone());
    let header_timeout = shared.config.header_timeout;
    let connection = Watched::new(stream, CLIENT_STALL_MAX).keeping(place.clone());
    let requests = Requests { router, handover: handover.clone(), shared, ends, place };
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        // A client may close its side after its request, and still gets the answer.
        .half_close(true)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(connection), requests)
        .with_upgrades();
    tokio::select! {
        result = &mut connection => result?,
        () = stop.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await?;
        }
    }
    let ordered = handover.take();
    let (watched, early) = match connection.into_parts() {
        Some(parts) => (parts.io.into_inner(), parts.read_buf),
        // The library releases a connection on which an upgrade was offered, whatever the answer
        // (RFC 9110, section 7.8: an offer may be ignored). A connection taken over by Socket.IO
        // does not get here.
        None => {
            let Some((upgrade, _)) = handover.offer().zip(ordered.as_ref()) else { return Ok(None) };
            // The downcast succeeds, because this is the type that was passed in.
            let Ok(parts) = upgrade.await?.downcast::<TokioIo<Watched<TcpStream>>>() else { return Ok(None) };
            (parts.io.into_inner(), parts.read_buf)
        }
    };
    let ordered = ordered.filter(|_| watched.is_flushed());
    let mut stream = watched.into_inner();
    match ordered {
        Some(ordered) => Ok(Some(Behind { stream, early: early.to_vec(), ordered })),
        None => {
            // Tells the client that this is the end, unless it has already gone.
            let _ = stream.shutdown().await;
            Ok(None)
        }
    }
}

/// Sends a client its stream, until it ends.
async fn carry(stream: TcpStream, early: Vec<u8>, ordered: Ordered, shared: &Shared) {
    let (subscription, place, in_messages) = match ordered {
        Ordered::Stream { subscription, place } => (subscription, place, false),
        Ordered::WebSocket(Messages::Raw { subscription, place }) => (subscription, place, true),
        Ordered::Events(order) => return push::events(stream, order, &shared.hubs).await,
        Ordered::WebSocket(Messages::Told(order)) => {
            return push::frames(stream, early, order, &shared.hubs).await;
        }
    };
    let mut reader = subscription.reader;
    let start = reader.take_start();
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(0); // the system's default: no limit
    let patience = shared.patience();
    listen::be_patient(&stream, patience.lag_max);
    let peer = stream.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string());
    let client = PlayerQueue::new(stream, subscription.share, reader.number(), Some(place));
    let client = if in_messages { client.in_messages() } else { client };
    let client = Arc::new(client.starting_with(start));
    let _seat = shared.feeders.join(&client, reader);
    let end = match in_messages {
        true => client.run_messages(patience, early).await,
        false => client.run(patience).await,
    };
    let Patience { lag_max, idle_timeout } = patience;
    match end {
        End::Done | End::Gone | End::Disconnected => {} // the operator's request is logged
        End::Behind => {
            let text = format!("a client has been behind its stream for {lag_max:?}: cut off");
            // Attackers could cause thousands of these lines; the metrics count them all.
            if shared.cut_off.lock().unwrap_or_else(PoisonError::into_inner).admits(clock::now()) {
                tracing::info!(client = peer, "{text}");
            } else {
                tracing::debug!(client = peer, "{text}");
            }
        }
        End::Silent => {
            tracing::debug!(client = peer, "a client's stream was silent for {idle_timeout:?}: ends")
        }
    }
}
