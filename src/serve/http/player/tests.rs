use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

use super::*;
use crate::registry::audience::{CutOff, Dropped, SubscriberGroup, SubscribersState};

const CHUNK: usize = 64 << 10;
/// Packets per chunk.
const PACKETS: u32 = 50;
const PATIENT: Patience =
    Patience { lag_max: Duration::from_secs(20), idle_timeout: Duration::from_secs(20) };

/// Both ends of a connection with small buffers.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let (far, near) = tokio::join!(socket.connect(listener.local_addr().unwrap()), listener.accept());
    let near = near.unwrap().0;
    socket2::SockRef::from(&near).set_send_buffer_size(4096).unwrap();
    (near, far.unwrap())
}

async fn client() -> (Arc<PlayerQueue>, TcpStream, Arc<SubscriberGroup>) {
    let (near, far) = connection().await;
    let counts = Arc::new(SubscriberGroup::default());
    (Arc::new(PlayerQueue::new(near, Share::detached(counts.clone()), 0, None)), far, counts)
}

fn chunk(index: u64) -> Arc<Chunk> {
    let first = index * u64::from(PACKETS);
    Arc::new(Chunk { bytes: vec![index as u8; CHUNK], packets: PACKETS, first })
}

#[tokio::test]
async fn what_the_socket_does_not_take_follows_when_the_client_reads() {
    let (client, mut far, counts) = client().await;
    let serving = tokio::spawn(async move {
        for index in 0..20 {
            client.push(&chunk(index), clock::now());
        }
        client.end();
        client.run(PATIENT).await
    });
    let mut read = Vec::new();
    far.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, (0..20u8).flat_map(|index| vec![index; CHUNK]).collect::<Vec<_>>());
    assert_eq!(serving.await.unwrap(), End::Done);
    let (packets, bytes) = (20 * u64::from(PACKETS), 20 * CHUNK as u64);
    assert_eq!(counts.state(), SubscribersState { joined: 1, packets, bytes, ..SubscribersState::default() });
}

#[tokio::test]
async fn a_client_that_is_behind_skips_whole_chunks_within_a_bound_and_each_packet_is_counted_once() {
    const CHUNKS: u64 = 200;
    let (client, mut far, counts) = client().await;
    for index in 0..CHUNKS {
        client.push(&chunk(index), clock::now());
        assert!(client.waiting() <= CLIENT_BACKLOG_BYTES_MAX);
    }
    let running = client.clone();
    let serving = tokio::spawn(async move { running.run(PATIENT).await });
    let mut got = Vec::new();
    let mut read = vec![0; CHUNK];
    while got.last() != Some(&(CHUNKS - 1)) {
        far.read_exact(&mut read).await.unwrap();
        assert!(read.iter().all(|byte| *byte == read[0]), "part of a chunk");
        let before = got.last().map_or(0, |last| last + 1);
        got.push((before..CHUNKS).find(|index| *index as u8 == read[0]).unwrap());
    }
    let lag = (CHUNKS - got.len() as u64) * u64::from(PACKETS);
    assert_eq!(got[0], 0, "what is partly written is finished");
    assert!(lag > 0);
    client.push(&chunk(CHUNKS), clock::now());
    drop(far);
    assert_eq!(serving.await.unwrap(), End::Gone);
    drop(client);
    let state = counts.state();
    assert_eq!(state.packets + state.dropped.lag + state.dropped.closed, (CHUNKS + 1) * u64::from(PACKETS));
    assert_eq!((state.dropped.lag, state.clients), (lag, 0));
}

#[tokio::test]
async fn a_client_that_does_not_catch_up_is_cut_off_and_counted() {
    let (client, far, counts) = client().await;
    let patience = Patience { lag_max: Duration::from_millis(100), ..PATIENT };
    let start = clock::now();
    for index in 0..10 {
        client.push(&chunk(index), clock::now());
    }
    assert_eq!(client.run(patience).await, End::Behind);
    assert!(start.elapsed() >= patience.lag_max);
    drop(client);
    let state = counts.state();
    assert_eq!(state.cut_off, CutOff { lag: 1, ..CutOff::default() });
    assert_eq!(state.packets + state.dropped.closed, 10 * u64::from(PACKETS));
    drop(far);
}

/// A player reads at the pace of the video: it stays as far behind as it started.
#[tokio::test]
async fn a_client_may_stay_as_far_behind_as_it_began_and_no_further() {
    const BEGUN: u64 = 8;
    let (client, mut far, counts) = client().await;
    let start = (0..BEGUN).map(chunk).collect();
    let client = Arc::into_inner(client).unwrap().starting_with(start);
    client.state().policy.next = chunk(BEGUN).first;
    let client = Arc::new(client);
    let patience = Patience { lag_max: Duration::from_millis(200), ..PATIENT };
    let running = client.clone();
    let serving = tokio::spawn(async move { running.run(patience).await });
    let mut read = vec![0; CHUNK];
    for index in BEGUN..2 * BEGUN {
        client.push(&chunk(index), clock::now());
        far.read_exact(&mut read).await.unwrap();
        assert!(read.iter().all(|byte| u64::from(*byte) == index - BEGUN));
        sleep(patience.lag_max / 2).await;
    }
    assert!(!serving.is_finished() && client.state().policy.behind.is_none());
    assert_eq!((counts.state().dropped, counts.state().cut_off), (Dropped::default(), CutOff::default()));
    for index in 2 * BEGUN..4 * BEGUN {
        client.push(&chunk(index), clock::now());
    }
    assert_eq!(serving.await.unwrap(), End::Behind);
    drop(client);
    let state = counts.state();
    assert_eq!(state.packets + state.dropped.closed, 4 * BEGUN * u64::from(PACKETS));
}

