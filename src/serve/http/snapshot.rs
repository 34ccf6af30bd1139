//! `/streams/NAME/snapshot.jpg`: the last key frame as a picture, made by ffmpeg if that is
//! installed.
//!
//! ffmpeg gets only that frame of the stream, on its standard input, and may not open anything
//! else. The number of processes, their run time, input and output are bounded, and a picture is
//! reused for a second.

use std::{
    collections::HashMap,
    io::{Error, ErrorKind},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    body::Bytes,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, Command},
    sync::{Mutex as AsyncMutex, Semaphore},
    time::{sleep, timeout},
};

use super::{App, refusal::Refusal};
use crate::limits::{
    SNAPSHOT_AGE, SNAPSHOT_BYTES_MAX, SNAPSHOT_JPEG_BYTES_MAX, SNAPSHOT_PIXELS_MAX, SNAPSHOT_SMALL_WIDTH,
    SNAPSHOT_TIMEOUT, SNAPSHOT_TRIES, SNAPSHOT_WAIT, SNAPSHOTS_MAX,
};
use tidecast_net::clock;
use tidecast_wire::ts::{access::Access, packets::Packets};

/// The last picture of each requested channel.
#[derive(Debug)]
pub(super) struct Snapshots {
    program: &'static str,
    /// By name of a configured channel and size, which bounds their number.
    latest: Mutex<HashMap<(String, Size), Latest>>,
    places: Semaphore,
}

/// The last picture of one channel and size; locked while it is made.
type Latest = Arc<AsyncMutex<Option<Picture>>>;

#[derive(Debug, Clone)]
struct Picture {
    made: Instant,
    /// Or the reason why there is none, so that waiting clients do not all try again.
    jpeg: Result<Bytes, Refusal>,
}

/// Size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Size {
    /// That of the video.
    Whole,
    /// For a list of channels.
    Small,
}

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots { program: "ffmpeg", latest: Mutex::default(), places: Semaphore::new(SNAPSHOTS_MAX) }
    }
}

/// The answer for a channel. With `size=small`, for lists, the answer without a picture is 204,
/// which browsers do not report as an error.
pub(super) async fn snapshot(app: &App, name: &str, size: Option<&str>) -> Result<Response, Refusal> {
    app.registry.format(name)?; // fails for an unknown channel
    let size = match size {
        None => Size::Whole,
        Some("small") => Size::Small,
        Some(other) => {
            return Err(Refusal::Malformed(format!("size={other:?}: expected size=small, or no size")));
        }
    };
    let make = app.snapshots.make(app, name, size);
    let jpeg = match app.snapshots.get(name, size, make).await {
        Err(_) if size == Size::Small => return Ok(StatusCode::NO_CONTENT.into_response()),
        made => made?,
    };
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-cache")], jpeg).into_response())
}

impl Snapshots {
    /// A current picture. Requests during its creation wait for it.
    async fn get(
        &self,
        name: &str,
        size: Size,
        make: impl Future<Output = Result<Bytes, Refusal>>,
    ) -> Result<Bytes, Refusal> {
        let entry = {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            latest.entry((name.to_owned(), size)).or_default().clone()
        };
        let mut latest = entry.lock().await;
        let fresh = |picture: &&Picture| clock::now().saturating_duration_since(picture.made) < SNAPSHOT_AGE;
        if let Some(picture) = latest.as_ref().filter(fresh) {
            return picture.jpeg.clone();
        }
        let jpeg = make.await;
        *latest = Some(Picture { made: clock::now(), jpeg: jpeg.clone() });
        jpeg
    }

    async fn make(&self, app: &App, name: &str, size: Size) -> Result<Bytes, Refusal> {
        let frame = key_frame(app, name).await?;
        let place = timeout(SNAPSHOT_TIMEOUT, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(Refusal::Busy(format!(
                "{SNAPSHOTS_MAX} pictures are being made already, expected fewer: try again later"
            )));
        };
        draw(self.program, frame, size).await
    }
}

/// The tables and the last key frame of a channel, complete.
async fn key_frame(app: &App, name: &str) -> Result<Vec<u8>, Refusal> {
    if app.config.start_bytes_max == 0 {
        return Err(Refusal::Busy(
            "no key frames are kept: expected start_bytes_max above 0 in [http]".to_owned(),
        ));
    }
    for attempt in 0..SNAPSHOT_TRIES {
        if attempt > 0 {
            sleep(SNAPSHOT_WAIT).await; // the rest of the frame has not come yet
        }
        let chunks = app.registry.kept(name).await?;
        let bytes = chunks.iter().flat_map(|chunk| &chunk.bytes).copied().take(SNAPSHOT_BYTES_MAX);
        if let Some(frame) = first_picture(&bytes.collect::<Vec<u8>>()) {
            return Ok(frame);
        }
    }
    Err(Refusal::Busy(format!(
        "no key frame of {name} is there: expected an MPEG transport stream with H.264, HEVC or MPEG-2 video, \
         received within the last seconds, and no more than start_bytes_max between its key frames"
    )))
}

