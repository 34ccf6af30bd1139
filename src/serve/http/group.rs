//! Groups on demand: which ones clients may request, and how they are joined.

use super::refusal::Refusal;
use crate::{config, registry::Joining};
use tidecast_net::address::{self, Input, Scheme, udpxy};

/// Settings for joining groups on demand.
pub(in crate::serve) fn joining(config: &config::Http) -> Joining {
    Joining { fec: config.fec, rejoin: config.rejoin }
}

/// The allowed groups, as text.
pub(super) fn allowed(config: &config::Http) -> String {
    let prefixes: Vec<String> = config.allow.iter().map(ToString::to_string).collect();
    if prefixes.is_empty() { "none".to_owned() } else { prefixes.join(", ") }
}

/// The group that a path such as `/udp/239.1.1.1:5000` names, for clients of other protocols.
/// `None` if it names none.
///
/// # Errors
/// A message that states the error in the address, or why it is not allowed.
pub(in crate::serve) fn of_path(path: &str, config: &config::Http) -> Option<Result<Input, String>> {
    let of = |scheme: Scheme| Some((scheme, path.strip_prefix(&format!("/{scheme}/"))?));
    let (scheme, address) = [Scheme::Udp, Scheme::Rtp].into_iter().find_map(of)?;
    Some(checked(scheme, address, None, config).map_err(|refusal| refusal.text()))
}

/// Checks a requested group; `wanted`: the interface in the query.
///
/// # Errors
/// The address is invalid, or the group is not allowed.
pub(super) fn checked(
    scheme: Scheme,
    text: &str,
    wanted: Option<&str>,
    config: &config::Http,
) -> Result<Input, Refusal> {
    let input = udpxy::parse(scheme, text).map_err(|error| {
        Refusal::Malformed(format!(
            "{error}, as in /{scheme}/239.1.1.1:5000 or /{scheme}/10.0.0.5@232.1.1.1:5000"
        ))
    })?;
    let group = input.group;
    if !address::is_class_d(group) {
        return Err(Refusal::Forbidden(format!(
            "{group} is no multicast group: expected one of {}",
            allowed(config)
        )));
    }
    if !config.allows(group) {
        return Err(Refusal::Forbidden(format!(
            "group {group} is not allowed here: expected one of {} (the operator allows more with `serve --allow {group}` or allow in [http])",
            allowed(config)
        )));
    }
    let interface = config.interface.clone();
    if let Some(address) = interface.as_ref().and_then(address::Interface::address)
        && address.is_ipv4() != group.is_ipv4()
    {
        return Err(Refusal::Forbidden(format!(
            "group {group} cannot be joined on {address}: expected a group of the same family (IPv4 or IPv6)"
        )));
    }
    // A client must not choose the interface on which to join.
    let wanted = wanted
        .map(str::parse)
        .transpose()
        .map_err(|error: address::AddressError| Refusal::Malformed(format!("if: {error}")))?;
    for (what, named) in [("zone ", input.interface), ("if=", wanted)] {
        if let Some(named) = named
            && Some(&named) != interface.as_ref()
        {
            let here = interface.map_or("by the routes".to_owned(), |interface| format!("on {interface}"));
            return Err(Refusal::Forbidden(format!(
                "{what}{named}: groups on demand are joined {here}: leave it out (the operator names one interface with --if, or `interface` in [http])"
            )));
        }
    }
    Ok(Input { interface, ..input })
}

#[cfg(test)]
mod tests;