#[tokio::test]
async fn a_slow_client_that_catches_up_stays() {
    let (client, mut far, counts) = client().await;
    let patience = Patience { lag_max: Duration::from_secs(1), ..PATIENT };
    let running = client.clone();
    let serving = tokio::spawn(async move { running.run(patience).await });
    let mut read = vec![0; 4 * CHUNK];
    for round in 0..3 {
        for index in 0..4 {
            client.push(&chunk(round * 4 + index), clock::now());
        }
        sleep(patience.lag_max / 2).await;
        far.read_exact(&mut read).await.unwrap();
    }
    client.end();
    assert_eq!(serving.await.unwrap(), End::Done);
    assert_eq!((counts.state().dropped, counts.state().cut_off), (Dropped::default(), CutOff::default()));
}

#[tokio::test]
async fn a_silence_ends_the_stream_and_a_packet_in_time_does_not() {
    let (client, mut far, counts) = client().await;
    let patience = Patience { idle_timeout: Duration::from_millis(100), ..PATIENT };
    let running = client.clone();
    let start = clock::now();
    let serving = tokio::spawn(async move { (running.run(patience).await, clock::now()) });
    let mut last = start;
    for first in 0..3 {
        sleep(patience.idle_timeout * 2 / 3).await;
        last = clock::now();
        client.push(&Arc::new(Chunk { bytes: vec![7], packets: 1, first }), last);
        assert_eq!(far.read_u8().await.unwrap(), 7);
    }
    let (end, at) = serving.await.unwrap();
    assert_eq!((end, counts.state().cut_off), (End::Silent, CutOff { idle: 1, ..CutOff::default() }));
    assert!(at - last >= patience.idle_timeout);
}

#[tokio::test]
async fn a_client_that_goes_or_talks_without_end_is_noticed() {
    let (client, far, counts) = client().await;
    drop(far);
    assert_eq!(client.run(PATIENT).await, End::Gone);
    drop(client);
    assert_eq!(counts.state().clients, 0);
    let (client, mut far, _counts) = self::client().await;
    let talking = tokio::spawn(async move { while far.write_all(&[b'x'; 1024]).await.is_ok() {} });
    assert_eq!(client.run(PATIENT).await, End::Gone);
    drop(client);
    talking.await.unwrap();
}

/// Reads a WebSocket as a client does, until the server closes it.
async fn messages(far: TcpStream) -> (Vec<Vec<u8>>, usize) {
    use tungstenite::{Message, WebSocket, protocol::Role};
    let far = far.into_std().unwrap();
    far.set_nonblocking(false).unwrap();
    tokio::task::spawn_blocking(move || {
        let mut socket = WebSocket::from_raw_socket(far, Role::Client, None);
        let (mut read, mut pongs) = (Vec::new(), 0);
        loop {
            match socket.read() {
                Ok(Message::Binary(bytes)) => {
                    read.push(bytes.to_vec());
                    if read.len() == 1 {
                        socket.send(Message::Ping("how far?".into())).unwrap();
                    }
                }
                Ok(Message::Pong(_)) => pongs += 1,
                Ok(Message::Close(frame)) => {
                    assert_eq!(u16::from(frame.unwrap().code), 1001);
                    return (read, pongs);
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn behind_a_websocket_each_chunk_is_a_message_and_answers_stand_between() {
    let (near, far) = connection().await;
    let share = Share::detached(Arc::new(SubscriberGroup::default()));
    let client = PlayerQueue::new(near, share, u64::from(PACKETS), None).in_messages();
    let client = Arc::new(client.starting_with(vec![chunk(0)]));
    let running = client.clone();
    let serving = tokio::spawn(async move { running.run_messages(PATIENT, Vec::new()).await });
    let reading = tokio::spawn(messages(far));
    for index in 1..20 {
        client.push(&chunk(index), clock::now());
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(200)).await;
    client.end();
    assert_eq!(serving.await.unwrap(), End::Done);
    let (read, pongs) = reading.await.unwrap();
    assert!(read.iter().enumerate().all(|(index, bytes)| *bytes == vec![index as u8; CHUNK]));
    assert_eq!((read.len(), pongs), (20, 1));
}

/// A client that sends a close frame gets only the answer to it, regardless of its backlog.
#[tokio::test]
async fn what_waits_behind_a_close_is_counted_as_cut() {
    let (near, mut far) = connection().await;
    let counts = Arc::new(SubscriberGroup::default());
    let client = Arc::new(PlayerQueue::new(near, Share::detached(counts.clone()), 0, None).in_messages());
    for index in 0..20 {
        client.push(&chunk(index), clock::now());
    }
    const CLOSE: &[u8] = &[0x88, 0x80, 0, 0, 0, 0];
    far.write_all(CLOSE).await.unwrap();
    let running = client.clone();
    let serving = tokio::spawn(async move { running.run_messages(PATIENT, Vec::new()).await });
    while !client.state().closed {
        sleep(Duration::from_millis(1)).await;
    }
    client.push(&chunk(20), clock::now());
    let mut read = Vec::new();
    loop {
        let mut some = [0; 4096];
        match far.read(&mut some).await.unwrap() {
            0 => break,
            bytes => read.extend_from_slice(&some[..bytes]),
        }
        if read.ends_with(&[0x88, 0]) {
            break;
        }
    }
    assert!(serving.await.unwrap() == End::Done);
    drop(client);
    let state = counts.state();
    assert_eq!(state.packets + state.dropped.closed, 20 * u64::from(PACKETS));
    assert!(state.dropped.closed > 0);
}
