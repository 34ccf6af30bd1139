//! The history against a simple model, and its budget against floods.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::clock;

const MS: Duration = Duration::from_millis(1);

fn settings(packets_max: usize, bytes_max: usize) -> Settings {
    Settings { age_max: 100 * MS, packets_max, bytes_max, share: 50, pause: 4 * MS }
}

/// A packet that starts with its number.
fn packet(number: u16, len: usize) -> Vec<u8> {
    number.to_be_bytes().repeat(len)[..len].to_vec()
}

#[test]
fn what_was_sent_is_sent_again_and_then_pauses() {
    let start = clock::now();
    let mut history = History::new(settings(10, 10_000));
    for number in 0..3u16 {
        history.keep(start, number, packet(number, 100));
    }
    assert_eq!(history.ask(start, 1), Answer::Again(&packet(1, 100)));
    assert_eq!(history.ask(start + 3 * MS, 1), Answer::Recent);
    assert_eq!(history.ask(start + 3 * MS, 2), Answer::Again(&packet(2, 100)));
    assert_eq!(history.ask(start + 4 * MS, 1), Answer::Again(&packet(1, 100)));
    assert_eq!(history.ask(start, 3), Answer::Gone);
    assert_eq!(history.ask(start + 101 * MS, 1), Answer::Gone, "too old, though nothing was sent since");
    history.refuse(5);
    let expected = Counters { requested: 11, resent: 3, resent_bytes: 300, gone: 2, recent: 1, refused: 5 };
    assert_eq!(*history.counters(), expected);
}

#[test]
fn a_number_that_comes_again_means_the_later_packet() {
    let start = clock::now();
    let mut history = History::new(settings(3, 10_000));
    history.keep(start, 7u16, packet(1, 10));
    history.keep(start, 8, packet(8, 10));
    history.keep(start, 7, packet(2, 10));
    history.keep(start, 9, packet(9, 10)); // forgets the first one
    assert_eq!(history.ask(start, 7), Answer::Again(&packet(2, 10)));
    assert_eq!((history.packets(), history.bytes()), (3, 30));
}

/// All receivers constantly request everything: the retransmissions equal the start and the share,
/// to the byte.
#[test]
fn a_flood_of_requests_gets_its_share_and_no_more() {
    const BYTES: usize = 1000;
    for share in [1, 25, 50, 100] {
        let mut now = clock::now();
        let mut history = History::new(Settings { share, ..settings(200, 1 << 20) });
        let (mut sent, mut again) = (0u64, 0u64);
        for number in 0..5000u16 {
            now += 5 * MS;
            history.keep(now, number, packet(number, BYTES));
            sent += BYTES as u64;
            for asked in number.saturating_sub(30)..=number {
                if let Answer::Again(packet) = history.ask(now, asked) {
                    again += packet.len() as u64;
                }
            }
            let allowed = RETRANSMIT_BYTES_MIN + sent * u64::from(share) / 100;
            assert!(again <= allowed, "{again} of {allowed} after {number}");
        }
        let allowed = RETRANSMIT_BYTES_MIN + sent * u64::from(share) / 100;
        // The budget is full, so the share of the first packet is lost.
        assert!(
            again + 2 * BYTES as u64 > allowed,
            "a share of {share} is there to be used: {again} of {allowed}"
        );
        assert_eq!(history.counters().resent_bytes, again);
        assert!(history.counters().refused > 0);
    }
}

/// An unused budget is bounded: after a long quiet time a flood gets the share of the kept
/// packets.
#[test]
fn an_unused_budget_is_bounded_by_what_is_kept() {
    let now = clock::now();
    let mut history = History::new(settings(200, 1 << 20));
    for number in 0..20_000u16 {
        history.keep(now, number, packet(number, 1000));
    }
    let again = (0..20_000u16).filter(|number| matches!(history.ask(now, *number), Answer::Again(_))).count();
    assert_eq!(again, 100, "half of the 200 packets kept");
}

#[derive(Clone, Debug)]
enum Step {
    Keep { number: u16, len: usize, wait: u32 },
    Ask { number: u16, wait: u32 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..40u16, 0..600usize, 0..12u32).prop_map(|(number, len, wait)| Step::Keep { number, len, wait }),
        (0..40u16, 0..6u32).prop_map(|(number, wait)| Step::Ask { number, wait }),
    ]
}

/// A list that is searched from its end, and a budget in hundredths of a byte.
#[derive(Default)]
struct Model {
    kept: Vec<(u16, Instant, Vec<u8>, Option<Instant>)>,
    tokens: u64,
}

impl Model {
    fn keep(&mut self, settings: &Settings, now: Instant, number: u16, packet: Vec<u8>) {
        self.tokens += packet.len() as u64 * u64::from(settings.share);
        self.kept.push((number, now, packet, None));
        let bytes = |kept: &[(u16, Instant, Vec<u8>, Option<Instant>)]| -> usize {
            kept.iter().map(|(_, _, packet, _)| packet.len()).sum()
        };
        while self.kept.len() > settings.packets_max
            || bytes(&self.kept) > settings.bytes_max
            || self.kept.first().is_some_and(|(_, at, ..)| now - *at > settings.age_max)
        {
            self.kept.remove(0);
        }
        let share = bytes(&self.kept) as u64 * u64::from(settings.share);
        self.tokens = self.tokens.min(share.max(RETRANSMIT_BYTES_MIN * 100));
    }

    fn ask(&mut self, settings: &Settings, now: Instant, number: u16) -> Answer<'_> {
        let found = self.kept.iter_mut().rev().find(|(of, ..)| *of == number);
        let Some((_, at, packet, again)) = found else { return Answer::Gone };
        if now - *at > settings.age_max {
            return Answer::Gone;
        }
        if again.is_some_and(|again| now - again < settings.pause) {
            return Answer::Recent;
        }
        if self.tokens < packet.len() as u64 * 100 {
            return Answer::Refused;
        }
        self.tokens -= packet.len() as u64 * 100;
        *again = Some(now);
        Answer::Again(packet)
    }
}

proptest! {
    #[test]
    fn it_answers_as_the_model_does(
        steps in vec(any_step(), 1..300),
        packets_max in 1..30usize,
        bytes_max in 100..5000usize,
        share in 1..=100u8,
    ) {
        let settings = Settings { share, ..settings(packets_max, bytes_max) };
        let (mut history, mut now) = (History::new(settings), clock::now());
        let mut model = Model { tokens: RETRANSMIT_BYTES_MIN * 100, ..Model::default() };
        let mut asked = 0;
        for step in steps {
            match step {
                Step::Keep { number, len, wait } => {
                    now += wait * MS;
                    history.keep(now, number, packet(number, len));
                    model.keep(&settings, now, number, packet(number, len));
                }
                Step::Ask { number, wait } => {
                    now += wait * MS;
                    asked += 1;
                    prop_assert_eq!(history.ask(now, number), model.ask(&settings, now, number));
                }
            }
            prop_assert_eq!(history.packets(), model.kept.len());
            prop_assert!(history.bytes() <= bytes_max && history.packets() <= packets_max);
        }
        let Counters { requested, resent, gone, recent, refused, .. } = *history.counters();
        prop_assert_eq!((requested, resent + gone + recent + refused), (asked, asked));
    }
}
