use std::time::Duration;

use super::*;
use crate::{
    channel::{
        tap::{Event, Piece, Select, Tap},
        wanted::FlowWanted,
    },
    limits::SSE_KEPT_BYTES_MAX,
    registry::{
        Share,
        audience::{SubscriberGroup, Who},
    },
    serve::push::{options::Wire, subscriptions::PushQueue},
};
use tidecast_core::{
    buffer::Buffer,
    limits::{CHANNEL_BYTES_MAX, FLOWS_MAX},
    relay::{Delivery, FlowId, How, Packet, PacketFormat},
};

/// A hub, and the packet thread's end of its channel.
struct World {
    hub: Hub,
    tap: Tap<Batch>,
    reader: TapReader<Batch>,
    sender: mpsc::Sender<HubCommand>,
    counted: Arc<SubscriberGroup>,
    flow: Arc<FlowName>,
}

/// Messages that a client received: the kinds and first numbers.
type Told = Vec<(String, u64)>;

impl World {
    fn new() -> World {
        let tap: Tap<Batch> = Tap::new(Select::Auto, Duration::ZERO);
        let hub = Hub::new("s", 1, tap.reader(), &Batch::default());
        let (reader, sender) = (tap.reader(), mpsc::channel(1).0);
        let flow = Arc::new(FlowName { key: "7".to_owned(), source: "10.0.0.1:5000".parse().unwrap() });
        World { hub, tap, reader, sender, counted: Arc::default(), flow }
    }

    fn join(&mut self, wire: Wire, flow: Option<&str>, every: Duration) -> Arc<PushQueue> {
        let queue = PushQueue::new(None, Who::default());
        let member = queue.add(Share::detached(self.counted.clone()), self.sender.clone());
        let options =
            SubscribeOptions { wire, flow: flow.map(|flow| FlowWanted::parse(flow).unwrap()), every };
        self.hub.join(options, member, None);
        queue
    }

    /// A client of server-sent events reconnects.
    fn come_back(&mut self, after: Position) -> Arc<PushQueue> {
        let queue = PushQueue::new(None, Who::default());
        let member = queue.add(Share::detached(self.counted.clone()), self.sender.clone());
        self.hub.join(
            SubscribeOptions { wire: Wire::Sse, flow: None, every: Duration::ZERO },
            member,
            Some(after),
        );
        queue
    }

    /// Puts the following packets into this flow.
    fn in_flow(&mut self, key: &str) {
        self.flow = Arc::new(FlowName { key: key.to_owned(), source: self.flow.source });
    }

    fn packet(&mut self, seq: u64, payload: &[u8]) {
        self.packet_of(seq, 1, payload);
    }

    /// A packet that takes `span` numbers.
    fn packet_of(&mut self, seq: u64, span: u16, payload: &[u8]) {
        let now = clock::now();
        let packet = Packet {
            payload: 0..payload.len() as u32,
            bytes: Buffer::from(payload.to_vec()),
            timestamp: None,
            arrived: now,
            format: PacketFormat::Custom,
        };
        let delivery = Delivery { flow: FlowId(7), seq, span, how: How::Received, packet };
        self.tap.packet(&self.flow, &delivery, true, Duration::ZERO, now);
    }

    fn event(&mut self, event: Event) {
        self.tap.event(self.flow.clone(), event, clock::now());
    }

    /// The hub processes pending records and commands.
    fn turn(&mut self) {
        self.tap.turn(clock::now(), true);
        while let Some(batch) = self.reader.try_next() {
            self.hub.feed(&batch);
        }
    }

    fn members(&self) -> usize {
        self.hub.classes.iter().map(|class| class.members.len()).sum()
    }
}

async fn told(queue: &PushQueue) -> Told {
    queue.close();
    let mut text = Vec::new();
    while let Some(chunk) = queue.next().await {
        text.extend_from_slice(&chunk.bytes);
    }
    let objects = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
    let number = |object: &serde_json::Value| object["seq"].as_u64().or(object["from"].as_u64()).unwrap_or(0);
    let object = |object: &serde_json::Value| (object["type"].as_str().unwrap().to_owned(), number(object));
    objects.map(|told| object(&told.unwrap())).collect()
}

