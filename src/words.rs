//! Numbers in words: counts with their noun, rates and times, for everything that users read.

use std::time::Duration;

/// Formats a count with its noun, in the singular or with an s.
pub fn count(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Formats bits per second with a unit.
pub fn bits(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.3} Mbit/s", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} kbit/s", rate / 1e3),
        rate => format!("{rate:.0} bit/s"),
    }
}

/// Formats a number of bytes with a decimal unit.
pub fn bytes(count: u64) -> String {
    match count as f64 {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes if bytes >= 1e3 => format!("{:.0} kB", bytes / 1e3),
        bytes => format!("{bytes:.0} B"),
    }
}

/// Formats a time as a clock does: `0:07`, `12:34`, `1:02:03`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_units() {
        assert_eq!([0, 1, 2].map(|n| count(n, "packet")), ["0 packets", "1 packet", "2 packets"]);
        assert_eq!([999.0, 600_000.0, 8e6].map(bits), ["999 bit/s", "600.0 kbit/s", "8.000 Mbit/s"]);
        assert_eq!(
            [999, 64_000, 8_100_000, 4_250_000_000].map(bytes),
            ["999 B", "64 kB", "8.1 MB", "4.25 GB"]
        );
        let times = [7, 754, 3723, 360_000].map(|seconds| clock(Duration::from_secs(seconds)));
        assert_eq!(times, ["0:07", "12:34", "1:02:03", "100:00:00"]);
    }
}
