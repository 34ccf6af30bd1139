//! Reads the configuration file: TOML text to [`Raw`], with a line number for every value.
//!
//! Traverses the document's tree itself instead of deriving the reader, so that one run finds
//! every syntax error, every unknown key and every wrong type. Values are interpreted in
//! [`super::validate`].

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::raw::{
    Field, Raw, RawAccess, RawChannel, RawHttp, RawJwt, RawShares, RawTcp, RawToken, RawUdp, SettingPlace,
    Value,
};

/// Maximum characters of the file that an error quotes.
const SNIPPET_CHARS_MAX: usize = 40;

/// Reads the text of a configuration file; errors are added to `problems`.
pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Raw {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut file = File::new(text, problems);
    if !errors.is_empty() {
        for error in errors {
            let line = error.span().map(|span| file.line(&span));
            let reason = format!("not TOML: {}", one_line(error.message()));
            file.problems.push(Problem::at(SettingPlace::File { line }, reason));
        }
        return Raw::default();
    }
    let mut top = Table::new("", None, document.get_ref());
    let raw = Raw {
        tick: top.value("tick", &file),
        threads: top.value("threads", &file),
        burst: top.value("burst", &file),
        http: top.table("http", &mut file).map(|table| http(table, &mut file)).unwrap_or_default(),
        tcp: top.table("tcp", &mut file).map(|table| tcp(table, &mut file)).unwrap_or_default(),
        udp: top.table("udp", &mut file).map(|table| udp(table, &mut file)).unwrap_or_default(),
        shares: top.table("shares", &mut file).map(|table| shares(table, &mut file)).unwrap_or_default(),
        access: top.table("access", &mut file).map(|table| access(table, &mut file)).unwrap_or_default(),
        jwt: top.table("jwt", &mut file).map(|table| jwt(table, &mut file)),
        tokens: top.tables("token", &mut file).into_iter().map(|table| token(table, &mut file)).collect(),
        channels: top
            .tables("channel", &mut file)
            .into_iter()
            .map(|table| channel(table, &mut file))
            .collect(),
    };
    top.finish(&mut file);
    raw
}

fn http(mut table: Table<'_>, file: &mut File<'_>) -> RawHttp {
    let raw = RawHttp {
        listen: table.value("listen", file),
        allow: table.values("allow", file),
        clients_max: table.value("clients_max", file),
        linger: table.value("linger", file),
        header_timeout: table.value("header_timeout", file),
        idle_timeout: table.value("idle_timeout", file),
        chunk: table.value("chunk", file),
        lag_max: table.value("lag_max", file),
        start_bytes_max: table.value("start_bytes_max", file),
        list_clients: table.value("list_clients", file),
        control: table.value("control", file),
        interface: table.value("interface", file),
        fec: table.value("fec", file),
        rejoin: table.value("rejoin", file),
        playlist: table.value("playlist", file),
        origins: table.values("origins", file),
        admin: table.value("admin", file),
        trusted_proxies: table.values("trusted_proxies", file),
        base: table.value("base", file),
        hosts: table.values("hosts", file),
    };
    table.finish(file);
    raw
}

fn tcp(mut table: Table<'_>, file: &mut File<'_>) -> RawTcp {
    let raw = RawTcp { listen: table.value("listen", file), clients_max: table.value("clients_max", file) };
    table.finish(file);
    raw
}

fn udp(mut table: Table<'_>, file: &mut File<'_>) -> RawUdp {
    let raw = RawUdp {
        listen: table.value("listen", file),
        clients_max: table.value("clients_max", file),
        lease: table.value("lease", file),
    };
    table.finish(file);
    raw
}

fn shares(mut table: Table<'_>, file: &mut File<'_>) -> RawShares {
    let raw = RawShares {
        connections: table.value("connections", file),
        streams: table.value("streams", file),
        groups: table.value("groups", file),
        pages: table.value("pages", file),
        tcp: table.value("tcp", file),
        udp: table.value("udp", file),
        flows: table.value("flows", file),
    };
    table.finish(file);
    raw
}

fn access(mut table: Table<'_>, file: &mut File<'_>) -> RawAccess {
    let raw = RawAccess {
        anonymous: table.values("anonymous", file),
        link_key: table.value("link_key", file),
        link_valid: table.value("link_valid", file),
        audit: table.value("audit", file),
    };
    table.finish(file);
    raw
}

fn jwt(mut table: Table<'_>, file: &mut File<'_>) -> RawJwt {
    let raw = RawJwt {
        place: table.place(None, None),
        jwks: table.value("jwks", file),
        issuer: table.value("issuer", file),
        audience: table.value("audience", file),
        roles_claim: table.value("roles_claim", file),
    };
    table.finish(file);
    raw
}

fn token(mut table: Table<'_>, file: &mut File<'_>) -> RawToken {
    let raw = RawToken {
        place: table.place(None, None),
        name: table.value("name", file),
        sha256: table.value("sha256", file),
        roles: table.values("roles", file),
        channels: table.values("channels", file),
        groups: table.values("groups", file),
        expires: table.value("expires", file),
    };
    table.finish(file);
    raw
}

