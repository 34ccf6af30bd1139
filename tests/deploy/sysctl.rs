//! The sysctl file allows what the program requests from the kernel.

use std::fs;

use tidecast_net::limits::RECEIVE_BUFFER_BYTES;
use tidecast_net::limits::SEND_BUFFER_BYTES;

use crate::file;

/// Returns a setting of the file.
fn setting(name: &str) -> usize {
    let text = fs::read_to_string(file("deploy/90-tidecast-sysctl.conf")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn the_kernel_then_grants_the_buffers_that_are_asked_for() {
    assert!(setting("net.core.rmem_max") >= RECEIVE_BUFFER_BYTES);
    assert!(setting("net.core.wmem_max") >= SEND_BUFFER_BYTES);
}

/// The kernel doubles the requested size, and counts 2,304 bytes for a media packet of 1,316.
#[test]
fn the_file_s_own_figures_are_right() {
    let text = fs::read_to_string(file("deploy/90-tidecast-sysctl.conf")).unwrap();
    let packets = |bytes: usize| 2 * bytes / 2304;
    assert!(
        text.contains(&format!("The usual default (212,992) is good for {} of them", packets(212_992))),
        "{text}"
    );
    let granted = packets(setting("net.core.rmem_max"));
    assert!(
        text.contains(&format!("16 MiB are good for {},{:03} of them", granted / 1000, granted % 1000)),
        "{text}"
    );
}
