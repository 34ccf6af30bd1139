//! Interprets `[access]` and `[[token]]`.

use std::{collections::HashMap, path::Path};

use super::{Check, name, parsed, prefix, text};
use crate::{
    config::{
        Access, Audit, Channel, LinkKey, Role, Roles, Scope, Token, access,
        problem::Problem,
        raw::{Field, RawAccess, RawToken, SettingPlace},
    },
    limits::{LINK_VALID, LINK_VALID_MAX, LINK_VALID_MIN, TOKENS_MAX},
};
use tidecast_wire::subscribe::TokenDigest;

impl Check<'_> {
    pub(super) fn access(&mut self, raw: &RawAccess, tokens: &[RawToken], channels: &[Channel]) -> Access {
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
            audit: self.audit(&raw.audit),
        };
        if let Some(anonymous) = &raw.anonymous
            && access.tokens.is_empty()
            && access.link_key.is_none()
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
            name: self.value(&raw.name, String::new(), name),
            digest: TokenDigest(self.value(&raw.sha256, [0; 32], access::hex)),
            roles: roles.unwrap_or_else(|| [Role::Watch].into_iter().collect()),
            scope: Scope {
                channels: raw.channels.as_ref().map(|fields| self.patterns(fields, channels)),
                groups: raw.groups.as_ref().map(|fields| self.all(fields, prefix)),
            },
            expires: self.value(&raw.expires, None, |value| access::instant(value).map(Some)),
        }
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

/// Returns the place of a key that the token should have.
fn key_of(raw: &RawToken, key: &str) -> SettingPlace {
    match &raw.place {
        SettingPlace::Key { line, key: table, channel } => {
            SettingPlace::Key { line: *line, key: format!("{table}.{key}"), channel: channel.clone() }
        }
        other => other.clone(),
    }
}
