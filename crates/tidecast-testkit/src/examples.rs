//! Runs the programs of docs/examples as a reader would.
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A file below docs/.
pub fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// The example of this name in Python.
pub fn python(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(docs(&format!("examples/{name}.py")));
    command
}

/// The same in C, compiled into this folder without a warning.
pub fn compiled(name: &str, folder: &Path) -> PathBuf {
    let program = folder.join(name);
    let status = Command::new("cc")
        .args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-o"])
        .args([program.as_path(), &docs(&format!("examples/{name}.c"))])
        .status()
        .expect("cc runs");
    assert!(status.success());
    program
}