/// The TS packets of a stream that starts with tables and a picture, up to the packet that shows
/// the end of the picture.
fn first_picture(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut access, mut pictures, mut frame) = (Access::default(), 0, Vec::new());
    Packets::default().push(bytes, |placed| {
        if pictures < 2 {
            frame.extend_from_slice(placed.packet);
            pictures += usize::from(access.see(placed.packet).begins);
        }
    });
    (pictures == 2).then_some(frame)
}

/// Runs ffmpeg to make a picture of the frame.
async fn draw(program: &str, frame: Vec<u8>, size: Size) -> Result<Bytes, Refusal> {
    match timeout(SNAPSHOT_TIMEOUT, run(program, frame, size)).await {
        Ok(Ok(jpeg)) if !jpeg.is_empty() => Ok(jpeg.into()),
        Ok(Ok(_)) => Err(Refusal::Busy(
            "ffmpeg cannot decode the key frame: is the stream scrambled or damaged? Expected a whole picture".to_owned(),
        )),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Err(Refusal::NotImplemented(
            "ffmpeg is not installed here: expected the program ffmpeg, which makes the pictures".to_owned(),
        )),
        Ok(Err(error)) => Err(Refusal::Failed(format!("cannot run ffmpeg: {error}"))),
        Err(_) => Err(Refusal::Busy(format!(
            "ffmpeg has not made a picture within {SNAPSHOT_TIMEOUT:?}: expected a less busy machine; try again later"
        ))),
    }
}

async fn run(program: &str, frame: Vec<u8>, size: Size) -> Result<Vec<u8>, Error> {
    let pixels = SNAPSHOT_PIXELS_MAX.to_string();
    let scale = match size {
        Size::Whole => "null".to_owned(),
        Size::Small => format!("scale=w='min({SNAPSHOT_SMALL_WIDTH},iw)':h=-2"),
    };
    let mut child = Command::new(program)
        .args(["-nostdin", "-v", "quiet", "-protocol_whitelist", "pipe", "-threads", "1"])
        .args([
            "-max_pixels",
            &pixels,
            "-f",
            "mpegts",
            "-i",
            "pipe:0",
            "-map",
            "0:v:0",
            "-frames:v",
            "1",
            "-vf",
            &scale,
        ])
        .args([
            "-threads",
            "1",
            "-c:v",
            "mjpeg",
            "-q:v",
            "4",
            "-pix_fmt",
            "yuvj420p",
            "-f",
            "image2pipe",
            "pipe:1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut jpeg = Vec::new();
    let read = async {
        match stdout {
            Some(stdout) => stdout.take(SNAPSHOT_JPEG_BYTES_MAX).read_to_end(&mut jpeg).await.map(drop),
            None => Ok(()),
        }
    };
    let ((), read) = tokio::join!(feed(stdin, &frame), read);
    read?;
    let status = child.wait().await?;
    // The picture may be incomplete if ffmpeg fails.
    Ok(if status.success() { jpeg } else { Vec::new() })
}

/// Writes the frame until ffmpeg stops reading: it ends when it has its picture.
async fn feed(stdin: Option<ChildStdin>, frame: &[u8]) {
    let Some(mut stdin) = stdin else { return };
    if let Err(error) = stdin.write_all(frame).await {
        tracing::debug!("ffmpeg has read enough: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_testkit::ts::{H264, VIDEO, packet, picture, tables};

    #[test]
    fn a_picture_is_whole_when_the_next_one_begins() {
        let key = picture(H264, true);
        let stream = [
            tables(0, 0x1b),
            vec![packet(VIDEO, true, true, &key), packet(VIDEO, false, false, &[7; 90])],
            vec![packet(VIDEO, true, false, &[0, 0, 1, 0xe0]), packet(VIDEO, false, false, &[8; 90])],
        ]
        .concat();
        assert_eq!(first_picture(stream[..4].as_flattened()), None);
        let whole = first_picture(stream.as_flattened()).unwrap();
        assert_eq!(whole, stream[..5].as_flattened());
        assert_eq!(first_picture(&[]), None);
    }

    /// Otherwise the last of many clients that ask for a picture of a silent channel would wait
    /// for all the others.
    #[tokio::test]
    async fn a_failure_is_the_answer_for_all_who_wait() {
        let (snapshots, tries) = (Snapshots::default(), std::sync::atomic::AtomicUsize::new(0));
        let ask = || {
            let failure = async {
                tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                Err(Refusal::Busy("no key frame".to_owned()))
            };
            snapshots.get("cam", Size::Whole, failure)
        };
        let answers = tokio::join!(ask(), ask(), ask());
        for answer in <[_; 3]>::from(answers) {
            assert_eq!(answer, Err(Refusal::Busy("no key frame".to_owned())));
        }
        assert_eq!(tries.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_missing_program_and_a_bad_frame_are_told_apart() {
        let missing = draw("no-such-ffmpeg", Vec::new(), Size::Small).await.unwrap_err();
        assert!(matches!(missing, Refusal::NotImplemented(why) if why.contains("not installed")));
        // a program that fails regardless of its input
        let bad = draw("false", vec![0; 100_000], Size::Whole).await.unwrap_err();
        assert!(matches!(bad, Refusal::Busy(why) if why.contains("cannot decode")));
    }
}
