//! Decides whether a program's output matches that in a guide: the same lines in the same order,
//! possibly with others in between.
//!
//! A number matches any number but 0, and 0 matches only 0: figures differ from run to run, while
//! `lost 0` is a promise. `...` matches any text, and any amount of white space matches any other.

/// Returns the first of `expected`'s lines that `actual` does not contain.
pub(crate) fn missing<'a>(expected: &'a str, actual: &str) -> Option<&'a str> {
    let mut lines = actual.lines().map(plain);
    let expected = expected.lines().filter(|line| !line.trim().is_empty());
    expected.into_iter().find(|wanted| {
        let wanted = plain(wanted);
        !lines.any(|line| fits(&wanted, &line))
    })
}

/// Returns the line with one character for each number, and one space for each gap.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        let len = if first.is_ascii_digit() {
            let len = number(rest);
            out.push(if &rest[..len] == "0" { '0' } else { '#' });
            len
        } else if first.is_whitespace() {
            out.push(' ');
            rest.len() - rest.trim_start().len()
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    out
}

/// Returns the bytes of the number at the start of `text`: digits, with points in between (as in
/// an address).
fn number(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.').len()
}

fn fits(wanted: &str, line: &str) -> bool {
    let parts: Vec<&str> = wanted.split("...").collect();
    let (first, rest) = parts.split_first().expect("at least one part");
    let Some(mut line) = line.strip_prefix(first) else { return false };
    let Some((last, middle)) = rest.split_last() else { return line.is_empty() };
    for part in middle {
        match line.find(part) {
            Some(at) => line = &line[at + part.len()..],
            None => return false,
        }
    }
    line.ends_with(last)
}

#[test]
fn numbers_differ_and_nothing_else() {
    let shown = |expected, actual| missing(expected, actual).is_none();
    assert!(shown("lost 0 of 100 (3.5%)", "noise\nlost  0 of 7 (12.25%)\nnoise"));
    assert!(!shown("lost 0 of 100", "lost 2 of 100"));
    assert!(!shown("recovered 41", "recovered 0"));
    assert!(shown("http://127.0.0.1:8080/ ...", "http://127.0.0.1:8081/ and more"));
    assert!(shown("a ... c", "a b c") && !shown("a ... d", "a b c"));
    assert_eq!(missing("one\ntwo\n", "two\none\n"), Some("two"), "the order counts");
    assert_eq!(missing("one\n\ntwo\n", "one\nnoise\ntwo\n"), None);
}
