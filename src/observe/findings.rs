//! Compares two observations of a channel: finds events for people, with advice.

use super::{
    events::{EventKind, Finding, Level, Text},
    explain::explain,
    history::{kernel_drops, not_sent},
    refused,
    verdict::words,
};
use crate::{
    channel::state::{LegState, LegStatus, OutputState},
    registry::ChannelView,
};
use tidecast_net::{address::Input, diagnose};

/// Events of a channel that is observed for the first time.
pub(super) fn first(view: &ChannelView) -> Vec<Finding> {
    let mut all: Vec<Finding> = view.state.legs.iter().filter_map(|leg| leg_event(None, leg)).collect();
    all.extend(view.state.legs.iter().filter_map(|leg| link_event(&LegState::default(), leg)));
    all.extend(view.state.legs.iter().filter_map(small_buffer));
    all
}

/// Events between two observations.
pub(super) fn between(before: &ChannelView, after: &ChannelView) -> Vec<Finding> {
    let mut all = Vec::new();
    for (old, new) in before.state.legs.iter().zip(&after.state.legs) {
        all.extend(leg_event(Some(old), new));
        all.extend(link_event(old, new));
        if old.receive_buffer_granted != new.receive_buffer_granted {
            all.extend(small_buffer(new));
        }
    }
    for (old, new) in before.state.outputs.iter().zip(&after.state.outputs) {
        all.extend(output_event(old, new));
    }
    all.extend(losses(before, after));
    all.extend(drops(before, after));
    all.extend(useless(before, after));
    all.extend(subscribers(before, after));
    all
}

/// The channel has ended: a group on demand without clients.
pub(super) fn gone() -> Finding {
    info(EventKind::Channel, "left: nobody asks for it any more".to_owned())
}

/// Possible causes of silence that this host can see, for each joined leg.
pub(super) fn causes(view: &ChannelView) -> Vec<String> {
    let joined = view.state.legs.iter().filter(|leg| leg.state == LegStatus::Joined);
    let mut causes = Vec::new();
    for leg in joined {
        let Ok(input) = leg.address.parse::<Input>() else { continue };
        let of_leg = diagnose::silence(&input, leg.detail.as_deref());
        causes.extend(of_leg.into_iter().filter(|cause| !causes.contains(cause)).collect::<Vec<_>>());
    }
    causes
}

/// No packets come any more: the likeliest cause, and the others. A channel without any joined leg
/// was already reported.
pub(super) fn silent(view: &ChannelView, reason: &str, causes: &[String]) -> Option<Finding> {
    let joined =
        view.state.legs.iter().any(|leg| leg.state == LegStatus::Joined) || view.state.legs.is_empty();
    let advice = match causes {
        [] => "Does its producer send?".to_owned(),
        [only] => format!("Most likely {only}."),
        [first, rest @ ..] => format!("Most likely {first}. Otherwise: {}.", rest.join("; or ")),
    };
    joined.then(|| whole(EventKind::Silence, Level::Problem, reason.to_owned(), &advice))
}

/// Packets come again, after this many seconds.
pub(super) fn heard_again(seconds: f64) -> Finding {
    info(EventKind::Silence, format!("packets come again, after {}", words(seconds)))
}

fn whole(kind: EventKind, level: Level, text: String, advice: &str) -> Finding {
    Finding { kind, level, count: 0, text: Text::Whole(text), advice: advice.to_owned() }
}

fn info(kind: EventKind, text: String) -> Finding {
    whole(kind, Level::Info, text, "")
}

fn counted(
    kind: EventKind,
    level: Level,
    count: u64,
    around: (&'static str, &'static str, impl Into<String>),
    advice: impl Into<String>,
) -> Option<Finding> {
    let (before, noun, after) = around;
    let text = Text::Counted(before, noun, after.into());
    (count > 0).then(|| Finding { kind, level, count, text, advice: advice.into() })
}

