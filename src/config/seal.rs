//! The keys `seal` and `seal_keys` of a channel, and the key files of the command line.
//!
//! No message contains a key: a value that is meant as one is left out of it.

use std::path::{Path, PathBuf};

use super::problem::Problem;
use super::raw::{Field, Value};
use crate::limits::SEAL_FILE_BYTES_MAX;
use tidecast_wire::seal::{Key, Keyring};

/// Returns whether a channel takes sealed datagrams alone.
pub(super) fn required(value: &Value) -> Result<bool, String> {
    match value {
        Value::Text(text) if text == "off" => Ok(false),
        Value::Text(text) if text == "required" => Ok(true),
        _ => Err("expected \"off\" or \"required\"".to_owned()),
    }
}

/// Reads the keys that these fields are or name. Relative paths are relative to `base`.
pub(super) fn keyring(fields: &[Field], base: Option<&Path>, problems: &mut Vec<Problem>) -> Option<Keyring> {
    let before = problems.len();
    let mut keys = Vec::new();
    for field in fields {
        match &field.value {
            Value::Text(text) if Key::looks_like_one(text) => match text.parse() {
                Ok(key) => keys.push(key),
                Err(error) => problems.push(Problem::at(field.place.clone(), error)),
            },
            Value::Text(path) => {
                let path = base.map_or_else(|| PathBuf::from(path), |base| base.join(path));
                match read(&path) {
                    Ok(more) => keys.extend(more),
                    Err(reason) => problems.push(Problem::of_field(field, reason)),
                }
            }
            // It may be a key without quotes.
            _ => problems.push(Problem::at(
                field.place.clone(),
                "expected text in quotes: a file with keys, or a key as ID:HEX",
            )),
        }
    }
    if problems.len() > before {
        return None;
    }
    let place = fields.first()?.place.clone();
    Keyring::new(keys).map_err(|error| problems.push(Problem::at(place, error))).ok()
}

/// Reads a file with keys, as `tidecast key` writes it.
pub fn read(path: &Path) -> Result<Vec<Key>, String> {
    let expected = "expected a file with keys, as `tidecast key new` writes it";
    let unreadable = |error| format!("{} cannot be read: {error}, {expected}", path.display());
    let length = std::fs::metadata(path).map_err(unreadable)?;
    if !length.is_file() || length.len() > SEAL_FILE_BYTES_MAX {
        let what = if length.is_file() { "is too long" } else { "is no file" };
        return Err(format!("{} {what}, {expected} of at most {SEAL_FILE_BYTES_MAX} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Key::read_all(&text).map_err(|error| format!("{}: {error}", path.display()))
}
