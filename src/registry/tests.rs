use std::net::UdpSocket;

use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    config::Config,
    limits::{HEALTH_PATIENCE, SURVEY_INTERVAL},
    metrics::{Exporter, Metrics},
};
use tidecast_core::relay::Delivery;
use tidecast_net::clock;
use tidecast_testkit::sockets::{free_port, group, sender};

const LINGER: Duration = Duration::from_millis(150);

fn tick(tick: Duration) -> PathSettings {
    PathSettings { tick, ..PathSettings::default() }
}

fn start(threads: usize) -> Registry {
    Registry::start(threads, tick(Duration::from_millis(1)), LINGER, Shares::default(), Arc::new(())).unwrap()
}

fn input() -> Input {
    format!("udp://@{}:{}?if=127.0.0.1", group(), free_port()).parse().unwrap()
}

fn channel(name: &str, input: &Input) -> config::Channel {
    let text = format!("[[channel]]\nname = {name:?}\ninput = \"{input}\"");
    text.parse::<Config>().unwrap().channels.remove(0)
}

fn send(input: &Input, packets: u8) {
    let socket: UdpSocket = sender([127, 0, 0, 1].into());
    for n in 0..packets {
        socket.send_to(&[n], input.socket_addr()).unwrap();
    }
}

/// Subscribes to a group on demand.
async fn watch(registry: &Registry, input: Input) -> Result<Subscription, RegistryError> {
    let (begin, joining) = (Begin::default(), Joining::default());
    registry.subscribe_on_demand(input, Select::Auto, begin, joining, Transport::Http, Caller::Own).await
}

async fn names(registry: &Registry) -> Vec<String> {
    registry.views(0).await.unwrap().iter().map(|view| view.state.name.clone()).collect()
}

