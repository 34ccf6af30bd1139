//! Who may request what: [`RULES`] says which role each path needs, and [`guard`] checks it before
//! the routes. Handlers find the caller's [`Grant`] in the request's extensions, and check which
//! streams it covers.
//!
//! A caller presents a token as `Authorization: Bearer`, as the password of `Basic`, as the cookie
//! of [`super::login`] or as `?token=`, or comes by a signed link.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;

use super::{
    App, login, path,
    refusal::{Refusal, Why},
    via::Via,
};
use crate::{
    access::{Denied, Grant, Link},
    config::Role,
};

/// What a request needs: everyone may send it, or callers with a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// A role.
    One(Role),
}

/// Start of a path, and what it needs. `docs/security.md` says more of each.
pub(super) struct Rule {
    pub(super) start: &'static str,
    pub(super) needs: Needs,
}

const fn rule(start: &'static str, needs: Needs) -> Rule {
    Rule { start, needs }
}

const WATCH: Needs = Needs::One(Role::Watch);
const VIEW: Needs = Needs::One(Role::View);

/// The first one that fits counts. What changes something needs `operate`, wherever it is; a path
/// without a rule needs `view`.
pub(super) const RULES: &[Rule] = &[
    rule("/healthz", Needs::Nothing),
    rule("/readyz", Needs::Nothing),
    rule("/login", Needs::Nothing),
    rule("/logout", Needs::Nothing),
    rule("/favicon.ico", Needs::Nothing),
    rule("/playlist.m3u", WATCH),
    rule("/streams/", WATCH),
    rule("/udp/", WATCH),
    rule("/rtp/", WATCH),
    rule("/ws/", WATCH),
    rule("/sse/", WATCH),
    rule(path::SOCKET_IO, WATCH),
    rule("/metrics", VIEW),
    rule("/status", VIEW),
    rule("/api/", VIEW),
    rule("/page/", VIEW),
    rule("/", VIEW),
];

/// Paths that signed links open: each names one stream.
pub const LINKED: [&str; 5] = ["/streams/", "/udp/", "/rtp/", "/ws/", "/sse/"];

/// What a request needs.
pub(super) fn needs(method: &Method, path: &str) -> Needs {
    let rule = RULES.iter().find(|rule| path.starts_with(rule.start));
    let needs = rule.map_or(VIEW, |rule| rule.needs);
    match needs {
        // Socket.IO posts what its clients emit.
        Needs::One(Role::View) if !method.is_safe() => Needs::One(Role::Operate),
        needs => needs,
    }
}

/// Passes on requests whose caller may send them, and refuses others.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match admit(&app, &request) {
        Ok(grant) => {
            let who = request.extensions().get::<Via>().map(|via| via.who(request.headers(), &grant));
            let what = what(&request);
            request.extensions_mut().insert(grant);
            without_credentials(request.uri_mut());
            let response = next.run(request).await;
            if let (Some(who), Some(Why(why))) = (who, response.extensions().get()) {
                app.audit.refused_http(&who, &what, why);
            }
            response
        }
        Err(denied) => refuse(&app, &request, denied),
    }
}

/// The grant of a request's caller.
///
/// # Errors
/// It is not enough for this request, or the caller presents something wrong.
pub(super) fn admit(app: &App, request: &Request) -> Result<Grant, Denied> {
    let needs = needs(request.method(), request.uri().path());
    let grant = grant_of(app, request);
    match needs {
        // A wrong token does not close what is open to everyone.
        Needs::Nothing => Ok(grant.unwrap_or_else(|_| app.access.anonymous())),
        // Browsers ask without a token whether they may ask with one (Fetch, section 4.8).
        Needs::One(_) if request.method() == Method::OPTIONS => Ok(app.access.anonymous()),
        Needs::One(role) => {
            let grant = grant?;
            // Without rules `control = true` decides about changes (`control`).
            if app.access.has_rules() {
                grant.needs(role)?;
            }
            Ok(grant)
        }
    }
}

fn grant_of(app: &App, request: &Request) -> Result<Grant, Denied> {
    let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
    let via = request.extensions().get::<Via>();
    let caller = via.map_or(crate::shares::Caller::Proxy, |via| via.caller);
    let in_query =
        |query| token_in(query).map(|token| percent_decode_str(token).decode_utf8_lossy().into_owned());
    if let Some(token) = authorization(headers).or_else(|| in_query(query)) {
        return app.access.with_token(caller, &token);
    }
    let is_stream = LINKED.iter().any(|start| request.uri().path().starts_with(start));
    if let Some(link) = Link::find(query).filter(|_| is_stream) {
        let from = via.and_then(Via::address);
        return app.access.with_link(caller, request.uri().path(), &link, from);
    }
    match login::cookie(headers) {
        // A cookie that is out of date is none: the page asks for a token again.
        Some(token) => Ok(app.access.with_cookie(&token).unwrap_or_else(|_| app.access.anonymous())),
        None => Ok(app.access.anonymous()),
    }
}

