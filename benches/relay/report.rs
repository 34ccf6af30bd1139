//! Results: tables for users, figures for programs and for the targets, one file of each kind per
//! case.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{machine::Machine, statistics::Spread, targets};

/// One table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Its title.
    pub(crate) caption: String,
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// Rows of cells.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates an empty table.
    pub(crate) fn new(caption: impl Into<String>, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Table { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Formats the table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.columns.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{rule}{rows}", self.caption, line(&self.columns))
    }
}

/// One number that may have a target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// `case/what`, as in [`targets`].
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: Spread,
}

/// Results of one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Section {
    /// The case's name.
    pub(crate) case: String,
    /// The case's title.
    pub(crate) title: String,
    /// How it was measured: rounds and seconds.
    pub(crate) effort: String,
    /// The machine on which it was measured.
    pub(crate) machine: Machine,
    /// Tables for users.
    pub(crate) tables: Vec<Table>,
    /// Figures for programs.
    pub(crate) figures: Vec<Figure>,
    /// Names of SVG files beside this one.
    pub(crate) plots: Vec<String>,
}

impl Section {
    /// Creates an empty section.
    pub(crate) fn new(case: &str, title: &str, effort: String) -> Section {
        Section {
            case: case.into(),
            title: title.into(),
            effort,
            machine: Machine::read(),
            tables: Vec::new(),
            figures: Vec::new(),
            plots: Vec::new(),
        }
    }

    /// Adds a figure, if it has a value.
    pub(crate) fn figure(&mut self, key: impl Into<String>, value: Option<Spread>) {
        self.figures.extend(value.map(|value| Figure { key: key.into(), value }));
    }

    /// Formats the section as Markdown; `plots` is the path of the plots' folder in links.
    pub(crate) fn markdown(&self, plots: &str) -> String {
        let mut text = format!("### `{}`: {}\n\n{}\n\n", self.case, self.title, self.effort);
        for table in &self.tables {
            text.push_str(&table.markdown());
            text.push('\n');
        }
        for plot in &self.plots {
            text.push_str(&format!("![{}]({plots}{plot})\n\n", plot.trim_end_matches(".svg")));
        }
        text
    }

    /// Writes `CASE.md` and `CASE.json`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let verdicts = targets::table(&self.figures).map_or(String::new(), |table| table.markdown());
        fs::write(folder.join(format!("{}.md", self.case)), self.markdown("") + &verdicts)?;
        let json = serde_json::to_string_pretty(self)?;
        fs::write(folder.join(format!("{}.json", self.case)), json + "\n")
    }

    /// Reads the output of [`Section::write`]; `None` if the case was not run.
    pub(crate) fn read(folder: &Path, case: &str) -> io::Result<Option<Section>> {
        match fs::read(folder.join(format!("{case}.json"))) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
