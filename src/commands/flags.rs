//! Turns the flags of `serve` and `relay` into a [`Config`]: they become [`Raw`] first, so that
//! they pass the same validation as a file.

use crate::{
    cli,
    config::{
        Config, Errors,
        raw::{Field, Raw, RawChannel, SettingPlace, Value},
    },
};

/// The configuration of `serve`: that of the file, changed by flags; without a file, groups on
/// demand over HTTP.
///
/// # Errors
/// All errors in the file and the flags.
pub fn of_serve(args: &cli::Serve) -> Result<Config, Errors> {
    Config::from_raw(args.configuration.path(), |raw| serve(raw, args))
}

/// The configuration of `relay`: one channel, and HTTP only if requested.
///
/// # Errors
/// All errors in the flags.
pub fn of_relay(args: &cli::Relay) -> Result<Config, Errors> {
    Config::from_raw(None, |raw| *raw = relay(args))
}

/// Changes to the file's configuration by the flags of `serve`.
fn serve(raw: &mut Raw, args: &cli::Serve) {
    let over = |field: &mut Option<Field>, flag, value: &Option<String>| {
        if let Some(value) = value {
            *field = Some(text(flag, value));
        }
    };
    over(&mut raw.http.listen, "--http", &args.http);
    over(&mut raw.http.interface, "--if", &args.interface);
    over(&mut raw.tcp.listen, "--tcp", &args.tcp);
    if !args.origins.is_empty() {
        raw.http.origins = Some(texts("--origin", &args.origins));
    }
    if !args.hosts.is_empty() {
        raw.http.hosts = Some(texts("--host", &args.hosts));
    }
    over(&mut raw.udp.listen, "--udp", &args.udp);
    if !args.allow.is_empty() {
        raw.http.allow = Some(texts("--allow", &args.allow));
    }
}

/// One channel from the flags of `relay`. HTTP is off unless requested, and joins no groups on
/// demand.
fn relay(args: &cli::Relay) -> Raw {
    let mut raw = Raw {
        tick: Some(text("--tick", &args.tick)),
        burst: args
            .burst
            .map(|burst| Field { place: SettingPlace::Flag("--burst"), value: Value::Integer(burst) }),
        ..Raw::default()
    };
    raw.http.listen = Some(text("--http", args.http.as_deref().unwrap_or("off")));
    raw.http.allow = Some(Vec::new());
    raw.http.origins = Some(texts("--origin", &args.origins));
    raw.http.hosts = Some(texts("--host", &args.hosts));
    raw.tcp.listen = args.tcp.as_ref().map(|address| text("--tcp", address));
    raw.udp.listen = args.udp.as_ref().map(|listen| text("--udp", listen));
    raw.channels.push(RawChannel {
        place: SettingPlace::Flag("relay"),
        name: Some(text("--name", &args.name)),
        input: Some(texts("INPUT", &args.inputs)),
        output: Some(texts("--to", &args.outputs)),
        format: Some(text("--format", &args.format)),
        sdp: args.sdp.as_ref().map(|file| text("--sdp", file)),
        rtpmap: (!args.rtpmap.is_empty()).then(|| texts("--rtpmap", &args.rtpmap)),
        fec: Some(text("--fec", &args.fec)),
        retransmission: Some(text("--retransmission", &args.retransmission)),
        seal: (!args.seal.is_empty()).then(|| text("--seal", "required")),
        seal_keys: (!args.seal.is_empty()).then(|| texts("--seal", &args.seal)),
        hold: Some(text("--hold", &args.hold)),
        hold_min: None,
        hold_max: None,
        release: args.release.as_ref().map(|release| text("--release", release)),
        release_delay: args.release_delay.as_ref().map(|delay| text("--release-delay", delay)),
        failover: None,
        tick: None,
        sap: None,
        receive_buffer: None,
        rejoin: None,
        m3u: Default::default(),
        flows_max: None,
        bytes_max: None,
        window_max: None,
        flow_idle: None,
    });
    raw
}

fn text(flag: &'static str, value: &str) -> Field {
    Field { place: SettingPlace::Flag(flag), value: Value::Text(value.to_owned()) }
}

fn texts(flag: &'static str, values: &[String]) -> Vec<Field> {
    values.iter().map(|value| text(flag, value)).collect()
}
