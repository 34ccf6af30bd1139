//! The problems of a configuration: one line each, with place, value and expected form.

use std::fmt;
use std::path::{Path, PathBuf};

use super::raw::{Field, SettingPlace};

/// All problems of a configuration; displayed as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    place: SettingPlace,
    value: Option<String>,
    reason: String,
}

impl Problem {
    /// Creates the problem of an invalid value; the reason states the expected form.
    pub(super) fn of_field(field: &Field, reason: impl fmt::Display) -> Problem {
        Problem {
            place: field.place.clone(),
            value: Some(field.value.to_string()),
            reason: reason.to_string(),
        }
    }

    /// Creates the problem of a missing or unknown key.
    pub(super) fn at(place: SettingPlace, reason: impl fmt::Display) -> Problem {
        Problem { place, value: None, reason: reason.to_string() }
    }
}

impl Errors {
    pub(super) fn new(file: Option<&Path>, mut problems: Vec<Problem>) -> Errors {
        problems.sort_by_key(|problem| problem.place.line().unwrap_or(usize::MAX));
        Errors { file: file.map(Path::to_owned), problems }
    }

    /// Returns whether all problems are in flags, and none in a file.
    pub fn is_usage(&self) -> bool {
        self.problems.iter().all(|problem| matches!(problem.place, SettingPlace::Flag(_)))
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let file = self.file.as_ref().filter(|_| !matches!(problem.place, SettingPlace::Flag(_)));
            if let Some(file) = file {
                write!(f, "{}:", file.display())?;
                match problem.place.line() {
                    Some(line) => write!(f, "{line}: ")?,
                    None => write!(f, " ")?,
                }
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SettingPlace::Flag(flag) => {
                write!(f, "{flag}")?;
                if let Some(value) = &self.value {
                    write!(f, " {value}")?;
                }
                f.write_str(": ")?;
            }
            SettingPlace::Key { key, channel, .. } => {
                write!(f, "{key}")?;
                if let Some(value) = &self.value {
                    write!(f, " = {value}")?;
                }
                if let Some(channel) = channel {
                    write!(f, " (channel {channel:?})")?;
                }
                f.write_str(": ")?;
            }
            SettingPlace::File { .. } => {}
        }
        f.write_str(&self.reason)
    }
}
