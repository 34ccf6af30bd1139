//! Content negotiation, and compression of text for clients that accept it.

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

/// A response with generated text, compressed if the client accepts it.
pub(super) fn text(headers: &HeaderMap, content_type: &'static str, text: Bytes) -> Response {
    let described = [(header::CONTENT_TYPE, content_type), (header::VARY, "accept-encoding")];
    if !accepts(headers, header::ACCEPT_ENCODING, "gzip") {
        return (described, text).into_response();
    }
    let compressed = compressed(&text, Compression::fast());
    (described, [(header::CONTENT_ENCODING, "gzip")], compressed).into_response()
}

/// Compresses the bytes with gzip.
pub(super) fn compressed(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to a Vec cannot fail.
    let _ = std::io::Write::write_all(&mut encoder, bytes);
    encoder.finish().unwrap_or_default()
}

/// Whether a list of preferences includes `what`, and not with `q=0`.
pub(super) fn accepts(headers: &HeaderMap, name: header::HeaderName, what: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|entry| {
        let mut words = entry.split(';').map(str::trim);
        let is_it = words.next().is_some_and(|first| first.eq_ignore_ascii_case(what));
        is_it && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}
