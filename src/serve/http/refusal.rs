//! Refused requests: a status and one line of plain text that says what was wrong and what was
//! expected. The HTTP library sends a [`Refusal`]; [`plain`] works without it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{channel::thread::ThreadError, limits::RETRY_AFTER, registry, shares::Refused};

/// A complete response, for a connection whose requests the HTTP library does not read. The
/// connection ends after it.
pub(super) fn plain(status: StatusCode, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         retry-after: {}\r\nconnection: close\r\n\r\n{text}\n",
        text.len() + 1,
        RETRY_AFTER.as_secs()
    )
}

/// Why a request is refused, with the line for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400: the request is invalid.
    Malformed(String),
    /// 401: the caller has no token, or a wrong one.
    Unauthorized(String),
    /// 403: the group, or the origin of the request, is not allowed.
    Forbidden(String),
    /// 404: nothing has this path or name.
    NotFound(String),
    /// 405: the path has other methods.
    Method(String, Allow),
    /// 408: the request's body did not come in time.
    Late(String),
    /// 413: the request's body is too long.
    TooLong(String),
    /// 421: the request names a host that is not this one.
    Misdirected(String),
    /// 429: too many wrong tokens came from the caller's host.
    TooMany(String),
    /// 500: the relay cannot do it, and retrying will not help.
    Failed(String),
    /// 501: a program or feature is missing.
    NotImplemented(String),
    /// 503: not available now.
    Busy(String),
}

/// Why a request was forbidden: an extension of its response, for the audit log.
#[derive(Debug, Clone)]
pub(super) struct Why(pub(super) String);

/// Methods of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allow {
    /// It can be read.
    Get,
    /// It can be removed.
    Delete,
}

impl Refusal {
    /// The line for the client.
    pub(super) fn text(self) -> String {
        self.parts().1
    }

    fn parts(self) -> (StatusCode, String) {
        match self {
            Refusal::Malformed(text) => (StatusCode::BAD_REQUEST, text),
            Refusal::Unauthorized(text) => (StatusCode::UNAUTHORIZED, text),
            Refusal::TooMany(text) => (StatusCode::TOO_MANY_REQUESTS, text),
            Refusal::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            Refusal::NotFound(text) => (StatusCode::NOT_FOUND, text),
            Refusal::Method(text, _) => (StatusCode::METHOD_NOT_ALLOWED, text),
            Refusal::Late(text) => (StatusCode::REQUEST_TIMEOUT, text),
            Refusal::TooLong(text) => (StatusCode::PAYLOAD_TOO_LARGE, text),
            Refusal::Misdirected(text) => (StatusCode::MISDIRECTED_REQUEST, text),
            Refusal::Failed(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
            Refusal::NotImplemented(text) => (StatusCode::NOT_IMPLEMENTED, text),
            Refusal::Busy(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        Refusal::Busy(refused.to_string())
    }
}

impl From<registry::RegistryError> for Refusal {
    fn from(error: registry::RegistryError) -> Refusal {
        let text = error.to_string();
        match error {
            registry::RegistryError::Unknown { .. }
            | registry::RegistryError::PacketThread(ThreadError::Unknown { .. }) => Refusal::NotFound(text),
            registry::RegistryError::PacketThread(
                ThreadError::Leg { .. } | ThreadError::NameTaken { .. },
            ) => Refusal::Failed(text),
            registry::RegistryError::Refused(_)
            | registry::RegistryError::Waiting { .. }
            | registry::RegistryError::PacketThread(ThreadError::TooManyTaps { .. } | ThreadError::Stopped) => {
                Refusal::Busy(text)
            }
        }
    }
}

impl From<registry::Stalled> for Refusal {
    fn from(stalled: registry::Stalled) -> Refusal {
        Refusal::Busy(stalled.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let allow = match &self {
            Refusal::Method(_, Allow::Get) => Some("GET, HEAD"),
            Refusal::Method(_, Allow::Delete) => Some("DELETE"),
            _ => None,
        };
        let (status, text) = self.parts();
        let mut response = (status, format!("{text}\n")).into_response();
        if status == StatusCode::FORBIDDEN {
            response.extensions_mut().insert(Why(text));
        }
        let headers = response.headers_mut();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
