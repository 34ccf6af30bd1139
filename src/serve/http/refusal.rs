//! Requests that get no stream: a status and one line of plain text that says what was wrong, and
//! what would be right. [`Refusal`] goes out through the HTTP library, [`plain`] without it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{channel::thread::ThreadError, limits::RETRY_AFTER, registry, shares::Refused};

/// A whole answer, written by hand for a connection whose requests the HTTP library does not read.
/// The connection ends behind it.
pub(super) fn plain(status: StatusCode, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         retry-after: {}\r\nconnection: close\r\n\r\n{text}\n",
        text.len() + 1,
        RETRY_AFTER.as_secs()
    )
}

/// Why a request is refused, and the line that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400: the request makes no sense.
    Malformed(String),
    /// 403: the group may not be asked for.
    Forbidden(String),
    /// 404: there is nothing there.
    NotFound(String),
    /// 405: everything here can only be read.
    Method(String),
    /// 408: the request's body did not come in time.
    Late(String),
    /// 413: the request's body is too long.
    TooLong(String),
    /// 421: the request names a host that is not this one.
    Misdirected(String),
    /// 500: the relay cannot do it, and waiting will not help.
    Failed(String),
    /// 501: something is missing here that would do it.
    NotImplemented(String),
    /// 503: not now.
    Busy(String),
}

impl Refusal {
    /// The line that says why.
    pub(super) fn text(self) -> String {
        self.parts().1
    }

    fn parts(self) -> (StatusCode, String) {
        match self {
            Refusal::Malformed(text) => (StatusCode::BAD_REQUEST, text),
            Refusal::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            Refusal::NotFound(text) => (StatusCode::NOT_FOUND, text),
            Refusal::Method(text) => (StatusCode::METHOD_NOT_ALLOWED, text),
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
        let (status, text) = self.parts();
        let mut response = (status, format!("{text}\n")).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}
