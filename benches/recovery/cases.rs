//! The cases: every protection over every link.

use std::time::Duration;

use tidecast_link::{Distribution, Impairments, Outage};

use crate::lab::Protection;

/// A link with its name.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// A short description.
    pub(crate) about: &'static str,
    pub(crate) link: Impairments,
}

/// Returns all protections, or those with this text in their names.
pub(crate) fn protections(filter: Option<&str>) -> Vec<Protection> {
    let all = [
        Protection::NONE,
        Protection::native(10, 2, 1),
        Protection::native(20, 4, 1),
        Protection::native(20, 4, 4),
        Protection::columns(5, 5),
        Protection::columns(10, 10),
        Protection::matrix(5, 5),
        Protection::matrix(10, 10),
        Protection::matrix(20, 5),
        Protection::again(Duration::from_millis(20)),
        Protection::again(Duration::from_millis(100)),
        Protection::NONE.twice(),
        Protection::native(10, 2, 1).twice(),
        Protection::matrix(10, 10).twice(),
    ];
    let named = |protection: &Protection| filter.is_none_or(|part| protection.to_string().contains(part));
    all.into_iter().filter(named).collect()
}

pub(crate) fn independent(loss: f64) -> Impairments {
    Impairments { loss, ..Impairments::default() }
}

pub(crate) fn bursts(loss: f64, burst: f64) -> Impairments {
    Impairments { burst, ..independent(loss) }
}

/// Returns all links.
pub(crate) fn models() -> Vec<Model> {
    let ms = Duration::from_millis;
    let model = |name, about, link| Model { name, about, link };
    let outage = Outage { from: ms(10_000), length: ms(1000), every: Some(ms(30_000)) };
    let late = Impairments { late: 0.02, late_by: ms(15), ..Impairments::default() };
    let jitter = Impairments {
        delay: ms(20),
        jitter: ms(4),
        distribution: Distribution::Pareto,
        overtake: true,
        ..independent(0.01)
    };
    vec![
        model("clean", "nothing is lost", Impairments::default()),
        model("1 %", "1 % is lost, each packet by itself", independent(0.01)),
        model("5 %", "5 % is lost, each packet by itself", independent(0.05)),
        model("10 %", "10 % is lost, each packet by itself", independent(0.10)),
        model(
            "bursts of 3",
            "1 % is lost, in bursts of 3 packets in the mean (Gilbert-Elliott)",
            bursts(0.01, 3.0),
        ),
        model("bursts of 8", "1 % is lost, in bursts of 8 packets in the mean", bursts(0.01, 8.0)),
        model("bursts of 20", "1 % is lost, in bursts of 20 packets in the mean", bursts(0.01, 20.0)),
        model("reordering", "nothing is lost, 2 % comes 15 ms late", late),
        model(
            "jitter",
            "1 % is lost; 20 ms and a heavy-tailed jitter of 4 ms, packets overtake each other",
            jitter,
        ),
        model(
            "outage",
            "the first leg is cut for 1 s every 30 s, nothing else is lost",
            Impairments { outage: Some(outage), ..Impairments::default() },
        ),
    ]
}
