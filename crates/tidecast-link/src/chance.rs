//! Seeded random decisions: independent ones, and losses that are independent or in bursts.
//!
//! The generator is PCG32 with its published sequence, and the arithmetic on top is written out
//! here, so that a seed gives the same decisions on every machine and with every version of the
//! libraries.

use rand_pcg::{Pcg32, rand_core::Rng};

use super::{Bursts, Distribution};

/// Random generator for one kind of decision.
#[derive(Debug)]
pub(super) struct Chance {
    generator: Pcg32,
}

impl Chance {
    /// Creates the generator with number `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Chance {
        // PCG streams that start from the same state resemble each other, so each gets a different
        // state.
        Chance { generator: Pcg32::new(mixed(seed ^ mixed(stream)), stream) }
    }

    /// Returns the next number, uniform from 0 (included) to 1 (excluded), in steps of 2^-53.
    pub(super) fn draw(&mut self) -> f64 {
        (self.generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns the next decision, which is true with this probability.
    pub(super) fn hits(&mut self, probability: f64) -> bool {
        self.draw() < probability
    }

    /// Returns the next additional delay, as a multiple of the jitter.
    pub(super) fn jitter(&mut self, distribution: Distribution) -> f64 {
        match distribution {
            Distribution::Uniform => self.draw(),
            // The largest of three uniform draws is distributed as the cube root of one, and 1/x -
            // 1 of that is Pareto II with shape 3. Unlike a power function, it is exact on every
            // machine.
            Distribution::Pareto => {
                let largest = (0..3).fold(f64::EPSILON, |largest, _| self.draw().max(largest));
                1.0 / largest - 1.0
            }
        }
    }
}

/// SplitMix64's output function: maps similar seeds to dissimilar ones.
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Decides which packets are lost.
#[derive(Debug)]
pub(super) struct Losses {
    chance: Chance,
    /// Probability that a packet is lost if the previous one was not.
    begin: f64,
    stay: Stay,
    /// Number of consecutive packets lost so far.
    run: u64,
}

/// Rule for whether a packet is lost if the previous one was.
#[derive(Debug, Clone, Copy)]
enum Stay {
    /// It is lost with this probability.
    Chance(f64),
    /// It is lost while fewer than this many consecutive packets are.
    Until(u64),
}

impl Losses {
    /// Creates losses with the long-term rate `loss`. With a `burst` of 1, each packet is lost
    /// independently (runs then have a mean length of 1 / (1 - loss)). Above 1, runs of losses
    /// have the mean length `burst`: either by the Gilbert-Elliott model with one state that loses
    /// nothing and one that loses everything, or all with exactly that length.
    pub(super) fn new(loss: f64, burst: f64, bursts: Bursts, seed: u64) -> Losses {
        let mut chance = Chance::new(seed, 0);
        // Long-term rate = begin / (begin + end), where 1 / end is the mean burst.
        let end = 1.0 / burst;
        let (begin, stay) = match bursts {
            _ if burst <= 1.0 || loss >= 1.0 => (loss, Stay::Chance(loss)),
            Bursts::Geometric => ((loss * end / (1.0 - loss)).min(1.0), Stay::Chance(1.0 - end)),
            Bursts::Fixed => ((loss * end / (1.0 - loss)).min(1.0), Stay::Until(burst as u64)),
        };
        let lost = chance.hits(loss);
        // If the link starts within a burst of fixed length, the position in it is random.
        let run = match stay {
            Stay::Until(length) if lost => 1 + (chance.draw() * length as f64) as u64,
            _ => u64::from(lost),
        };
        Losses { chance, begin, stay, run }
    }

    /// Returns whether the next packet is lost.
    pub(super) fn next(&mut self) -> bool {
        // A number is drawn for every packet, so that a seed's decisions stay at their packets.
        let draw = self.chance.draw();
        let lost = match self.stay {
            _ if self.run == 0 => draw < self.begin,
            Stay::Chance(probability) => draw < probability,
            Stay::Until(length) => self.run < length,
        };
        self.run = if lost { self.run + 1 } else { 0 };
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how far `hits` of `n` deviates from the expected number, in standard deviations.
    fn sigmas(hits: u64, n: u64, p: f64) -> f64 {
        let n = n as f64;
        (hits as f64 - n * p) / (n * p * (1.0 - p)).sqrt()
    }

    #[test]
    fn the_sequence_is_fixed() {
        let mut chance = Chance::new(7, 0);
        let draws: Vec<u64> = (0..4).map(|_| (chance.draw() * 1e6) as u64).collect();
        // Computed by an independent implementation of PCG32 and SplitMix64 in Python.
        assert_eq!(draws, [618_575, 641_037, 564_233, 419_586]);
    }

    #[test]
    fn independent_losses_have_their_rate_and_no_memory() {
        for (loss, seed) in [(0.001, 1), (0.01, 2), (0.05, 3), (0.5, 4)] {
            let n = 1_000_000;
            let mut losses = Losses::new(loss, 1.0, Bursts::Geometric, seed);
            let (mut lost, mut pairs, mut before) = (0, 0, false);
            for _ in 0..n {
                let now = losses.next();
                lost += u64::from(now);
                pairs += u64::from(now && before);
                before = now;
            }
            assert!(sigmas(lost, n, loss).abs() < 4.0, "loss {loss}: {lost} of {n}");
            assert!(sigmas(pairs, n, loss * loss).abs() < 4.0, "loss {loss}: {pairs} pairs of {n}");
        }
    }

    #[test]
    fn bursts_have_their_mean_length_and_rate() {
        for (loss, burst, seed) in [(0.05, 3.0, 5), (0.01, 10.0, 6), (0.2, 1.5, 7)] {
            let n = 4_000_000;
            let mut losses = Losses::new(loss, burst, Bursts::Geometric, seed);
            let (mut lost, mut bursts, mut before) = (0_u64, 0_u64, false);
            for _ in 0..n {
                let now = losses.next();
                lost += u64::from(now);
                bursts += u64::from(now && !before);
                before = now;
            }
            // The length of a burst is geometric, with variance (1 - end) / end^2.
            let end = 1.0 / burst;
            let mean = lost as f64 / bursts as f64;
            let deviation = ((1.0 - end) / (end * end) / bursts as f64).sqrt();
            assert!((mean - burst).abs() < 4.0 * deviation, "burst {burst}: mean {mean} over {bursts}");
            // The variance of the loss rate in a two-state chain is (2 / (begin + end) - 1) times
            // that of independent draws.
            let begin = loss * end / (1.0 - loss);
            let spread = (2.0 / (begin + end) - 1.0).sqrt();
            let off = sigmas(lost, n, loss) / spread;
            assert!(off.abs() < 4.0, "loss {loss} burst {burst}: {lost} of {n}, {off} sigma");
        }
    }

    #[test]
    fn nothing_and_everything_are_possible() {
        assert!((0..10_000).all(|_| !Losses::new(0.0, 3.0, Bursts::Geometric, 1).next()));
        let mut all = Losses::new(1.0, 3.0, Bursts::Geometric, 1);
        assert!((0..10_000).all(|_| all.next()));
        let mut none = Losses::new(0.0, 3.0, Bursts::Geometric, 1);
        assert!((0..10_000).all(|_| !none.next()));
    }

    #[test]
    fn bursts_of_fixed_length_have_it_and_their_rate() {
        for (loss, burst, seed) in [(0.01, 3, 1), (0.05, 20, 2), (0.5, 4, 3)] {
            let n = 1_000_000_u64;
            let mut losses = Losses::new(loss, burst as f64, Bursts::Fixed, seed);
            let (mut lost, mut run, mut others) = (0, 0, 0);
            for _ in 0..n {
                if losses.next() {
                    run += 1;
                    lost += 1;
                } else {
                    others += u64::from(run > 0 && run != burst);
                    run = 0;
                }
            }
            assert!(others <= 1, "the first may have begun before");
            // The losses are cycles of a burst and a geometric gap: the variance of the number of
            // bursts in n packets is that of a renewal process, n * variance of a cycle / mean of
            // a cycle^3.
            let begin = loss / burst as f64 / (1.0 - loss);
            let (cycle, variance) = (burst as f64 + 1.0 / begin, (1.0 - begin) / (begin * begin));
            let bursts = lost as f64 / burst as f64;
            let off = (bursts - n as f64 / cycle) / (n as f64 * variance / cycle.powi(3)).sqrt();
            assert!(off.abs() < 4.0, "loss {loss} burst {burst}: {lost} of {n}, {off} sigma");
        }
    }

    #[test]
    fn jitter_has_its_distribution() {
        let n = 400_000;
        let mut chance = Chance::new(3, 3);
        let mut uniform: Vec<f64> = (0..n).map(|_| chance.jitter(Distribution::Uniform)).collect();
        let mut pareto: Vec<f64> = (0..n).map(|_| chance.jitter(Distribution::Pareto)).collect();
        for (draws, quantile) in
            [(&mut uniform, (|q| q) as fn(f64) -> f64), (&mut pareto, |q| (1.0 - q).powf(-1.0 / 3.0) - 1.0)]
        {
            draws.sort_by(f64::total_cmp);
            for q in [0.1, 0.5, 0.9, 0.99, 0.999] {
                let below = draws.partition_point(|draw| *draw < quantile(q));
                assert!(sigmas(below as u64, n, q).abs() < 4.0, "{below} of {n} below quantile {q}");
            }
        }
    }
}
