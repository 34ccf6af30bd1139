//! Runs the programs in docs/examples like a reader would.
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the path of a file below docs/.
pub fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Returns the command that runs the Python example of this name.
pub fn python(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(docs(&format!("examples/{name}.py")));
    command
}

/// Compiles the C example of this name into this folder, without warnings, and returns its path.
pub fn compiled(name: &str, folder: &Path) -> PathBuf {
    compiled_with(name, folder, &[])
}

/// Like [`compiled`], with these arguments for the linker.
pub fn compiled_with(name: &str, folder: &Path, libraries: &[&str]) -> PathBuf {
    let program = folder.join(name);
    let status = Command::new("cc")
        .args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-o"])
        .args([program.as_path(), &docs(&format!("examples/{name}.c"))])
        .args(libraries)
        .status()
        .expect("cc runs");
    assert!(status.success());
    program
}
