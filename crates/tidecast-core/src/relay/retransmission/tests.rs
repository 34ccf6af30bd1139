use proptest::prelude::*;

use super::*;
use tidecast_wire::rtcp::{Compound, Packet, Repr};

/// The numbers encoded in the RTCP packets for `numbers`, and the forms used.
fn on_the_wire(numbers: &[u64]) -> (Vec<u16>, Vec<Form>) {
    let (mut all, mut forms) = (Vec::new(), Vec::new());
    for (count, numbers, form) in nacks(numbers) {
        let nack = match form {
            Form::Generic => Repr::GenericNack { sender: 1, media: 2, numbers: &numbers },
            Form::Range => Repr::RangeNack { media: 2, numbers: &numbers },
        };
        let mut bytes = Vec::new();
        nack.emit(&mut bytes);
        let compound = Compound::parse(&bytes).unwrap();
        let packets: Vec<_> = compound.packets().collect();
        let [Ok(Packet::Nack(nack))] = packets[..] else { panic!("{packets:?}") };
        assert_eq!(nack.form(), form);
        let before = all.len();
        all.extend(nack.ranges().flat_map(|range| range.iter().collect::<Vec<_>>()));
        assert_eq!((all.len() - before) as u64, count);
        forms.push(form);
    }
    (all, forms)
}

#[test]
fn each_form_is_used_where_it_is_shorter() {
    let burst: Vec<u64> = (65_530..65_560).collect();
    assert_eq!(on_the_wire(&burst).1, [Form::Range], "30 in a row: one range, two entries");
    let sparse: Vec<u64> = (0..10).map(|i| i * 5).collect();
    assert_eq!(on_the_wire(&sparse).1, [Form::Generic], "three entries, ten ranges");
    assert_eq!(on_the_wire(&[7]).1, [Form::Generic]);
    assert_eq!(on_the_wire(&[]).1, []);
}

#[test]
fn the_share_of_requests_without_an_answer_is_their_average() {
    let mut asking = Asking::new(vec![0], false, 1, crate::clock::now());
    for _ in 0..1_000 {
        asking.answered_after(2); // one without, one with
    }
    assert!((asking.failing - 0.5).abs() < 0.01, "{}", asking.failing);
}

proptest! {
    #[test]
    fn what_is_asked_for_is_what_was_wanted(numbers in prop::collection::btree_set(60_000u64..70_000, 0..500)) {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let (asked, _) = on_the_wire(&numbers);
        prop_assert_eq!(asked, numbers.iter().map(|n| *n as u16).collect::<Vec<_>>());
        let native: Vec<u64> = native_nacks(1, 2, &numbers, |request, out| request.emit(out))
            .iter()
            .flat_map(|(count, bytes)| {
                let packet = native::Packet::parse(bytes).unwrap();
                assert_eq!((packet.kind(), packet.stream(), packet.session()), (native::Kind::Nack, 1, 2));
                let nack = native::Nack::parse(packet.payload()).unwrap();
                let all: Vec<u64> = nack.iter().flat_map(|(n, count)| n..n + u64::from(count)).collect();
                assert_eq!(all.len() as u64, *count);
                all
            })
            .collect();
        prop_assert_eq!(native, numbers);
    }
}
