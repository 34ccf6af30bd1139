//! JSON Web Tokens (RFC 7519) of an identity provider, checked with its public keys (JWKS,
//! RFC 7517): RS256, ES256 and EdDSA. Issuer, audience and expiry must be right; a claim has the
//! roles.
//!
//! The keys are fetched beforehand, again from time to time, and when a token names one that is
//! unknown. Checking never waits for the network.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind, jwk::JwkSet,
};
use serde_json::Value;
use tokio::sync::Notify;

use super::Denied;
use crate::{
    config::{Jwt, KeySource, Role, Roles},
    limits::{JWKS_AGAIN, JWKS_BYTES_MAX, JWKS_FETCH_MAX, JWKS_INTERVAL, JWT_LEEWAY, JWT_USER_BYTES_MAX},
};
use tidecast_net::clock;

/// What is accepted: signatures with public keys, never a shared secret or none.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// An identity provider and its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    config: Jwt,
    keys: RwLock<JwkSet>,
    /// A token named a key that is unknown.
    wanted: Notify,
    /// When the keys were fetched last because of that.
    fetched: Mutex<Option<Instant>>,
}

/// What a token says of its bearer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) user: Arc<str>,
    pub(super) roles: Roles,
    /// Since the Unix epoch.
    pub(super) expires: Duration,
}

impl Issuer {
    pub(super) fn new(config: Jwt) -> Issuer {
        let keys = RwLock::new(JwkSet { keys: Vec::new() });
        Issuer { config, keys, wanted: Notify::new(), fetched: Mutex::default() }
    }

    pub(super) fn config(&self) -> &Jwt {
        &self.config
    }

    /// Checks a token.
    ///
    /// # Errors
    /// It is not of this issuer, for another audience, over, or signed by a key that is unknown.
    pub(super) fn check(&self, token: &str) -> Result<Bearer, Denied> {
        let wrong = |why: &str| Denied::Jwt(why.to_owned());
        let header = decode_header(token).map_err(|_| wrong("it is malformed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Denied::Jwt(format!("{:?} signs it, expected RS256, ES256 or EdDSA", header.alg)));
        }
        let kid = header.kid.ok_or_else(|| wrong("it names no key (kid)"))?;
        let key = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.find(&kid).and_then(|key| DecodingKey::from_jwk(key).ok())
        };
        let Some(key) = key else {
            self.wanted.notify_one();
            return Err(Denied::JwtKey);
        };
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        (validation.validate_nbf, validation.leeway) = (true, JWT_LEEWAY.as_secs());
        let claims =
            decode::<BTreeMap<String, Value>>(token, &key, &validation).map_err(|error| {
                match error.kind() {
                    ErrorKind::ExpiredSignature => Denied::Expired,
                    ErrorKind::InvalidAudience => Denied::Jwt(format!(
                        "it is for another audience, expected {:?}",
                        self.config.audience
                    )),
                    ErrorKind::InvalidIssuer => {
                        Denied::Jwt(format!("another issuer gave it out, expected {:?}", self.config.issuer))
                    }
                    ErrorKind::InvalidSignature => wrong("its signature is wrong"),
                    ErrorKind::ImmatureSignature => wrong("it is not valid yet"),
                    other => Denied::Jwt(format!("{other:?}")),
                }
            })?;
        let claims = claims.claims;
        let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        Ok(Bearer {
            user: user(&claims),
            roles: roles(claim(&claims, &self.config.roles_claim)),
            expires: Duration::try_from_secs_f64(expires).unwrap_or_default() + JWT_LEEWAY,
        })
    }

    /// Fetches the keys now.
    pub(super) async fn fetch(self: &Arc<Self>) {
        let issuer = self.clone();
        let fetched = tokio::task::spawn_blocking(move || issuer.read()).await;
        match fetched {
            // A single assignment, so a panic cannot leave it inconsistent.
            Ok(Ok(keys)) => *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys,
            Ok(Err(why)) => tracing::warn!("cannot get the keys for JWT from {}: {why}", self.config.keys),
            Err(error) => tracing::warn!("cannot get the keys for JWT: {error}"),
        }
    }

    /// Waits until the keys should be fetched again.
    pub(super) async fn outdated(&self) {
        let wanted = async {
            self.wanted.notified().await;
            let last = *self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(last) = last {
                tokio::time::sleep_until((last + JWKS_AGAIN).into()).await;
            }
            *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
        };
        let _ = tokio::time::timeout(JWKS_INTERVAL, wanted).await;
    }

    fn read(&self) -> Result<JwkSet, String> {
        let text = match &self.config.keys {
            KeySource::File(path) => std::fs::read_to_string(path).map_err(|error| error.to_string())?,
            KeySource::Url(url) => get(url).map_err(|error| error.to_string())?,
        };
        serde_json::from_str(&text).map_err(|error| format!("{error}, expected a JSON Web Key Set"))
    }
}

fn get(url: &str) -> Result<String, ureq::Error> {
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let config = ureq::Agent::config_builder().timeout_global(Some(JWKS_FETCH_MAX)).tls_config(tls).build();
    let mut answer = ureq::Agent::new_with_config(config).get(url).call()?;
    answer.body_mut().with_config().limit(JWKS_BYTES_MAX).read_to_string()
}

/// A claim by its name, or by a path such as `realm_access.roles`.
fn claim<'a>(claims: &'a BTreeMap<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(name) {
        return Some(claim);
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The roles in a list or in words, also behind `tidecast:`; others do not concern us.
fn roles(claim: Option<&Value>) -> Roles {
    let words: Vec<&str> = match claim {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split_whitespace().collect(),
        _ => Vec::new(),
    };
    words
        .iter()
        .filter_map(|word| word.strip_prefix("tidecast:").unwrap_or(word).parse::<Role>().ok())
        .collect()
}

/// How the bearer is named in logs.
fn user(claims: &BTreeMap<String, Value>) -> Arc<str> {
    let named = ["preferred_username", "email", "sub", "client_id"];
    let name = named.iter().find_map(|name| claims.get(*name)?.as_str()).unwrap_or("jwt");
    name[..name.floor_char_boundary(JWT_USER_BYTES_MAX)].into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn roles_are_found_as_providers_write_them() {
        let of = |value: Value, name: &str| roles(claim(&claims(value), name));
        let expected: Roles = [Role::Watch, Role::View].into_iter().collect();
        assert_eq!(of(json!({ "roles": ["watch", "view", "other"] }), "roles"), expected);
        assert_eq!(of(json!({ "scope": "openid tidecast:watch view" }), "scope"), expected);
        assert_eq!(
            of(json!({ "realm_access": { "roles": ["watch", "view"] } }), "realm_access.roles"),
            expected
        );
        assert_eq!(
            of(json!({ "https://a.example/roles": ["watch", "view"] }), "https://a.example/roles"),
            expected
        );
        for none in [json!({}), json!({ "roles": 1 }), json!({ "roles": [1, null] })] {
            assert_eq!(of(none, "roles"), Roles::default());
        }
    }

    #[test]
    fn a_bearer_has_a_name() {
        assert_eq!(&*user(&claims(json!({ "sub": "1", "preferred_username": "ann" }))), "ann");
        assert_eq!(&*user(&claims(json!({ "sub": "1" }))), "1");
        assert_eq!(user(&claims(json!({ "sub": "ä".repeat(100) }))).len(), 64);
    }
}
