//! Parses hosts and their zones (RFC 4007): the zone in `[fe80::1%eth0]` names the interface of
//! the link to which the address belongs.

use std::net::{IpAddr, Ipv6Addr};

use super::{AddressError, Interface, is_unicast};

/// Parses an IPv4 address, or an IPv6 address in brackets with or without its zone.
pub(super) fn parse_host(host: &str) -> Result<(IpAddr, Option<Interface>), AddressError> {
    let parsed = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => parse_v6(inner),
        None => host.parse().ok().map(|address| (IpAddr::V4(address), None)),
    };
    parsed.ok_or_else(|| AddressError::Host(host.to_owned()))
}

/// Parses the part before `@`: a sender's unicast address, or nothing. An IPv6 address needs no
/// brackets here, because no port follows.
pub(super) fn parse_user(user: &str) -> Result<(Option<IpAddr>, Option<Interface>), AddressError> {
    if user.is_empty() {
        return Ok((None, None));
    }
    let parsed = parse_v6(user).or_else(|| parse_host(user).ok());
    let unicast = parsed.filter(|(address, _)| is_unicast(*address));
    let (address, zone) = unicast.ok_or_else(|| AddressError::Source(user.to_owned()))?;
    Ok((Some(address), zone))
}

fn parse_v6(text: &str) -> Option<(IpAddr, Option<Interface>)> {
    let (address, zone) = cut(text);
    let address: Ipv6Addr = address.parse().ok()?;
    Some((address.into(), zone.map(parse).transpose().ok()?))
}

/// Splits an address without brackets into the address and the zone as typed.
pub(super) fn cut(text: &str) -> (&str, Option<&str>) {
    text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)))
}

/// Parses a zone as an interface. In a URL its percent sign may be escaped (`%25eth0`, RFC 6874);
/// an index is used as it is.
pub(super) fn parse(zone: &str) -> Result<Interface, AddressError> {
    let is_index = zone.bytes().all(|byte| byte.is_ascii_digit());
    let name = zone.strip_prefix("25").filter(|_| !is_index).unwrap_or(zone);
    match name.parse()? {
        interface @ Interface::Name(_) => Ok(interface),
        _ => Err(AddressError::Interface(zone.to_owned())),
    }
}

/// Returns the interface that the parts of an address name. All parts that name one must name the
/// same.
pub(super) fn one_interface<const N: usize>(
    named: [Option<Interface>; N],
) -> Result<Option<Interface>, AddressError> {
    named.into_iter().flatten().try_fold(None, |found, next| match found {
        // An interface with its address is more precise than the zone alone.
        Some(Interface::Zoned(address, name)) if next == Interface::Name(name.clone()) => {
            Ok(Some(Interface::Zoned(address, name)))
        }
        Some(found) if found != next => Err(AddressError::Interfaces(found, next)),
        _ => Ok(Some(next)),
    })
}
