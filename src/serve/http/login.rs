//! The page's login: a form for a token, which the browser keeps in a cookie that scripts and other
//! sites do not get. The token in it is checked at each request, so one that is revoked ends.

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::{App, encoding::accepts, refusal::Refusal, via::Via};
use crate::{access::Denied, limits::LOGIN_BYTES_MAX, shares::Caller};

/// Name of the cookie.
const COOKIE: &str = "tidecast_token";

/// No script, no picture, nothing from elsewhere; the form is sent here alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The token in the browser's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.find(|(name, _)| *name == COOKIE)?.1;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Whether a request is a person's, who opens a page.
pub(super) fn is_person(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET && accepts(headers, header::ACCEPT, "text/html")
}

/// `GET /login`: the form.
pub(super) async fn show(State(app): State<App>, uri: Uri) -> Response {
    let mut response = form(&app, uri.path(), None);
    *response.status_mut() = StatusCode::OK;
    response
}

/// `POST /login` with `token=...&to=...`: keeps the token, if it is good, and shows the page.
pub(super) async fn login(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let via = parts.extensions.get::<Via>();
    let body = timeout(app.config.header_timeout, to_bytes(body, LOGIN_BYTES_MAX)).await;
    let body = body
        .map_err(|_| Refusal::Late("the form did not come: expected token=...".to_owned()))?
        .map_err(|_| Refusal::TooLong(format!("expected a form of at most {LOGIN_BYTES_MAX} bytes")))?;
    let value = |key: &str| {
        let value = form_urlencoded::parse(&body).find(|(name, _)| name == key);
        value.map(|(_, value)| value.trim().to_owned())
    };
    let token = value("token").unwrap_or_default();
    // Only a path of this relay, so that nobody is led elsewhere.
    let is_path = |to: &String| {
        to.starts_with('/') && !to.starts_with("//") && !to.contains(|c: char| c == '\\' || c.is_control())
    };
    let to = value("to").filter(is_path);
    let caller = via.map_or(Caller::Proxy, |via| via.caller);
    let granted = app.access.with_token(caller, &token);
    let grant = granted.as_ref().map_or_else(|_| app.access.anonymous(), Clone::clone);
    let who = via.map(|via| via.who(&parts.headers, &grant)).unwrap_or_default();
    if let Err(denied) = granted {
        app.audit.refused_http(&who, "POST /login", &denied.to_string());
        if denied == Denied::TooMany {
            return Err(denied.into());
        }
        return Ok(form(&app, to.as_deref().unwrap_or("/"), Some(&denied.to_string())));
    }
    if app.access.has_rules() {
        app.audit.logged_in(&who);
    }
    let base = &app.config.base;
    let to = format!("{}{}", base.trim_end_matches('/'), to.as_deref().unwrap_or("/"));
    Ok(redirect(&to, &set_cookie(via, base, &token, None)))
}

/// `POST /logout`: forgets the token.
pub(super) async fn logout(State(app): State<App>, request: Request) -> Response {
    let base = &app.config.base;
    let form = format!("{}/login", base.trim_end_matches('/'));
    redirect(&form, &set_cookie(request.extensions().get::<Via>(), base, "", Some(0)))
}

fn redirect(to: &str, cookie: &str) -> Response {
    let headers = [
        (header::LOCATION, HeaderValue::try_from(to)),
        (header::SET_COOKIE, HeaderValue::try_from(cookie)),
        (header::CACHE_CONTROL, Ok(HeaderValue::from_static("no-store"))),
    ];
    let mut response = StatusCode::SEE_OTHER.into_response();
    for (name, value) in headers {
        if let Ok(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn set_cookie(via: Option<&Via>, base: &str, token: &str, max_age: Option<u64>) -> String {
    let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    let secure = if via.is_some_and(|via| via.scheme == "https") { "; Secure" } else { "" };
    let max_age = max_age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
    format!("{COOKIE}={token}; Path={base}; HttpOnly; SameSite=Strict{secure}{max_age}")
}

/// The form, with what was wrong; it leads back to the page that was asked for.
pub(super) fn form(app: &App, to: &str, wrong: Option<&str>) -> Response {
    let to = if to == "/login" { "/" } else { to };
    let base = app.config.base.trim_end_matches('/');
    let wrong = wrong.map(|wrong| format!("<p role=\"alert\">{}</p>", escaped(wrong))).unwrap_or_default();
    let html = include_str!("../../web/login.html")
        .replace("{wrong}", &wrong)
        .replace("{action}", &escaped(&format!("{base}/login")))
        .replace("{to}", &escaped(to));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::UNAUTHORIZED, headers, html).into_response()
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; tidecast_token=t%5F1; b=2"));
        assert_eq!(cookie(&headers).as_deref(), Some("t_1"));
        assert_eq!(cookie(&HeaderMap::new()), None);
        let set = set_cookie(None, "/tv/", "t_1", None);
        assert_eq!(set, "tidecast_token=t%5F1; Path=/tv/; HttpOnly; SameSite=Strict");
    }
}
