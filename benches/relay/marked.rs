//! Documents with a part that is rewritten, between two marks. All benchmarks that write results
//! use it.

use std::{io, path::Path};

/// The text with this content between its marks; `path` is where it comes from.
///
/// # Errors
/// The marks are not there.
pub(crate) fn replace(text: &str, [begin, end]: [&str; 2], content: &str, path: &Path) -> io::Result<String> {
    let parts = text.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    let (head, tail) =
        parts.ok_or_else(|| io::Error::other(format!("{begin} and {end} are not in {}", path.display())))?;
    Ok(format!("{head}{begin}\n\n{content}{end}{tail}"))
}
