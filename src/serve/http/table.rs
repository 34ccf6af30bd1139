//! Tables as the API gives them: objects for programs, CSV for spreadsheets, columns for the page,
//! which gets them every second.

use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A part of a table.
#[derive(Debug)]
pub(super) struct Table {
    /// What it lists, in the plural.
    pub(super) what: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<Value>>,
    /// How many rows match, here or not.
    pub(super) total: usize,
    /// How many of them come before these.
    pub(super) offset: usize,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Json,
    Csv,
}

impl Table {
    /// A whole table.
    pub(super) fn whole(
        what: &'static str,
        columns: &'static [&'static str],
        rows: Vec<Vec<Value>>,
    ) -> Table {
        Table { what, columns, total: rows.len(), offset: 0, rows }
    }

    /// Each column with its values, from top to bottom.
    pub(super) fn columnar(&self) -> Map<String, Value> {
        let column = |(index, name): (usize, &&str)| {
            let values = self.rows.iter().map(|row| row[index].clone()).collect();
            ((*name).to_owned(), Value::Array(values))
        };
        let mut all: Map<String, Value> = self.columns.iter().enumerate().map(column).collect();
        all.insert("total".to_owned(), self.total.into());
        all.insert("offset".to_owned(), self.offset.into());
        all
    }

    fn objects(&self) -> Value {
        let object = |row: &Vec<Value>| -> Value {
            let cells = self.columns.iter().zip(row);
            cells.map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>().into()
        };
        let rows: Vec<Value> = self.rows.iter().map(object).collect();
        json!({ "total": self.total, "offset": self.offset, self.what: rows })
    }

    /// RFC 4180, with a heading.
    fn csv(&self) -> String {
        let mut text = self.columns.join(",") + "\r\n";
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(cell).collect();
            text += &cells.join(",");
            text += "\r\n";
        }
        text
    }

    /// The answer to a request.
    pub(super) fn answer(&self, format: Format) -> Response {
        match format {
            Format::Json => Json(self.objects()).into_response(),
            Format::Csv => {
                let disposition = format!("attachment; filename=\"{}.csv\"", self.what);
                let headers = [
                    (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
                    (header::CONTENT_DISPOSITION, disposition),
                ];
                (headers, self.csv()).into_response()
            }
        }
    }
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        // A stranger chose it, and spreadsheets would compute it.
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A number that a person reads: four digits that count, and no more.
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

    fn table() -> Table {
        let rows = vec![
            vec!["a,b".into(), 1.into()],
            vec!["say \"hi\"".into(), Value::Null],
            vec!["two\nlines".into(), json!(0.5)],
        ];
        Table { total: 9, offset: 2, ..Table::whole("things", &["name", "count"], rows) }
    }

    #[test]
    fn csv_quotes_what_must_be() {
        let expected = "name,count\r\n\"a,b\",1\r\n\"say \"\"hi\"\"\",\r\n\"two\nlines\",0.5\r\n";
        assert_eq!(table().csv(), expected);
    }

    #[test]
    fn csv_has_no_formulas() {
        let rows = vec![vec!["=1+1".into()], vec!["@SUM(1,2)".into()], vec![json!(-5)]];
        let table = Table::whole("things", &["name"], rows);
        assert_eq!(table.csv(), "name\r\n'=1+1\r\n\"'@SUM(1,2)\"\r\n-5\r\n");
    }

    #[test]
    fn objects_and_columns_say_the_same() {
        let objects = table().objects();
        assert_eq!(objects["things"][0], json!({ "name": "a,b", "count": 1 }));
        let columns = Value::from(table().columnar());
        assert_eq!(columns["count"], json!([1, null, 0.5]));
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
