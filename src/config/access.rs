//! Who may do what: the tokens and links of `[[token]]` and `[access]`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use ipnet::IpNet;

use super::raw::Value;
use tidecast_wire::subscribe::TokenDigest;

/// User of signed links in lists of clients.
pub const LINK: &str = "link";

/// Start of the users of an identity provider in lists of clients.
pub const JWT: &str = "jwt:";

/// Access rules. Without any, everyone may watch and view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// The tokens; their names and digests are unique.
    pub tokens: Vec<Token>,
    /// What callers without a token may do, if it is configured; nothing if there are other rules.
    pub anonymous: Option<Roles>,
    /// Key of signed links, if there are any.
    pub link_key: Option<LinkKey>,
    /// How long the links in a playlist are valid.
    pub link_valid: Duration,
    /// The identity provider whose tokens count, if there is one.
    pub jwt: Option<Jwt>,
    /// Where it is written down who did what.
    pub audit: Option<Audit>,
}

impl Access {
    /// Whether there are rules.
    pub fn has_rules(&self) -> bool {
        !self.tokens.is_empty() || self.link_key.is_some() || self.jwt.is_some() || self.anonymous.is_some()
    }

    /// Whether what somebody has opened must end under newer rules: their token is gone, has ended
    /// or allows less, or its kind does not count any more. `user`: as in lists of clients.
    pub fn ends(&self, newer: &Access, user: Option<&str>, now: Duration) -> bool {
        let watches =
            |access: &Access| !access.has_rules() || access.anonymous.is_some_and(|it| it.has(Role::Watch));
        match user {
            None => watches(self) && !watches(newer),
            Some(LINK) => self.link_key != newer.link_key,
            Some(user) if user.starts_with(JWT) => self.jwt != newer.jwt,
            Some(user) => !self.tokens.iter().filter(|token| token.name == user).all(|token| {
                newer.tokens.iter().any(|known| {
                    let ended = known.expires.is_some_and(|expires| expires <= now);
                    let same = (&known.digest, &known.name, known.roles, &known.scope);
                    !ended && same == (&token.digest, &token.name, token.roles, &token.scope)
                })
            }),
        }
    }
}

/// A token and what its bearer may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Name in logs, in lists of clients and in the audit log.
    pub name: String,
    /// SHA-256 of the token.
    pub digest: TokenDigest,
    /// What its bearer may do.
    pub roles: Roles,
    /// What its bearer may watch.
    pub scope: Scope,
    /// When it ends, since the Unix epoch; `None` for never.
    pub expires: Option<Duration>,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receive streams.
    Watch,
    /// See the page, the API and the metrics.
    View,
    /// Change something.
    Operate,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 3] = [Role::Watch, Role::View, Role::Operate];

    /// Name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Watch => "watch",
            Role::View => "view",
            Role::Operate => "operate",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| "expected watch, view or operate".to_owned())
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Roles {
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Roles::default()
    }

    /// Whether it has a role. Who may change something may see it, too.
    pub fn has(self, role: Role) -> bool {
        let one = |role: Role| self.0 & 1 << role as u8 != 0;
        one(role) || role == Role::View && one(Role::Operate)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Roles {
        Roles(roles.into_iter().fold(0, |set, role| set | 1 << role as u8))
    }
}

/// Which streams may be received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Configured channels; `None` for all.
    pub channels: Option<Vec<ChannelPattern>>,
    /// Groups on demand, among those that `allow` has; `None` for all.
    pub groups: Option<Vec<IpNet>>,
}

impl Scope {
    /// Whether this channel may be received.
    pub fn has_channel(&self, name: &str) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.iter().any(|pattern| pattern.is(name)))
    }

    /// Whether this group may be received on demand.
    pub fn has_group(&self, group: IpAddr) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.iter().any(|prefix| prefix.contains(&group)))
    }
}

/// A channel's name, or the start of names, as in `sport-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPattern {
    start: String,
    is_whole: bool,
}

impl ChannelPattern {
    fn is(&self, name: &str) -> bool {
        if self.is_whole { name == self.start } else { name.starts_with(&self.start) }
    }

    /// The name, if it stands for one channel.
    pub(super) fn name(&self) -> Option<&str> {
        self.is_whole.then_some(&*self.start)
    }
}

