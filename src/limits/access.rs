//! Who may do what.

use std::time::Duration;

/// Tokens of a configuration: each request without a known one is compared with all of them.
pub const TOKENS_MAX: usize = 1000;

/// Default time for which the links in a playlist are valid: a player that was switched off over
/// night goes on.
pub const LINK_VALID: Duration = Duration::from_secs(24 * 3600);
pub const LINK_VALID_MIN: Duration = Duration::from_secs(1);
pub const LINK_VALID_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Failed attempts of one host at once, and how long it takes until one of them is forgotten. A
/// person who types a token wrong needs a few; a token of 256 bits is not found by trying.
pub const ATTEMPTS_MAX: u32 = 10;
pub const ATTEMPT_FORGOTTEN: Duration = Duration::from_secs(6);

/// Hosts whose failed attempts are counted; beyond that, those that failed longest ago are
/// forgotten.
pub const ATTEMPT_HOSTS_MAX: usize = 4096;

/// Bytes of a login form: a token and a path.
pub const LOGIN_BYTES_MAX: usize = 8192;

/// Lines of the audit log that wait for the disk: a second's worth at more than any relay has.
pub const AUDIT_LINES_MAX: usize = 10_000;

/// Refused attempts that are written down in a second; beyond that they are counted in the next
/// line, since everyone who reaches a port can cause them.
pub const AUDIT_REFUSALS_PER_SECOND: u32 = 20;

/// How often it is checked whether the file was moved away.
pub const AUDIT_REOPEN: Duration = Duration::from_secs(1);

/// How often the keys of an identity provider are fetched without a reason: it announces a new key
/// for longer than that before it signs with it.
pub const JWKS_INTERVAL: Duration = Duration::from_secs(300);

/// How often they are fetched because a token names an unknown key, which anyone can write.
pub const JWKS_AGAIN: Duration = Duration::from_secs(10);

/// Time in which the keys must come, and their size: providers have a handful.
pub const JWKS_FETCH_MAX: Duration = Duration::from_secs(10);
pub const JWKS_BYTES_MAX: u64 = 1 << 20;

/// How far the clocks of provider and relay may be apart.
pub const JWT_LEEWAY: Duration = Duration::from_secs(10);

/// Bytes of a bearer's name in logs.
pub const JWT_USER_BYTES_MAX: usize = 64;

/// Bytes that are written down of a text that others have chosen.
pub const AUDIT_TEXT_MAX: usize = 256;