/// Waits until these are the channels.
async fn becomes(registry: &Registry, expected: &[String]) {
    for _ in 0..200 {
        if names(registry).await == expected {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(names(registry).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_group_share_its_channel_until_the_linger_is_over() {
    let (registry, input) = (start(2), input());
    let name = format!("udp-{}-{}", input.group, input.port);
    let mut first = watch(&registry, input.clone()).await.unwrap();
    let second = watch(&registry, input.clone()).await.unwrap();
    let view = registry.views(0).await.unwrap()[0].clone();
    assert_eq!((view.state.name.as_str(), view.state.on_demand), (name.as_str(), true));
    assert_eq!(
        (view.path, view.subscribers.of(Transport::Http).clients),
        (format!("/udp/{}", input.socket_addr()), 2)
    );
    send(&input, 1);
    assert_eq!(*first.reader.next().await.unwrap().bytes, [0]);
    drop(first);
    sleep(LINGER * 2).await;
    assert_eq!(names(&registry).await, std::slice::from_ref(&name));
    drop(second);
    sleep(LINGER / 2).await;
    assert_eq!(names(&registry).await, [name]);
    becomes(&registry, &[]).await;
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_within_the_linger_finds_the_same_channel() {
    let (registry, input) = (start(1), input());
    drop(watch(&registry, input.clone()).await.unwrap());
    sleep(LINGER / 2).await;
    let back = watch(&registry, input.clone()).await.unwrap();
    sleep(LINGER * 2).await;
    assert!(registry.views(0).await.unwrap()[0].state.age_seconds > LINGER.as_secs_f64() * 2.0);
    drop(back);
    becomes(&registry, &[]).await;
    registry.stop().await;
}

/// The last client of a channel leaves while the next first one subscribes, repeatedly: no client
/// may get a reader of a channel that has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_come_while_the_last_one_leaves_get_a_living_channel() {
    let registry =
        Registry::start(1, tick(Duration::ZERO), Duration::from_millis(1), Shares::default(), Arc::new(()))
            .unwrap();
    let input = input();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (registry, input) = (registry.clone(), input.clone());
            tokio::spawn(async move {
                for turn in 0..40 {
                    let mut subscription = watch(&registry, input.clone()).await.unwrap();
                    assert!(
                        timeout(Duration::ZERO, subscription.reader.next()).await.is_err(),
                        "it has ended"
                    );
                    drop(subscription);
                    sleep(Duration::from_millis((client + turn) % 4)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    becomes(&registry, &[]).await;
    assert_eq!(registry.shared.loads[0].load(Relaxed), 0);
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_while_it_joins_leaves_nothing_behind() {
    let (registry, input) = (start(1), input());
    for _ in 0..10 {
        let asking = watch(&registry, input.clone());
        let _ = tokio::time::timeout(Duration::from_micros(50), asking).await;
    }
    watch(&registry, input.clone()).await.unwrap();
    becomes(&registry, &[]).await;
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_joined_is_refused_and_forgotten() {
    let registry = start(1);
    let nowhere: Input = "udp://@239.255.1.1:5000?if=nope0".parse().unwrap();
    let error = watch(&registry, nowhere).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Waiting { reasons } if reasons[0].contains("nope0")), "{error}");
    assert!(names(&registry).await.is_empty() && registry.shared.on_demand.entries().is_empty());
    registry.stop().await;
    let error = watch(&registry, input()).await.unwrap_err();
    assert!(matches!(error, RegistryError::PacketThread(ThreadError::Stopped)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_channels_are_spread_over_the_threads_and_keep_their_order() {
    let registry = start(2);
    let inputs: Vec<Input> = (0..4).map(|_| input()).collect();
    for (name, input) in ["d", "a", "c", "b"].into_iter().zip(&inputs) {
        assert!(registry.add(&channel(name, input)).await.unwrap().waiting.is_empty());
    }
    let loads: Vec<usize> = registry.shared.loads.iter().map(|load| load.load(Relaxed)).collect();
    assert_eq!(loads, [2, 2]);
    assert_eq!(names(&registry).await, ["d", "a", "c", "b"]);
    assert!(registry.not_ready().await.is_empty());
    let mut subscription =
        registry.subscribe("c", Transport::Http, Select::Auto, Begin::default()).await.unwrap();
    let error = registry.subscribe("e", Transport::Http, Select::Auto, Begin::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no stream \"e\": expected d, a, c, b");
    send(&inputs[2], 3);
    let mut received = Vec::new();
    while received.len() < 3 {
        received.extend_from_slice(&subscription.reader.next().await.unwrap().bytes);
    }
    assert_eq!(received, [0, 1, 2]);
    let exporter = Exporter::start(Arc::new(Metrics::new()), registry.clone());
    let text = String::from_utf8(exporter.text().await.unwrap().to_vec()).unwrap();
    assert!(text.contains("tidecast_packets_delivered_total{channel=\"c\"} 3"), "{text}");
    let states = registry.stop().await;
    assert_eq!(states.iter().map(|state| state.counters.delivered).sum::<u64>(), 3);
    assert!(subscription.reader.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legs_that_wait_are_named() {
    let registry = start(1);
    let nowhere: Input = "udp://@239.255.1.2:5000?if=nope0".parse().unwrap();
    let started = registry.add(&channel("a", &nowhere)).await.unwrap();
    assert_eq!(started.waiting.len(), 1);
    let reasons = registry.not_ready().await;
    assert!(reasons[0].starts_with("a: udp://@239.255.1.2:5000?if=nope0: "), "{reasons:?}");
    registry.stop().await;
    assert_eq!(registry.not_ready().await, ["a: its packet thread does not answer"]);
}

/// A packet thread that spends too long on one packet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_thread_that_stands_still_is_named() {
    let (registry, input) = (start(2), input());
    let plain = spec(&channel("stuck", &input), ::metrics::Histogram::noop());
    let sink = Box::new(|_: &Delivery, _| std::thread::sleep(HEALTH_PATIENCE * 2));
    registry.shared.packet_threads[1].add(ChannelSpec { sink: Some(sink), ..plain }).await.unwrap();
    assert_eq!(registry.health().await, Ok(()));
    send(&input, 1);
    sleep(SURVEY_INTERVAL).await;
    let stalled = registry.health().await.unwrap_err();
    assert_eq!(stalled.to_string(), "the packet path does not answer: thread 1");
    // After that packet, the thread answers again.
    assert!(registry.views(0).await.is_ok());
    assert_eq!(registry.health().await, Ok(()));
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_survey_answers_all_who_asked_before_it() {
    let (registry, input) = (start(1), input());
    registry.add(&channel("a", &input)).await.unwrap();
    registry.views(0).await.unwrap();
    let asked = clock::now();
    let ask = |_| {
        let registry = registry.clone();
        tokio::spawn(async move { registry.views(0).await.unwrap() })
    };
    let mut answers = Vec::new();
    for task in (0..200).map(ask).collect::<Vec<_>>() {
        answers.push(task.await.unwrap());
    }
    answers.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let surveys = answers.len();
    let time = (clock::now() - asked).as_secs_f64();
    assert!(surveys as f64 <= 2.0 + time / SURVEY_INTERVAL.as_secs_f64(), "{surveys} surveys in {time} s");
    // An answer is never older than its request.
    send(&input, 3);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(registry.views(0).await.unwrap()[0].state.counters.delivered, 3);
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_are_named_as_many_as_anybody_wants() {
    let (registry, input) = (start(1), input());
    registry.add(&channel("a", &input)).await.unwrap();
    // Two sources make two flows.
    send(&input, 1);
    send(&input, 1);
    sleep(Duration::from_millis(50)).await;
    let (one, two) = tokio::join!(registry.views(1), registry.views(2));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(two[0].state.flows.len(), 2);
    assert_eq!(one[0].state.flows.first(1).len(), 1);
    assert_eq!(registry.state("a", 1).await.unwrap().unwrap().flows.len(), 1);
    assert!(registry.state("b", 1).await.unwrap().is_none());
    registry.stop().await;
}