impl FromStr for ChannelPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<ChannelPattern, String> {
        let start = text.strip_suffix('*').unwrap_or(text);
        let is_whole = start.len() == text.len();
        let fine = start.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !fine || text.is_empty() {
            return Err("expected a channel's name, or the start of names and *, such as sport-*".to_owned());
        }
        Ok(ChannelPattern { start: start.to_owned(), is_whole })
    }
}

/// An identity provider that gives out JSON Web Tokens (RFC 7519).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// Where its public keys are (JWKS, RFC 7517).
    pub keys: KeySource,
    /// Who gives the tokens out: `iss`.
    pub issuer: String,
    /// Whom they are for: `aud`.
    pub audience: String,
    /// The claim with the roles: a name, or a path such as `realm_access.roles`.
    pub roles_claim: String,
}

/// Where public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// At this URL.
    Url(String),
    /// In this file.
    File(PathBuf),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Url(url) => f.write_str(url),
            KeySource::File(path) => path.display().fmt(f),
        }
    }
}

/// Key of signed links: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey(pub [u8; 32]);

/// Hides the key.
impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(...)")
    }
}

/// Where the audit log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// To standard error, which a service manager puts into its journal.
    StandardError,
    /// To this file.
    File(PathBuf),
}

/// Parses 32 bytes in hexadecimal digits.
pub(super) fn hex(value: &Value) -> Result<[u8; 32], String> {
    let Value::Text(text) = value else {
        return Err("expected text in quotes, 64 hexadecimal digits".into());
    };
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let mut parsed = [0; 32];
    hex::decode_to_slice(digits, &mut parsed).map_err(|_| {
        format!("expected 64 hexadecimal digits, these are {} characters", digits.chars().count())
    })?;
    Ok(parsed)
}

/// Parses a time such as `2027-01-31T12:00:00Z`, or a day, in quotes or without; since the Unix
/// epoch.
pub(super) fn instant(value: &Value) -> Result<Duration, String> {
    let text = match value {
        Value::Text(text) | Value::Other(text) => text.as_str(),
        Value::Integer(_) => "",
    };
    let whole = if text.len() == "2027-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time = humantime::parse_rfc3339(&whole).ok();
    time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).ok_or_else(|| {
        "expected a time in UTC such as 2027-01-31T12:00:00Z, or a day such as 2027-01-31".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_sets_and_operators_see() {
        let roles = |roles: &[Role]| roles.iter().copied().collect::<Roles>();
        assert!(roles(&[Role::Operate]).has(Role::View) && !roles(&[Role::Operate]).has(Role::Watch));
        assert!(!roles(&[Role::View]).has(Role::Operate) && !Roles::default().has(Role::Watch));
        assert!(roles(&[Role::Watch, Role::View]).has(Role::Watch));
    }

    #[test]
    fn patterns_are_names_or_their_start() {
        let is = |pattern: &str, name: &str| pattern.parse::<ChannelPattern>().unwrap().is(name);
        assert!(is("cam", "cam") && is("sport-*", "sport-1") && is("*", "cam") && is("sport-*", "sport-"));
        assert!(!is("cam", "cam2") && !is("sport-*", "sport") && !is("cam", "Cam"));
        for wrong in ["", "a/b", "*a", "a*b", "a b"] {
            assert!(wrong.parse::<ChannelPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_64_digits() {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut expected = [0xAB; 32];
        expected[31] = 1;
        assert_eq!(hex(&text(&format!("{}01", "aB".repeat(31)))), Ok(expected));
        assert_eq!(hex(&text(&format!("sha256:{}", "00".repeat(32)))), Ok([0; 32]));
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"ä".repeat(32)] {
            assert!(hex(&text(wrong)).unwrap_err().starts_with("expected 64 hexadecimal digits"), "{wrong}");
        }
    }

    #[test]
    fn times_are_in_utc() {
        let seconds = |text: &str| instant(&Value::Text(text.to_owned())).map(|time| time.as_secs());
        assert_eq!(seconds("2027-01-31"), Ok(1_801_353_600));
        assert_eq!(seconds("2027-01-31T00:00:01Z"), Ok(1_801_353_601));
        assert_eq!(instant(&Value::Other("2027-01-31".to_owned())).unwrap().as_secs(), 1_801_353_600);
        for wrong in ["", "tomorrow", "2027-13-01", "2027-01-31 12:00"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
