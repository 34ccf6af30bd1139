//! RTP streams of every clock rate, and disturbances of their timestamps, to test paced release in
//! the simulation and with the real program.

/// Duration of the streams.
pub const SECONDS: f64 = 24.0;

/// A stream as sent.
#[derive(Debug, Clone)]
pub struct Case {
    pub stream: Stream,
    pub what: String,
    pub sent: Vec<Sent>,
    /// Time in milliseconds from which all packets must be released at the right time.
    pub from: f64,
}

impl Case {
    fn new(stream: Stream, what: impl Into<String>, sent: Vec<Sent>) -> Case {
        Case { stream, what: what.into(), sent, from: 0.0 }
    }

    /// Returns the name of the stream, with whether the relay knows its payload type.
    pub fn name(&self) -> String {
        self.stream.name.to_owned() + if self.stream.described.is_some() { ", described" } else { "" }
    }
}

/// A packet as its source sends it.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Sending time in milliseconds.
    pub at: f64,
    pub payload_type: u8,
    pub stamp: u32,
}

/// An undisturbed stream.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub name: &'static str,
    pub payload_type: u8,
    pub rate: u32,
    /// Milliseconds between two timestamps, and the number of packets with each.
    pub interval: f64,
    pub packets: u32,
    /// `rtpmap` value as in a session description; if `None`, the clock rate must be measured.
    pub described: Option<&'static str>,
}

pub const fn audio(name: &'static str, payload_type: u8, rate: u32, interval: f64) -> Stream {
    Stream { name, payload_type, rate, interval, packets: 1, described: None }
}

pub const PCMU: Stream = audio("PCMU, 20 ms", 0, 8_000, 20.0);
pub const OPUS: Stream = audio("Opus, 20 ms", 111, 48_000, 20.0);
pub const L24: Stream = audio("L24/48000, 1 ms", 98, 48_000, 1.0);

pub const STREAMS: [Stream; 17] = [
    PCMU,
    audio("G.722, 20 ms", 9, 8_000, 20.0),
    audio("L16/8000, 10 ms", 96, 8_000, 10.0),
    audio("DVI4/11025, 20 ms", 16, 11_025, 20.0),
    audio("L16/16000, 20 ms", 97, 16_000, 20.0),
    audio("DVI4/22050, 20 ms", 17, 22_050, 20.0),
    audio("L16/24000, 20 ms", 97, 24_000, 20.0),
    audio("L16/32000, 20 ms", 97, 32_000, 20.0),
    audio("L16/44100, 10 ms", 11, 44_100, 10.0),
    OPUS,
    L24,
    audio("L24/88200, 5 ms", 98, 88_200, 5.0),
    audio("L24/96000, 1 ms", 98, 96_000, 1.0),
    audio("L24/176400, 5 ms", 98, 176_400, 5.0),
    audio("L24/192000, 1 ms", 98, 192_000, 1.0),
    Stream { packets: 8, ..audio("H.264, 25 pictures a second", 102, 90_000, 40.0) },
    Stream { packets: 3, ..audio("JPEG, 15 pictures a second", 26, 90_000, 1000.0 / 15.0) },
];

impl Stream {
    pub const fn described(self, rtpmap: &'static str) -> Stream {
        Stream { described: Some(rtpmap), ..self }
    }

    pub fn ticks(&self, at: f64) -> u32 {
        // The timestamp wraps after three seconds.
        let begin = 0_u32.wrapping_sub(3 * self.rate);
        begin.wrapping_add((at * f64::from(self.rate) / 1e3).round() as u64 as u32)
    }

    /// Returns the packets of one timestamp, spread over the time to the next one.
    pub fn packets(&self, at: f64) -> impl Iterator<Item = Sent> {
        let (step, payload_type, stamp) =
            (self.interval / f64::from(self.packets), self.payload_type, self.ticks(at));
        (0..self.packets).map(move |n| Sent { at: at + step * f64::from(n), payload_type, stamp })
    }

