//! The scene of an attack: a relay, a producer, honest clients, and measurements of how the attack
//! affects them.
#![allow(dead_code)] // each attack uses only a part

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    common::{Running, free_port, group, metric, native, now, sender, until},
    honest::{Client, Honest, TRANSPORTS},
};

/// Number of clients of each transport.
pub(crate) const CLIENTS: usize = 20;
/// Bytes of a packet's payload: seven transport stream packets.
pub(crate) const PAYLOAD: usize = 1316;
/// Packets per second: 8 Mbit/s.
const RATE: u32 = 760;
/// The time before an attack, with whose delays the later ones are compared.
const CALM: Duration = Duration::from_secs(3);
/// Maximum additional delay of an honest client during an attack.
const LONGER: Duration = Duration::from_millis(100);
/// Maximum number of packets of a run.
const PACKETS: usize = 200_000;
/// After the attack, memory must fall to this multiple of its size before the attack.
const RETURNED: f64 = 1.2;

/// Returns how long an attack lasts.
pub(crate) fn seconds() -> u64 {
    std::env::var("TIDECAST_FOES_SECONDS").map_or(4, |text| text.parse().expect("a number of seconds"))
}

/// When each packet was sent or received, in microseconds since the start of the scene; 0 if not
/// yet.
pub(crate) struct Times(Vec<AtomicU64>);

