//! Synthetic sensors: plausible readings for demos and tests, reproducible by the seed.
//!
//! Pure: no clock and no I/O. A reading is a JSON text such as
//! `{"sensor":"temp-3","unit":"C","value":21.42,"n":17}`; it goes to an encoder as the payload of
//! a datagram.

use std::fmt::Write;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Properties of a family of sensors.
#[derive(Debug)]
struct Quantity {
    name: &'static str,
    unit: &'static str,
    /// Mean to which the random walk returns.
    mean: f64,
    /// Maximum step between two readings.
    step: f64,
    /// Range that a real instrument of this family could report.
    range: (f64, f64),
    decimals: usize,
}

/// The families; sensor `i` belongs to family `i` modulo their number.
const QUANTITIES: [Quantity; 6] = [
    Quantity { name: "temp", unit: "C", mean: 21.5, step: 0.08, range: (-40.0, 85.0), decimals: 2 },
    Quantity { name: "humidity", unit: "%", mean: 48.0, step: 0.4, range: (0.0, 100.0), decimals: 1 },
    Quantity { name: "pressure", unit: "hPa", mean: 1013.2, step: 0.05, range: (870.0, 1085.0), decimals: 2 },
    Quantity { name: "wind", unit: "m/s", mean: 4.2, step: 0.3, range: (0.0, 75.0), decimals: 1 },
    Quantity { name: "co2", unit: "ppm", mean: 620.0, step: 4.0, range: (350.0, 5000.0), decimals: 0 },
    Quantity { name: "battery", unit: "V", mean: 3.7, step: 0.002, range: (2.8, 4.2), decimals: 3 },
];

/// Strength of the return to the mean: it takes about 200 readings.
const RETURN: f64 = 0.005;

/// One sensor: a random walk within plausible values.
#[derive(Debug, Clone)]
pub struct Sensor {
    quantity: &'static Quantity,
    index: u32,
    value: f64,
    readings: u64,
    random: Pcg32,
}

impl Sensor {
    /// The sensor with this index; equal indices and seeds give equal readings.
    pub fn new(index: u32, seed: u64) -> Sensor {
        let quantity = &QUANTITIES[index as usize % QUANTITIES.len()];
        let own_seed = seed ^ u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = Pcg32::seed_from_u64(own_seed);
        let value = quantity.mean + quantity.step * random.random_range(-20.0..20.0);
        Sensor { quantity, index, value, readings: 0, random }
    }

    /// Takes the next reading and writes its JSON text to `out`, which is emptied first.
    pub fn read(&mut self, out: &mut String) {
        let Quantity { name, unit, decimals, .. } = *self.quantity;
        let (index, value, n) = (self.index, self.value, self.readings);
        out.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r#"{{"sensor":"{name}-{index}","unit":"{unit}","value":{value:.decimals$},"n":{n}}}"#
        );
        self.readings += 1;
        self.walk();
    }

    fn walk(&mut self) {
        let Quantity { mean, step, range, .. } = *self.quantity;
        let home = (mean - self.value) * RETURN;
        let next = self.value + home + self.random.random_range(-step..step);
        self.value = next.clamp(range.0, range.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(index: u32, seed: u64, count: usize) -> Vec<String> {
        let mut sensor = Sensor::new(index, seed);
        let mut text = String::new();
        (0..count)
            .map(|_| {
                sensor.read(&mut text);
                text.clone()
            })
            .collect()
    }

    #[test]
    fn the_seed_and_the_index_decide_the_readings() {
        assert_eq!(readings(3, 7, 50), readings(3, 7, 50));
        assert_ne!(readings(3, 7, 50), readings(3, 8, 50));
        let values = |index| {
            let texts = readings(index, 7, 50);
            texts.iter().map(|t| value_of(t).to_string()).collect::<Vec<_>>()
        };
        assert_ne!(values(0), values(6), "two sensors of one family walk apart");
    }

    fn value_of(text: &str) -> f64 {
        let json: serde_json::Value = serde_json::from_str(text).expect("a reading is JSON");
        json["value"].as_f64().expect("the value is a number")
    }

    #[test]
    fn readings_are_json_that_counts_and_stays_plausible() {
        for (index, quantity) in QUANTITIES.iter().enumerate() {
            let mut last = None;
            for (n, text) in readings(index as u32, 1, 5000).iter().enumerate() {
                let json: serde_json::Value = serde_json::from_str(text).expect("a reading is JSON");
                assert_eq!(json["sensor"], format!("{}-{index}", quantity.name));
                assert_eq!(json["unit"], quantity.unit);
                assert_eq!(json["n"], n);
                let value = value_of(text);
                assert!((quantity.range.0..=quantity.range.1).contains(&value), "{text}");
                let rounding = 10f64.powi(-(quantity.decimals as i32));
                let step = (value - last.unwrap_or(value)).abs();
                assert!(step <= quantity.step * 1.6 + rounding, "a step of {step} in {text}");
                last = Some(value);
            }
        }
    }

    #[test]
    fn a_reading_looks_like_the_documented_one() {
        let text = &readings(0, 1, 1)[0];
        assert!(text.starts_with(r#"{"sensor":"temp-0","unit":"C","value":2"#), "{text}");
        assert!(text.ends_with(r#","n":0}"#), "{text}");
        assert!(readings(3, 1, 1)[0].starts_with(r#"{"sensor":"wind-3","#));
    }
}
