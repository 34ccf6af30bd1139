//! `tick` of a channel, by the kernel's timestamps: at `"0"` packets leave as they arrive, at 5 ms
//! they are collected.

use std::{thread, time::Duration};

use super::{
    TRIES,
    common::{self, PATIENCE, Running, joined, native, now, sender, stamped::Collector},
    ms,
};

/// Returns the milliseconds from the arrival at the host to that after the relay, at 1,000 packets
/// per second: the 10th, 50th, 90th and 99th percentiles.
fn transit(top: &str, tick: &str) -> [f64; 4] {
    const COUNT: u64 = 3000;
    let group = (common::group(), common::free_port());
    let (beside, out) = (Collector::new(joined(group.0, group.1)), Collector::unicast());
    let config = format!(
        "tick = \"{top}\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"aes67\"\ntick = \"{tick}\"\n\
         input = \"udp://@{}:{}?if=127.0.0.1\"\noutput = \"udp://{}\"\n",
        group.0, group.1, out.addr
    );
    let file = std::env::temp_dir().join(format!("tidecast-tick-{}.toml", common::free_port()));
    std::fs::write(&file, config).expect("write");
    let mut relay = Running::tidecast(["serve", "-c", file.to_str().expect("text")]);
    relay.http();
    let (socket, start) = (sender(), now());
    for number in 0..COUNT {
        thread::sleep(Duration::from_millis(number).saturating_sub(start.elapsed()));
        socket.send_to(&native(1, 1, number, &[0; 288]), group).expect("send");
    }
    assert!(out.wait_for(COUNT as usize, PATIENCE), "{} of {COUNT}", out.count());
    relay.stop();
    std::fs::remove_file(&file).expect("remove");
    let (sent, came) = (beside.finish(), out.finish());
    let pairs = came.iter().zip(&sent).skip(500);
    let mut transit: Vec<f64> =
        pairs.map(|(came, sent)| (came.stamp.as_secs_f64() - sent.stamp.as_secs_f64()) * 1e3).collect();
    transit.sort_by(f64::total_cmp);
    let measured = [0.1, 0.5, 0.9, 0.99].map(|q| transit[((transit.len() - 1) as f64 * q) as usize]);
    println!("tick {tick}, {top} at the top: {measured:.2?} ms (10, 50, 90 and 99 %)");
    measured
}

#[test]
fn the_tick_of_a_channel_goes_before_that_of_the_top() {
    let mut all = Vec::new();
    while all.len() < TRIES {
        let (at_once, collected) = (transit("5ms", "0"), transit("0", "5ms"));
        // A busy machine delays the thread in both cases.
        if at_once[1] < 1.0 && collected[1] > at_once[1] + 1.0 {
            return;
        }
        all.push((at_once, collected));
        thread::sleep(ms(500));
    }
    panic!("{all:?}");
}
