//! Commands and sockets in network namespaces. Needs root.

use std::{
    fs::File,
    process::{Command, Output},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// Returns a command that runs in the namespace.
pub fn within(namespace: &str, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]).args(args);
    command
}

/// Runs a short command, which must succeed.
pub fn run(program: &str, args: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}

/// Runs `f` in a thread that has entered the namespace; sockets created there belong to it.
pub fn inside<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).expect("namespace");
    let enter = || {
        setns(&file, CloneFlags::CLONE_NEWNET).expect("setns");
        f()
    };
    thread::scope(|scope| scope.spawn(enter).join().expect("no panic"))
}
