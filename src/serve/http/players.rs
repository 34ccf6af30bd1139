//! Files for players: a playlist of all streams, and the description (SDP) of a stream that is
//! sent or received by UDP or RTP.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Extension,
    extract::{Query, State},
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{App, access, refusal::Refusal, via::Via};
use crate::{
    access::Grant,
    config::{Channel, Imported},
    observe::Content,
    registry::ChannelView,
    serve::sdp::{Contents, Description, Stream, Unknown},
};
use tidecast_net::address::{Input, udpxy};
use tidecast_wire::Format;

const M3U: &str = "audio/x-mpegurl; charset=utf-8";
const SDP: &str = "application/sdp";

/// `/playlist.m3u`: the configured channels whose payload is, or may be, a transport stream, and
/// the imported playlist.
pub(super) async fn playlist(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    Extension(grant): Extension<Grant>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let host = via.authority().ok_or_else(|| {
        let named = via.host().unwrap_or_default();
        Refusal::Malformed(format!("Host: {named:?}: expected where this server is, such as 10.0.0.1:8080"))
    })?;
    let (scheme, base) = (via.scheme, app.config.base.trim_end_matches('/'));
    let imported = app.config.playlist.as_deref();
    let mut text = imported.map_or("#EXTM3U", Imported::head).to_owned() + "\n";
    let views = app.registry.views(0).await?;
    // Players know the playlist's URL alone, so each entry opens its stream by itself.
    let opening = |path: &str| match access::token_in(uri.query().unwrap_or_default()) {
        _ if !app.access.has_rules() => String::new(),
        token => match (app.access.sign(path, &grant), token) {
            (Some(signed), _) => format!("?{signed}"),
            (None, Some(token)) => format!("?token={token}"),
            (None, None) => String::new(),
        },
    };
    let is_meant = |view: &&ChannelView| {
        !view.state.on_demand && grant.may_watch(&view.state.name) && is_for_players(&app, view)
    };
    for view in views.iter().filter(is_meant) {
        let Ok(channel) = app.registry.channel(&view.state.name) else { continue };
        let _ = writeln!(text, "{}", channel.shown.line(&channel.name)); // a String takes all
        let _ = writeln!(text, "{scheme}://{host}{base}{}{}", view.path, opening(&view.path));
    }
    if let Some(imported) = imported {
        let server = format!("{scheme}://{host}{base}");
        let address = |input: &Input| {
            let path = udpxy::path(input);
            let opens = grant.group(input.group).is_ok();
            opens.then(|| format!("{server}{path}{}", opening(&path)))
        };
        imported.write(address, &mut text);
    }
    Ok(([(header::CONTENT_TYPE, M3U), (header::CACHE_CONTROL, "no-cache")], text).into_response())
}

/// Whether a channel is for players, as far as known: a channel without packets so far may be.
fn is_for_players(app: &App, view: &ChannelView) -> bool {
    let seen = app.observer.seen();
    let content = seen.channel(&view.state.name).and_then(|channel| channel.content);
    if let Ok(channel) = app.registry.channel(&view.state.name)
        && channel.described.is_some()
    {
        return Contents::of(&channel, &view.state.carries).is_ts();
    }
    match (app.registry.format(&view.state.name), view.state.first_format) {
        _ if content == Some(Content::Ts) => true,
        _ if content.is_some() => false,
        (Ok(Format::Rtp | Format::Ts), _) | (Ok(Format::Auto), None) => true,
        (_, Some(format)) => format.is_stream(),
        _ => false,
    }
}

/// Which address of a channel to describe, counted from 0 as in the configuration.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DescriptionQuery {
    output: Option<usize>,
    input: Option<usize>,
}

