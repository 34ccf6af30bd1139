//! Theoretical residual loss, where it is known: Reed-Solomon blocks and unprotected legs under
//! independent and Gilbert-Elliott losses, retransmission under independent ones.

use std::time::Duration;

use tidecast_core::{
    limits::{HOLD_REQUESTS, REQUEST_WAIT_MIN, REQUESTS_MAX, RETRY_MIN},
    relay::Hold,
};
use tidecast_link::{Bursts, Impairments};

use super::protection::{Code, Protection};

/// The Markov chain of one link's losses: the probability that a packet is lost if the previous
/// one was not, and if it was.
#[derive(Clone, Copy, Debug)]
struct Chain {
    begin: f64,
    stay: f64,
}

impl Chain {
    fn of(model: &Impairments) -> Option<Chain> {
        let (loss, burst) = (model.loss, model.burst);
        let known = model.outage.is_none() && (burst == 1.0 || model.bursts == Bursts::Geometric);
        known.then(|| match burst {
            1.0 => Chain { begin: loss, stay: loss },
            _ => Chain { begin: loss / burst / (1.0 - loss), stay: 1.0 - 1.0 / burst },
        })
    }

    fn loss(self) -> f64 {
        self.begin / (1.0 + self.begin - self.stay)
    }

    /// Returns the probability of loss `packets` after one that was lost or not.
    fn after(self, lost: bool, packets: u64) -> f64 {
        let (steady, memory) = (self.loss(), self.stay - self.begin);
        steady + memory.powf(packets as f64) * (f64::from(u8::from(lost)) - steady)
    }

    /// Returns the probability of a transition between two states, each with one bit per leg.
    fn step(self, from: usize, to: usize, legs: u8, packets: u64) -> f64 {
        (0..legs).fold(1.0, |all, leg| {
            let lost = self.after(from >> leg & 1 == 1, packets);
            all * if to >> leg & 1 == 1 { lost } else { 1.0 - lost }
        })
    }

    fn start(self, state: usize, legs: u8) -> f64 {
        (0..legs)
            .fold(1.0, |all, leg| all * if state >> leg & 1 == 1 { self.loss() } else { 1.0 - self.loss() })
    }
}

/// Returns the share of media packets that is lost permanently with this hold, if it is known.
pub fn residual(protection: Protection, model: &Impairments, hold: Hold) -> Option<f64> {
    let chain = Chain::of(model)?;
    let Protection { code, legs, round_trip } = protection;
    if let Some(round_trip) = round_trip {
        let (requests, last) = requests(round_trip, hold);
        return (model.burst == 1.0).then(|| after_asking(model.loss, requests + u32::from(last)));
    }
    let (k, m, stride) = match code {
        Code::None | Code::Plain => (1, 0, 1),
        Code::Native { k, m, stride } => (k, m, stride),
        Code::St2022 { .. } => return None,
    };
    let blocks = (0..stride).map(|block| lost_of_block(chain, legs, k, m, &places(k, m, stride, block)));
    Some(blocks.sum::<f64>() / (k * stride) as f64)
}

/// Returns the probability that the packet is lost and each time either the request or its answer.
fn after_asking(loss: f64, requests: u32) -> f64 {
    loss * (1.0 - (1.0 - loss).powi(2)).powi(requests as i32)
}

/// Returns the share of retransmissions relative to the media, with independent losses: one packet
/// for each request that arrives.
pub fn sent_again(round_trip: Duration, loss: f64, hold: Hold) -> f64 {
    let answered = (1.0 - loss).powi(2);
    let (requests, last) = requests(round_trip, hold);
    let asked = (1.0 - (1.0 - answered).powi(requests as i32)) / answered;
    // The answer to the previous request is still outstanding.
    let asked = asked + if last { (1.0 - answered).powi(requests as i32 - 1) } else { 0.0 };
    loss * asked * (1.0 - loss)
}

/// Returns how often a packet is requested early enough for the answer to arrive before the gap is
/// given up: first when it can no longer merely be late, then each time an answer is overdue.
/// `true` means one more request at the last moment.
fn requests(round_trip: Duration, hold: Hold) -> (u32, bool) {
    let (retry, most) = ((round_trip + RETRY_MIN / 2).max(RETRY_MIN), u32::from(REQUESTS_MAX));
    match hold {
        Hold::Auto { max, .. } if max >= REQUEST_WAIT_MIN + HOLD_REQUESTS * retry => (HOLD_REQUESTS, false),
        Hold::Auto { max: hold, .. } | Hold::Fixed(hold) => {
            let fits = |count: &u32| REQUEST_WAIT_MIN + (*count - 1) * retry + round_trip < hold;
            let count = (1..=most).take_while(fits).count() as u32;
            let spare = REQUEST_WAIT_MIN.max(round_trip / 32);
            let asked = REQUEST_WAIT_MIN + count.saturating_sub(1) * retry;
            let last = hold.saturating_sub(asked + round_trip + spare);
            (count, count > 0 && count < most && last >= RETRY_MIN * 2)
        }
    }
}

/// Returns the positions of the packets of one interleaved block, in sending order: the blocks
/// alternate, and the repair packets follow the media.
fn places(k: u64, m: u64, stride: u64, block: u64) -> Vec<u64> {
    (0..k + m).map(|round| round * stride + block).collect()
}

/// Returns the mean number of media packets that a block loses: those lost, if more than `m` of
/// all its packets are.
fn lost_of_block(chain: Chain, legs: u8, k: u64, m: u64, places: &[u64]) -> f64 {
    let (n, states) = ((k + m) as usize, 1_usize << legs);
    // Probability by the state of the links, the number of lost packets and the number of lost
    // media packets.
    let mut now = vec![vec![vec![0.0; k as usize + 1]; n + 1]; states];
    (0..states).for_each(|state| now[state][0][0] = chain.start(state, legs));
    for (index, place) in places.iter().enumerate() {
        let step = index.checked_sub(1).map(|before| place - places[before]);
        let (media, mut next) = (index < k as usize, vec![vec![vec![0.0; k as usize + 1]; n + 1]; states]);
        for (from, to) in (0..states).flat_map(|from| (0..states).map(move |to| (from, to))) {
            let moved = match step {
                Some(step) => chain.step(from, to, legs, step),
                None => f64::from(u8::from(from == to)),
            };
            let lost = usize::from(to == states - 1);
            let media = lost * usize::from(media);
            for all in 0..=index {
                for of_media in 0..=all.min(k as usize) {
                    let chance = now[from][all][of_media] * moved;
                    if chance > 0.0 {
                        next[to][all + lost][of_media + media] += chance;
                    }
                }
            }
        }
        now = next;
    }
    let missed = |state: &Vec<Vec<f64>>| {
        let beyond = state.iter().enumerate().skip(m as usize + 1);
        beyond.map(|(_, media)| media.iter().enumerate().map(|(j, p)| j as f64 * p).sum::<f64>()).sum::<f64>()
    };
    now.iter().map(missed).sum()
}
