use std::time::Duration;

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    channel::tap::Info,
    limits::MISSED_FLOWS_MAX,
    registry::audience::SubscriberGroup,
    serve::push::{
        message::{About, Message},
        options::Wire,
    },
};
use tidecast_core::relay::{How, PacketFormat};

/// Both ends of a connection, the hub's end of the commands, and the counters.
struct World {
    queue: Arc<PushQueue>,
    far: TcpStream,
    commands: mpsc::Receiver<HubCommand>,
    id: u64,
    counted: Arc<SubscriberGroup>,
    flow: Arc<FlowName>,
}

async fn world() -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let queue = PushQueue::new(Some(listener.accept().await.unwrap().0), Who::default());
    let (hub, commands) = mpsc::channel(4);
    let counted = Arc::<SubscriberGroup>::default();
    let id = queue.add(Share::detached(counted.clone()), hub).id;
    let flow = Arc::new(FlowName { key: "7".into(), source: "10.0.0.1:1".parse().unwrap() });
    World { queue, far, commands, id, counted, flow }
}

impl World {
    fn packet(&self, seq: u64, length: usize) -> Arc<EncodedChunk> {
        let info = Info::new(seq, How::Received, PacketFormat::Raw, None, Duration::ZERO, true);
        let payload = vec![seq as u8; length];
        let mut chunk = EncodedChunk::default();
        let about = About { stream: "s", id: 1, flow: "7" };
        chunk.add(
            Wire::Raw,
            about,
            &self.flow,
            Message::Packet { info: &info, payload: &payload, last: false },
        );
        Arc::new(chunk)
    }
}

/// What the hub reads as missed when the client resumes.
fn resume(queue: &PushQueue, id: u64) -> Vec<(Arc<FlowName>, Range)> {
    std::iter::from_fn(|| queue.next_missed(id)).collect()
}

#[tokio::test]
async fn a_client_behind_is_told_what_it_missed_and_gets_what_is_new() {
    const LENGTH: usize = 64 << 10;
    let mut world = world().await;
    let now = clock::now();
    let mut pushed = 0;
    // The kernel takes some chunks, and the queue some more.
    while world.queue.state().policy.list[0].missed.is_empty() {
        assert!(world.queue.push(world.id, &world.packet(pushed, LENGTH), now));
        pushed += 1;
    }
    for _ in 0..3 {
        world.queue.push(world.id, &world.packet(pushed, LENGTH), now);
        pushed += 1;
    }
    assert!(world.queue.waiting() <= LENGTH + 1024, "what is begun goes on, the rest is gone");
    let queue = world.queue.clone();
    let writing = tokio::spawn(async move { queue.write().await });
    let mut got = Vec::new();
    let mut memory = vec![0; LENGTH];
    // Reads everything that was written before; then the hub gets a command.
    let asked = loop {
        tokio::select! {
            biased;
            command = world.commands.recv() => break command,
            read = world.far.read(&mut memory) => got.extend_from_slice(&memory[..read.unwrap()]),
        }
    };
    assert!(matches!(asked, Some(HubCommand::Resume(member)) if member.id == world.id));
    let missed = resume(&world.queue, world.id);
    let [(flow, range)] = &missed[..] else { panic!("{missed:?}") };
    assert_eq!((flow.key.as_str(), range.to, range.from + range.packets), ("7", pushed - 1, pushed));
    assert_eq!(world.counted.state().dropped.lag, range.packets);
    world.queue.push(world.id, &world.packet(pushed, 10), clock::now());
    world.queue.close();
    assert_eq!(writing.await.unwrap(), End::Done);
    drop(world.queue);
    world.far.read_to_end(&mut got).await.unwrap();
    let whole = got.len() / LENGTH;
    assert_eq!((whole as u64, got.len() % LENGTH), (range.from, 10), "whole packets, then the new one");
    assert!(
        got.chunks(LENGTH)
            .enumerate()
            .take(whole)
            .all(|(n, chunk)| chunk.iter().all(|byte| *byte == n as u8))
    );
}

#[tokio::test]
async fn what_waits_too_long_is_not_sent() {
    let world = world().await;
    let start = clock::now();
    let queue = PushQueue::new(None, Who::default());
    let (hub, _commands) = mpsc::channel(1);
    let id = queue.add(Share::detached(world.counted.clone()), hub).id;
    queue.push(id, &world.packet(1, 10), start);
    queue.push(id, &world.packet(2, 10), start + PUSH_QUEUE_AGE_MAX);
    assert!(queue.state().policy.list[0].missed.is_empty());
    queue.push(id, &world.packet(3, 10), start + PUSH_QUEUE_AGE_MAX + Duration::from_millis(1));
    let missed = resume(&queue, id);
    assert_eq!(missed[0].1, Range { from: 1, to: 3, packets: 3, lost: 0 });
    queue.push(id, &world.packet(4, 10), clock::now());
    assert_eq!(queue.next().await.unwrap().packets, 1);
    assert_eq!(queue.tally(id), Some(Tally { packets: 1, bytes: 10, missed: 3 }));
}

#[tokio::test]
async fn nothing_of_a_subscription_comes_after_its_end() {
    let world = world().await;
    let queue = PushQueue::new(None, Who::default());
    let (hub, _commands) = mpsc::channel(1);
    let id = queue.add(Share::detached(world.counted.clone()), hub).id;
    queue.push(id, &world.packet(1, 10), clock::now());
    queue.say(b"OK".to_vec());
    assert_eq!(queue.remove(id), Some(Tally::default()));
    assert!(!queue.push(id, &world.packet(2, 10), clock::now()));
    assert_eq!(queue.next().await.unwrap().bytes, b"OK");
    assert_eq!((world.counted.state().dropped.closed, queue.is_idle()), (1, true));
    queue.close();
    assert!(queue.next().await.is_none());
}

#[tokio::test]
async fn more_flows_than_can_be_noted_end_it() {
    let mut world = world().await;
    let queue = PushQueue::new(None, Who::default());
    let (hub, _commands) = mpsc::channel(1);
    let id = queue.add(Share::detached(world.counted.clone()), hub).id;
    queue.state().fall_behind();
    let push = |world: &mut World, key: usize| {
        world.flow = Arc::new(FlowName { key: key.to_string(), source: world.flow.source });
        queue.push(id, &world.packet(1, 10), clock::now());
    };
    (0..MISSED_FLOWS_MAX).for_each(|key| push(&mut world, key));
    assert!(queue.next_missed(id).is_some(), "all are noted");
    push(&mut world, MISSED_FLOWS_MAX);
    push(&mut world, MISSED_FLOWS_MAX + 1);
    assert!(queue.next().await.is_none());
}