/// Their flow never comes, so no message shows that they have left.
#[tokio::test]
async fn a_client_that_left_is_forgotten_without_a_message() {
    let mut world = World::new();
    let stays = world.join(Wire::Lines, None, Duration::ZERO);
    for n in 0..100 {
        drop(world.join(Wire::Lines, Some(&format!("absent-{n}")), Duration::ZERO));
        drop(world.join(Wire::Lines, Some("absent"), Duration::ZERO));
    }
    assert!(world.hub.classes.len() <= 2 && world.members() <= 2, "{:?}", world.hub.classes);
    // Its connection continues without this subscription.
    stays.remove(0);
    let _other = world.join(Wire::Lines, None, Duration::ZERO);
    assert_eq!((world.hub.classes.len(), world.members()), (1, 1));
}

/// Raw payloads of length zero still count as packets.
#[tokio::test]
async fn empty_payloads_do_not_pile_up() {
    let mut world = World::new();
    let queue = world.join(Wire::Raw, None, Duration::ZERO);
    for seq in 1..=100 {
        world.packet(seq, b"");
        world.turn();
    }
    queue.close();
    while queue.next().await.is_some() {}
    assert_eq!(world.counted.state().packets, 100);
}

/// Like a reading that is sent once an hour.
#[tokio::test]
async fn what_waits_for_its_time_is_told_before_the_end_of_its_flow() {
    let mut world = World::new();
    let queue = world.join(Wire::Lines, None, Duration::from_secs(3600));
    world.packet(1, b"21.5");
    world.event(Event::Lost { from: 2, count: 1 });
    world.packet(3, b"21.6");
    world.packet(4, b"21.7");
    world.event(Event::Ended);
    world.turn();
    let expected = [("packet", 1), ("lost", 2), ("packet", 4), ("ended", 0)];
    assert_eq!(told(&queue).await, expected.map(|(kind, number)| (kind.to_owned(), number)));
    assert!(world.hub.classes[0].due().is_none());
}

#[tokio::test]
async fn gaps_of_a_run_are_told_before_the_next_run() {
    let mut world = World::new();
    let queue = world.join(Wire::Lines, None, Duration::from_secs(3600));
    world.packet(1, b"21.5");
    world.event(Event::Lost { from: 2, count: 1 });
    world.event(Event::Started);
    world.packet(7, b"21.6");
    world.event(Event::Ended);
    world.turn();
    let expected = [("packet", 1), ("lost", 2), ("started", 0), ("packet", 7), ("ended", 0)];
    assert_eq!(told(&queue).await, expected.map(|(kind, number)| (kind.to_owned(), number)));
}

#[tokio::test]
async fn packets_of_which_the_records_are_missing_are_told_and_counted() {
    let mut world = World::new();
    let queue = world.join(Wire::Lines, None, Duration::ZERO);
    world.packet(1, b"a");
    world.turn();
    world.packet(2, b"b");
    world.packet(3, b"c");
    world.tap.turn(clock::now(), true);
    assert_eq!(world.reader.try_next().unwrap().packets(), 2); // the hub was too late for the first
    world.packet(4, b"d");
    world.turn();
    assert_eq!(queue.tally(0).unwrap().missed, 0, "it has not been told yet");
    let expected = [("packet", 1), ("missed", 2), ("packet", 4)];
    assert_eq!(told(&queue).await, expected.map(|(kind, number)| (kind.to_owned(), number)));
    let counted = world.counted.state();
    assert_eq!((counted.packets, counted.dropped.lag), (2, 2));
}