/// `/streams/NAME.sdp[?output=N|?input=N]`
pub(super) async fn description(
    app: &App,
    grant: &Grant,
    name: &str,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let Query(query) = Query::<DescriptionQuery>::try_from_uri(uri)
        .map_err(|error| Refusal::Malformed(format!("{error}: expected ?output=N or ?input=N")))?;
    let channel = app.registry.channel(name)?;
    let mut streams = Vec::new();
    let may = |part: &Arc<Channel>| grant.may_watch(&part.name);
    for part in app.registry.session_of(&channel).into_iter().filter(may) {
        let contents = Contents::of_running(&app.registry, &part).await;
        match describe(&part, &contents, &query) {
            Ok(stream) => streams.push(stream),
            Err(refusal) if part.name == channel.name => return Err(refusal),
            Err(_) => {} // the others do without it
        }
    }
    let text = Description::new(name, streams, 1).map(|text| text.to_string()).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, SDP), (header::CACHE_CONTROL, "no-cache")], text).into_response())
}

/// The requested address; otherwise the first one that players can use, groups before hosts.
fn describe(channel: &Channel, contents: &Contents, query: &DescriptionQuery) -> Result<Stream, Refusal> {
    let name = &channel.name;
    let of_output = |output| Stream::of_output(output, contents).ok();
    let of_input = |leg: &crate::config::Leg| Stream::of_input(&leg.address, contents).ok();
    let outputs = || channel.outputs.iter().filter_map(of_output);
    let found = match (query.output, query.input) {
        (Some(_), Some(_)) => {
            return Err(Refusal::Malformed("output and input: expected one of them".to_owned()));
        }
        (Some(output), None) => channel.outputs.get(output).and_then(of_output),
        (None, Some(input)) => channel.legs.get(input).and_then(of_input),
        (None, None) => outputs()
            .find(|stream| stream.target.ip().is_multicast())
            .or_else(|| channel.legs.iter().find_map(of_input))
            .or_else(|| outputs().next()),
    };
    found.ok_or_else(|| {
        let asked = match (query.output, query.input) {
            (Some(output), _) => format!("output {output}"),
            (_, Some(input)) => format!("input {input}"),
            _ => "no address".to_owned(),
        };
        let why = match contents.unknown() {
            Some(Unknown::Other) | None => {
                "expected an rtp:// output, a udp:// output of RTP or MPEG-TS, or a group \
                                            that brings either"
                    .to_owned()
            }
            Some(unknown) => unknown.to_string(),
        };
        Refusal::NotFound(format!(
            "{name}: {asked} that an SDP can describe: {why}; /streams/{name} is the same over HTTP"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::carries::Carries;

    fn channel(input: &str, outputs: &[&str]) -> Channel {
        let outputs: Vec<String> = outputs.iter().map(|output| format!("{output:?}")).collect();
        let text =
            format!("[[channel]]\nname = \"cam\"\ninput = [{input:?}]\noutput = [{}]", outputs.join(", "));
        text.parse::<crate::config::Config>().unwrap().channels.remove(0)
    }

    fn target(channel: &Channel, output: Option<usize>, input: Option<usize>) -> Result<String, Refusal> {
        let query = DescriptionQuery { output, input };
        let seen = Carries { plain_ts: true, ..Carries::default() };
        describe(channel, &Contents::of(channel, &seen), &query).map(|stream| stream.target.to_string())
    }

    #[test]
    fn groups_come_first_and_each_address_can_be_asked_for() {
        let all = channel("udp://@239.1.1.1:5000", &["rtp://10.0.0.9:6000", "rtp://239.2.2.2:6002"]);
        assert_eq!(target(&all, None, None).unwrap(), "239.2.2.2:6002");
        assert_eq!(target(&all, Some(0), None).unwrap(), "10.0.0.9:6000");
        assert_eq!(target(&all, None, Some(0)).unwrap(), "239.1.1.1:5000");
        assert!(
            matches!(target(&all, Some(2), None), Err(Refusal::NotFound(why)) if why.contains("output 2"))
        );
        assert!(matches!(target(&all, Some(0), Some(0)), Err(Refusal::Malformed(_))));
        let unicast = channel("udp://@10.0.0.1:5000", &["udp://10.0.0.9:6000?payload=1"]);
        assert_eq!(target(&unicast, None, None).unwrap(), "10.0.0.9:6000");
        let none = channel("udp://@10.0.0.1:5000", &["rist://10.0.0.9:6000"]);
        assert!(
            matches!(target(&none, None, None), Err(Refusal::NotFound(why)) if why.contains("/streams/cam"))
        );
    }
}
