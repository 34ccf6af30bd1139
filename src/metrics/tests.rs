use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    channel::{
        state::{LegState, LegStatus, OutputState},
        testing::channel_state,
    },
    registry::audience::{CutOff, Dropped, SubscribersState, Transport},
    serve::udp::exchange::Outcome,
};
use tidecast_core::relay::{Counters, LegCounters};

/// A channel in which every counter has a different value.
fn state(name: &str, on_demand: bool) -> ChannelState {
    let counters = Counters {
        media_received: 1000,
        repair_received: 20,
        control_received: 3,
        bytes_received: 5000,
        delivered: 960,
        expected: 970,
        lost: 10,
        requests_sent: 30,
        numbers_requested: 40,
        retransmissions_received: 25,
        recovered_fec: 7,
        recovered_retransmission: 4,
        recovered_spurious: 1,
        reordered: 15,
        duplicate: 16,
        late: 17,
        corrupt: 5,
        foreign: 6,
        rejected: 2,
        sessions: 8,
        ts_discontinuities: 9,
        conflicts: 0,
        released_late: 18,
        released_early: 19,
    };
    let leg = LegState {
        address: "udp://@239.1.1.1:5000".to_owned(),
        state: LegStatus::Joined,
        detail: None,
        fault: Some("eth1 is down".to_owned()),
        counters: LegCounters {
            media: 1000,
            repair: 20,
            control: 3,
            bytes: 5000,
            first: 600,
            missed: 7,
            differing: 21,
        },
        skew_seconds: Some(0.25),
        kernel_drops: 11,
        truncated: 0,
        round_trip_seconds: Some(0.025),
        unsent: 12,
        receive_buffer_requested: 4096,
        receive_buffer_granted: 2048,
    };
    let output = OutputState {
        address: "udp://10.0.0.7:6000".to_owned(),
        packets: 950,
        reports: 0,
        bytes: 4500,
        dropped: BTreeMap::from([("full", 10)]),
        requests: BTreeMap::from([("resent", 13), ("refused", 14)]),
        invalid: BTreeMap::from([("malformed", 15)]),
        fault: None,
    };
    ChannelState {
        on_demand,
        held: 5,
        refused: Default::default(),
        followed: 0,
        rejects: BTreeMap::from([("bad checksum", 5), ("wrong magic", 6)]),
        legs: vec![leg],
        outputs: vec![output],
        ..channel_state(name, counters)
    }
}

const HTTP_STATE: SubscribersState = SubscribersState {
    clients: 3,
    joined: 5,
    packets: 40,
    bytes: 400,
    dropped: Dropped { lag: 12, closed: 13 },
    cut_off: CutOff { lag: 14, idle: 15, operator: 16 },
};

fn subscribers() -> ByTransportState {
    let mut subscribers = ByTransportState::default();
    subscribers.0[Transport::Http as usize] = HTTP_STATE;
    subscribers
}

