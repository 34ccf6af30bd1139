//! Tests that the examples, keys and problems in the reference (docs/configuration.md) match the
//! program.

use super::*;

const DOCS: &str = include_str!("../../../docs/configuration.md");

/// Returns the code blocks of one language in the reference.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    DOCS.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let examples = blocks("toml");
    assert_eq!(examples.len(), 19);
    for example in examples {
        assert_eq!(error(example), "no error", "{example}");
    }
}

#[test]
fn the_reference_names_every_key() {
    let mut keys = error(
        "x = 1\n[http]\nx = 1\n[tcp]\nx = 1\n[udp]\nx = 1\n[access]\nx = 1\n[jwt]\njwks = \"k\"\nissuer = \"i\"\naudience = \"a\"\nx = 1\n[[token]]\nname = \"t\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\nx = 1\n[shares]\nx = 1\n[[channel]]\nname = \"a\"\ninput = \":1\"\nx = 1\nm3u.x = 1\nlimits.x = 1",
    );
    keys.retain(|c| c != ',' && c != ')');
    let known: Vec<&str> = keys
        .lines()
        .flat_map(|line| line.split_once("(expected one of: ").unwrap().1.split_whitespace())
        .collect();
    assert_eq!(known.len(), 11 + 20 + 2 + 3 + 4 + 4 + 6 + 7 + 22 + 5 + 4, "{known:?}");
    for key in known {
        let rows = [format!("| `{key}` |"), format!("| `[{key}]` |"), format!("| `[[{key}]]` |")];
        assert!(rows.iter().any(|row| DOCS.contains(row)), "{key} has no row");
    }
}

#[test]
fn the_problems_of_the_reference_are_the_real_ones() {
    let text = "[http]\nlisten = \"off\"\nallow = [\"10.0.0.0/8\"]\n\n[[channel]]\nname = \"camera-1\"\ninput = \"239.1.1.1:5000\"\nhold = \"fast\"\noutptu = 1\noutput = \"10.0.0.7:1\"\n";
    let errors =
        Config::finish(Some(Path::new("relay.toml")), |problems| file::read(text, problems)).unwrap_err();
    let message = crate::commands::Failure::from(errors).message();
    assert!(DOCS.contains(&message), "{message}");
}
