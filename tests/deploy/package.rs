//! The Debian package: its contents, lintian's verdict, and that a machine with systemd installs
//! it, runs it in its sandbox, and keeps nothing of it after a purge.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::{
    both,
    common::{have, is_root},
    file, said,
};

/// A package with the binary of the tests, built once for all tests in this file.
struct Package {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

static PACKAGE: LazyLock<Package> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidecast.deb");
    let mut make = Command::new(file("deploy/package"));
    make.env("TIDECAST_BINARY", env!("CARGO_BIN_EXE_tidecast"));
    said(make.args(["--fast", "--quiet", "--output"]).arg(&path));
    Package { _folder: folder, path }
});

fn package() -> Option<&'static Path> {
    have("cargo-deb").then(|| PACKAGE.path.as_path())
}

#[test]
fn the_package_has_what_users_expect_of_one() {
    let Some(package) = package() else { return };
    let ask = |option: &str| said(Command::new("dpkg-deb").arg(option).arg(package));
    let contents = ask("--contents");
    for path in [
        "bin/tidecast",
        "lib/systemd/system/tidecast.service",
        "lib/sysctl.d/90-tidecast.conf",
        "share/man/man1/tidecast.1.gz",
        "share/man/man1/tidecast-serve.1.gz",
        "share/man/man5/tidecast.toml.5.gz",
        "share/bash-completion/completions/tidecast",
        "share/zsh/vendor-completions/_tidecast",
        "share/fish/vendor_completions.d/tidecast.fish",
        "share/doc/tidecast/copyright",
        "share/doc/tidecast/docs/configuration.md",
        "share/doc/tidecast/deploy/tidecast-rules.yml",
        "share/doc/tidecast/deploy/grafana/tidecast.json",
    ] {
        assert!(contents.contains(&format!(" ./usr/{path}\n")), "no {path} in {contents}");
    }
    let control = said(Command::new("dpkg-deb").arg("--info").arg(package).arg("conffiles"));
    assert_eq!(control.trim(), "/etc/tidecast/tidecast.toml");
    let depends = said(Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends"));
    let names: Vec<&str> = depends.split(',').filter_map(|name| name.split_whitespace().next()).collect();
    assert!(names.contains(&"libc6"), "{depends}");
    assert!(names.iter().all(|name| ["libc6", "libgcc-s1"].contains(name)), "{depends}");
}

#[test]
fn the_package_has_the_program_s_version() {
    let changelog = fs::read_to_string(file("deploy/debian/changelog")).unwrap();
    assert!(changelog.starts_with(concat!("tidecast (", env!("CARGO_PKG_VERSION"), "-1) ")), "{changelog}");
}

#[test]
fn lintian_finds_no_error() {
    let Some(package) = package() else { return };
    if !have("lintian") {
        return;
    }
    let mut lintian = Command::new("lintian");
    let output = lintian.args(["--allow-root", "--fail-on", "error"]).arg(package).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
}

/// Returns the commands of deploy/README.md for installation without a package.
fn by_hand() -> String {
    let text = fs::read_to_string(file("deploy/README.md")).unwrap();
    let section = text.split("## By hand\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: String = blocks.collect();
    assert!(commands.lines().count() >= 9, "{commands}");
    commands
}

/// Creates the folder of a user who has built the program: the program, and deploy/.
fn source(folder: &Path) {
    fs::create_dir_all(folder.join("target/release")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tidecast"), folder.join("target/release/tidecast")).unwrap();
    said(Command::new("cp").arg("-r").arg(file("deploy")).arg(folder));
}

/// The steps are those of inside.sh.
#[test]
fn a_machine_with_systemd_installs_runs_and_purges_it() {
    let Some(package) = package() else { return };
    if !is_root() || !have("systemd-nspawn") || !have("tshark") || !have("jq") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::copy(package, folder.path().join("tidecast.deb")).unwrap();
    fs::copy(file("tests/deploy/inside.sh"), folder.path().join("inside.sh")).unwrap();
    fs::write(folder.path().join("by-hand.sh"), by_hand()).unwrap();
    source(&folder.path().join("source"));
    let output = Command::new("sh").arg(file("tests/deploy/machine.sh")).arg(folder.path()).output().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let (log, console) = (read("log"), read("console"));
    if !log.contains("STEP install") {
        // The host features that systemd needs (cgroups, mounts) cannot be installed by tests/run.
        eprintln!("SKIPPED: this host cannot boot a container: {}{console}", both(&output));
        return;
    }
    assert!(output.status.success() && log.contains("\nSTEP done\n"), "{log}\n{console}");
    let left = read("left");
    assert!(left.contains("/etc/machine-id"), "the files that were left are known: {left}");
    let ours: Vec<&str> = left.lines().filter(|path| path.contains("tidecast")).collect();
    assert!(ours.is_empty(), "purged, and yet there are {ours:?}");
}