fn render(metrics: &Metrics, states: &[ChannelState]) -> BTreeMap<String, f64> {
    let subscribers = subscribers();
    let samples: Vec<Sample<'_>> =
        states.iter().map(|state| Sample { state, subscribers: &subscribers }).collect();
    let text = metrics.render(&samples, &Shares::default());
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn each_count_stands_under_its_name() {
    let series = render(&Metrics::new(), &[state("a", false)]);
    let leg = r#"channel="a",leg="udp://@239.1.1.1:5000""#;
    let udp = r#"channel="a",output="udp://10.0.0.7:6000""#;
    for (name, value) in [
        (format!(r#"tidecast_packets_received_total{{{leg},kind="media"}}"#), 1000.0),
        (format!(r#"tidecast_packets_received_total{{{leg},kind="repair"}}"#), 20.0),
        (format!(r#"tidecast_packets_received_total{{{leg},kind="control"}}"#), 3.0),
        (format!("tidecast_bytes_received_total{{{leg}}}"), 5000.0),
        (format!("tidecast_kernel_drops_total{{{leg}}}"), 11.0),
        (format!(r#"tidecast_receive_buffer_bytes{{{leg},kind="granted"}}"#), 2048.0),
        (format!(r#"tidecast_receive_buffer_bytes{{{leg},kind="requested"}}"#), 4096.0),
        (r#"tidecast_packets_delivered_total{channel="a"}"#.into(), 960.0),
        (r#"tidecast_numbers_expected_total{channel="a"}"#.into(), 970.0),
        (r#"tidecast_packets_lost_total{channel="a"}"#.into(), 10.0),
        (r#"tidecast_packets_recovered_total{channel="a",by="fec"}"#.into(), 7.0),
        (r#"tidecast_packets_recovered_total{channel="a",by="retransmission"}"#.into(), 4.0),
        (r#"tidecast_packets_reordered_total{channel="a"}"#.into(), 15.0),
        (r#"tidecast_packets_discarded_total{channel="a",reason="duplicate"}"#.into(), 16.0),
        (r#"tidecast_packets_discarded_total{channel="a",reason="late"}"#.into(), 17.0),
        (r#"tidecast_packets_discarded_total{channel="a",reason="corrupt"}"#.into(), 5.0),
        (r#"tidecast_packets_discarded_total{channel="a",reason="foreign"}"#.into(), 6.0),
        (r#"tidecast_packets_discarded_total{channel="a",reason="rejected"}"#.into(), 2.0),
        (r#"tidecast_invalid_datagrams_total{channel="a",reason="bad checksum"}"#.into(), 5.0),
        (r#"tidecast_sessions_total{channel="a"}"#.into(), 8.0),
        (r#"tidecast_packets_unpaced_total{channel="a",reason="late"}"#.into(), 18.0),
        (r#"tidecast_packets_unpaced_total{channel="a",reason="early"}"#.into(), 19.0),
        (r#"tidecast_release_delay_seconds{channel="a"}"#.into(), 0.2),
        (r#"tidecast_clock_drift_ppm{channel="a"}"#.into(), -12.5),
        (r#"tidecast_ts_discontinuities_total{channel="a"}"#.into(), 9.0),
        (format!("tidecast_output_packets_total{{{udp}}}"), 950.0),
        (format!("tidecast_output_bytes_total{{{udp}}}"), 4500.0),
        (format!(r#"tidecast_output_dropped_packets_total{{{udp},reason="full"}}"#), 10.0),
        (r#"tidecast_output_packets_total{channel="a",output="http"}"#.into(), 40.0),
        (format!(r#"tidecast_output_requests_total{{{udp},result="resent"}}"#), 13.0),
        (format!(r#"tidecast_output_requests_total{{{udp},result="refused"}}"#), 14.0),
        (format!(r#"tidecast_output_invalid_datagrams_total{{{udp},reason="malformed"}}"#), 15.0),
        (r#"tidecast_output_dropped_packets_total{channel="a",output="http",reason="lag"}"#.into(), 12.0),
        (r#"tidecast_output_dropped_packets_total{channel="a",output="http",reason="closed"}"#.into(), 13.0),
        (r#"tidecast_subscribers_cut_off_total{channel="a",transport="http",reason="lag"}"#.into(), 14.0),
        (r#"tidecast_subscribers_cut_off_total{channel="a",transport="http",reason="idle"}"#.into(), 15.0),
        (
            r#"tidecast_subscribers_cut_off_total{channel="a",transport="http",reason="operator"}"#.into(),
            16.0,
        ),
        (r#"tidecast_packets_held{channel="a"}"#.into(), 5.0),
        (r#"tidecast_subscribers{channel="a",transport="http"}"#.into(), 3.0),
        (r#"tidecast_hold_seconds{channel="a"}"#.into(), 0.05),
        (r#"tidecast_hold_max_seconds{channel="a"}"#.into(), 0.5),
        (format!("tidecast_leg_waiting{{{leg}}}"), 0.0),
        (format!("tidecast_leg_down{{{leg}}}"), 1.0),
    ] {
        assert_eq!(series.get(&name), Some(&value), "{name}");
    }
    let beside_others = |name: &String| {
        name.starts_with("tidecast_leg_") && !(name.contains("_leg_waiting{") || name.contains("_leg_down{"))
    };
    assert!(!series.keys().any(beside_others), "a single leg has no others");
}

#[test]
fn several_legs_have_what_each_missed_and_how_far_it_is_behind() {
    let mut state = state("a", false);
    state.legs.push(LegState {
        address: "udp://@239.1.1.2:5000".to_owned(),
        skew_seconds: None,
        ..state.legs[0].clone()
    });
    let series = render(&Metrics::new(), &[state]);
    let leg = r#"channel="a",leg="udp://@239.1.1.1:5000""#;
    assert_eq!(series[&format!("tidecast_leg_first_packets_total{{{leg}}}")], 600.0);
    assert_eq!(series[&format!("tidecast_leg_missed_packets_total{{{leg}}}")], 7.0);
    assert_eq!(series[&format!("tidecast_leg_differing_packets_total{{{leg}}}")], 21.0);
    assert_eq!(series[&format!("tidecast_leg_skew_seconds{{{leg}}}")], 0.25);
    let silent = leg.replace(".1:", ".2:");
    assert!(series[&format!("tidecast_leg_skew_seconds{{{silent}}}")].is_nan());
}

#[test]
fn what_does_not_apply_has_no_series_and_a_leg_that_waits_says_so() {
    let mut waiting = state("a", false);
    waiting.hold_max_seconds = None;
    waiting.legs[0].state = LegStatus::Waiting;
    let before = clock::unix().as_secs_f64();
    let series = render(&Metrics::new(), &[waiting]);
    assert!(!series.keys().any(|name| name.starts_with("tidecast_hold_max_seconds")));
    assert_eq!(series[r#"tidecast_leg_waiting{channel="a",leg="udp://@239.1.1.1:5000"}"#], 1.0);
    let started = series["tidecast_start_time_seconds"];
    assert!((before..=clock::unix().as_secs_f64()).contains(&started), "{started}");
}

#[test]
fn the_histogram_has_its_buckets() {
    let metrics = Metrics::new();
    let gap_wait = metrics.gap_wait("a", false);
    for wait in [0.004, 0.04, 3.0] {
        gap_wait.record(wait);
    }
    metrics.upkeep();
    let series = render(&metrics, &[]);
    for (le, count) in [("0.002", 0.0), ("0.005", 1.0), ("0.05", 2.0), ("2", 2.0), ("+Inf", 3.0)] {
        let name = format!(r#"tidecast_gap_wait_seconds_bucket{{channel="a",le="{le}"}}"#);
        assert_eq!(series.get(&name), Some(&count), "{name}");
    }
}

#[test]
fn counters_of_groups_on_demand_go_on_when_they_come_back() {
    let metrics = Metrics::new();
    let group = state("udp-239.1.1.1-5000", true);
    let of = |series: &BTreeMap<String, f64>, metric: &str| {
        series[&format!(r#"{metric}{{channel="udp-239.1.1.1-5000"}}"#)]
    };
    let alive = render(&metrics, std::slice::from_ref(&group));
    assert_eq!(of(&alive, "tidecast_packets_lost_total"), 10.0);
    assert_eq!(of(&alive, "tidecast_hold_seconds"), 0.05);
    metrics.retire(Sample { state: &group, subscribers: &subscribers() });
    let gone = render(&metrics, &[]);
    assert_eq!(of(&gone, "tidecast_packets_lost_total"), 10.0);
    assert_eq!(of(&gone, "tidecast_hold_seconds"), 0.0);
    let back = render(&metrics, &[group]);
    assert_eq!(of(&back, "tidecast_packets_lost_total"), 20.0);
    assert_eq!(of(&back, "tidecast_hold_seconds"), 0.05);
}

#[test]
fn ever_new_groups_on_demand_do_not_make_ever_new_series() {
    let metrics = Metrics::new();
    let round = |n: usize| {
        let group = state(&format!("udp-239.1.{}.{}-5000", n / 256, n % 256), true);
        metrics.gap_wait(&group.name, true).record(0.1);
        let series = render(&metrics, std::slice::from_ref(&group));
        metrics.retire(Sample { state: &group, subscribers: &subscribers() });
        series
    };
    let sizes: Vec<usize> = (0..ON_DEMAND_SERIES_MAX + 20).map(|n| round(n).len()).collect();
    assert!(sizes[0] < sizes[1]);
    assert_eq!(sizes[ON_DEMAND_SERIES_MAX], sizes[ON_DEMAND_SERIES_MAX + 19]);
    let series = render(&metrics, &[state("udp-239.9.9.9-1", true), state("udp-239.9.9.9-2", true)]);
    assert_eq!(series[r#"tidecast_packets_lost_total{channel="on-demand"}"#], 10.0 * 22.0);
    assert_eq!(series[r#"tidecast_flows{channel="on-demand"}"#], 0.0);
    assert_eq!(series[r#"tidecast_packets_held{channel="on-demand"}"#], 10.0);
    assert_eq!(series[r#"tidecast_hold_seconds{channel="on-demand"}"#], 0.05);
    let media = r#"tidecast_packets_received_total{channel="on-demand",leg="on-demand",kind="media"}"#;
    assert_eq!(series[media], 22_000.0);
}

/// Name, type and labels of each metric.
type Catalogue = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Catalogue {
    let text = include_str!("../../docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `tidecast_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels.collect()))
    })
    .collect()
}

fn exposed() -> Catalogue {
    let metrics = Metrics::new();
    metrics.gap_wait("a", false).record(0.1);
    metrics.udp_requests(["granted"]).count("granted");
    metrics.access_refused().http();
    let mut state = state("a", false);
    state.legs.push(state.legs[0].clone()); // several legs have series of their own
    let text = metrics.render(&[Sample { state: &state, subscribers: &subscribers() }], &Shares::default());
    let mut catalogue: Catalogue = BTreeMap::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            catalogue.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help text");
        } else if let Some((name, labels)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            let labels =
                labels.split('}').next().unwrap().split("\",").map(|label| label.split('=').next().unwrap());
            let labels = labels.filter(|label| *label != "le").map(str::to_owned);
            catalogue.get_mut(name).unwrap().1.extend(labels);
        }
    }
    catalogue
}

#[test]
fn each_result_of_a_request_has_its_counter_and_its_words_in_the_reference() {
    let metrics = Metrics::new();
    assert!(
        !metrics.render(&[], &Shares::default()).contains("tidecast_udp_requests_total{"),
        "without the port there are no series"
    );
    let requests = metrics.udp_requests(Outcome::ALL.map(Outcome::as_str));
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        (0..=place).for_each(|_| requests.count(outcome.as_str()));
    }
    let text = metrics.render(&[], &Shares::default());
    for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
        let word = outcome.as_str();
        let line = format!("tidecast_udp_requests_total{{result=\"{word}\"}} {}", place + 1);
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        let documented = include_str!("../../docs/metrics.md");
        assert_eq!(documented.matches(&format!("\n| `{word}` | ")).count(), 1, "{word}");
    }
}

#[test]
fn what_is_documented_is_exposed_and_nothing_else() {
    let exposed = exposed();
    assert_eq!(exposed.len(), all().count());
    assert_eq!(documented(), exposed);
}

#[test]
fn families_and_series_stand_in_one_order() {
    let text = "# HELP b what\n# TYPE b counter\nb{x=\"2\"} 1\nb{x=\"1\"} 1\n\n# TYPE a histogram\na_bucket{le=\"1\"} 1\n\
                a_bucket{le=\"+Inf\"} 1\n\n";
    let expected = "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\n\n\
                    # HELP b what\n# TYPE b counter\nb{x=\"1\"} 1\nb{x=\"2\"} 1\n\n";
    assert_eq!(ordered(text), expected);
}
