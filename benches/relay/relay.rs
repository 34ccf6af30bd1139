//! The measured relay: the release binary with a configuration file for the streams and targets.

use std::{
    fmt::Write,
    fs, io,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::bare::Stream;

/// The binary that cargo built with this benchmark.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidecast");

/// The relay's settings for one measurement; for those that are `None`, the program's default
/// applies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relay {
    /// `tick`.
    pub(crate) tick: Duration,
    /// Whether the tick is part of its name.
    pub(crate) tick_in_name: bool,
    /// `burst`.
    pub(crate) burst: Option<usize>,
    /// `http.chunk`.
    pub(crate) chunk: Option<Duration>,
    /// `http.listen`; off if `None`.
    pub(crate) http: Option<SocketAddrV4>,
    /// `format` of the channels.
    pub(crate) format: Option<&'static str>,
}

impl Relay {
    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        let mut name = "tidecast".to_owned();
        for setting in [
            self.tick_in_name.then(|| format!(", tick {:?}", self.tick)),
            self.burst.map(|b| format!(", burst {b}")),
            self.chunk.map(|c| format!(", chunk {c:?}")),
        ] {
            name.push_str(&setting.unwrap_or_default());
        }
        name
    }

    /// Returns why it cannot be measured: the program does not have a setting.
    pub(crate) fn unavailable(&self) -> Option<String> {
        let address = SocketAddrV4::new(Ipv4Addr::new(239, 0, 0, 1), 5000);
        let http = Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
        let settings = Relay { http, ..self.clone() }.text(&[Stream { group: address, targets: Vec::new() }]);
        let path = std::env::temp_dir().join(format!("tidecast-bench-{}.toml", std::process::id()));
        let checked = fs::write(&path, settings).and_then(|()| {
            Command::new(BINARY).args(["check", "-c"]).arg(&path).stdin(Stdio::null()).output()
        });
        let _ = fs::remove_file(&path); // if this fails, a small file stays in the temporary folder
        match checked {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(first_problem(&output.stderr)),
            Err(error) => Some(format!("{BINARY}: {error}")),
        }
    }

    /// Returns the command for these streams, which are channels named `s0`, `s1` and so on.
    pub(crate) fn command(&self, streams: &[Stream], folder: &Path) -> io::Result<Command> {
        let path = self.write(streams, folder)?;
        let mut command = Command::new(BINARY);
        command.args(["serve", "-c"]).arg(path);
        Ok(command)
    }

    fn write(&self, streams: &[Stream], folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join("tidecast.toml");
        fs::write(&path, self.text(streams))?;
        Ok(path)
    }

    fn text(&self, streams: &[Stream]) -> String {
        let mut text = format!("tick = \"{}us\"\n", self.tick.as_micros());
        let mut line = |line: String| writeln!(text, "{line}").expect("a String takes everything");
        if let Some(burst) = self.burst {
            line(format!("burst = {burst}"));
        }
        match self.http {
            Some(address) => line(format!("http.listen = \"{address}\"\nhttp.clients_max = 2000")),
            None => line("http.listen = \"off\"".into()),
        }
        if let Some(chunk) = self.chunk {
            line(format!("http.chunk = \"{}ms\"", chunk.as_millis()));
        }
        for (i, stream) in streams.iter().enumerate() {
            let outputs: Vec<String> = stream.targets.iter().map(|to| format!("\"udp://{to}\"")).collect();
            line(format!("[[channel]]\nname = \"s{i}\"\ninput = \"udp://@{}?if=127.0.0.1\"", stream.group));
            if !outputs.is_empty() {
                line(format!("output = [{}]", outputs.join(", ")));
            }
            if let Some(format) = self.format {
                line(format!("format = \"{format}\""));
            }
        }
        text
    }
}

/// Returns `relay.toml:2: key: unknown key, did you mean ...` without the temporary file's name
/// and the advice.
fn first_problem(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let problem = said.lines().next().unwrap_or_default();
    let problem = problem.splitn(3, ':').nth(2).unwrap_or(problem).trim();
    problem.split(", did you mean").next().unwrap_or(problem).to_owned()
}
