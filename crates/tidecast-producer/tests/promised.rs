//! What the promise of this crate covers besides its own items, which `cargo semver-checks` looks
//! at: the items of internal crates that it exports. A change that breaks a program does not
//! compile here.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use tidecast_producer::{
    AddressError, Fec, FecError, History, Interface, OpenError, Output, RequestCounters, Requests,
    SocketError,
};

fn is_error<E: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn exported_items_keep_their_form() {
    let _: fn(u64, u64, u64) -> Result<Fec, FecError> = Fec::new;
    let _: [fn(&Fec) -> u8; 3] = [Fec::k, Fec::m, Fec::stride];
    let _: fn(&str) -> Result<Fec, FecError> = Fec::from_str;
    let _: fn(&str) -> Result<Output, AddressError> = Output::from_str;
    let _: fn(&str) -> Result<Interface, AddressError> = Interface::from_str;
    is_error::<AddressError>();
    is_error::<FecError>();
    is_error::<OpenError>();
    is_error::<SocketError>();

    let output: Output = "udp://239.1.1.1:7000?if=127.0.0.1&ttl=0".parse().expect("an output");
    let (target, ttl): (SocketAddr, Option<u8>) = (output.target, output.ttl);
    assert_eq!((target, ttl), (SocketAddr::from(([239, 1, 1, 1], 7000)), Some(0)));
    assert!(matches!(output.interface, Some(Interface::Addr(_))));
    assert_eq!(output.to_string().parse::<Output>().expect("the same"), output);

    let History { age_max, packets_max, bytes_max, share, pause } = History::default();
    let _: (Duration, usize, usize, u8, Duration) = (age_max, packets_max, bytes_max, share, pause);
    let Requests { numbers, malformed, foreign } = Requests::default();
    let RequestCounters { requested, resent, resent_bytes, gone, recent, refused } = numbers;
    assert_eq!([requested, resent, resent_bytes, gone, recent, refused, malformed, foreign], [0; 8]);
}