fn leg_event(before: Option<&LegState>, leg: &LegState) -> Option<Finding> {
    if before.is_some_and(|before| before.state == leg.state) {
        return None;
    }
    let detail = leg.detail.as_deref().unwrap_or("no interface named");
    Some(match leg.state {
        LegStatus::Joined => info(EventKind::Leg, format!("joined {} on {detail}", leg.address)),
        LegStatus::Waiting => {
            let advice =
                "It is tried again every second; check the interface's name and address with `ip address`.";
            whole(EventKind::Leg, Level::Problem, format!("cannot join {}: {detail}", leg.address), advice)
        }
        LegStatus::Left => info(EventKind::Leg, format!("left {}", leg.address)),
        LegStatus::Failed => {
            let advice = "Waiting does not help: correct the input in the configuration.";
            whole(EventKind::Leg, Level::Problem, format!("{} has failed: {detail}", leg.address), advice)
        }
    })
}

/// The interface of a leg went down, or is up again. A leg that is no longer joined has its own
/// event.
fn link_event(before: &LegState, leg: &LegState) -> Option<Finding> {
    let was_down = before.fault.is_some();
    match &leg.fault {
        Some(fault) if !was_down => {
            let text = format!("{} brings nothing: {fault}", leg.address);
            Some(whole(
                EventKind::Leg,
                Level::Problem,
                text,
                "The group stays joined: nothing else is to be done.",
            ))
        }
        None if was_down && leg.state == LegStatus::Joined => {
            Some(info(EventKind::Leg, format!("the interface of {} is up again", leg.address)))
        }
        _ => None,
    }
}

fn small_buffer(leg: &LegState) -> Option<Finding> {
    let (asked, granted) = (leg.receive_buffer_requested, leg.receive_buffer_granted);
    (granted < asked).then(|| {
        let text = format!("the receive buffer of {} is {granted} bytes instead of {asked}", leg.address);
        whole(EventKind::Buffer, Level::Warning, text, &sysctl(asked))
    })
}

fn sysctl(asked: usize) -> String {
    format!("Bursts may be dropped. Run `sysctl -w net.core.rmem_max={}` and start again.", asked.div_ceil(2))
}

fn output_event(before: &OutputState, output: &OutputState) -> Option<Finding> {
    match (&before.fault, &output.fault) {
        (None, Some(fault)) => {
            let text = format!("{} cannot send: {fault}", output.address);
            let advice = "It is tried again every second; check the route and the interface.";
            Some(whole(EventKind::Output, Level::Problem, text, advice))
        }
        (Some(_), None) => Some(info(EventKind::Output, format!("{} sends again", output.address))),
        _ => None,
    }
}

/// Sessions that have started between two observations. `awaited` counts the flows whose first
/// session has not started yet: it starts when their first packets are confirmed, possibly a tick
/// later.
pub(super) fn sessions(before: &ChannelView, after: &ChannelView, awaited: &mut u64) -> Option<Finding> {
    let begun = after.state.counters.sessions.saturating_sub(before.state.counters.sessions);
    let (old, new) = (before.state.flow_count as u64, after.state.flow_count as u64);
    *awaited = (*awaited + new.saturating_sub(old)).saturating_sub(old.saturating_sub(new));
    let again = begun.saturating_sub(*awaited);
    *awaited = awaited.saturating_sub(begun);
    if again > 0 {
        let advice =
            "Nothing is lost by a restart. If nobody restarted a producer, look for two that send as one.";
        return counted(EventKind::Session, Level::Warning, again, ("", "producer restart", ""), advice);
    }
    counted(EventKind::Session, Level::Info, begun, ("", "flow", " began"), "")
}

fn losses(before: &ChannelView, after: &ChannelView) -> Option<Finding> {
    let (b, a) = (&before.state.counters, &after.state.counters);
    let late = a.late.saturating_sub(b.late);
    let lost = a.lost.saturating_sub(b.lost);
    let dropped = kernel_drops(after) > kernel_drops(before);
    let advice = if dropped {
        "The kernel dropped datagrams at the same time: its receive buffer was full.".to_owned()
    } else if late * 2 > lost {
        format!(
            "Most of it came, but after the hold of {:.0} ms: raise `hold`, or `hold_max`.",
            after.state.hold_seconds * 1e3
        )
    } else if after.state.legs.len() > 1 {
        "No input brought it: their paths fail together, or one is as bad as none. Let the sender add FEC."
            .to_owned()
    } else if a.repair_received == 0 && a.recovered_retransmission == 0 {
        "It was lost on the way here. Let the sender add FEC, or receive it over a second path (another input)."
            .to_owned()
    } else {
        "It was lost on the way here, and more than its repair packets can bring back: more FEC, or a second path."
            .to_owned()
    };
    counted(EventKind::Loss, Level::Warning, lost, ("lost ", "packet", ""), advice)
}

