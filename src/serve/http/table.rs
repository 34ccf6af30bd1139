//! Tables as the API returns them: objects for programs, CSV for spreadsheets, columns for the
//! page, which gets them every second. A row is a struct that serde serializes: its fields are the
//! columns.

use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

/// A part of a table.
#[derive(Debug)]
pub(super) struct Table<R> {
    /// Name of the listed items, in the plural.
    pub(super) what: &'static str,
    pub(super) rows: Vec<R>,
    /// Count of all matching rows.
    pub(super) total: usize,
    /// Count of matching rows before this part.
    pub(super) offset: usize,
}

/// Format of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Json,
    Csv,
}

/// The names of the columns come from the default row, so they are known even without rows.
impl<R: Serialize + Default> Table<R> {
    /// A complete table.
    pub(super) fn whole(what: &'static str, rows: Vec<R>) -> Table<R> {
        Table { what, total: rows.len(), rows, offset: 0 }
    }

    /// Each column with its values, from top to bottom.
    pub(super) fn columnar(&self) -> Map<String, Value> {
        let mut all = object(&R::default());
        all.values_mut().for_each(|column| *column = Value::Array(Vec::with_capacity(self.rows.len())));
        for row in &self.rows {
            for (column, value) in all.values_mut().zip(object(row).into_iter().map(|(_, value)| value)) {
                column.as_array_mut().expect("made above").push(value);
            }
        }
        all.insert("total".to_owned(), self.total.into());
        all.insert("offset".to_owned(), self.offset.into());
        all
    }

    fn objects(&self) -> Value {
        json!({ "total": self.total, "offset": self.offset, self.what: self.rows })
    }

    fn csv(&self) -> String {
        let columns = columns::<R>();
        let cells = |row: &R| {
            let row = object(row);
            columns.iter().map(|column| cell(&row[column])).collect::<Vec<_>>()
        };
        csv(&columns, self.rows.iter().map(cells))
    }

    /// The response to a request.
    pub(super) fn answer(&self, format: Format) -> Response {
        match format {
            Format::Json => Json(self.objects()).into_response(),
            Format::Csv => csv_answer(self.what, self.csv()),
        }
    }
}

/// A row's columns and values; the columns are in the same order in all rows.
fn object<R: Serialize>(row: &R) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(object)) => object,
        other => unreachable!("a row is a struct of plain fields, not {other:?}"),
    }
}

/// Returns the names of a row's fields, in the order of the struct.
fn columns<R: Serialize + Default>() -> Vec<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(R::default()).expect("a row is a struct of plain fields");
    let text = writer.into_inner().expect("a Vec takes all");
    let heading = csv::Reader::from_reader(&*text).headers().cloned().expect("written above");
    heading.iter().map(str::to_owned).collect()
}

/// RFC 4180, with a heading.
pub(super) fn csv<C: AsRef<[u8]>>(heading: &[C], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(heading).expect("a Vec takes all");
    rows.for_each(|row| writer.write_record(row).expect("as long as the heading"));
    String::from_utf8(writer.into_inner().expect("a Vec takes all")).expect("made of text")
}

/// A table that a browser saves as a file.
pub(super) fn csv_answer(what: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{what}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text).into_response()
}

/// A value as text for a spreadsheet.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Such text may come from an attacker, and spreadsheets would evaluate it as a formula.
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number that a person reads, as [`number`] writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, JsonSchema)]
#[schemars(inline)]
pub(super) struct Rounded(pub(super) f64);

impl Serialize for Rounded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number(self.0).serialize(serializer)
    }
}

/// A number for people: rounded to four significant digits.
pub(super) fn number(value: f64) -> Value {
    if !value.is_finite() || value == 0.0 {
        return 0.into();
    }
    let digits = 3 - (value.abs().log10().floor() as i32);
    let scale = 10f64.powi(digits.clamp(0, f64::MAX_10_EXP)); // the smallest numbers have more digits than that
    let rounded = (value * scale).round() / scale;
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 { (rounded as i64).into() } else { rounded.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Serialize)]
    struct Thing {
        name: &'static str,
        count: Option<f64>,
    }

    fn table() -> Table<Thing> {
        let rows = [("a,b", Some(1.5)), ("say \"hi\"", None), ("two\nlines", Some(0.5))];
        let rows = rows.map(|(name, count)| Thing { name, count }).into();
        Table { total: 9, offset: 2, ..Table::whole("things", rows) }
    }

    #[test]
    fn csv_quotes_what_must_be() {
        let expected = "name,count\r\n\"a,b\",1.5\r\n\"say \"\"hi\"\"\",\r\n\"two\nlines\",0.5\r\n";
        assert_eq!(table().csv(), expected);
    }

    #[test]
    fn csv_has_no_formulas() {
        let rows = [("=1+1", Some(-5.0)), ("@SUM(1,2)", None)];
        let rows = rows.map(|(name, count)| Thing { name, count }).into();
        assert_eq!(Table::whole("things", rows).csv(), "name,count\r\n'=1+1,-5.0\r\n\"'@SUM(1,2)\",\r\n");
    }

    #[test]
    fn a_table_without_rows_has_its_columns() {
        let empty = Table::<Thing>::whole("things", Vec::new());
        assert_eq!(empty.csv(), "name,count\r\n");
        assert_eq!(Value::from(empty.columnar())["count"], json!([]));
    }

    #[test]
    fn objects_and_columns_say_the_same() {
        let objects = table().objects();
        assert_eq!(objects["things"][0], json!({ "name": "a,b", "count": 1.5 }));
        let columns = Value::from(table().columnar());
        assert_eq!(columns["count"], json!([1.5, null, 0.5]));
        assert_eq!(
            (&columns["total"], &objects["total"], &columns["offset"]),
            (&json!(9), &json!(9), &json!(2))
        );
    }

    #[test]
    fn numbers_keep_four_digits() {
        let told: Vec<String> = [0.0, 1234.56, 123456.7, 0.012345, 2.0, -9.87654, f64::NAN, 1e-310]
            .map(|value| number(value).to_string())
            .to_vec();
        assert_eq!(told, ["0", "1235", "123457", "0.01235", "2", "-9.877", "0", "0"]);
    }
}
