//! The page at `/`, from files that are built into the binary. Their path contains a hash of all
//! of them, so browsers may cache them forever; only the page itself, which names the path, is
//! requested again.

use std::sync::{LazyLock, OnceLock};

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::Compression;

use super::{
    App,
    encoding::{accepts, compressed},
    refusal::Refusal,
};

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    gzip: OnceLock<Vec<u8>>,
}

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const MANIFEST: &str = "application/manifest+json";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! asset {
    ($content_type:expr, $name:literal) => {
        Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../../web/", $name)),
            gzip: OnceLock::new(),
        }
    };
}

static ASSETS: [Asset; 42] = [
    asset!(JS, "app.js"),
    asset!(JS, "channels.js"),
    asset!(JS, "charts.js"),
    asset!(JS, "choices.js"),
    asset!(JS, "detail.js"),
    asset!(JS, "dom.js"),
    asset!(JS, "drawing.js"),
    asset!(JS, "events.js"),
    asset!(JS, "flow.js"),
    asset!(JS, "flows.js"),
    asset!(JS, "format.js"),
    asset!(JS, "icons.js"),
    asset!(JS, "keyboard.js"),
    asset!(JS, "live.js"),
    asset!(JS, "operator.js"),
    asset!(JS, "picture.js"),
    asset!(JS, "player.js"),
    asset!(JS, "players.js"),
    asset!(JS, "programme.js"),
    asset!(JS, "series.js"),
    asset!(JS, "share.js"),
    asset!(JS, "since.js"),
    asset!(JS, "state.js"),
    asset!(JS, "stream.js"),
    asset!(JS, "strip.js"),
    asset!(JS, "summary.js"),
    asset!(JS, "tables.js"),
    asset!(JS, "theme.js"),
    asset!(JS, "thumbs.js"),
    asset!(JS, "video.js"),
    asset!(CSS, "css/theme.css"),
    asset!(CSS, "css/base.css"),
    asset!(CSS, "css/hero.css"),
    asset!(CSS, "css/channels.css"),
    asset!(CSS, "css/detail.css"),
    asset!(CSS, "css/small.css"),
    asset!(SVG, "mark.svg"),
    asset!(MANIFEST, "manifest.webmanifest"),
    asset!(JS, "vendor/uPlot.iife.min.js"),
    asset!(CSS, "vendor/uPlot.min.css"),
    asset!(JS, "vendor/mpegts.js"),
    asset!(JS, "vendor/lean-qr.mjs"),
];

static LICENCES: [Asset; 4] = [
    asset!(TEXT, "vendor/uPlot.LICENSE"),
    asset!(TEXT, "vendor/mpegts.js.LICENSE"),
    asset!(TEXT, "vendor/mpegts.js.LICENSE.txt"),
    asset!(TEXT, "vendor/lean-qr.LICENSE"),
];

/// The page; `{{base}}` stands for the path of the files.
const INDEX: &str = include_str!("../../web/index.html");

static SUM: LazyLock<String> = LazyLock::new(|| {
    let mut sum = crc32fast::Hasher::new();
    ASSETS.iter().for_each(|asset| sum.update(asset.bytes));
    sum.update(INDEX.as_bytes());
    format!("{:08x}", sum.finalize())
});

static PAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let version = INDEX.replace("{{version}}", env!("CARGO_PKG_VERSION"));
    version.replace("{{base}}", &format!("page/{}", *SUM)).into_bytes()
});

static PAGE_GZIP: OnceLock<Vec<u8>> = OnceLock::new();

/// Allows no other origin and nothing inline. A player's video is a blob that the page creates.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// Adds the page's files to the routes.
pub(super) fn mount(router: Router<App>) -> Router<App> {
    router.route("/favicon.ico", get(icon)).route("/page/{sum}/{*name}", get(file))
}

/// The page itself, for a client that prefers HTML to text.
pub(super) fn index(headers: &HeaderMap) -> Option<Response> {
    is_browser(headers).then(|| whole(headers))
}

