//! The observer, fed with hand-made channel states.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    channel::{
        state::{LegState, LegStatus},
        testing::channel_state,
    },
    limits::{REFUSED_SAMPLES, SILENT_AFTER},
    registry::audience::Transport,
};
use tidecast_core::relay::{Counters, LegCounters};

/// Observations, and their time in seconds.
struct World {
    seen: Observation,
    start: Instant,
    second: u64,
}

impl World {
    fn new() -> World {
        let start = clock::now();
        let seen = Observation {
            run: 0,
            ticks: 0,
            times: VecDeque::new(),
            channels: Vec::new(),
            events: Log::default(),
            last: start,
            lines: Lines::default(),
        };
        World { seen, start, second: 0 }
    }

    /// Advances by a second, after which the channels have these counters.
    fn next(&mut self, channels: &[(&str, Counters)]) {
        self.second += 1;
        let views = channels.iter().map(|(name, counters)| view(name, counters, self.second as f64));
        let later = Duration::from_secs(self.second);
        self.seen.tick(views.collect(), self.start + later, Duration::from_secs(1_700_000_000) + later);
    }

    fn health(&self, name: &str) -> (Health, String) {
        let verdict = &self.seen.channel(name).unwrap().verdict;
        (verdict.health, verdict.reasons.join("; "))
    }

    fn events(&self) -> Vec<&str> {
        self.seen.events.all().map(|event| event.text.as_str()).collect()
    }
}

fn view(name: &str, counters: &Counters, age: f64) -> ChannelView {
    let mut state = channel_state(name, counters.clone());
    state.age_seconds = age;
    ChannelView { state, path: format!("/streams/{name}"), subscribers: Default::default() }
}

/// Counters of packets in order, some of which were lost.
fn counted(expected: u64, lost: u64) -> Counters {
    let received = expected - lost;
    Counters { media_received: received, delivered: received, expected, lost, ..Counters::default() }
}

#[test]
fn a_channel_is_degraded_for_a_minute_after_a_loss() {
    let mut world = World::new();
    world.next(&[("a", counted(0, 0))]);
    world.next(&[("a", counted(1000, 0))]);
    assert_eq!(world.health("a"), (Health::Ok, String::new()));
    world.next(&[("a", counted(2000, 10))]);
    assert_eq!(world.health("a").0, Health::Degraded);
    assert_eq!(world.health("a").1, "0.50 % of the packets were lost within the last minute");
    for second in 1..=RECENT_SAMPLES as u64 {
        assert_eq!(world.health("a").0, Health::Degraded, "{second} s later");
        world.next(&[("a", counted(2000 + 1000 * second, 10))]);
    }
    assert_eq!(world.health("a"), (Health::Ok, String::new()));
    assert_eq!(world.events(), ["lost 10 packets"]);
}

#[test]
fn silence_is_told_once_and_so_is_its_end() {
    let mut world = World::new();
    for second in 0..10 {
        world.next(&[("a", counted(100 * second, 0))]);
    }
    for _ in 0..20 {
        world.next(&[("a", counted(900, 0))]);
    }
    assert_eq!(world.health("a"), (Health::Silent, "no packet for 20 s".to_owned()));
    world.next(&[("a", counted(1000, 0))]);
    assert_eq!(world.health("a").0, Health::Ok);
    assert_eq!(world.events(), ["no packet for 3 s", "packets come again, after 21 s"]);
}

#[test]
fn a_sensor_with_a_reading_every_ten_seconds_is_not_silent_in_between() {
    let mut world = World::new();
    for second in 0..300 {
        world.next(&[("slow", counted(second / 10, 0))]);
        let young = Duration::from_secs(second) < Duration::from_secs(20) + SILENT_AFTER;
        assert!(young || world.health("slow").0 == Health::Ok, "{:?} after {second} s", world.health("slow"));
    }
    for _ in 0..150 {
        world.next(&[("slow", counted(29, 0))]);
    }
    assert_eq!(world.health("slow").0, Health::Silent, "it has missed more than ten readings");
}

#[test]
fn a_channel_that_never_got_a_packet_is_silent_since_its_start() {
    let mut world = World::new();
    world.next(&[("a", Counters::default())]);
    assert_eq!(world.health("a").0, Health::Ok, "it has just begun");
    for _ in 0..4 {
        world.next(&[("a", Counters::default())]);
    }
    assert_eq!(world.health("a"), (Health::Silent, "no packet in the 5 s since it began".to_owned()));
}