fn channel(mut table: Table<'_>, file: &mut File<'_>) -> RawChannel {
    let name = table.value("name", file);
    if let Some(Field { value: Value::Text(name), .. }) = &name {
        table.channel = Some(name.clone());
    }
    let limits = table.table("limits", file);
    let mut limit = limits.map(|mut limits| {
        let values = ["flows_max", "bytes_max", "window_max", "flow_idle"].map(|key| limits.value(key, file));
        limits.finish(file);
        values
    });
    let [flows_max, bytes_max, window_max, flow_idle] = limit.take().unwrap_or_default();
    let m3u = table.table("m3u", file).map(|mut m3u| {
        let values =
            ["tvg_id", "tvg_name", "tvg_logo", "group_title", "number"].map(|key| m3u.value(key, file));
        m3u.finish(file);
        values
    });
    let raw = RawChannel {
        place: table.place(None, None),
        name,
        input: table.values("input", file),
        output: table.values("output", file),
        format: table.value("format", file),
        sdp: table.value("sdp", file),
        rtpmap: table.values("rtpmap", file),
        fec: table.value("fec", file),
        retransmission: table.value("retransmission", file),
        seal: table.value("seal", file),
        seal_keys: table.values("seal_keys", file),
        hold: table.value("hold", file),
        hold_min: table.value("hold_min", file),
        hold_max: table.value("hold_max", file),
        release: table.value("release", file),
        release_delay: table.value("release_delay", file),
        failover: table.value("failover", file),
        tick: table.value("tick", file),
        rejoin: table.value("rejoin", file),
        sap: table.value("sap", file),
        receive_buffer: table.value("receive_buffer", file),
        m3u: m3u.unwrap_or_default(),
        flows_max,
        bytes_max,
        window_max,
        flow_idle,
    };
    table.finish(file);
    raw
}

/// The file's text, for lines and snippets, and the problems found so far.
struct File<'a> {
    text: &'a str,
    /// Byte offset of the end of each line.
    line_ends: Vec<usize>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> File<'a> {
    fn new(text: &'a str, problems: &'a mut Vec<Problem>) -> File<'a> {
        let line_ends = text.match_indices('\n').map(|(end, _)| end).collect();
        File { text, line_ends, problems }
    }

    /// Returns the line of a span's start, from 1.
    fn line(&self, span: &Range<usize>) -> usize {
        self.line_ends.partition_point(|end| *end < span.start) + 1
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let other = || Value::Other(snippet(self.text.get(value.span()).unwrap_or_default()));
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| other(), Value::Integer)
            }
            _ => other(),
        }
    }
}

/// A table of the file whose keys are removed one by one; the remaining ones are unknown.
struct Table<'a> {
    /// `channel[1]`, or empty for the top level.
    path: String,
    channel: Option<String>,
    line: Option<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    fn new(path: &str, line: Option<usize>, table: &'a DeTable<'a>) -> Table<'a> {
        Table { path: path.to_owned(), channel: None, line, table, known: Vec::new() }
    }

    /// Returns the place of a key in this table, or of the table itself.
    fn place(&self, key: Option<&str>, line: Option<usize>) -> SettingPlace {
        let key = match key {
            Some(key) if self.path.is_empty() => key.to_owned(),
            Some(key) => format!("{}.{key}", self.path),
            None => self.path.clone(),
        };
        SettingPlace::Key { line: line.or(self.line), key, channel: self.channel.clone() }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Takes a single value.
    fn value(&mut self, key: &'static str, file: &File<'_>) -> Option<Field> {
        let value = self.take(key)?;
        Some(self.field(key, value, file))
    }

    /// Takes a list of values; a single value is taken as a list of one.
    fn values(&mut self, key: &'static str, file: &File<'_>) -> Option<Vec<Field>> {
        let value = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return Some(vec![self.field(key, value, file)]);
        };
        let item = |(index, item)| self.field(&format!("{key}[{index}]"), item, file);
        Some(items.iter().enumerate().map(item).collect())
    }

    fn field(&self, key: &str, value: &Spanned<DeValue<'_>>, file: &File<'_>) -> Field {
        let place = self.place(Some(key), Some(file.line(&value.span())));
        Field { place, value: file.value(value) }
    }

    /// Takes a table below this one.
    fn table(&mut self, key: &'static str, file: &mut File<'_>) -> Option<Table<'a>> {
        let value = self.take(key)?;
        self.below(key, value, file)
    }

    /// Takes an array of tables below this one.
    fn tables(&mut self, key: &'static str, file: &mut File<'_>) -> Vec<Table<'a>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let place = self.place(Some(key), Some(file.line(&value.span())));
            file.problems.push(Problem::at(
                place,
                format_args!("one table, expected an array of tables: [[{key}]] with two brackets"),
            ));
            return Vec::new();
        };
        let below = |(index, item)| self.below(&format!("{key}[{index}]"), item, file);
        items.iter().enumerate().filter_map(below).collect()
    }

    fn below(&self, key: &str, value: &'a Spanned<DeValue<'a>>, file: &mut File<'_>) -> Option<Table<'a>> {
        let line = Some(file.line(&value.span()));
        let DeValue::Table(table) = value.get_ref() else {
            let field = self.field(key, value, file);
            file.problems.push(Problem::of_field(&field, "expected a table"));
            return None;
        };
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Some(Table { channel: self.channel.clone(), ..Table::new(&path, line, table) })
    }

    /// Reports every key that was not taken, with the most similar known key.
    fn finish(self, file: &mut File<'_>) {
        for key in self.table.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let place = self.place(Some(key.get_ref()), Some(file.line(&key.span())));
            let nearest =
                self.known.iter().min_by_key(|known| strsim::damerau_levenshtein(key.get_ref(), known));
            let nearest = nearest.copied().unwrap_or_default();
            let known = self.known.join(", ");
            file.problems.push(Problem::at(
                place,
                format_args!("unknown key, did you mean {nearest:?}? (expected one of: {known})"),
            ));
        }
    }
}

/// Returns the start of a piece of the file, on one line.
fn snippet(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(SNIPPET_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