fn is_browser(headers: &HeaderMap) -> bool {
    accepts(headers, header::ACCEPT, "text/html")
}

fn whole(headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", *SUM);
    let mut response = if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        body(headers, "text/html; charset=utf-8", &PAGE, &PAGE_GZIP)
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    out.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
    out.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    guarded(response)
}

/// `/favicon.ico`, for clients that request the icon without reading the page.
async fn icon() -> Response {
    let headers = [(header::CONTENT_TYPE, SVG), (header::CACHE_CONTROL, "max-age=86400")];
    guarded((headers, include_bytes!("../../web/mark.svg").as_slice()).into_response())
}

/// `/page/SUM/FILE`
async fn file(Path((sum, name)): Path<(String, String)>, headers: HeaderMap) -> Result<Response, Refusal> {
    let mut all = ASSETS.iter().chain(&LICENCES);
    let asset = all.find(|asset| asset.name == name && sum == *SUM).ok_or_else(|| {
        Refusal::NotFound(format!("there is no file {name:?} of this version of the page: see /"))
    })?;
    let mut response = body(&headers, asset.content_type, asset.bytes, &asset.gzip);
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Ok(guarded(response))
}

/// Compresses all files in advance, so that the first visitor does not wait.
pub(super) fn compress() {
    PAGE_GZIP.get_or_init(|| gzip(&PAGE));
    for asset in &ASSETS {
        asset.gzip.get_or_init(|| gzip(asset.bytes));
    }
}

fn guarded(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn body(
    headers: &HeaderMap,
    content_type: &'static str,
    bytes: &'static [u8],
    compressed: &'static OnceLock<Vec<u8>>,
) -> Response {
    let content_type = [(header::CONTENT_TYPE, content_type)];
    if !accepts(headers, header::ACCEPT_ENCODING, "gzip") {
        return (content_type, bytes).into_response();
    }
    let compressed = compressed.get_or_init(|| gzip(bytes)).as_slice();
    (content_type, [(header::CONTENT_ENCODING, "gzip")], compressed).into_response()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    compressed(bytes, Compression::best())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maximum transfer of a visit that plays a video.
    const TRANSFER_MAX: usize = 160 << 10;

    #[test]
    fn all_files_together_are_small() {
        let sizes: Vec<(usize, &str)> = ASSETS.iter().map(|a| (gzip(a.bytes).len(), a.name)).collect();
        let all = gzip(&PAGE).len() + sizes.iter().map(|(size, _)| size).sum::<usize>();
        println!("{all} bytes: {sizes:?}");
        assert!(all <= TRANSFER_MAX, "{all} bytes: {sizes:?}");
    }

    #[test]
    fn every_file_that_is_named_is_there_and_nothing_is_inline() {
        let page = std::str::from_utf8(&PAGE).unwrap();
        assert!(!page.contains("{{") && !page.contains("style=") && !page.contains(" onclick="));
        let prefix = format!("\"page/{}/", *SUM);
        let named: Vec<&str> =
            page.split(&prefix).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(named.contains(&"app.js") && named.contains(&"css/base.css"), "{named:?}");
        for name in named {
            assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
        }
        for asset in ASSETS.iter().filter(|asset| !asset.name.starts_with("vendor/")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for import in text.split("from './").skip(1).filter_map(|rest| rest.split('\'').next()) {
                assert!(ASSETS.iter().any(|known| known.name == import), "{}: {import}", asset.name);
            }
        }
    }

    #[test]
    fn preferences_are_read_as_they_are_written() {
        let mut headers = HeaderMap::new();
        assert!(!is_browser(&headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        assert!(!is_browser(&headers), "curl");
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,application/xml;q=0.9,*/*;q=0.8"));
        assert!(is_browser(&headers));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0"));
        assert!(!accepts(&headers, header::ACCEPT_ENCODING, "gzip"));
    }
}