fn drops(before: &ChannelView, after: &ChannelView) -> Option<Finding> {
    let count = kernel_drops(after).saturating_sub(kernel_drops(before));
    let legs = after.state.legs.iter().zip(&before.state.legs);
    let worst = legs.max_by_key(|(new, old)| new.kernel_drops.saturating_sub(old.kernel_drops))?.0;
    let (asked, granted) = (worst.receive_buffer_requested, worst.receive_buffer_granted);
    let advice = if granted < asked {
        sysctl(asked)
    } else {
        format!("Raise `receive_buffer` above {asked} bytes, or give the relay a core of its own.")
    };
    let after = format!(" did not fit into the receive buffer ({granted} bytes)");
    counted(EventKind::Buffer, Level::Warning, count, ("", "datagram", after), advice)
}

fn useless(before: &ChannelView, after: &ChannelView) -> Option<Finding> {
    let grown = refused::grown(&before.state, &after.state);
    let most = grown.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| *reason)?;
    let text = format!(" of no use (mostly: {})", most.replace('_', " "));
    let advice = explain(most, &after.state, &after.path);
    counted(EventKind::Invalid, Level::Warning, grown.values().sum(), ("", "datagram", text), advice)
}

fn subscribers(before: &ChannelView, after: &ChannelView) -> Option<Finding> {
    let cut_off = |view: &ChannelView| view.subscribers.iter().map(|(_, s)| s.cut_off.lag).sum::<u64>();
    let cut = cut_off(after).saturating_sub(cut_off(before));
    if cut > 0 {
        let advice = "They were behind for longer than `lag_max`: their network or program is too slow for the stream.";
        return counted(EventKind::Subscribers, Level::Problem, cut, ("", "subscriber", " cut off"), advice);
    }
    let missed = not_sent(after).saturating_sub(not_sent(before));
    let advice = "A subscriber is too slow, or an output's buffer is full: see outputs and subscribers.";
    let text = ("outputs or subscribers missed ", "packet", "");
    counted(EventKind::Subscribers, Level::Warning, missed, text, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::testing::channel_state;
    use tidecast_core::relay::Counters;

    fn view(counters: Counters) -> ChannelView {
        let state = channel_state("a", counters);
        ChannelView { state, path: "/streams/a".to_owned(), subscribers: Default::default() }
    }

    fn leg(state: LegStatus, detail: &str) -> LegState {
        LegState {
            address: "udp://@239.1.1.1:5000".to_owned(),
            state,
            detail: Some(detail.to_owned()),
            receive_buffer_requested: 4 << 20,
            receive_buffer_granted: 4 << 20,
            ..LegState::default()
        }
    }

    fn texts(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| finding.text.with(finding.count)).collect()
    }

    #[test]
    fn a_channel_that_only_relays_is_no_news() {
        let before = view(Counters { media_received: 5, delivered: 5, expected: 5, ..Counters::default() });
        let after = view(Counters { media_received: 9, delivered: 9, expected: 9, ..Counters::default() });
        assert_eq!(between(&before, &after), []);
    }

    #[test]
    fn losses_are_told_with_what_would_help() {
        let before = view(Counters::default());
        let far = view(Counters { lost: 7, expected: 100, ..Counters::default() });
        let [loss] = &between(&before, &far)[..] else { panic!() };
        assert_eq!(texts(std::slice::from_ref(loss)), ["lost 7 packets"]);
        assert!(loss.advice.contains("second path"), "{}", loss.advice);
        let late = view(Counters { lost: 7, late: 6, expected: 100, ..Counters::default() });
        let [loss] = &between(&before, &late)[..] else { panic!() };
        assert!(loss.advice.contains("hold of 50 ms"), "{}", loss.advice);
        let mut both = far.clone();
        both.state.legs = vec![leg(LegStatus::Joined, "eth0"), leg(LegStatus::Joined, "eth1")];
        let told = between(&before, &both);
        assert!(told[0].advice.contains("No input brought it"), "{told:?}");
    }

    #[test]
    fn silence_names_the_likeliest_cause_of_joined_legs() {
        let mut view = view(Counters::default());
        view.state.legs = vec![leg(LegStatus::Joined, "lo"), leg(LegStatus::Waiting, "no interface eth9")];
        let causes = causes(&view);
        assert!(causes.iter().any(|cause| cause.contains("nobody sends to 239.1.1.1:5000")), "{causes:?}");
        let finding = silent(&view, "no packet for 5 s", &causes).expect("it is joined");
        assert!(
            finding.advice.starts_with("Most likely ") && finding.advice.contains("firewall"),
            "{finding:?}"
        );
        view.state.legs.remove(0);
        assert_eq!(super::causes(&view), Vec::<String>::new());
        assert_eq!(silent(&view, "no packet for 5 s", &[]), None, "told of already");
    }

    #[test]
    fn a_leg_that_joins_and_a_small_buffer_are_told_once() {
        let (mut waiting, mut joined) = (view(Counters::default()), view(Counters::default()));
        waiting.state.legs = vec![leg(LegStatus::Waiting, "there is no interface eth9")];
        joined.state.legs =
            vec![LegState { receive_buffer_granted: 425_984, ..leg(LegStatus::Joined, "eth9") }];
        assert_eq!(
            texts(&first(&waiting)),
            ["cannot join udp://@239.1.1.1:5000: there is no interface eth9"]
        );
        let told = texts(&between(&waiting, &joined));
        assert_eq!(told[0], "joined udp://@239.1.1.1:5000 on eth9");
        assert!(told[1].contains("425984 bytes instead of 4194304"), "{told:?}");
        assert_eq!(between(&joined, &joined), []);
    }

    #[test]
    fn an_interface_that_goes_down_is_told_and_so_is_its_end() {
        let (mut up, mut down) = (view(Counters::default()), view(Counters::default()));
        up.state.legs = vec![leg(LegStatus::Joined, "eth0")];
        down.state.legs =
            vec![LegState { fault: Some("eth0 is down".to_owned()), ..leg(LegStatus::Joined, "eth0") }];
        assert_eq!(texts(&between(&up, &down)), ["udp://@239.1.1.1:5000 brings nothing: eth0 is down"]);
        assert_eq!(texts(&first(&down))[1], "udp://@239.1.1.1:5000 brings nothing: eth0 is down");
        assert_eq!(between(&down, &down), []);
        assert_eq!(texts(&between(&down, &up)), ["the interface of udp://@239.1.1.1:5000 is up again"]);
    }

    #[test]
    fn kernel_drops_say_what_to_run() {
        let (mut before, mut after) = (view(Counters::default()), view(Counters::default()));
        before.state.legs =
            vec![LegState { receive_buffer_granted: 425_984, ..leg(LegStatus::Joined, "lo") }];
        after.state.legs = vec![LegState { kernel_drops: 40, ..before.state.legs[0].clone() }];
        let [drops] = &between(&before, &after)[..] else { panic!() };
        assert_eq!((drops.count, drops.kind), (40, EventKind::Buffer));
        assert!(drops.advice.contains("net.core.rmem_max=2097152"), "{}", drops.advice);
    }

    #[test]
    fn a_restart_is_told_from_a_flow_that_begins() {
        let with = |flows: usize, sessions: u64| {
            let mut view = view(Counters { sessions, ..Counters::default() });
            view.state.flow_count = flows;
            view
        };
        let mut awaited = 0;
        let mut told = |before: (usize, u64), after: (usize, u64)| {
            let found = sessions(&with(before.0, before.1), &with(after.0, after.1), &mut awaited);
            texts(found.as_slice())
        };
        assert_eq!(told((1, 1), (1, 2)), ["1 producer restart"]);
        assert_eq!(told((1, 2), (2, 3)), ["1 flow began"]);
        assert_eq!(told((2, 3), (7, 5)), ["2 flows began"], "three are not confirmed yet");
        assert_eq!(told((7, 5), (7, 8)), ["3 flows began"]);
        assert_eq!(told((7, 8), (7, 9)), ["1 producer restart"]);
        assert_eq!(told((7, 9), (9, 9)), [""; 0]);
        assert_eq!(told((9, 9), (7, 9)), [""; 0], "they were forgotten");
        assert_eq!(told((7, 9), (7, 10)), ["1 producer restart"]);
    }
}
