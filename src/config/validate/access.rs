//! Interprets `[access]` and `[[token]]`.

use std::{collections::HashMap, path::Path};

use super::{Check, name, parsed, prefix, text};
use crate::{
    config::{
        Access, Audit, Channel, Jwt, KeySource, LinkKey, Role, Roles, Scope, Token, access,
        problem::Problem,
        raw::{Field, Raw, RawJwt, RawToken, SettingPlace, Value},
    },
    limits::{LINK_VALID, LINK_VALID_MAX, LINK_VALID_MIN, TOKENS_MAX},
};
use tidecast_wire::subscribe::TokenDigest;

impl Check<'_> {
    pub(super) fn access(&mut self, raw: &Raw, channels: &[Channel]) -> Access {
        let Raw { access: raw, tokens, jwt, .. } = raw;
        if let Some(one_more) = tokens.get(TOKENS_MAX) {
            let found = tokens.len();
            let reason = format!("{found} tokens, expected at most {TOKENS_MAX}");
            self.problems.push(Problem::at(one_more.place.clone(), reason));
        }
        let access = Access {
            tokens: tokens.iter().map(|raw| self.token(raw, channels)).collect(),
            anonymous: raw.anonymous.as_ref().map(|fields| self.roles(fields)),
            link_key: self.value(&raw.link_key, None, |value| access::hex(value).map(LinkKey).map(Some)),
            link_valid: self.time(&raw.link_valid, LINK_VALID, LINK_VALID_MIN..=LINK_VALID_MAX),
            jwt: jwt.as_ref().and_then(|jwt| self.jwt(jwt)),
            audit: self.audit(&raw.audit),
        };
        if let Some(anonymous) = &raw.anonymous
            && access.tokens.is_empty()
            && access.link_key.is_none()
            && jwt.is_none()
            && anonymous.is_empty()
        {
            let place = SettingPlace::Key { line: None, key: "access.anonymous".to_owned(), channel: None };
            let reason = "nobody may do anything: expected a [[token]], or a role such as \"watch\"";
            self.problems.push(Problem::at(place, reason));
        }
        self.once(tokens, &access.tokens);
        access
    }

    fn token(&mut self, raw: &RawToken, channels: &[Channel]) -> Token {
        for (key, field, expected) in [
            ("name", &raw.name, "the token's name, such as \"lobby\""),
            ("sha256", &raw.sha256, "what `tidecast token new` prints"),
        ] {
            if field.is_none() {
                self.problems
                    .push(Problem::at(key_of(raw, key), format_args!("missing, expected {expected}")));
            }
        }
        let roles = raw.roles.as_ref().map(|fields| self.roles(fields));
        if let (Some(roles), Some(_)) = (&raw.roles, roles.filter(|roles| *roles == Roles::default())) {
            let place = roles.first().map_or_else(|| key_of(raw, "roles"), |field| field.place.clone());
            self.problems.push(Problem::at(place, "no role, expected watch, view or operate"));
        }
        Token {
            name: self.value(&raw.name, String::new(), |value| match name(value)? {
                name if name == access::LINK => {
                    Err("expected another name: this one is that of signed links".to_owned())
                }
                name => Ok(name),
            }),
            digest: TokenDigest(self.value(&raw.sha256, [0; 32], access::hex)),
            roles: roles.unwrap_or_else(|| [Role::Watch].into_iter().collect()),
            scope: Scope {
                channels: raw.channels.as_ref().map(|fields| self.patterns(fields, channels)),
                groups: raw.groups.as_ref().map(|fields| self.all(fields, prefix)),
            },
            expires: self.value(&raw.expires, None, |value| access::instant(value).map(Some)),
        }
    }

    fn jwt(&mut self, raw: &RawJwt) -> Option<Jwt> {
        if !cfg!(feature = "oidc") {
            let reason = "this build has no JWT, expected one with the feature oidc";
            self.problems.push(Problem::at(raw.place.clone(), reason));
            return None;
        }
        for (key, field, expected) in [
            ("jwks", &raw.jwks, "where the keys are, such as \"https://login.example/jwks.json\""),
            ("issuer", &raw.issuer, "the tokens' iss, such as \"https://login.example\""),
            ("audience", &raw.audience, "the tokens' aud, such as \"tidecast\""),
        ] {
            if field.is_none() {
                let place = below(&raw.place, key);
                self.problems.push(Problem::at(place, format_args!("missing, expected {expected}")));
            }
        }
        let base = self.base;
        let mut said = |field: &Option<Field>, default: &str, example: &str| {
            self.value(field, default.to_owned(), |value| match text(value, example)? {
                "" => Err(format!("expected text, such as {example:?}")),
                text => Ok(text.to_owned()),
            })
        };
        let issuer = said(&raw.issuer, "", "https://login.example");
        let audience = said(&raw.audience, "", "tidecast");
        let roles_claim = said(&raw.roles_claim, "roles", "realm_access.roles");
        let keys = self.value(&raw.jwks, None, |value| keys(value, base).map(Some))?;
        Some(Jwt { keys, issuer, audience, roles_claim })
    }

    fn roles(&mut self, fields: &[Field]) -> Roles {
        self.all(fields, |value| parsed::<Role>(value, "watch")).into_iter().collect()
    }

    fn patterns(&mut self, fields: &[Field], channels: &[Channel]) -> Vec<access::ChannelPattern> {
        self.all(fields, |value| {
            let pattern: access::ChannelPattern = parsed(value, "cam-*")?;
            match pattern.name() {
                Some(name) if channels.iter().all(|channel| channel.name != name) => {
                    let names: Vec<&str> = channels.iter().map(|channel| &*channel.name).collect();
                    let nearest = names.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known));
                    let nearest = nearest.map(|known| format!(", such as {known:?}")).unwrap_or_default();
                    Err(format!("no [[channel]] has this name, expected one that has{nearest}"))
                }
                _ => Ok(pattern),
            }
        })
    }

    fn audit(&mut self, field: &Option<Field>) -> Option<Audit> {
        let base = self.base;
        self.value(field, None, |value| match text(value, "/var/log/tidecast/audit.jsonl")? {
            "-" => Ok(Some(Audit::StandardError)),
            "" => Err("expected a file, or - for standard error".to_owned()),
            path => Ok(Some(Audit::File(base.unwrap_or(Path::new("")).join(path)))),
        })
    }

    /// Checks that each name and each token stands there once.
    fn once(&mut self, raw: &[RawToken], tokens: &[Token]) {
        let (mut names, mut digests) = (HashMap::new(), HashMap::new());
        for (raw, token) in raw.iter().zip(tokens) {
            if let Some(field) = &raw.name
                && let Some(first) = names.insert(&token.name, field)
            {
                let first = first.place.line().map_or_else(String::new, |line| format!(", see line {line}"));
                self.problems.push(Problem::of_field(field, format_args!("expected another name{first}")));
            }
            if let Some(field) = &raw.sha256
                && let Some(first) = digests.insert(token.digest, &token.name)
                && token.digest != TokenDigest([0; 32])
            {
                let reason = format!("the token {first:?} has it already, expected a token of its own");
                self.problems.push(Problem::at(field.place.clone(), reason));
            }
        }
    }
}

/// Parses where public keys are. Who can change them on the way can be everyone.
fn keys(value: &Value, base: Option<&Path>) -> Result<KeySource, String> {
    let place = text(value, "https://login.example/jwks.json")?;
    let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let is_host = |rest: &str| rest.is_empty() || rest.starts_with([':', '/']);
    let is_local = local.iter().any(|start| place.strip_prefix(start).is_some_and(is_host));
    match place {
        "" => Err("expected a URL or a file".to_owned()),
        url if url.starts_with("https://") || is_local => Ok(KeySource::Url(url.to_owned())),
        url if url.contains("://") => Err("expected https://, or http:// on this host, or a file".to_owned()),
        path => Ok(KeySource::File(base.unwrap_or(Path::new("")).join(path))),
    }
}

/// Returns the place of a key that the token should have.
fn key_of(raw: &RawToken, key: &str) -> SettingPlace {
    below(&raw.place, key)
}

/// Returns the place of a key in a table.
fn below(table: &SettingPlace, key: &str) -> SettingPlace {
    match table {
        SettingPlace::Key { line, key: table, channel } => {
            SettingPlace::Key { line: *line, key: format!("{table}.{key}"), channel: channel.clone() }
        }
        other => other.clone(),
    }
}