    /// Returns the whole stream, undisturbed.
    pub fn all(&self) -> Vec<Sent> {
        let count = (SECONDS * 1e3 / self.interval) as u32;
        (0..count).flat_map(|n| self.packets(f64::from(n) * self.interval)).collect()
    }

    /// Returns the whole stream with timestamps computed by `ticks` from the time.
    pub fn stamped(&self, ticks: impl Fn(&Stream, f64) -> u32) -> Vec<Sent> {
        let mut all = self.all();
        for sent in &mut all {
            let place = (sent.at / self.interval + 1e-6).floor();
            sent.stamp = ticks(self, place * self.interval);
        }
        all
    }

    /// Returns `talk` seconds of packets and `silence` seconds without, alternately; `goes_on`:
    /// the timestamps also advance during silence.
    pub fn spurts(&self, talk: f64, silence: f64, goes_on: bool) -> Vec<Sent> {
        let round = (talk + silence) * 1e3;
        let mut all: Vec<Sent> = Vec::new();
        for sent in self.all() {
            let (rounds, within) = ((sent.at / round + 1e-9).floor(), sent.at % round);
            if within < talk * 1e3 - 1e-6 {
                let silent = if goes_on { 0.0 } else { rounds * silence * 1e3 };
                let place = ((sent.at - silent) / self.interval + 1e-6).floor();
                all.push(Sent { stamp: self.ticks(place * self.interval), ..sent });
            }
        }
        all
    }
}

/// Alternates between two streams, each for this many seconds.
fn by_turns(one: Stream, other: Stream, seconds: f64, ticks: fn(&Stream, f64) -> u32) -> Vec<Sent> {
    let turn = |sent: &Sent| (sent.at / seconds / 1e3 + 1e-9).floor() as u64 % 2;
    let mut all: Vec<Sent> = one.stamped(ticks).into_iter().filter(|sent| turn(sent) == 0).collect();
    all.extend(other.stamped(ticks).into_iter().filter(|sent| turn(sent) == 1));
    all.sort_by(|a, b| a.at.total_cmp(&b.at));
    all
}

/// Returns packets that replace the media, such as noise, an event or FEC: every `each`
/// milliseconds, `count` packets at the media's pace.
fn instead(stream: Stream, each: f64, count: u32, what: impl Fn(u32, &Sent) -> Sent) -> Vec<Sent> {
    let mut all = stream.all();
    let lasts = f64::from(count) * stream.interval;
    for sent in &mut all {
        let within = (sent.at + 1e-6) % each;
        if sent.at > 1e3 && within < lasts {
            *sent = what((within / stream.interval) as u32, sent);
        }
    }
    all
}

/// Returns the media with additional packets, such as FEC: one after every `after` media packets.
fn beside(stream: Stream, after: usize, what: impl Fn(&Sent) -> Sent) -> Vec<Sent> {
    let mut all = Vec::new();
    for (n, sent) in stream.all().into_iter().enumerate() {
        all.push(sent);
        if n % after == after - 1 {
            all.push(Sent { at: sent.at + 0.1, ..what(&sent) });
        }
    }
    all
}