#[test]
fn what_was_lost_is_split_by_its_cause_and_adds_up() {
    let mut world = World::new();
    world.next(&[("a", counted(0, 0))]);
    let c = Counters { late: 4, recovered_fec: 3, ..counted(100, 10) };
    world.next(&[("a", c)]);
    let recent = world.seen.channel("a").unwrap().recent;
    assert_eq!((recent.lost, recent.late, recent.kernel, recent.network), (10.0, 4.0, 0.0, 6.0));
    assert_eq!((recent.fec, recent.lost_share()), (3.0, 0.1));
    world.next(&[("a", Counters { late: 40, ..counted(200, 10) })]);
    let recent = world.seen.channel("a").unwrap().recent;
    assert_eq!((recent.lost, recent.late, recent.network), (10.0, 10.0, 0.0), "never more than was lost");
}

#[test]
fn history_is_bounded_and_ends_with_the_newest_tick() {
    let mut world = World::new();
    for second in 0..HISTORY_SAMPLES as u64 + 10 {
        world.next(&[("a", counted(second * second, 0))]);
    }
    let history = &world.seen.channel("a").unwrap().history;
    assert_eq!((history.len(), world.seen.times.len()), (HISTORY_SAMPLES, HISTORY_SAMPLES));
    let last = (HISTORY_SAMPLES + 9) as f32;
    assert_eq!(history.newest(1).next().unwrap().get(Column::Received), 2.0 * last - 1.0);
}

#[test]
fn a_group_that_is_joined_again_counts_anew() {
    let mut world = World::new();
    world.next(&[("a", counted(1000, 500))]);
    assert_eq!(world.health("a").0, Health::Degraded, "what was lost before the first look counts");
    world.next(&[]);
    assert_eq!(world.events(), ["lost 500 packets", "left: nobody asks for it any more"]);
    let mut again = view("a", &counted(10, 0), 0.5);
    again.state.on_demand = true;
    world.seen.tick(vec![again], world.start + Duration::from_secs(9), Duration::from_secs(9));
    assert_eq!(world.seen.channel("a").unwrap().recent.expected, 10.0);
    assert_eq!(world.health("a").0, Health::Ok);
}

/// A channel with two legs, and the packets that each has received.
fn two_legs(name: &str, brought: [u64; 2], missed: [u64; 2], age: f64) -> ChannelView {
    let total = brought[0] + brought[1];
    let mut view =
        view(name, &Counters { media_received: total, ..counted(brought[0].max(brought[1]), 0) }, age);
    view.state.legs = (0..2)
        .map(|leg| LegState {
            address: format!("udp://@239.1.1.{leg}:5000"),
            state: LegStatus::Joined,
            counters: LegCounters { media: brought[leg], missed: missed[leg], ..LegCounters::default() },
            ..LegState::default()
        })
        .collect();
    view
}

#[test]
fn a_leg_that_brings_nothing_is_told_while_the_other_one_carries_the_channel() {
    let mut world = World::new();
    let step = |world: &mut World, brought, missed| {
        world.second += 1;
        let later = Duration::from_secs(world.second);
        let view = two_legs("a", brought, missed, world.second as f64);
        world.seen.tick(vec![view], world.start + later, Duration::from_secs(1_700_000_000) + later);
    };
    step(&mut world, [100, 100], [0, 0]);
    step(&mut world, [200, 200], [0, 0]);
    assert_eq!(world.health("a"), (Health::Ok, String::new()));
    for second in 1..=5 {
        step(&mut world, [200 + 100 * second, 200], [0, 100 * second]);
    }
    let (health, reason) = world.health("a");
    assert_eq!((health, &*reason), (Health::Degraded, "udp://@239.1.1.1:5000 has brought nothing for 4 s"));
    assert_eq!(world.seen.channel("a").unwrap().recent.other_leg, 500.0);
    step(&mut world, [800, 800], [0, 500]);
    assert_eq!(world.health("a").0, Health::Ok);
    let told = world.events();
    assert!(told[2].contains("brings nothing, while another input does"), "{told:?}");
    assert!(told[3].contains("brings packets again, after 5 s"), "{told:?}");
}

#[test]
fn legs_are_not_blamed_when_nothing_comes_at_all() {
    let mut world = World::new();
    for second in 0..20 {
        let later = Duration::from_secs(second);
        let view = two_legs("a", [100, 100], [0, 0], second as f64);
        world.seen.tick(vec![view], world.start + later, later);
    }
    assert!(!world.events().iter().any(|event| event.contains("brings nothing")), "{:?}", world.events());
    assert_eq!(world.health("a").0, Health::Silent);
}

/// A channel with received, foreign and followed packets, and `players` connected players.
fn refusing(received: u64, foreign: u64, followed: u64, players: u64, age: f64) -> ChannelView {
    let delivered = received - foreign;
    let counters =
        Counters { media_received: received, foreign, delivered, expected: delivered, ..Counters::default() };
    let mut view = view("a", &counters, age);
    view.state.format = "native".to_owned();
    if foreign > 0 {
        view.state.rejects.insert("format", foreign);
    }
    view.state.followed = followed;
    view.subscribers.0[Transport::Http as usize].clients = players;
    view
}

