//! `tidecast token`: makes tokens and signs links. A token is printed once, to standard error, so
//! that `tidecast token new >>FILE` adds to the file what it should have, its SHA-256, and no more.

use std::io::Write;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::Failure;
use crate::{access, cli, config::Config, serve::http::LINKED};
use tidecast_net::clock;
use tidecast_wire::subscribe::TokenDigest;

/// Start of each token, by which scanners of leaked secrets and people recognise one.
const PREFIX: &str = "tidecast_";

/// # Errors
/// The link cannot be signed, or standard output cannot be written.
pub(super) fn run(args: &cli::Token, out: &mut impl Write) -> Result<(), Failure> {
    let text = match &args.action {
        cli::TokenAction::New(args) => {
            let (token, table) = new(args)?;
            eprintln!(
                "The token, for its bearer; it cannot be shown again:\n\n    {token}\n\nFor the configuration file:\n"
            );
            table
        }
        cli::TokenAction::LinkKey => format!("[access]\nlink_key = \"{}\"\n", hex::encode(random()?)),
        cli::TokenAction::Link(args) => link(args)?,
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output)
}

/// A token, and what the configuration file has of it.
fn new(args: &cli::NewToken) -> Result<(String, String), Failure> {
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random()?));
    let roles: Vec<String> = args.roles.iter().map(|role| format!("{:?}", role.as_str())).collect();
    let table = format!(
        "[[token]]\nname = {:?}\nsha256 = \"{}\"\nroles = [{}]\n",
        args.name,
        hex::encode(TokenDigest::of(&token).0),
        roles.join(", ")
    );
    // The file's own rules say what is wrong with a name.
    table.parse::<Config>()?;
    Ok((token, table))
}

fn link(args: &cli::SignedLink) -> Result<String, Failure> {
    let config = Config::from_file(&args.file)?;
    let file = args.file.display();
    let wrong = |what: &str| Failure::Usage(format!("{}: {what}", args.url));
    let (scheme, rest) = args
        .url
        .split_once("://")
        .ok_or_else(|| wrong("expected a whole address, such as http://10.0.0.7:8080/streams/news"))?;
    let (host, path) = rest
        .find('/')
        .map(|at| rest.split_at(at))
        .ok_or_else(|| wrong("expected a path, such as /streams/news"))?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let base = config.http.as_ref().map_or("/", |http| &http.base);
    let inner = path.strip_prefix(base.trim_end_matches('/')).unwrap_or(path);
    if !LINKED.iter().any(|start| inner.starts_with(start)) {
        return Err(wrong(&format!("expected the address of a stream, with one of {}", LINKED.join(", "))));
    }
    let until = clock::unix() + args.valid.unwrap_or(config.access.link_valid);
    let signed = access::signed(&config.access, inner, until, args.only).with_context(|| {
        format!("{file}: no link_key in [access], expected what `tidecast token link-key` prints")
    })?;
    let query = if query.is_empty() { signed } else { format!("{query}&{signed}") };
    Ok(format!("{scheme}://{host}{path}?{query}\n"))
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system has no random numbers: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    #[test]
    fn a_token_is_new_each_time_and_the_file_takes_what_is_printed() {
        let args = cli::NewToken { name: "lobby".to_owned(), roles: vec![Role::Watch, Role::View] };
        let ((token, table), (second, _)) = (new(&args).unwrap(), new(&args).unwrap());
        assert_ne!(token, second);
        let config: Config = table.parse().unwrap();
        assert_eq!(config.access.tokens[0].digest, TokenDigest::of(&token));
        assert!(config.access.tokens[0].roles.has(Role::View) && token.len() == 52, "{token}");
        assert!(!table.contains(&token), "a file must not have it");
        let wrong = cli::NewToken { name: "a b".to_owned(), roles: vec![Role::Watch] };
        assert!(new(&wrong).unwrap_err().message().contains("token[0].name = \"a b\""));
    }
}
