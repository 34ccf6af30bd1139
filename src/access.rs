//! Who may do what: turns what a caller presents, a token or a signed link, into a [`Grant`].
//!
//! All servers ask here: HTTP for each request, TCP for each `AUTH`, UDP for each datagram. The
//! rules come from the configuration (`[access]` and `[[token]]`); without any, everyone may watch
//! and view. `docs/security.md` is the reference for users.

mod attempts;
#[cfg_attr(not(feature = "oidc"), path = "access/no_jwt.rs")]
mod jwt;
mod link;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use subtle::ConstantTimeEq;
use tokio::sync::Notify;

use crate::{
    config::{self, JWT, LINK, Role, Roles, Scope, Token},
    shares::Caller,
};
use attempts::Attempts;
use jwt::Issuer;
pub use link::Link;
use tidecast_net::clock;
use tidecast_wire::subscribe::{Request, TokenDigest};

/// The rules, and the hosts that fail to meet them. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rules: RwLock<Arc<Rules>>,
    replaced: Notify,
    attempts: Mutex<Attempts>,
}

/// The rules at a time.
#[derive(Debug)]
struct Rules {
    config: config::Access,
    tokens: Vec<Known>,
    anonymous: Grant,
    /// The identity provider, if there is one.
    issuer: Option<Arc<Issuer>>,
}

/// A token of the configuration.
#[derive(Debug)]
struct Known {
    digest: TokenDigest,
    /// Says which token a subscriber's proof is about.
    id: [u8; 8],
    /// The same in links.
    link: String,
    grant: Grant,
}

/// What a caller may do.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Name of its token; `None` without one.
    user: Option<Arc<str>>,
    /// The token itself, if it is one of the configuration.
    token: Option<TokenDigest>,
    /// The identity provider, if its token is one of theirs.
    issuer: Option<Arc<Issuer>>,
    roles: Roles,
    scope: Arc<Scope>,
    /// When it ends, since the Unix epoch.
    expires: Option<Duration>,
}

/// Why a caller may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has presented nothing, and that is not enough.
    #[error("this needs the role {0}: expected a token (Authorization: Bearer TOKEN, or ?token=TOKEN)")]
    NoToken(Role),
    /// No token is like this.
    #[error("unknown token: expected one that the operator gave out")]
    Unknown,
    /// The token was good until now.
    #[error("this token has expired: expected a newer one")]
    Expired,
    /// A token of an identity provider is wrong.
    #[error("this token is not good: {0}")]
    Jwt(String),
    /// A token of an identity provider names a key that is unknown so far.
    #[error("this token is not good: its key (kid) is none of the issuer's, as far as they are known")]
    JwtKey,
    /// Its signature is wrong, or it is for another path or address.
    #[error("this link was not signed by this relay, or for another path or address: expected a newer one")]
    Forged,
    /// The link was good until now.
    #[error("this link has expired: expected a newer one, as in a playlist loaded again")]
    LinkExpired,
    /// Too many wrong attempts from one host.
    #[error("too many wrong tokens from this host: expected a right one, or a pause")]
    TooMany,
    /// The token does not have the role.
    #[error("this needs the role {0}, which this token does not have")]
    Role(Role),
    /// The token is for other streams.
    #[error("this token is not for {0}: expected one of its channels or groups")]
    Stream(String),
}

impl Denied {
    /// The same about a name as somebody has written it.
    #[must_use]
    pub fn about(self, name: &str) -> Denied {
        match self {
            Denied::Stream(_) => Denied::Stream(name.to_owned()),
            other => other,
        }
    }

    /// Whether another token could help, so that the caller should be asked for one.
    pub fn asks_for_token(&self) -> bool {
        matches!(
            self,
            Denied::NoToken(_) | Denied::Unknown | Denied::Expired | Denied::Jwt(_) | Denied::JwtKey
        )
    }
}

impl Access {
    /// Access by these rules. `control`: whether everyone may change something where there are no
    /// rules.
    pub fn new(config: config::Access, control: bool) -> Access {
        let rules = RwLock::new(Arc::new(Rules::new(config, control, None)));
        Access(Arc::new(Shared { rules, replaced: Notify::new(), attempts: Mutex::default() }))
    }

    /// Replaces the rules. What was granted before stays with those who hold it, until they
    /// [`Access::renew`] it.
    pub fn replace(&self, config: config::Access, control: bool) {
        let rules = Arc::new(Rules::new(config, control, self.rules().issuer.clone()));
        // A single assignment, so a panic cannot leave it inconsistent.
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.0.replaced.notify_one();
    }

