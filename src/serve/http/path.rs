//! Paths of requests. Only [`normalize`] changes them, before anything else reads them.

use axum::http::{Uri, uri::PathAndQuery};

/// Path at which Socket.IO clients expect their server.
pub(super) const SOCKET_IO: &str = "/socket.io";

/// Reduces slashes at the start of a path to one, and removes the base path under which a proxy
/// serves the relay.
pub(super) fn normalize(uri: &mut Uri, base: &str) {
    reduce_slashes(uri);
    strip(uri, base);
    reduce_slashes(uri);
}

/// Whether a path is the base without its final slash; it is redirected to the one with the slash.
pub(super) fn is_base_without_slash(path: &str, base: &str) -> bool {
    base.strip_suffix('/').is_some_and(|base| !base.is_empty() && base == path)
}

/// Some players join a base URL and a path with a surplus slash: `//udp/...`.
fn reduce_slashes(uri: &mut Uri) {
    let Some(whole) =
        uri.path_and_query().map(|whole| whole.as_str()).filter(|whole| whole.starts_with("//"))
    else {
        return;
    };
    let path = format!("/{}", whole.trim_start_matches('/')).parse::<PathAndQuery>();
    if let Ok(path) = path {
        *uri = Uri::from(path);
    }
}

/// Removes the base from a path that starts with it. A proxy may already have removed it.
fn strip(uri: &mut Uri, base: &str) {
    let Some(whole) = uri.path_and_query().filter(|_| base.len() > 1) else { return };
    let Some(rest) =
        whole.as_str().strip_prefix(&base[..base.len() - 1]).filter(|rest| rest.starts_with('/'))
    else {
        return;
    };
    let Ok(rest) = rest.parse::<PathAndQuery>() else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(rest);
    // The other parts come from a valid URI, and the path starts with a slash.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(uri: &str, base: &str) -> String {
        let mut uri = uri.parse::<Uri>().unwrap();
        normalize(&mut uri, base);
        uri.to_string()
    }

    #[test]
    fn slashes_and_the_base_are_taken_off() {
        assert_eq!(normalized("//udp/239.1.1.1:5000?flow=7", "/"), "/udp/239.1.1.1:5000?flow=7");
        assert_eq!(normalized("/tv/streams/a?start=live", "/tv/"), "/streams/a?start=live");
        assert_eq!(normalized("//tv//streams/a", "/tv/"), "/streams/a");
        for untouched in ["/streams/a", "/tvs/a", "/tv", "/a//b"] {
            assert_eq!(normalized(untouched, "/tv/"), untouched);
        }
        assert_eq!(normalized("http://tv.example/tv/a", "/tv/"), "http://tv.example/a");
    }

    #[test]
    fn only_the_base_itself_is_redirected() {
        assert!(is_base_without_slash("/tv", "/tv/"));
        assert!(!is_base_without_slash("/tv/", "/tv/") && !is_base_without_slash("", "/"));
    }
}
