//! Competitors that are separate programs: built here if this machine can, and controlled over
//! pipes.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::blocks::Job;

/// A running program that answers requests.
pub(crate) struct Peer {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Builds the library with its `simd-accel`, which needs a C compiler, and an AVX2 CPU to run.
    pub(crate) fn haswell() -> Result<Peer, String> {
        let target = directory();
        let manifest = sources().join("haswell/Cargo.toml");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
        // that build must not inherit the flags and the target of this one
        build.arg("--target-dir").arg(&target).env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
        run(&mut build)?;
        Peer::start(&target.join("release/haswell"))
    }

    /// Builds a program with ISA-L, which needs a C compiler and Debian's libisal-dev.
    pub(crate) fn isal() -> Result<Peer, String> {
        let program = directory().join("isal");
        std::fs::create_dir_all(directory()).map_err(|e| e.to_string())?;
        let mut build = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        build.arg("-O2").arg(sources().join("isal.c")).arg("-o").arg(&program).arg("-lisal");
        run(&mut build)?;
        Peer::start(&program)
    }

    fn start(program: &Path) -> Result<Peer, String> {
        let mut command = Command::new(program);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let (ask, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Ok(Peer { child, ask, answers: BufReader::new(answers) })
    }

    /// Returns how long it takes to do the job this many times.
    pub(crate) fn time(&mut self, job: Job, (k, m): (usize, usize), times: u64) -> Result<Duration, String> {
        let mut answer = String::new();
        writeln!(self.ask, "{} {k} {m} {times}", job.name())
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|e| e.to_string())?;
        answer
            .trim()
            .parse()
            .map(Duration::from_nanos)
            .map_err(|_| format!("it ended: {:?}", self.child.wait()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fec")
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("fec")
}

/// Runs a compiler; the error is the first line of its output that states a reason.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().find(|line| line.contains("error")).or(said.lines().next());
    if output.status.success() { Ok(()) } else { Err(reason.unwrap_or("it cannot be built").to_owned()) }
}
