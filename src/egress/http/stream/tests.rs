use tokio::sync::Semaphore;
use tokio_stream::StreamExt;

use super::*;
use crate::{
    egress::{
        subscribers::{Dropped, Subscribers, SubscribersState},
        tap::Tap,
    },
    limits::TAP_CHUNKS,
};

const IDLE: Duration = Duration::from_millis(80);

fn feed_of(tap: &Tap) -> (Feed, Arc<Subscribers>) {
    let counts = Arc::new(Subscribers::default());
    let subscription = Subscription { reader: tap.reader(), share: Share::detached(counts.clone()) };
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    (Feed::new(subscription, IDLE, place), counts)
}

fn push(tap: &mut Tap, packets: std::ops::Range<u32>) {
    for n in packets {
        tap.push(&n.to_be_bytes(), clock::now());
        tap.turn(clock::now(), true);
    }
}

#[tokio::test]
async fn packets_are_counted_as_sent_skipped_or_cut_off_once_each() {
    let mut tap = Tap::new(Select::Auto);
    let (mut feed, counts) = feed_of(&tap);
    push(&mut tap, 0..2);
    assert_eq!(feed.next().await.unwrap().unwrap(), 0u32.to_be_bytes().as_slice());
    assert_eq!(feed.next().await.unwrap().unwrap(), 1u32.to_be_bytes().as_slice());
    let (more, room) = (TAP_CHUNKS as u32 + 7, TAP_CHUNKS as u64);
    push(&mut tap, 2..2 + more);
    assert_eq!(feed.next().await.unwrap().unwrap(), 9u32.to_be_bytes().as_slice());
    drop(feed);
    let dropped = Dropped { lag: 7, closed: room - 1 };
    assert_eq!(counts.state(), SubscribersState { clients: 0, packets: 3, bytes: 12, dropped });
}

#[tokio::test]
async fn a_silence_ends_the_stream_and_a_packet_in_time_does_not() {
    let mut tap = Tap::new(Select::Auto);
    let (mut feed, counts) = feed_of(&tap);
    for n in 0..3 {
        tokio::time::sleep(IDLE * 2 / 3).await;
        push(&mut tap, n..n + 1);
        assert!(feed.next().await.is_some());
    }
    assert_eq!(counts.state().clients, 1);
    let start = clock::now();
    assert!(feed.next().await.is_none());
    assert!(start.elapsed() >= IDLE / 2);
}

#[tokio::test]
async fn the_end_of_the_channel_ends_the_stream_behind_its_last_packet() {
    let mut tap = Tap::new(Select::Auto);
    let (mut feed, _) = feed_of(&tap);
    push(&mut tap, 0..1);
    drop(tap);
    assert!(feed.next().await.is_some());
    assert!(feed.next().await.is_none());
}

fn config(allow: &[&str]) -> config::Http {
    let allow: Vec<String> = allow.iter().map(|prefix| format!("{prefix:?}")).collect();
    let text = format!("http.allow = [{}]\nhttp.interface = \"127.0.0.1\"", allow.join(", "));
    text.parse::<config::Config>().unwrap().http.unwrap()
}

#[test]
fn only_allowed_groups_may_be_asked_for() {
    let config = config(&["239.1.0.0/16", "ff15::/16"]);
    let input = group(Scheme::Rtp, "10.0.0.5@239.1.2.3:5000/", &config).unwrap();
    assert_eq!(input.to_string(), "rtp://10.0.0.5@239.1.2.3:5000?if=127.0.0.1");
    for (text, part) in [
        ("239.2.0.1:5000", "expected one of 239.1.0.0/16, ff15::/16"),
        ("10.0.0.1:5000", "10.0.0.1 is no multicast group"),
        ("[ff15::1]:5000", "expected a group of the same family"),
        ("[ff05::1]:5000", "group ff05::1 is not allowed"),
    ] {
        let refusal = group(Scheme::Udp, text, &config).unwrap_err();
        assert!(matches!(&refusal, Refusal::Forbidden(why) if why.contains(part)), "{text}: {refusal:?}");
    }
    for text in ["", "239.1.1.1", "239.1.1.1:x", "x@239.1.1.1:1", "239.1.1.1:5000/x"] {
        let refusal = group(Scheme::Udp, text, &config).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed(why) if why.contains("as in /udp/")),
            "{text}: {refusal:?}"
        );
    }
}
