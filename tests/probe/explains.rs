//! A running relay explains its state, and `check` tries the configuration on this machine, with
//! the real binary.

use std::{fs, process::Command};

use serde_json::Value;

use super::common::{self, Running, free_port, get, group, is_root, native, sender, tidecast, until};

fn json(http: std::net::SocketAddr, path: &str) -> Value {
    let (status, _, body) = get(http, path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn losses_are_listed_and_silence_names_a_cause() {
    let (group, port) = (group(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let mut relay = Running::tidecast(["relay", &input, "--hold", "30ms", "--http", "127.0.0.1:0"]);
    let http = relay.http();
    let sender = sender();
    let send = |number: u64| sender.send_to(&native(7, 1, number, b"x"), (group, port)).expect("sent");
    for number in (0..300).filter(|n| !matches!(n, 100..=102 | 110)) {
        send(number);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let losses = until("the losses", || {
        let losses = json(http, "/api/v1/losses?channel=main");
        let known = losses["losses"][0]["cause"] != "unknown" && losses["losses"][0]["count"] == 4;
        known.then_some(losses)
    });
    let loss = &losses["losses"][0];
    assert_eq!((&losses["total"], &loss["channel"], &loss["flow"]), (&1.into(), &"main".into(), &"7".into()));
    assert_eq!(
        (&loss["gaps"], &loss["longest"], &loss["numbers"]),
        (&2.into(), &3.into(), &"100-110".into())
    );
    assert_eq!(loss["cause"], "network", "{losses}");
    let unix = tidecast_net::clock::unix().as_millis() as u64;
    let (first, last) = (loss["first"].as_u64().expect("ms"), loss["last"].as_u64().expect("ms"));
    assert!(first <= last && last <= unix && unix - first < 60_000, "{losses} at {unix}");
    let (status, _, csv) = get(http, "/api/v1/losses?format=csv");
    assert!(status == 200 && csv.starts_with("channel,flow,id,first,last,count,"), "{csv}");
    let (status, _, text) = get(http, "/api/v1/losses?channel=nosuch");
    assert!(status == 404 && text.contains("expected one of main"), "{text}");

    let event = until("silence", || {
        let events = json(http, "/api/v1/events");
        let events = events["events"].as_array().expect("a list").clone();
        events.into_iter().find(|event| event["kind"] == "silence")
    });
    let advice = event["advice"].as_str().expect("text");
    assert!(advice.contains(&format!("nobody sends to {group}:{port}")), "{event}");
    relay.wait_for_line("nobody sends to");
    until("the reason", || {
        let channels = json(http, "/api/v1/channels").to_string();
        channels.contains("most likely ").then_some(())
    });
}

#[test]
fn a_bridge_without_a_querier_is_named() {
    if !is_root() {
        return;
    }
    let name = format!("tidecast-probe-{}", std::process::id());
    let ip = |args: &str| {
        let done = Command::new("ip").args(args.split(' ')).output().expect("ip");
        assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr));
    };
    struct Namespace(String);
    impl Drop for Namespace {
        fn drop(&mut self) {
            let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
        }
    }
    ip(&format!("netns add {name}"));
    let _namespace = Namespace(name.clone());
    ip(&format!("-n {name} link add br0 type bridge mcast_snooping 1 mcast_querier 0"));
    ip(&format!("-n {name} link add port0 type veth peer name far0"));
    ip(&format!("-n {name} link set port0 master br0 up"));
    ip(&format!("-n {name} link set far0 up"));
    ip(&format!("-n {name} addr add 10.78.0.1/24 dev br0"));
    ip(&format!("-n {name} link set br0 up"));
    let probe = tidecast(["probe", "udp://@239.1.1.1:5000?if=br0", "--for", "300ms"]);
    let program = probe.get_program().to_owned();
    let output =
        Command::new("ip").args(["netns", "exec", &name]).arg(program).args(probe.get_args()).output();
    let error = String::from_utf8_lossy(&output.expect("ip").stderr).into_owned();
    assert!(error.contains("the bridge br0 snoops IGMP and has no querier"), "{error}");
}

#[test]
fn check_ends_with_a_code_for_each_stage() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("relay.toml");
    let check = |text: &str, flags: &[&str]| {
        fs::write(&file, text).expect("written");
        let output =
            tidecast(["check", "-c", file.to_str().expect("a path")]).args(flags).output().expect("check");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("text"))
    };
    let channel = |interface: &str| {
        let (group, port) = (common::group(), free_port());
        format!(
            "http.listen = \"127.0.0.1:{}\"\n[[channel]]\nname = \"a\"\nreceive_buffer = \"64KiB\"\ninput = \"udp://@{group}:{port}?if={interface}\"",
            free_port()
        )
    };
    let (code, said) = check(&channel("lo"), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("relay.toml: ok\non this machine:\nok    interface lo exists"), "{said}");
    let (code, said) = check(&channel("nosuch0"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL  interface nosuch0") && said.contains("2 things do not work"), "{said}");
    let (code, said) = check(&channel("nosuch0"), &["--no-machine"]);
    assert!(code == Some(0) && !said.contains("on this machine"), "{said}");
    let (code, said) = check("[[channel]]\nname = \"a b\"", &[]);
    assert!(code == Some(78) && !said.contains("on this machine"), "{said}");
}

/// Files and command lines of relays that run, as `check` names them.
#[test]
fn check_names_the_relay_that_has_the_ports() {
    let folder = tempfile::tempdir().expect("a folder");
    let (http, udp) = (free_port(), free_port());
    let text = format!("http.listen = \"127.0.0.1:{http}\"\nudp.listen = \"127.0.0.1:{udp}\"\n");
    for name in ["one.toml", "other.toml"] {
        fs::write(folder.path().join(name), &text).expect("a file");
    }
    let check = |name: &str| {
        let output = tidecast(["check", name]).current_dir(&folder).output().expect("check");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("text"))
    };
    let mut command = tidecast(["one.toml"]);
    command.current_dir(&folder);
    let mut relay = Running::start(command);
    relay.wait_for_line("tidecast: ready");
    let held = |who: &str, remedy: &str| {
        [("http", http), ("udp subscribers", udp)].map(|(name, port)| {
            format!("warn  {name}: 127.0.0.1:{port} is in use: tidecast ({who}) has it: {remedy}")
        })
    };
    let file = folder.path().join("one.toml");
    let who = format!("process {}, {}", relay.child.id(), file.display());
    let (code, said) = check("./one.toml");
    let lines = held(&who, "it is the relay that runs this file, and a restart of it frees the port\n");
    assert!(code == Some(0) && lines.iter().all(|line| said.contains(line)), "{said}");
    let (code, said) = check("other.toml");
    let lines =
        held(&who, "it runs another file: restart it with this one, stop it, or choose another port\n");
    assert!(code == Some(0) && lines.iter().all(|line| said.contains(line)), "{said}");
    relay.stop();

    // This one shares the group's port, and is not in the way of it; its HTTP port is.
    let (group, port) = (group(), free_port());
    let input = format!("udp://@{group}:{port}?if=127.0.0.1");
    let mut relay = Running::tidecast(["relay", &input, "--http", &format!("127.0.0.1:{http}")]);
    let channel = format!("[[channel]]\nname = \"a\"\ninput = \"{input}\"\n");
    fs::write(folder.path().join("one.toml"), text + &channel).expect("a file");
    let (code, said) = check("one.toml");
    let who = format!("tidecast (process {}, tidecast relay {input} --http ", relay.child.id());
    let line = said.lines().find(|line| line.starts_with("FAIL  http: "));
    assert!(line.is_some_and(|line| line.contains(&who) && line.contains("stop it, or choose")), "{said}");
    assert!(code == Some(1) && said.contains(&format!("ok    channel a: {input} can be joined")), "{said}");
    relay.stop();
}
