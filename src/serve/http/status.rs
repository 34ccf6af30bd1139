//! `/status`: which client gets which group, in the form of udpxy's status page, for scripts that
//! read that. People use [`super::page`], programs [`super::api`].

use std::{fmt::Write as _, net::SocketAddr};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{App, refusal::Refusal};
use crate::registry::{
    ChannelView,
    audience::{ClientState, Transport},
};
use tidecast_net::{address::Input, clock};

const HTML: &str = "text/html; charset=utf-8";

/// `/status`
pub(super) async fn page(State(app): State<App>) -> Result<Response, Refusal> {
    let views = app.registry.views(0).await?;
    let count: u64 = views.iter().map(|view| view.subscribers.of(Transport::Http).clients).sum();
    let listen = app.config.listen.to_string();
    let interface = app.config.interface.as_ref().map_or("0.0.0.0".to_owned(), ToString::to_string);
    let mut text = head(std::process::id(), &listen, &interface, count);
    if count > 0 && app.config.list_clients {
        let now = u64::try_from(clock::unix().as_millis()).unwrap_or(u64::MAX);
        let rows = views.iter().flat_map(|view| {
            let clients = app.registry.clients(&view.state.name).unwrap_or_default();
            let players = clients.into_iter().filter(|client| client.transport == Transport::Http);
            let to = destination(view);
            players.map(move |client| (client, to.clone()))
        });
        clients(&mut text, rows, now);
    }
    text.push_str(GUIDE);
    let _ =
        write!(text, "<div id=\"footer\">tidecast {}</div>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION"));
    Ok(([(header::CONTENT_TYPE, HTML), (header::CACHE_CONTROL, "no-cache")], text).into_response())
}

fn head(process: u32, listen: &str, interface: &str, clients: u64) -> String {
    format!(
        "<html>\n<head><title>udpxy status</title></head>\n<body>\n<h1>udpxy status:</h1>\n<table cellspacing=\"0\">\n<tr>\n    \
         <th>Server Process ID</th>\n    <th>Accepting clients on</th>\n    <th>Multicast address</th>\n    \
         <th>Active clients</th>\n</tr>\n<tr>\n    <td>{process}</td>\n    <td>{listen}</td>\n    <td>{interface}</td>\n    \
         <td>{clients}</td>\n</tr>\n</table>\n\n"
    )
}

/// All clients have the same process id, because one process serves them all.
fn clients(text: &mut String, rows: impl Iterator<Item = (ClientState, String)>, now: u64) {
    text.push_str(
        "<h3>Active clients:</h3>\n<table cellspacing=\"0\" class=\"proctabl\">\n\
         <tr><th>Process ID</th><th>Source</th><th>Destination</th><th>Throughput</th></tr>\n",
    );
    let process = std::process::id();
    for (index, (client, to)) in rows.enumerate() {
        let class = if index % 2 == 1 { " class=\"uneven\"" } else { "" };
        let (from, rate) = (&client.who.address, rate(client.bytes, now.saturating_sub(client.since)));
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "<tr{class}><td>{process}</td><td>{from}</td><td>{to}</td><td>{rate}</td></tr>");
    }
    text.push_str("</table>\n");
}

/// KiB per second since the client's start, in udpxy's format.
fn rate(bytes: u64, millis: u64) -> String {
    if bytes == 0 || millis == 0 {
        return "N/A".to_owned();
    }
    format!("{:.2} Kb/sec", bytes as f64 / 1024.0 / (millis as f64 / 1000.0))
}

/// Group and port of the channel's first leg.
fn destination(view: &ChannelView) -> String {
    let first = view.state.legs.first().and_then(|leg| leg.address.parse::<Input>().ok());
    first.as_ref().map(Input::socket_addr).as_ref().map_or_else(String::new, SocketAddr::to_string)
}

const GUIDE: &str = "<h3>Available HTTP requests:</h3>\n<table cellspacing=\"0\">\n\
    <tr><th>Request template</th><th>Function</th></tr>\n\
    <tr><td>http://<i>address:port</i>/udp/<i>mcast_addr:mport/</i></td><td>Relay multicast traffic from mcast_addr:mport</td></tr>\n\
    <tr><td>http://<i>address:port</i>/rtp/<i>mcast_addr:mport/</i></td><td>The same, for RTP</td></tr>\n\
    <tr><td>http://<i>address:port</i>/udp/<i>source_addr@mcast_addr:mport/</i></td><td>Relay SSM traffic from source_addr@mcast_addr:mport</td></tr>\n\
    <tr><td>http://<i>address:port</i>/status/</td><td>This page</td></tr>\n\
    <tr><td>http://<i>address:port</i>/</td><td>More than this page</td></tr>\n\
    </table>\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::audience::Who;

    #[test]
    fn clients_stand_in_rows_as_scripts_for_udpxy_expect_them() {
        let who = Who { address: "10.0.0.7:40000".to_owned(), agent: None, user: None };
        let client = ClientState {
            id: 1,
            transport: Transport::Http,
            who,
            since: 1_000,
            packets: 1,
            bytes: 4_096,
            missed: 0,
        };
        let (mut text, to) = (String::new(), "239.1.1.1:5000".to_owned());
        clients(&mut text, [(client.clone(), to.clone()), (client, to)].into_iter(), 3_000);
        let id = std::process::id();
        let cells =
            format!("<td>{id}</td><td>10.0.0.7:40000</td><td>239.1.1.1:5000</td><td>2.00 Kb/sec</td></tr>");
        assert!(text.contains(&format!("\n<tr>{cells}\n<tr class=\"uneven\">{cells}\n")), "{text}");
        assert_eq!(rate(0, 5), "N/A");
    }
}
