//! Parses the command lines of TCP clients.

use crate::serve::push::{SubscribeOptions, Wire};

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Lists the streams.
    List,
    /// Subscribes to a stream.
    Subscribe { name: String, options: SubscribeOptions },
    /// Ends a subscription.
    Unsubscribe { name: String },
    /// Requests the client's counters.
    Stats,
    /// Presents a token.
    Auth { token: String },
    /// Ends the connection.
    Close,
}

const EXPECTED: &str = "AUTH, LIST, SUBSCRIBE, UNSUBSCRIBE, STATS or CLOSE";
const SUBSCRIBE: &str = "SUBSCRIBE name [format=frames|lines|raw] [flow=ID] [every=1s]";

impl Command {
    /// Parses a line without its line break.
    ///
    /// # Errors
    /// A message that states the error and the expected form.
    pub(super) fn parse(line: &[u8]) -> Result<Command, String> {
        let line = std::str::from_utf8(line).map_err(|_| format!("no UTF-8 text: expected {EXPECTED}"))?;
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        let command = match verb.to_ascii_uppercase().as_str() {
            "LIST" => Command::List,
            "STATS" => Command::Stats,
            "CLOSE" => Command::Close,
            "SUBSCRIBE" => return subscribe(words),
            "AUTH" => {
                let token = words.next().ok_or("AUTH: no token, expected AUTH token")?;
                Command::Auth { token: token.to_owned() }
            }
            "UNSUBSCRIBE" => {
                let name = words.next().ok_or("UNSUBSCRIBE: no stream, expected UNSUBSCRIBE name")?;
                Command::Unsubscribe { name: name.to_owned() }
            }
            "" => return Err(format!("an empty line: expected {EXPECTED}")),
            _ => return Err(format!("command {verb:?}: expected {EXPECTED}")),
        };
        match words.next() {
            Some(word) => {
                Err(format!("{word:?} after {}: expected the end of the line", verb.to_ascii_uppercase()))
            }
            None => Ok(command),
        }
    }
}

fn subscribe<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Command, String> {
    let name = words.next().filter(|name| !name.contains('='));
    let name = name.ok_or_else(|| format!("SUBSCRIBE: no stream, expected {SUBSCRIBE}"))?;
    let (mut wire, mut flow, mut every) = (None, None, None);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let place = match key {
            "format" => &mut wire,
            "flow" => &mut flow,
            "every" => &mut every,
            _ => return Err(format!("{word:?}: expected {SUBSCRIBE}")),
        };
        if place.replace(value).is_some() {
            return Err(format!("{key} twice: expected {SUBSCRIBE}"));
        }
    }
    let wire = match wire {
        None | Some("frames") => Wire::Frames,
        Some("lines") => Wire::Lines,
        Some("raw") => Wire::Raw,
        Some(other) => return Err(format!("format {other:?}: expected frames, lines or raw")),
    };
    Ok(Command::Subscribe { name: name.to_owned(), options: SubscribeOptions::parse(wire, flow, every)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_any_case_and_order() {
        let parse = |line: &str| Command::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (parse("LIST"), parse(" stats "), parse("Close")),
            (Command::List, Command::Stats, Command::Close)
        );
        assert_eq!(parse("auth Ab_-1"), Command::Auth { token: "Ab_-1".into() });
        assert_eq!(parse("UNSUBSCRIBE a"), Command::Unsubscribe { name: "a".into() });
        let options = |wire, flow, every| SubscribeOptions::parse(wire, flow, every).unwrap();
        let subscribe = |name: &str, options| Command::Subscribe { name: name.into(), options };
        assert_eq!(parse("subscribe a"), subscribe("a", options(Wire::Frames, None, None)));
        let all = parse("SUBSCRIBE a every=1s flow=10.0.0.1:5 format=lines");
        assert_eq!(all, subscribe("a", options(Wire::Lines, Some("10.0.0.1:5"), Some("1s"))));
        assert_eq!(parse("SUBSCRIBE a format=raw"), subscribe("a", options(Wire::Raw, None, None)));
    }

    #[test]
    fn wrong_lines_are_answered_with_what_would_be_right() {
        for (line, expected) in [
            (&b""[..], "an empty line: expected AUTH"),
            (
                b"GET / HTTP/1.1",
                "command \"GET\": expected AUTH, LIST, SUBSCRIBE, UNSUBSCRIBE, STATS or CLOSE",
            ),
            (b"\xff", "no UTF-8 text: expected AUTH"),
            (b"LIST all", "\"all\" after LIST: expected the end of the line"),
            (b"AUTH", "AUTH: no token, expected AUTH token"),
            (b"AUTH a b", "\"b\" after AUTH: expected the end of the line"),
            (b"UNSUBSCRIBE", "UNSUBSCRIBE: no stream, expected UNSUBSCRIBE name"),
            (b"SUBSCRIBE", "SUBSCRIBE: no stream, expected SUBSCRIBE name [format="),
            (b"SUBSCRIBE format=raw", "SUBSCRIBE: no stream"),
            (b"SUBSCRIBE a json", "\"json\": expected SUBSCRIBE name"),
            (b"SUBSCRIBE a format=json", "format \"json\": expected frames, lines or raw"),
            (b"SUBSCRIBE a flow=1 flow=2", "flow twice: expected SUBSCRIBE"),
            (b"SUBSCRIBE a flow=", "flow of 0 bytes: expected a key"),
            (b"SUBSCRIBE a every=often", "every \"often\": expected a duration"),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
