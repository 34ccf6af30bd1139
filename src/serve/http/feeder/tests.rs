use std::time::Duration;

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    channel::tap::{Select, Tap},
    registry::{Share, audience::SubscriberGroup},
    serve::{http::player::Patience, queue::End},
};

const PATIENT: Patience =
    Patience { lag_max: Duration::from_secs(20), idle_timeout: Duration::from_secs(20) };

fn tap() -> Tap {
    Tap::new(Select::Auto, Duration::ZERO)
}

fn push(tap: &mut Tap, packets: std::ops::Range<u8>) {
    for n in packets {
        tap.push(&[n], clock::now());
        tap.turn(clock::now(), true);
    }
}

/// A client that reads from a tap from now on, not joined yet, and the far end of its connection.
async fn client(tap: &Tap) -> (Arc<PlayerQueue>, TapReader, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (far, near) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let reader = tap.reader();
    let share = Share::detached(Arc::new(SubscriberGroup::default()));
    (Arc::new(PlayerQueue::new(near.unwrap().0, share, reader.number(), None)), reader, far.unwrap())
}

/// Serves the client as its connection's task does; returns why it ended.
fn serve(
    feeders: &Arc<Feeders>,
    client: Arc<PlayerQueue>,
    reader: TapReader,
) -> tokio::task::JoinHandle<End> {
    let feeders = feeders.clone();
    tokio::spawn(async move {
        let _seat = feeders.join(&client, reader);
        client.run(PATIENT).await
    })
}

async fn rest(mut far: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    rest
}

/// Packets before the request, between request and joining, and after, regardless of what the
/// feeder has taken by then.
#[tokio::test]
async fn each_client_gets_all_from_its_request_on_and_once() {
    let (feeders, mut tap) = (Arc::new(Feeders::default()), tap());
    let (first, reader, mut far_first) = client(&tap).await;
    let ends = [serve(&feeders, first, reader)];
    push(&mut tap, 0..3);
    assert_eq!(far_first.read_u8().await.unwrap(), 0);
    // The feeder has chunks 3 and 4 before this client joins.
    let (second, reader_second, far_second) = client(&tap).await;
    push(&mut tap, 3..5);
    while far_first.read_u8().await.unwrap() != 4 {}
    // This client's reader starts beyond the feeder's position.
    let (third, reader_third, far_third) = client(&tap).await;
    push(&mut tap, 5..7);
    let more = [serve(&feeders, second, reader_second), serve(&feeders, third, reader_third)];
    push(&mut tap, 7..9);
    drop(tap);
    assert_eq!(rest(far_first).await, [5, 6, 7, 8]);
    assert_eq!(rest(far_second).await, [3, 4, 5, 6, 7, 8]);
    assert_eq!(rest(far_third).await, [5, 6, 7, 8]);
    for end in ends.into_iter().chain(more) {
        assert_eq!(end.await.unwrap(), End::Done);
    }
}

#[tokio::test]
async fn who_joins_behind_the_end_of_the_channel_gets_what_there_was() {
    let (feeders, mut tap) = (Arc::new(Feeders::default()), tap());
    let (first, reader, far) = client(&tap).await;
    let (second, reader_second, far_second) = client(&tap).await;
    let end = serve(&feeders, first, reader);
    push(&mut tap, 0..2);
    drop(tap);
    assert_eq!(rest(far).await, [0, 1]);
    let end_second = serve(&feeders, second, reader_second);
    assert_eq!(rest(far_second).await, [0, 1]);
    assert_eq!([end.await.unwrap(), end_second.await.unwrap()], [End::Done; 2]);
}

#[tokio::test]
async fn a_feeder_ends_with_its_last_client_though_its_tap_is_silent() {
    let (feeders, tap) = (Arc::new(Feeders::default()), tap());
    let (first, reader, far) = client(&tap).await;
    let end = serve(&feeders, first, reader);
    tokio::task::yield_now().await;
    assert!(!tap.is_idle());
    drop(far);
    assert_eq!(end.await.unwrap(), End::Gone);
    while !tap.is_idle() {
        tokio::task::yield_now().await;
    }
    // The next client gets a new feeder, and the table removes the old one.
    let (second, reader, _far) = client(&tap).await;
    let _seat = feeders.join(&second, reader);
    assert_eq!(feeders.table.lock().unwrap().values().map(Vec::len).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_feeder_has_a_bounded_number_of_clients() {
    let (feeders, tap) = (Feeders::default(), tap());
    let (client, reader, _far) = client(&tap).await;
    let seats: Vec<Seat> = (0..=FEEDER_CLIENTS_MAX).map(|_| feeders.join(&client, tap.reader())).collect();
    assert_eq!(feeders.table.lock().unwrap()[&reader.tap()].len(), 2);
    drop(seats);
}

#[tokio::test]
async fn clients_who_left_a_silent_stream_are_forgotten() {
    let tap = tap();
    let (stays, reader, _far) = client(&tap).await;
    let mut feeder = Feeder::new((Arc::downgrade(&stays), reader));
    for _ in 0..100 {
        let (gone, reader, _far) = client(&tap).await;
        feeder.admit((Arc::downgrade(&gone), reader));
    }
    assert!(feeder.clients.len() <= 2, "{}", feeder.clients.len());
}
