//! The Grafana dashboard: a real Prometheus that scrapes the demo answers each of its queries, and
//! the JSON has the structure that Grafana expects.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use serde_json::Value;

use crate::{
    common::{Running, free_port, group, have, prometheus::Prometheus, tidecast, until},
    file, rules,
};

/// The columns of Grafana's grid.
const COLUMNS: u64 = 24;

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(file("deploy/grafana/tidecast.json")).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key} in {value}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// Returns the title and query of every target of every panel.
fn queries(dashboard: &Value) -> Vec<(&str, &str)> {
    let panels = list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row");
    panels
        .flat_map(|panel| {
            list(panel, "targets").iter().map(|target| (text(panel, "title"), text(target, "expr")))
        })
        .collect()
}

/// Returns a query as Grafana sends it with everything selected.
fn substituted(expression: &str) -> String {
    let all = [("$instance", ".*"), ("$channel", ".*"), ("$__rate_interval", "10s")];
    let expression = all.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!expression.contains('$'), "an unknown variable: {expression}");
    expression
}

/// Starts relays with features that the demo does not have: two legs, paced release, receivers
/// that may request retransmission, and a port for UDP subscribers.
fn relays() -> (Vec<Running>, [SocketAddr; 2]) {
    let (port, hop) = (free_port(), even_port());
    let [from, a, b] = [group(), group(), group()];
    let at = |group, options| format!("udp://@{group}:{port}?if=127.0.0.1{options}");
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[udp]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"two-legs\"\nrelease = \"paced\"\n\
         input = [\"{}\", \"{}\"]\noutput = \"rist://127.0.0.1:{hop}\"\n",
        at(a, ""),
        at(b, ""),
    );
    fs::write(&config, text).unwrap();
    let mut next = Running::tidecast(["relay", &format!("rist://127.0.0.1:{hop}"), "--http", "127.0.0.1:0"]);
    let mut serve = Running::tidecast(["serve", "-c", config.path().to_str().unwrap()]);
    let https = [serve.http(), next.http()];
    let to = |group| at(group, "&ttl=0").replace('@', "");
    let link = Running::tidecast(["impair", &at(from, ""), "--to", &to(a), "--to", &to(b)]);
    let film = file("fixtures/test.ts");
    let mut send = tidecast(["send", "--loop", "--format", "rtp", "--file", film.to_str().unwrap()]);
    send.arg(to(from));
    (vec![next, serve, link, Running::start(send)], https)
}

/// Returns a port for RIST, whose RTCP uses the next higher one.
fn even_port() -> u16 {
    std::iter::repeat_with(free_port).find(|port| port % 2 == 0).unwrap()
}

#[test]
fn every_query_returns_data_from_the_demo() {
    if !have("prometheus") {
        return;
    }
    let http = format!("127.0.0.1:{}", free_port());
    let mut demo = tidecast(["demo", "--http", &http, "--for", "2m"]);
    demo.stdout(std::process::Stdio::null());
    let mut demo = Running::start(demo);
    demo.wait_for_line("tidecast: ready");
    let (_running, [two_legs, next]) = relays();
    let prometheus = Prometheus::start(&[http.parse().unwrap(), two_legs, next]);
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() >= 30, "{}", queries.len());
    for (title, query) in queries {
        let query = substituted(query);
        let is_number = |series: &Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
        until(&format!("data for {title}: {query}"), || {
            prometheus.query(&query).iter().any(is_number).then_some(())
        });
    }
    for annotation in list(&dashboard["annotations"], "list") {
        prometheus.query(&substituted(text(annotation, "expr"))); // fails unless it is one
    }
    assert!(prometheus.query("tidecast_no_such_metric").is_empty());
    demo.stop();
}

#[test]
fn variables_ask_for_labels_that_there_are() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "instance", "channel"]);
    assert_eq!(text(&variables[0], "type"), "datasource");
    for variable in &variables[1..] {
        let query = text(&variable["query"], "query");
        assert!(
            query.starts_with("label_values(tidecast_")
                && query.ends_with(&format!(", {})", text(variable, "name"))),
            "{query}"
        );
        assert_eq!((text(variable, "type"), text(variable, "allValue")), ("query", ".*"));
    }
    rules::are_documented(&fs::read_to_string(file("deploy/grafana/tidecast.json")).unwrap());
}

#[test]
fn the_dashboard_shows_every_metric() {
    let shown: String = queries(&dashboard()).iter().map(|(_, query)| format!("{query}\n")).collect();
    let shown = rules::metrics(&shown);
    let reference = fs::read_to_string(file("docs/metrics.md")).unwrap();
    let rows = reference.lines().filter(|line| line.starts_with("| `tidecast_"));
    let there: BTreeSet<String> =
        rows.flat_map(|row| rules::metrics(row.split('|').nth(1).unwrap())).collect();
    // These series appear only with the first bad datagram, and the discarded ones show the same;
    // a version is not a curve.
    let elsewhere = ["tidecast_invalid_datagrams_total", "tidecast_build_info"].map(str::to_owned);
    let missing: Vec<&String> = there.difference(&shown).filter(|name| !elsewhere.contains(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn panels_have_ids_places_units_and_words_of_their_own() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36) && text(&dashboard, "uid") == "tidecast");
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is not its own");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title}: outside of the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} overlaps another panel at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(!text(panel, "description").is_empty(), "{title}: no description");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}: no unit");
        let mut letters = BTreeSet::new();
        for target in list(panel, "targets") {
            assert!(letters.insert(text(target, "refId")), "{title}: two targets with one letter");
            assert_eq!(text(&target["datasource"], "uid"), "${datasource}", "{title}");
        }
    }
}