impl World {
    fn see(&mut self, view: impl FnOnce(f64) -> ChannelView) -> (Health, String) {
        self.second += 1;
        let later = Duration::from_secs(self.second);
        let view = view(self.second as f64);
        self.seen.tick(vec![view], self.start + later, Duration::from_secs(1_700_000_000) + later);
        self.health("a")
    }
}

#[test]
fn what_comes_and_is_not_passed_on_shows_at_once_and_clears_when_it_ends() {
    let mut world = World::new();
    world.see(|age| refusing(0, 0, 0, 0, age));
    let (health, reason) = world.see(|age| refusing(100, 100, 0, 0, age));
    assert_eq!(health, Health::Degraded);
    assert!(
        reason.starts_with(
            "none of the 100 datagrams of the last 2 s is passed on: 100 of another format: they are"
        ),
        "{reason}"
    );
    assert_eq!(world.seen.channel("a").unwrap().refused(), [reason]);
    for second in 1..=15 {
        let (health, reason) = world.see(|age| refusing(100 + 100 * second, 100, 100 * second, 0, age));
        assert_eq!(health == Health::Ok, second >= REFUSED_SAMPLES as u64, "{second} s later: {reason}");
    }
    assert_eq!(world.events(), ["100 datagrams of no use (mostly: format)"]);
    let advice = &world.seen.events.all().next().unwrap().advice;
    assert!(advice.contains("the channel's format says native"), "{advice}");
}

#[test]
fn a_handful_of_damaged_datagrams_is_no_trouble_and_a_share_is() {
    let mut world = World::new();
    for second in 1..40 {
        let (health, reason) = world.see(|age| refusing(1000 * second, 5 * second, 995 * second, 0, age));
        assert_eq!((health, &*reason), (Health::Ok, ""), "0.5 %");
    }
    let mut world = World::new();
    world.see(|age| refusing(0, 0, 0, 0, age));
    assert_eq!(world.see(|age| refusing(20, 9, 11, 0, age)).0, Health::Ok, "nine, and others are fine");
    let (health, reason) = world.see(|age| refusing(40, 10, 30, 0, age));
    assert_eq!(health, Health::Degraded);
    assert!(reason.contains("10 of the 40 datagrams of the last 3 s (25 %) are not passed on"), "{reason}");
}

#[test]
fn rejected_ones_without_a_reason_of_their_own_are_told_too() {
    let mut world = World::new();
    world.see(|age| view("a", &Counters::default(), age));
    let counters =
        Counters { media_received: 100, rejected: 50, delivered: 50, expected: 50, ..Counters::default() };
    let (health, reason) = world.see(|age| view("a", &counters, age));
    assert_eq!(health, Health::Degraded);
    assert!(reason.contains("50 unconfirmed: their numbers contradict each other"), "{reason}");
}

#[test]
fn players_who_get_nothing_of_what_comes_are_told_and_so_is_the_end_of_it() {
    let mut world = World::new();
    for second in 0..4 {
        let (health, reason) = world.see(|age| refusing(100 * second, 0, 0, 2, age));
        assert_eq!((health, &*reason), (Health::Ok, ""), "within a player's patience");
    }
    world.see(|age| refusing(400, 0, 0, 2, age));
    let (health, reason) = world.see(|age| refusing(500, 0, 0, 2, age));
    assert_eq!(health, Health::Degraded);
    assert!(
        reason.starts_with(
            "2 players get nothing, although 500 datagrams came within 5 s: 500 packets are of flows"
        ),
        "{reason}"
    );
    assert_eq!(world.see(|age| refusing(600, 0, 100, 2, age)), (Health::Ok, String::new()));
    let told = world.events();
    assert!(
        told[0].starts_with("2 players get nothing") && told[1] == "packets go out again, after 1 s",
        "{told:?}"
    );
}

#[test]
fn a_stream_of_which_nothing_goes_out_but_repeats_is_told() {
    let mut world = World::new();
    let repeated = |count: u64| Counters {
        media_received: count + 10,
        duplicate: count,
        delivered: 10,
        expected: 10,
        ..Counters::default()
    };
    for second in 0..7 {
        world.see(|age| view("a", &repeated(10 * second), age));
    }
    let (health, reason) = world.health("a");
    assert_eq!(health, Health::Degraded);
    assert!(
        reason.starts_with("nothing goes out, although 50 datagrams came within 5 s: 50 are duplicates"),
        "{reason}"
    );
}