impl Times {
    pub(crate) fn new() -> Times {
        Times((0..PACKETS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn note(&self, number: u64, micros: u64) {
        if let Some(time) = self.0.get(number as usize) {
            time.store(micros, Relaxed);
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<u64> {
        Some(self.0.get(number as usize)?.load(Relaxed)).filter(|&micros| micros > 0)
    }
}

/// Only one attack runs at a time, because each needs the whole machine.
static ALONE: Mutex<()> = Mutex::new(());

/// A relay with a stream `feed` and its honest clients.
pub(crate) struct Scene {
    pub(crate) running: Running,
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    /// Address of the channel `sensors`.
    pub(crate) sensors: SocketAddr,
    honest: Honest,
    sent: Arc<Times>,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    producer: Option<JoinHandle<()>>,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Measurements during an attack.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Resident memory of the relay in KiB: before the attack, its maximum during the attack, and
    /// after it.
    pub(crate) before: u64,
    pub(crate) most: u64,
    pub(crate) after: u64,
}

impl Scene {
    /// Starts a scene. `http` has further lines of the section `[http]`, `top` has lines before
    /// all sections, and `more` has the lines that follow.
    pub(crate) fn start(top: &str, http: &str, more: &str) -> Scene {
        Scene::with_udp_at(Ipv4Addr::LOCALHOST, top, http, more)
    }

    /// Starts a scene with the port for UDP subscribers at this address.
    pub(crate) fn with_udp_at(udp: Ipv4Addr, top: &str, http: &str, more: &str) -> Scene {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let local = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (to_http, to_tcp, to_udp) = (local(), local(), SocketAddr::from((udp, free_port())));
        let [feed, sensors] = [(); 2].map(|()| SocketAddr::from((group(), free_port())));
        let start = now();
        let mut honest = Honest::new(start);
        let output = honest.output();
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("foes.toml");
        let text = format!(
            "{top}\n[http]\nlisten = \"{to_http}\"\n{http}\n[tcp]\nlisten = \"{to_tcp}\"\n[udp]\nlisten = \"{to_udp}\"\n\
             [[channel]]\nname = \"feed\"\ninput = \"udp://@{feed}?if=127.0.0.1\"\noutput = \"udp://{output}\"\n\
             [[channel]]\nname = \"sensors\"\ninput = \"udp://@{sensors}?if=127.0.0.1\"\n{more}\n"
        );
        fs::write(&file, text).expect("the configuration");
        let running = Running::tidecast(["serve".as_ref(), "-c".as_ref(), file.as_os_str()]);
        let (sent, next, stop) =
            (Arc::new(Times::new()), Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let producer = {
            let (sent, next, stop) = (sent.clone(), next.clone(), stop.clone());
            thread::spawn(move || {
                let out = sender();
                let mut payload = vec![b'x'; PAYLOAD];
                let begin = now();
                for number in 1..PACKETS as u64 {
                    let due = begin + Duration::from_secs(number) / RATE;
                    thread::sleep(due.saturating_duration_since(now()));
                    if stop.load(Relaxed) {
                        return;
                    }
                    payload[..8].copy_from_slice(&number.to_be_bytes());
                    sent.note(number, start.elapsed().as_micros() as u64);
                    out.send_to(&native(7, 1, number, &payload), feed).expect("send");
                    next.store(number + 1, Relaxed);
                }
            })
        };
        honest.connect(to_http, to_tcp, to_udp);
        for (transport, label) in TRANSPORTS {
            let label = format!("transport=\"{label}\"");
            until(&format!("the honest clients over {transport}"), || {
                let many = metric(to_http, &["tidecast_subscribers{", "\"feed\"", &label]);
                (many as usize >= CLIENTS).then_some(())
            });
        }
        Scene {
            running,
            http: to_http,
            tcp: to_tcp,
            udp: to_udp,
            sensors,
            honest,
            sent,
            next,
            stop,
            producer: Some(producer),
            _folder: folder,
            _alone: alone,
        }
    }

    /// Returns the resident memory of the relay, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.running.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Creates this many flows of some packets each in the channel `sensors`. Packets that a full
    /// buffer drops are sent again.
    pub(crate) fn fill_sensors(&self, flows: u32) {
        let (out, mut next) = (sender(), 0);
        until("the flows", || {
            for flow in 0..flows {
                for number in next..next + 2 {
                    out.send_to(&native(1000 + flow, 1, number, &[b'x'; 200]), self.sensors).expect("send");
                }
                if flow % 50 == 0 {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            next += 2;
            thread::sleep(Duration::from_millis(500));
            (self.metric(&["tidecast_flows{", "\"sensors\""]) >= f64::from(flows)).then_some(())
        });
    }

    /// Returns the sum of the relay's samples.
    pub(crate) fn metric(&self, parts: &[&str]) -> f64 {
        metric(self.http, parts)
    }

    /// Runs the attack beside the honest clients and asserts the rules for every attack: no honest
    /// client misses a packet or waits much longer than before, memory grows by no more than
    /// `bound` KiB and is returned. The attack ends when its argument becomes `true`.
    pub(crate) fn attack(&self, name: &str, bound: u64, attack: impl FnOnce(&AtomicBool) + Send) -> Outcome {
        let calm = self.next.load(Relaxed);
        thread::sleep(CALM);
        let (from, before) = (self.next.load(Relaxed), self.memory());
        let over = AtomicBool::new(false);
        let most = thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                give_way();
                attack(&over);
            });
            let end = now() + Duration::from_secs(seconds());
            let mut most = before;
            while now() < end && !attacker.is_finished() {
                most = most.max(self.memory());
                thread::sleep(Duration::from_millis(20));
            }
            over.store(true, Relaxed);
            attacker.join().expect("the attack");
            most
        });
        let to = self.next.load(Relaxed);
        let shown = self.compare(name, calm..from, from..to);
        let returned = || (self.memory() as f64 <= RETURNED * before as f64).then_some(());
        let start = now();
        while returned().is_none() && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(100));
        }
        let after = self.memory();
        println!("{name}: memory {before} KiB before, at most {most}, {after} afterwards");
        assert!(shown.is_empty(), "{name}:\n{}", shown.join("\n"));
        assert!(most <= before + bound, "{name}: {most} KiB, {before} before: expected {bound} more at most");
        assert!(returned().is_some(), "{name}: {after} KiB afterwards, {before} before");
        Outcome { before, most, after }
    }

    /// Returns the problems of honest clients during the attack.
    fn compare(&self, name: &str, calm: std::ops::Range<u64>, attack: std::ops::Range<u64>) -> Vec<String> {
        let last = attack.end - 1;
        let start = now();
        // Lost packets are not waited for: if a later packet has arrived, they are lost.
        while start.elapsed() < Duration::from_secs(10)
            && !self
                .honest
                .clients
                .iter()
                .all(|client| (last..last + 50).any(|n| client.came.get(n).is_some()))
        {
            thread::sleep(Duration::from_millis(20));
        }
        let mut wrong = Vec::new();
        let mut slowest: BTreeMap<&str, [Duration; 4]> = BTreeMap::new();
        for client in &self.honest.clients {
            let (missed, during) = self.delays(client, attack.clone());
            let (_, before) = self.delays(client, calm.clone());
            if missed > 0 {
                wrong.push(format!("{client} missed {missed} of {} packets", attack.end - attack.start));
            }
            if during[0] > before[0] + LONGER {
                wrong.push(format!(
                    "{client} waited {:?} for 99 % of its packets, {:?} before",
                    during[0], before[0]
                ));
            }
            let most = slowest.entry(client.transport).or_default();
            let [a, b, c, d] = *most;
            *most = [a.max(before[0]), b.max(before[1]), c.max(during[0]), d.max(during[1])];
        }
        for (transport, [calm, calm_most, attacked, attacked_most]) in slowest {
            println!(
                "{name}: {transport}: 99 % within {calm:.1?} before and {attacked:.1?} during the attack, \
                 all within {calm_most:.1?} and {attacked_most:.1?}"
            );
        }
        wrong
    }

    /// Returns how many of these packets never arrived, and the delays of the others: the 99th
    /// percentile, and the maximum.
    fn delays(&self, client: &Client, numbers: std::ops::Range<u64>) -> (usize, [Duration; 2]) {
        let count = numbers.clone().count();
        let took = |number| Some(client.came.get(number)?.saturating_sub(self.sent.get(number)?));
        let mut delays: Vec<u64> = numbers.filter_map(took).collect();
        delays.sort_unstable();
        let at = |share: usize| delays.get((delays.len() * share / 100).min(delays.len().saturating_sub(1)));
        let delay = |share| Duration::from_micros(at(share).copied().unwrap_or_default());
        (count - delays.len(), [delay(99), delay(100)])
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let producer = self.producer.take().map(JoinHandle::join);
        assert!(thread::panicking() || producer.is_none_or(|ended| ended.is_ok()));
    }
}

/// Lowers the priority of the thread and of those that it starts: a real attacker uses another
/// machine; here it must leave the processors to the relay and to the honest clients.
pub(crate) fn give_way() {
    let link = fs::read_link("/proc/thread-self").expect("/proc");
    let thread = link.file_name().expect("its number");
    let done = Command::new("renice").args(["-n", "15", "-p"]).arg(thread).output().expect("renice");
    assert!(done.status.success(), "{done:?}");
}
