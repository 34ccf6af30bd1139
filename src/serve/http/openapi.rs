//! `/api/v1/openapi.json`: the description of the API for programs (OpenAPI 3.1). Its schemas are
//! made of the types that the handlers answer with.

use std::sync::LazyLock;

use axum::{http::header, response::IntoResponse};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    routes::Streams,
    rows::{ChannelRow, ClientRow, EventRow, FlowRow, LegRow, LossRow, OutputRow, SubscriberRow},
    select::{CHANNEL_KEYS, CLIENT_KEYS, FLOW_KEYS},
};
use crate::{
    limits::{STATE_FLOWS, STATE_FLOWS_MAX, TABLE_ROWS, TABLE_ROWS_MAX},
    observe::{Column, Health},
};

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| description().to_string());

/// `/api/v1/openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION.as_str())
}

fn description() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let paths = paths(&mut schemas);
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "tidecast",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "State, history, events and streams of a relay for UDP multicast.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This relay." }],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "responses": {
                "Refusal": {
                    "description": "What was wrong, and what would be right, in one line.",
                    "content": { "text/plain": { "schema": { "type": "string" } } },
                },
            },
        },
    })
}

fn paths(schemas: &mut SchemaGenerator) -> Value {
    let of_channel = "/api/v1/streams/{name}";
    let mut all = Map::new();
    let mut add = |path: String, operation: Value| {
        all.insert(path, json!({ "get": operation }));
    };
    add(
        "/api/v1/channels".to_owned(),
        table::<ChannelRow<'_>>(
            schemas,
            "channels",
            "The channels, the worst first.",
            selection(CHANNEL_KEYS, &[health()]),
        ),
    );
    let streams = schemas.subschema_for::<Streams>().to_value();
    add(
        "/api/v1/streams".to_owned(),
        operation("The whole state of all channels.", vec![flows()], in_json(streams)),
    );
    let named = [name()];
    add(
        format!("{of_channel}/flows"),
        table::<FlowRow<'_>>(schemas, "flows", "The flows of a channel.", selection(FLOW_KEYS, &named)),
    );
    add(
        format!("{of_channel}/clients"),
        table::<ClientRow<'_>>(
            schemas,
            "clients",
            "The clients of a channel.",
            selection(CLIENT_KEYS, &named),
        ),
    );
    let whole = || vec![name(), format()];
    add(
        format!("{of_channel}/legs"),
        table::<LegRow<'_>>(schemas, "legs", "The legs of a channel.", whole()),
    );
    add(
        format!("{of_channel}/outputs"),
        table::<OutputRow<'_>>(schemas, "outputs", "The UDP outputs of a channel.", whole()),
    );
    add(
        format!("{of_channel}/subscribers"),
        table::<SubscriberRow>(
            schemas,
            "subscribers",
            "The subscribers of a channel, by transport.",
            whole(),
        ),
    );
    let channel = |required| query("channel", "The channel.", json!({ "type": "string" }), required);
    add(
        "/api/v1/history".to_owned(),
        operation("The last ten minutes of a channel.", vec![channel(true), format()], with_csv(history())),
    );
    let limit =
        || query("limit", "How many rows at most.", json!({ "type": "integer", "minimum": 0 }), false);
    let newest = || vec![channel(false), limit(), format()];
    add(
        "/api/v1/events".to_owned(),
        table::<EventRow<'_>>(schemas, "events", "What happened, the newest first.", newest()),
    );
    add(
        "/api/v1/losses".to_owned(),
        table::<LossRow<'_>>(schemas, "losses", "What was lost, the newest first.", newest()),
    );
    let text = |kind: &str| json!({ kind: { "schema": { "type": "string" } } });
    for (path, summary, kind) in [
        ("/api/v1/live", "What the page shows, once a second, as server-sent events.", "text/event-stream"),
        ("/healthz", "Whether it runs and the packet path turns.", "text/plain"),
        ("/readyz", "Whether all configured groups are joined.", "text/plain"),
        ("/metrics", "Metrics for Prometheus.", "text/plain"),
        ("/playlist.m3u", "The streams for players.", "audio/x-mpegurl"),
    ] {
        add(path.to_owned(), operation(summary, Vec::new(), text(kind)));
    }
    let itself = in_json(json!({ "type": "object" }));
    add("/api/v1/openapi.json".to_owned(), operation("This description, OpenAPI 3.1.", Vec::new(), itself));
    let stream = json!({ "video/mp2t": {}, "application/octet-stream": {} });
    add(
        "/streams/{name}".to_owned(),
        operation("A stream, from now on until the client goes.", vec![name()], stream),
    );
    all.insert(format!("{of_channel}/clients/{{id}}"), json!({ "delete": disconnect(schemas) }));
    all.into()
}

/// Disconnects a client: the only operation that changes something.
fn disconnect(schemas: &mut SchemaGenerator) -> Value {
    let id = json!({
        "name": "id", "in": "path", "required": true, "schema": { "type": "integer" },
        "description": "The client's id, from the list of clients.",
    });
    let client = in_json(schemas.subschema_for::<ClientRow<'_>>().to_value());
    let summary = "Disconnects a client, with all its subscriptions.";
    let mut operation = operation(summary, vec![name(), id], client);
    operation["responses"]["200"]["description"] = "What it was.".into();
    for (status, when) in [
        ("400", "The id is no number."),
        (
            "403",
            "`control = true` is not in `[http]`, or `list_clients` is `false`, or a page of another origin asks.",
        ),
        ("404", "There is no such channel, or it has no such client (any more)."),
    ] {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        operation["responses"][status] = json!({ "description": when, "content": text });
    }
    operation
}

/// An operation whose answer has this content; all others are refusals.
fn operation(summary: &str, parameters: Vec<Value>, content: Value) -> Value {
    json!({
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": summary, "content": content },
            "default": { "$ref": "#/components/responses/Refusal" },
        },
    })
}