    /// Keeps the keys of the identity provider fresh, if there is one. Never returns.
    pub async fn keep_keys(self) {
        loop {
            let issuer = self.rules().issuer.clone();
            let waited = async {
                match &issuer {
                    Some(issuer) => {
                        issuer.fetch().await;
                        issuer.outdated().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waited => {}
                () = self.0.replaced.notified() => {}
            }
        }
    }

    fn rules(&self) -> Arc<Rules> {
        self.0.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the bearer of the same token may do now.
    ///
    /// # Errors
    /// The token is unknown by now, or has expired.
    pub fn renew(&self, grant: &Grant) -> Result<Grant, Denied> {
        match grant.token {
            Some(token) => {
                self.rules().grant(|known| known.digest == token).ok_or(Denied::Unknown)?.unless_expired()
            }
            None => match (&grant.issuer, &self.rules().issuer) {
                // What it says is known; whether it still counts depends on the provider.
                (Some(then), Some(now)) if Arc::ptr_eq(then, now) => grant.clone().unless_expired(),
                (Some(_), _) => Err(Denied::Unknown),
                (None, _) if grant.is_link() => grant.clone().unless_expired(),
                (None, _) => Ok(self.anonymous()),
            },
        }
    }

    /// Whether there are rules.
    pub fn has_rules(&self) -> bool {
        self.rules().config.has_rules()
    }

    /// What everyone may do.
    pub fn anonymous(&self) -> Grant {
        self.rules().anonymous.clone()
    }

    /// What the bearer of a token may do. Every token is compared, each in constant time, so that
    /// the time tells nothing.
    ///
    /// # Errors
    /// It is unknown or expired, or this host has tried too many.
    pub fn with_token(&self, caller: Caller, token: &str) -> Result<Grant, Denied> {
        self.known(token).map_err(|why| match why {
            Denied::Unknown | Denied::Jwt(_) => self.failed(caller, why),
            why => why,
        })
    }

    /// What the bearer of a token may do that a browser presents by itself, which is no attempt.
    ///
    /// # Errors
    /// It is unknown or expired.
    pub fn with_cookie(&self, token: &str) -> Result<Grant, Denied> {
        self.known(token)
    }

    fn known(&self, token: &str) -> Result<Grant, Denied> {
        let TokenDigest(digest) = TokenDigest::of(token);
        let rules = self.rules();
        match (rules.grant(|known| known.digest.0.ct_eq(&digest).into()), &rules.issuer) {
            (Some(grant), _) => grant.unless_expired(),
            (None, Some(issuer)) if token.matches('.').count() == 2 => Grant::of_bearer(issuer, token),
            (None, _) if !rules.config.has_rules() => Ok(rules.anonymous.clone()),
            (None, _) => Err(Denied::Unknown),
        }
    }

    /// What a subscriber over UDP may do, who proves its token.
    ///
    /// # Errors
    /// The proof is of no known token, or the token has expired.
    pub fn with_proof(&self, request: &Request<'_>) -> Result<Grant, Denied> {
        let rules = self.rules();
        if request.proof.is_empty() || !rules.config.has_rules() {
            return Ok(rules.anonymous.clone());
        }
        let is_proved =
            |known: &Known| request.proof.starts_with(&known.id) && known.digest.is_proved(request);
        rules.grant(is_proved).ok_or(Denied::Unknown)?.unless_expired()
    }

    /// What the bearer of a signed link to `path` may do.
    ///
    /// # Errors
    /// The link is not the relay's, or expired, or this host has tried too many.
    pub fn with_link(
        &self,
        caller: Caller,
        path: &str,
        link: &Link<'_>,
        from: Option<IpAddr>,
    ) -> Result<Grant, Denied> {
        let rules = self.rules();
        let Some(key) = &rules.config.link_key else {
            // Without keys of links the query means something else, or nothing.
            return Ok(rules.anonymous.clone());
        };
        if !link.is_signed(key, path) || !link.is_from(from) {
            return Err(self.failed(caller, Denied::Forged));
        }
        let expires = link.expires().ok_or(Denied::Forged)?;
        let grant = match link.by() {
            // The link opens no more than its token does, and ends with it.
            Some(by) => rules.grant(|known| known.link == by).ok_or(Denied::Unknown)?.unless_expired()?,
            None => Grant { user: Some(LINK.into()), ..rules.anonymous.clone() },
        };
        let watches = link.by().is_none() || grant.has(Role::Watch);
        let roles = watches.then_some(Role::Watch).into_iter().collect();
        let grant = Grant { roles, expires: Some(expires), ..grant };
        grant.unless_expired().map_err(|_| Denied::LinkExpired)
    }

    /// The query of a signed link to `path`, valid as long as those of playlists, and no longer
    /// than the grant; `None` without a key, or if everyone may watch.
    pub fn sign(&self, path: &str, grant: &Grant) -> Option<String> {
        let rules = self.rules();
        let key = rules.config.link_key.as_ref()?;
        if rules.anonymous.roles.has(Role::Watch) {
            return None;
        }
        let usual = clock::unix() + rules.config.link_valid;
        let until = grant.expires.map_or(usual, |expires| expires.min(usual));
        let by = rules.tokens.iter().find(|known| Some(known.digest) == grant.token);
        let by = by.map(|known| known.link.as_str());
        Some(link::query(key, path, until.as_secs(), None, by))
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        // Single insertions, so a panic cannot leave the table inconsistent.
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failed attempt; says what to answer.
    fn failed(&self, caller: Caller, why: Denied) -> Denied {
        if self.attempts().failed(clock::now(), caller) { Denied::TooMany } else { why }
    }
}

impl Rules {
    /// `known`: the identity provider so far, with its keys.
    fn new(config: config::Access, control: bool, known: Option<Arc<Issuer>>) -> Rules {
        let issuer = config.jwt.as_ref().map(|jwt| {
            known.filter(|known| known.config() == jwt).unwrap_or_else(|| Arc::new(Issuer::new(jwt.clone())))
        });
        let scope = Arc::new(Scope::default());
        let roles = match config.anonymous {
            _ if !config.has_rules() => {
                let operate = control.then_some(Role::Operate);
                [Role::Watch, Role::View].into_iter().chain(operate).collect()
            }
            Some(roles) => roles,
            None => Roles::default(),
        };
        let anonymous = Grant { user: None, token: None, issuer: None, roles, scope, expires: None };
        let tokens = config.tokens.iter().map(Known::new).collect();
        Rules { config, tokens, anonymous, issuer }
    }

    /// The grant of the token that is meant; looks at all of them.
    fn grant(&self, is_meant: impl Fn(&Known) -> bool) -> Option<Grant> {
        let found =
            self.tokens.iter().fold(None, |found, known| if is_meant(known) { Some(known) } else { found });
        found.map(|known| known.grant.clone())
    }
}

impl Known {
    fn new(token: &Token) -> Known {
        let id = token.digest.id();
        Known { digest: token.digest, id, link: hex::encode(id), grant: Grant::of(token) }
    }
}

impl Grant {
    fn of(token: &Token) -> Grant {
        Grant {
            user: Some(token.name.as_str().into()),
            token: Some(token.digest),
            issuer: None,
            roles: token.roles,
            scope: Arc::new(token.scope.clone()),
            expires: token.expires,
        }
    }

    /// That of the bearer of a token of an identity provider.
    fn of_bearer(issuer: &Arc<Issuer>, token: &str) -> Result<Grant, Denied> {
        let bearer = issuer.check(token)?;
        let (user, issuer) = (Some(format!("{JWT}{}", bearer.user).into()), Some(issuer.clone()));
        let (roles, expires) = (bearer.roles, Some(bearer.expires));
        Grant { user, token: None, issuer, roles, scope: Arc::default(), expires }.unless_expired()
    }

    fn unless_expired(self) -> Result<Grant, Denied> {
        match self.expires {
            Some(expires) if expires <= clock::unix() => Err(Denied::Expired),
            _ => Ok(self),
        }
    }

    /// Name of the token, `link` for a signed link; `None` without one.
    pub fn user(&self) -> Option<Arc<str>> {
        self.user.clone()
    }

    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.has(role)
    }

    /// Whether a channel may be received.
    pub fn may_watch(&self, channel: &str) -> bool {
        self.has(Role::Watch) && self.scope.has_channel(channel)
    }

    /// Checks that it has a role.
    ///
    /// # Errors
    /// It does not.
    pub fn needs(&self, role: Role) -> Result<(), Denied> {
        match &self.user {
            _ if self.has(role) => Ok(()),
            Some(_) => Err(Denied::Role(role)),
            None => Err(Denied::NoToken(role)),
        }
    }

    /// Whether it came by a link that the operator has signed.
    fn is_link(&self) -> bool {
        self.token.is_none() && self.user.as_deref() == Some(LINK)
    }

    /// Checks that a channel may be received. `exists`: whether there is one of this name, which
    /// those do not learn who may not receive all.
    ///
    /// # Errors
    /// It may not.
    pub fn channel(&self, name: &str, exists: bool) -> Result<(), Denied> {
        self.needs(Role::Watch)?;
        let is_hidden = !exists && (self.scope.channels.is_some() || self.is_link());
        if self.scope.has_channel(name) && !is_hidden { Ok(()) } else { Err(Denied::Stream(name.to_owned())) }
    }

    /// Checks that a group may be received on demand.
    ///
    /// # Errors
    /// It may not.
    pub fn group(&self, group: IpAddr) -> Result<(), Denied> {
        self.needs(Role::Watch)?;
        if self.scope.has_group(group) { Ok(()) } else { Err(Denied::Stream(group.to_string())) }
    }
}

/// The query of a link to `path`, valid until a time since the Unix epoch, for one address alone if
/// there is one; `None` without a key.
pub fn signed(config: &config::Access, path: &str, until: Duration, only: Option<IpAddr>) -> Option<String> {
    Some(link::query(config.link_key.as_ref()?, path, until.as_secs(), only, None))
}

#[cfg(test)]
mod tests;