/// Takes out of a query what has been read, since handlers know their own keys alone. A playlist
/// carries the token on.
fn without_credentials(uri: &mut Uri) {
    const READ: [&str; 5] = ["token=", "exp=", "sig=", "addr=", "by="];
    let is_read = |pair: &str| READ.iter().any(|key| pair.starts_with(key));
    let Some(query) = uri.query().filter(|query| query.split('&').any(is_read)) else { return };
    if uri.path() == "/playlist.m3u" {
        return;
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_read(pair)).collect();
    let path = uri.path();
    let text = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    let mut parts = uri.clone().into_parts();
    // Parts of a valid URI.
    parts.path_and_query = text.parse().ok();
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

/// A request in the audit log, without its query, which may have a token.
fn what(request: &Request) -> String {
    format!("{} {}", request.method(), request.uri().path())
}

/// The token of `Authorization: Bearer TOKEN`, or the password of `Basic`.
fn authorization(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let decoded =
        BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// The token of `?token=TOKEN`, as it was written there.
pub(super) fn token_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Answers a caller who may not do this: a person with a form, a program with a line.
pub(super) fn refuse(app: &App, request: &Request, denied: Denied) -> Response {
    if let Some(via) = request.extensions().get::<Via>() {
        let who = via.who(request.headers(), &app.access.anonymous());
        app.audit.refused_http(&who, &what(request), &denied.to_string());
    }
    let is_person = login::is_person(request.method(), request.headers());
    if denied.asks_for_token() && is_person {
        return login::form(app, request.uri().path(), None);
    }
    let asks = denied.asks_for_token();
    let mut response = Refusal::from(denied).into_response();
    if asks {
        // With `Basic`, players ask for a password; a browser would do so over the page.
        let of_pages = ["sec-fetch-mode", "origin", "referer"];
        let is_page = of_pages.iter().any(|name| request.headers().contains_key(*name));
        let challenge = if is_page { "Bearer realm=\"tidecast\"" } else { "Basic realm=\"tidecast\"" };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Refusal {
        let text = denied.to_string();
        match denied {
            Denied::NoToken(_) | Denied::Unknown | Denied::Expired | Denied::Jwt(_) | Denied::JwtKey => {
                Refusal::Unauthorized(text)
            }
            Denied::TooMany => Refusal::TooMany(text),
            Denied::Forged | Denied::LinkExpired | Denied::Role(_) | Denied::Stream(_) => {
                Refusal::Forbidden(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts_and_changes_need_more() {
        let of = |method: Method, path: &str| needs(&method, path);
        assert_eq!(of(Method::GET, "/healthz"), Needs::Nothing);
        assert_eq!(of(Method::GET, "/streams/cam.sdp"), WATCH);
        assert_eq!(of(Method::POST, "/socket.io/"), WATCH);
        for path in ["/", "/metrics", "/api/v1/streams", "/page/1/app.js", "/nothing", "/streams"] {
            assert_eq!(of(Method::GET, path), VIEW, "{path}");
            assert_eq!(of(Method::HEAD, path), VIEW, "{path}");
        }
        for method in [Method::DELETE, Method::PUT, Method::POST, Method::PATCH] {
            assert_eq!(of(method, "/api/v1/streams/a/clients/1"), Needs::One(Role::Operate));
        }
        assert_eq!(of(Method::POST, "/login"), Needs::Nothing);
    }

    #[test]
    fn what_has_been_read_is_taken_out_of_the_query() {
        let of = |uri: &str| {
            let mut uri: Uri = uri.parse().unwrap();
            without_credentials(&mut uri);
            uri.to_string()
        };
        assert_eq!(of("/ws/cam?token=a&flow=7&exp=1&sig=b&addr=c&by=d"), "/ws/cam?flow=7");
        assert_eq!(of("/sse/cam?token=a"), "/sse/cam");
        assert_eq!(of("http://relay:80/streams/a?x=1&sig=2"), "http://relay:80/streams/a?x=1");
        for untouched in ["/ws/cam?flow=7", "/ws/cam", "/playlist.m3u?token=a", "/ws/cam?mytoken=a"] {
            assert_eq!(of(untouched), untouched);
        }
    }

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            authorization(&headers)
        };
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(with("Basic dmxjOmFiYw==").as_deref(), Some("abc"), "vlc:abc");
        for wrong in ["abc", "Basic abc", "Digest dmxjOmFiYw==", "Basic YWJj"] {
            assert_eq!(with(wrong), None, "{wrong}");
        }
        assert_eq!(token_in("flow=1&token=a%2Bb"), Some("a%2Bb"));
        assert_eq!(token_in("mytoken=a"), None);
    }

    /// The table in the document for users has these rows, in this order, and no other.
    #[test]
    fn the_document_has_this_table() {
        let document = include_str!("../../../docs/security.md");
        let table = document.split("| Path | Needs | What |\n|---|---|---|\n").nth(1).unwrap();
        let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), RULES.len());
        for (row, Rule { start, needs }) in rows.iter().zip(RULES) {
            let needs = match needs {
                Needs::Nothing => "nothing".to_owned(),
                Needs::One(role) => format!("`{role}`"),
            };
            let expected = format!("| `{start}` | {needs} | ");
            assert!(row.starts_with(&expected), "docs/security.md: {row:?}, expected {expected:?}");
        }
    }
}
