//! Interleaved rounds: each measures every subject once, alternately, so that changes on the
//! machine affect all of them; ratios are computed within a round.

use std::io;

use crate::statistics::Spread;

/// Results of one subject, round by round.
#[derive(Clone, Debug)]
pub(crate) struct Series<T> {
    /// The subject's name.
    pub(crate) name: String,
    /// One result per round.
    pub(crate) samples: Vec<Result<T, String>>,
}

impl<T> Series<T> {
    /// Returns the spread over the rounds that worked.
    pub(crate) fn spread(&self, value: impl Fn(&T) -> f64) -> Option<Spread> {
        Spread::of(self.good().map(value))
    }

    /// Returns, for each round in which both worked, this series' value divided by that of
    /// `reference`.
    pub(crate) fn ratio(&self, reference: &Series<T>, value: impl Fn(&T) -> f64) -> Option<Spread> {
        let pairs = self.samples.iter().zip(&reference.samples);
        let both = pairs.filter_map(|(own, other)| Some((own.as_ref().ok()?, other.as_ref().ok()?)));
        Spread::of(both.map(|(own, other)| value(own) / value(other)))
    }

    /// Returns the samples of rounds that worked.
    pub(crate) fn good(&self) -> impl Iterator<Item = &T> {
        self.samples.iter().filter_map(|sample| sample.as_ref().ok())
    }

    /// Returns the reason why the first failed round did not work.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.samples.iter().find_map(|sample| sample.as_ref().err()).map(String::as_str)
    }
}

/// One subject to measure: its name, and the reason if it cannot be measured.
#[derive(Clone, Debug)]
pub(crate) struct Entry<S> {
    /// Its name in tables.
    pub(crate) name: String,
    /// The subject.
    pub(crate) subject: S,
    /// The reason why it cannot be measured.
    pub(crate) unavailable: Option<String>,
}

/// Measures all entries `rounds` times. One that never works is not tried again.
pub(crate) fn interleave<S, T>(
    rounds: usize,
    entries: &[Entry<S>],
    mut measure: impl FnMut(&S) -> io::Result<T>,
    show: impl Fn(&T) -> String,
) -> Vec<Series<T>> {
    let mut all: Vec<Series<T>> =
        entries.iter().map(|entry| Series { name: entry.name.clone(), samples: Vec::new() }).collect();
    for round in 0..rounds {
        for (entry, series) in entries.iter().zip(&mut all) {
            let hopeless = entry
                .unavailable
                .clone()
                .or_else(|| series.trouble().filter(|_| series.good().next().is_none()).map(str::to_owned));
            let sample = match hopeless {
                Some(reason) => Err(reason),
                None => measure(&entry.subject).map_err(|error| error.to_string()),
            };
            if round == 0 || sample.is_ok() {
                let text =
                    sample.as_ref().map_or_else(|error| error.lines().next().unwrap_or("").to_owned(), &show);
                println!("  round {} of {rounds}  {:28} {text}", round + 1, entry.name);
            }
            series.samples.push(sample);
        }
    }
    all
}