#[tokio::test]
async fn what_is_missed_is_told_in_numbers_and_counted_in_packets() {
    let mut world = World::new();
    let queue = world.join(Wire::Lines, None, Duration::ZERO);
    let packet = |world: &mut World, n: u64| world.packet_of(1 + 20 * n, 20, b"a");
    packet(&mut world, 0);
    world.turn();
    let skip = |world: &mut World| {
        world.tap.turn(clock::now(), true);
        world.reader.try_next().unwrap().packets()
    };
    packet(&mut world, 1);
    world.turn();
    (2..5).for_each(|n| packet(&mut world, n));
    assert_eq!(skip(&mut world), 3);
    world.packet_of(101, 0, b"heartbeat");
    packet(&mut world, 5);
    world.turn();
    assert_eq!(world.hub.flows["7"].last.as_ref().map(|last| last.info.seq), Some(101));
    packet(&mut world, 6);
    world.turn();
    queue.close();
    let mut missed = Vec::new();
    while let Some(chunk) = queue.next().await {
        missed.extend(chunk.spans().map(|(_, range)| (range.from, range.to, range.packets, range.lost)));
    }
    assert_eq!(missed, [(1, 20, 1, 0), (21, 40, 1, 0), (41, 120, 5, 0), (121, 140, 1, 0)]);
    assert_eq!(world.counted.state().dropped.lag, 3);
}

/// Forged flows, each with a datagram of maximum size.
#[tokio::test]
async fn last_values_have_a_bound() {
    let mut world = World::new();
    let queue = world.join(Wire::Frames, None, Duration::from_secs(3600));
    let large = vec![0; 60_000];
    let count = CHANNEL_BYTES_MAX / large.len() + 100;
    for n in 0..count {
        world.in_flow(&n.to_string());
        world.packet(1, &large);
        world.turn();
        drop(queue.next().await);
    }
    let held: usize = world.hub.flows.values().map(HubFlow::bytes).sum();
    assert!(held <= CHANNEL_BYTES_MAX && held == world.hub.kept, "{held} {}", world.hub.kept);
    // A flow without room has no pending value.
    world.packet(2, &large);
    world.turn();
    queue.close();
    assert_eq!(queue.next().await.map(|told| told.packets), Some(1));
    for n in 0..count {
        world.in_flow(&n.to_string());
        world.event(Event::Ended);
    }
    world.turn();
    assert_eq!((world.hub.flows.len(), world.hub.kept), (0, 0));
}

#[tokio::test]
async fn flows_of_which_the_end_was_missed_do_not_stay() {
    let mut world = World::new();
    let _queue = world.join(Wire::Raw, None, Duration::ZERO);
    for round in 0..4_u64 {
        for n in 0..=FLOWS_MAX as u64 {
            world.in_flow(&format!("{round}-{n}"));
            world.packet(1, b"");
        }
        world.turn();
        // The hub is too late for the next packets.
        world.packet(2, b"");
        world.tap.turn(clock::now(), true);
        while world.reader.try_next().is_some() {}
    }
    assert!(world.hub.flows.len() <= 3 * (FLOWS_MAX + 1), "{}", world.hub.flows.len());
    world.packet(3, b"");
    world.turn();
    assert!(world.hub.flows.len() <= 2 * (FLOWS_MAX + 1), "{}", world.hub.flows.len());
}

/// The ids of events and their numbers, as a browser reads them.
async fn events(queue: &PushQueue) -> Vec<(Position, u64)> {
    let mut text = String::new();
    while queue.waiting() > 0 {
        text.push_str(std::str::from_utf8(&queue.next().await.unwrap().bytes).unwrap());
    }
    let event = |event: &str| {
        let id = event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().parse().unwrap();
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        (id, data["seq"].as_u64().unwrap())
    };
    text.split("\n\n").filter(|event| !event.is_empty()).map(event).collect()
}

