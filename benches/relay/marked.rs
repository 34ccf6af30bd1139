//! Documents with a part between two marks that is rewritten. All benchmarks that write results
//! use this module.

use std::{io, path::Path};

/// Returns the text with this content between its marks; `path` is its source, for the error.
///
/// # Errors
/// The text does not contain the marks.
pub(crate) fn replace(text: &str, [begin, end]: [&str; 2], content: &str, path: &Path) -> io::Result<String> {
    let parts = text.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    let (head, tail) =
        parts.ok_or_else(|| io::Error::other(format!("{begin} and {end} are not in {}", path.display())))?;
    Ok(format!("{head}{begin}\n\n{content}{end}{tail}"))
}