/// An operation that answers with a table: so many rows match, so many come before these.
fn table<R: JsonSchema>(
    schemas: &mut SchemaGenerator,
    what: &str,
    summary: &str,
    parameters: Vec<Value>,
) -> Value {
    let row = schemas.subschema_for::<R>().to_value();
    let schema = json!({
        "type": "object",
        "properties": {
            "total": { "type": "integer", "description": "How many rows match, here or not." },
            "offset": { "type": "integer", "description": "How many of them come before these." },
            what: { "type": "array", "items": row, "description": summary },
        },
        "required": ["total", "offset", what],
    });
    operation(summary, parameters, with_csv(schema))
}

fn history() -> Value {
    let times = json!({
        "type": "array", "items": { "type": "integer" },
        "description": "When each sample was taken, in milliseconds since the Unix epoch.",
    });
    let column = |column: Column| {
        let values = json!({ "type": "array", "items": { "type": "number" }, "description": column.about() });
        (column.name().to_owned(), values)
    };
    let columns: Map<String, Value> = Column::ALL.into_iter().map(column).collect();
    let names = Column::ALL.map(Column::name);
    let columns = json!({
        "type": "object", "properties": columns, "required": names,
        "description": "The values of each sample, from the oldest to the newest.",
    });
    json!({
        "type": "object",
        "properties": { "times": times, "columns": columns },
        "required": ["times", "columns"],
    })
}

fn in_json(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn with_csv(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema }, "text/csv": { "schema": { "type": "string" } } })
}

/// Parameters of a table that is searched and sorted, beside these.
fn selection(keys: &[&str], others: &[Value]) -> Vec<Value> {
    let descending = keys.iter().map(|key| format!("-{key}"));
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).chain(descending).collect();
    let rows = json!({ "type": "integer", "minimum": 0, "maximum": TABLE_ROWS_MAX, "default": TABLE_ROWS });
    let mut all = others.to_vec();
    all.extend([
        query("search", "Rows that contain this text.", json!({ "type": "string" }), false),
        query(
            "sort",
            "The order; with `-` the other way round.",
            json!({ "type": "string", "enum": keys }),
            false,
        ),
        query("offset", "How many rows to leave out.", json!({ "type": "integer", "minimum": 0 }), false),
        query("limit", "How many rows at most.", rows, false),
        format(),
    ]);
    all
}

fn name() -> Value {
    let schema = json!({ "type": "string" });
    json!({ "name": "name", "in": "path", "required": true, "description": "The channel.", "schema": schema })
}

fn health() -> Value {
    let schema = json!({ "type": "string", "enum": Health::ALL.map(Health::as_str) });
    query("health", "Channels with this verdict.", schema, false)
}

fn flows() -> Value {
    let schema =
        json!({ "type": "integer", "minimum": 0, "maximum": STATE_FLOWS_MAX, "default": STATE_FLOWS });
    query("flows", "How many flows of each channel.", schema, false)
}

fn format() -> Value {
    query(
        "format",
        "How the answer is written.",
        json!({ "type": "string", "enum": ["json", "csv"], "default": "json" }),
        false,
    )
}

fn query(name: &str, description: &str, schema: Value, required: bool) -> Value {
    json!({ "name": name, "in": "query", "required": required, "description": description, "schema": schema })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::routes, *};

    /// Calls this with each property's path and schema.
    fn properties(at: &str, value: &Value, each: &mut impl FnMut(&str, &Value)) {
        match value {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    properties.iter().for_each(|(name, schema)| each(&format!("{at}.{name}"), schema));
                }
                object.iter().for_each(|(key, value)| properties(&format!("{at}/{key}"), value, each));
            }
            Value::Array(values) => values.iter().for_each(|value| properties(at, value, each)),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_documented() {
        let (mut count, mut bare) = (0, Vec::new());
        properties("", &description(), &mut |at, schema| {
            count += 1;
            let said = schema["description"].as_str().or_else(|| schema["$ref"].as_str());
            if said.is_none_or(|said| said.trim().is_empty()) {
                bare.push(at.to_owned());
            }
        });
        assert!(count > 150 && bare.is_empty(), "{count} keys, of which these are not: {bare:#?}");
    }

    #[test]
    fn every_route_of_the_api_is_described_and_no_other() {
        let description = description();
        let described: BTreeSet<(&str, &str)> = description["paths"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(path, _)| path.starts_with("/api/"))
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (&**path, &**method)))
            .collect();
        assert_eq!(described, routes::api_paths().collect());
    }

    #[test]
    fn what_is_referred_to_is_there() {
        fn references(value: &Value, all: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    all.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    object.values().for_each(|value| references(value, all));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, all)),
                _ => {}
            }
        }
        let (description, mut all) = (description(), Vec::new());
        references(&description, &mut all);
        assert!(all.len() > 10);
        for reference in all {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(description.pointer(pointer).is_some(), "{reference}");
        }
    }
}