#[tokio::test]
async fn a_browser_that_comes_back_gets_what_it_has_not_had() {
    let mut world = World::new();
    let first = world.join(Wire::Sse, None, Duration::ZERO);
    for seq in 0..4 {
        world.packet(seq, b"1");
    }
    world.turn();
    world.packet(4, b"1");
    world.turn();
    let told = events(&first).await;
    assert_eq!(told.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    drop(first);
    world.packet(5, b"1");
    world.turn();
    for had in 0..5 {
        let again = events(&world.come_back(told[had].0)).await;
        let (numbers, expected): (Vec<u64>, Vec<u64>) =
            (again.iter().map(|(_, seq)| *seq).collect(), (had as u64 + 1..6).collect());
        assert_eq!(numbers, expected, "after {had}");
        assert!(again[..].starts_with(&told[had + 1..]), "with the same ids");
    }
    // An id from another run means nothing: the client is treated as new.
    let other = Position { epoch: told[0].0.epoch + 1, number: 2 };
    assert_eq!(events(&world.come_back(other)).await.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [5]);
    let ahead = Position { number: 1000, ..told[0].0 };
    assert_eq!(events(&world.come_back(ahead)).await.len(), 1);
}

#[test]
fn what_is_kept_for_those_who_left_is_bounded() {
    let mut world = World::new();
    let first = world.join(Wire::Sse, None, Duration::ZERO);
    for seq in 0..100 {
        world.packet(seq, &vec![b'a'; 60_000]);
        world.turn();
    }
    let kept = world.hub.classes[0].since(Position { number: 0, ..world.hub.classes[0].position() }).unwrap();
    let bytes: usize = kept.iter().map(|chunk| chunk.bytes.len()).sum();
    assert!((SSE_KEPT_BYTES_MAX / 2..=SSE_KEPT_BYTES_MAX).contains(&bytes), "{bytes}");
    drop(first);
    for n in 0..3 * SSE_KEPT_CLASSES_MAX {
        drop(world.join(Wire::Sse, Some(&n.to_string()), Duration::ZERO));
    }
    world.hub.tidy();
    assert_eq!(world.hub.classes.len(), SSE_KEPT_CLASSES_MAX);
    drop(world.join(Wire::Lines, None, Duration::ZERO));
    world.hub.tidy();
    assert!(world.hub.classes.iter().all(Class::is_kept));
}

/// Values of 5 MB, for a client that takes nothing and for one that takes everything.
#[tokio::test]
async fn last_values_come_in_pieces_as_the_client_takes_them() {
    const FLOWS: u64 = 5000;
    let mut world = World::new();
    for flow in 0..FLOWS {
        world.in_flow(&flow.to_string());
        world.packet(1, &[b'x'; 1000]);
        if flow % 100 == 0 {
            world.turn();
        }
    }
    world.turn();
    let queue = world.join(Wire::Lines, None, Duration::ZERO);
    let piece = queue.waiting();
    assert!((PUSH_PIECE_BYTES / 2..2 * PUSH_PIECE_BYTES).contains(&piece), "{piece}");
    // One of the pending flows sends meanwhile: its value is sent once.
    let late = world.hub.pending[0].flows[0].key.clone();
    world.in_flow(&late);
    world.packet(2, b"new");
    world.turn();
    assert!(queue.waiting() < 2 * PUSH_PIECE_BYTES);
    let member = world.hub.pending[0].member.clone();
    let mut told = HashMap::new();
    while told.len() < FLOWS as usize {
        while queue.waiting() > 0 {
            let text = queue.next().await.unwrap().bytes.clone();
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let message: serde_json::Value = serde_json::from_slice(line).unwrap();
                let (flow, seq) =
                    (message["flow"].as_str().unwrap().to_owned(), message["seq"].as_u64().unwrap());
                assert_eq!(told.insert(flow, seq), None, "told once");
            }
        }
        world.hub.resume(&member);
        world.hub.burst();
        assert!(queue.waiting() < 2 * PUSH_PIECE_BYTES);
    }
    assert_eq!((told[&late], told.len() as u64), (2, FLOWS));
    assert!(world.hub.pending.is_empty() && world.hub.bursts.is_empty());
}