/// Returns a pseudorandom number.
fn random(from: u64) -> u32 {
    let mixed = (from + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32
}

/// Returns a stream of every clock rate, undisturbed.
pub fn every_rate() -> Vec<Case> {
    STREAMS.iter().map(|stream| Case::new(*stream, "none", stream.all())).collect()
}

/// Returns streams with timestamps that stop, jump or are wrong.
pub fn wrong_stamps(stream: Stream) -> Vec<Case> {
    let jumps = |each: f64, by: f64| {
        move |stream: &Stream, at: f64| stream.ticks(at + 20_000.0 + (at / each / 1e3 + 1e-9).floor() * by)
    };
    let cases: [(&str, Vec<Sent>); 17] = [
        ("stand from 4 s on", stream.stamped(|s, at| s.ticks(at.min(4e3)))),
        (
            "stand for 240 ms, each 3 s",
            stream.stamped(|s, at| s.ticks(if at % 3e3 < 240.0 { at - at % 3e3 } else { at })),
        ),
        (
            "stand for 60 ms and go on from there, each 3 s",
            stream.stamped(|s, at| s.ticks((at / 3e3 + 1e-9).floor() * 2940.0 + (at % 3e3 - 60.0).max(0.0))),
        ),
        (
            "stand for 1 s and go on from there, each 4 s",
            stream.stamped(|s, at| s.ticks((at / 4e3 + 1e-9).floor() * 3e3 + (at % 4e3 - 1e3).max(0.0))),
        ),
        ("jump by 300 ms each second", stream.stamped(jumps(1.0, 300.0))),
        ("jump by 60 ms each 2 s", stream.stamped(jumps(2.0, 60.0))),
        ("jump back by 60 ms each 2 s", stream.stamped(jumps(2.0, -60.0))),
        ("jump back by 300 ms each 2 s", stream.stamped(jumps(2.0, -300.0))),
        ("jump by 5 s each 4 s", stream.stamped(jumps(4.0, 5e3))),
        ("jump anywhere each 4 s", stream.stamped(jumps(4.0, 12_345_678.0))),
        ("are random", stream.stamped(|s, at| random((at / s.interval).round() as u64))),
        ("are 0", stream.stamped(|_, _| 0)),
        ("count packets", stream.stamped(|s, at| (at / s.interval).round() as u32)),
        ("stand in each silence, 2 s after 3 s", stream.spurts(3.0, 2.0, false)),
        ("stand in each silence, 150 ms after 1 s", stream.spurts(1.0, 0.15, false)),
        ("stand in each silence, 400 ms after 1 s", stream.spurts(1.0, 0.4, false)),
        ("go on in silence, 2 s after 3 s", stream.spurts(3.0, 2.0, true)),
    ];
    cases.into_iter().map(|(what, sent)| Case::new(stream, format!("time stamps {what}"), sent)).collect()
}

/// Returns static payload types whose clock rate differs from that in RFC 3551.
pub fn wrong_rates() -> Vec<Case> {
    let stream = |payload_type, rate, name| audio(name, payload_type, rate, 20.0);
    [
        (stream(0, 16_000, "PCMU, 20 ms"), "16 kHz for 8 kHz", 1e3),
        (stream(0, 48_000, "PCMU, 20 ms"), "48 kHz for 8 kHz", 1e3),
        (stream(0, 4_000, "PCMU, 20 ms"), "4 kHz for 8 kHz", 0.0),
        (stream(11, 48_000, "L16, 20 ms"), "48 kHz for 44.1 kHz", 0.0),
        (stream(33, 48_000, "MP2T without TS, 20 ms"), "48 kHz for 90 kHz", 0.0),
    ]
    .map(|(stream, what, from)| Case {
        from,
        ..Case::new(stream, format!("time stamps of {what}"), stream.all())
    })
    .into()
}

/// Returns streams with other packets between or beside the media.
pub fn among(stream: Stream) -> Vec<Case> {
    let other = |payload_type: u8| move |_: u32, sent: &Sent| Sent { payload_type, ..*sent };
    let at_8_khz = |payload_type: u8| {
        move |_: u32, sent: &Sent| Sent { payload_type, stamp: (sent.at * 8.0) as u32, ..*sent }
    };
    let event = |n: u32, sent: &Sent| Sent {
        payload_type: 101,
        stamp: sent
            .stamp
            .wrapping_sub((f64::from(n) * stream.interval * f64::from(stream.rate) / 1e3) as u32),
        ..*sent
    };
    let beside = |payload_type, stamp: fn(&Sent) -> u32| {
        beside(stream, 4, move |sent: &Sent| Sent { payload_type, stamp: stamp(sent), ..*sent })
    };
    let mut cases: Vec<(&str, Vec<Sent>)> = vec![
        ("comfort noise (13), each 2 s", instead(stream, 2e3, 1, other(13))),
        ("comfort noise (13) at 8 kHz, each 2 s", instead(stream, 2e3, 1, at_8_khz(13))),
        ("comfort noise (dynamic), each 2 s", instead(stream, 2e3, 1, other(105))),
        (
            "telephone events of 240 ms, each 2 s",
            instead(stream, 2e3, (240.0 / stream.interval) as u32, event),
        ),
        ("telephone events of 2 s, each 4 s", instead(stream, 4e3, (2e3 / stream.interval) as u32, event)),
        ("RED instead of each eighth packet", instead(stream, 8.0 * stream.interval, 1, other(121))),
        ("FEC after each fourth packet, time stamp 0", beside(127, |_| 0)),
        ("FEC after each fourth packet, time stamp of the media", beside(127, |sent| sent.stamp)),
        ("FEC after each fourth packet, random time stamps", beside(127, |sent| sent.at.to_bits() as u32)),
    ];
    // Silence with occasional noise.
    let silence = |payload_type: u8, each: f64| {
        let mut sent = stream.spurts(2.0, 2.0, true);
        let mut at = 2e3;
        while at < SECONDS * 1e3 {
            if at % 4e3 >= 2e3 {
                sent.push(Sent { at, payload_type, stamp: stream.ticks(at) });
            }
            at += each;
        }
        sent.sort_by(|a, b| a.at.total_cmp(&b.at));
        sent
    };
    cases.push(("comfort noise (13) each 200 ms in silence", silence(13, 200.0)));
    cases.push(("comfort noise (dynamic) each 500 ms in silence", silence(105, 500.0)));
    cases.into_iter().map(|(what, sent)| Case::new(stream, what, sent)).collect()
}

/// Returns streams that change between payload types, each with its clock rate; the timestamps
/// continue in ticks, as incorrect senders do, or with the time, or start at any value.
pub fn changes() -> Vec<Case> {
    let opus = OPUS.described("111 opus/48000/2");
    let mut cases = Vec::new();
    let with_time: fn(&Stream, f64) -> u32 = |stream, at| stream.ticks(at);
    let anywhere: fn(&Stream, f64) -> u32 = |stream, at| {
        let turn = (at / 3e3 + 1e-9).floor();
        stream.ticks(at).wrapping_add(random(turn as u64))
    };
    for (what, ticks) in [("time stamps with the time", with_time), ("time stamps anywhere", anywhere)] {
        for (one, other, names) in [
            (PCMU, OPUS, "PCMU and Opus, not described"),
            (opus, PCMU, "Opus, described, and PCMU"),
            (PCMU, audio("PCMA, 20 ms", 8, 8_000, 20.0), "PCMU and PCMA"),
            (PCMU, audio("G.722, 10 ms", 9, 8_000, 10.0), "PCMU of 20 ms and G.722 of 10 ms"),
            (PCMU, audio("L16/44100, 10 ms", 11, 44_100, 10.0), "PCMU and L16"),
        ] {
            let sent = by_turns(one, other, 3.0, ticks);
            cases.push(Case::new(one, format!("{names} by turns, {what}"), sent));
        }
    }
    // Timestamps that continue in ticks: 160 per 20 ms for 4 s, then 960.
    let mut sent = PCMU.all();
    for packet in &mut sent {
        if packet.at > 4e3 {
            let ticks = 32_000 + (packet.at - 4e3) as u32 * 48;
            *packet = Sent { payload_type: 111, stamp: PCMU.ticks(0.0).wrapping_add(ticks), ..*packet };
        }
    }
    for stream in [PCMU, PCMU.described("111 opus/48000/2")] {
        cases.push(Case::new(stream, "Opus from 4 s on, in ticks", sent.clone()));
    }
    cases
}
