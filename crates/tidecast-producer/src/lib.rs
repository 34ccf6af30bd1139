//! Sends numbered datagrams to a multicast group or a host, for tidecast relays to reorder and
//! recover.
//!
//! A program that measures or encodes something gives each payload to a [`Producer`]. It stamps and
//! numbers the payload, sends it, adds repair packets if configured ([`Fec`]), and sends a packet
//! again to a relay that requests it. The format is the native datagram, which the project's
//! `docs/wire-format.md` describes byte by byte.
//!
//! ```
//! use tidecast_producer::{Fec, Producer};
//!
//! let target = "udp://127.0.0.1:7000".parse()?; // or "udp://239.3.3.3:7000?if=eth0"
//! let mut producer = Producer::builder(target).stream(7).fec(Fec::new(10, 2, 1)?).open()?;
//! for n in 0..3 {
//!     producer.send(format!("temperature=21.{n}").as_bytes())?;
//! }
//! producer.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `seal`, which compiles a cryptographic library, `Builder::seal` lets relays
//! tell what the producer sent from what somebody else sends in its name, and may encrypt the
//! payload.
//!
//! # Order of calls
//!
//! 1. [`Producer::builder`] takes the target; the methods of [`Builder`] change the defaults;
//!    [`Builder::open`] opens the socket. Nothing is sent yet.
//! 2. [`Producer::send`] sends one payload at once. Numbers begin at 0 and rise by one.
//! 3. While there is nothing to send, [`Producer::maintain`] is called at
//!    [`Producer::next_deadline`] at the latest: it sends heartbeats, by which a relay notices the
//!    loss of the last packet, and the repair packets of blocks that did not fill.
//! 4. [`Producer::finish`] ends the session; dropping the producer does so without waiting for
//!    requests.
//!
//! Calls block while the socket's send buffer is full, and never otherwise. No input makes them
//! panic. An error of the network leaves the producer usable: the number of the packet is used, and
//! receivers count a loss.
//!
//! This crate is the one promised interface of tidecast: its versions follow semantic versioning.
//! The crates beneath it are internal.

mod answers;
mod socket;

use std::io;
use std::time::{Duration, Instant};

pub use tidecast_core::history::{Counters as RequestCounters, Requests, Settings as History};
pub use tidecast_net::SocketError;
pub use tidecast_net::address::{AddressError, Interface, Output};
pub use tidecast_wire::fec::native::{Fec, FecError};
#[cfg(feature = "seal")]
pub use tidecast_wire::seal::{Key as SealKey, KeyError as SealKeyError};

pub use answers::Answering;
pub use socket::{OpenError, Sender};
use tidecast_core::encode::Encoder;
use tidecast_net::clock;
#[cfg(feature = "seal")]
use {std::sync::Arc, tidecast_wire::seal::Sealer};

/// Sends one stream of native datagrams from a program.
///
/// Call [`Producer::maintain`] at least every [`Producer::next_deadline`] while there is nothing to
/// send: it sends the heartbeats and closes FEC blocks. Dropping the producer ends its session.
///
/// ```
/// use std::time::{Duration, Instant};
/// use tidecast_producer::Producer;
///
/// let mut producer = Producer::builder("udp://127.0.0.1:7000".parse()?).stream(7).open()?;
/// producer.send(b"temperature=21.5")?;
/// // The sensor is silent: wait until the producer has something to do.
/// let due = producer.next_deadline().expect("a packet was sent");
/// let silence = due.saturating_duration_since(Instant::now());
/// assert!(silence <= Duration::from_secs(1), "a heartbeat is due at the latest");
/// std::thread::sleep(silence.min(Duration::from_millis(5)));
/// producer.maintain()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Producer {
    /// Taken when the session ends.
    encoder: Option<Encoder>,
    sender: Sender,
    answering: Option<Answering>,
    session: u32,
}

/// Settings of a [`Producer`] that is not open yet.
///
/// ```
/// use std::time::Duration;
/// use tidecast_producer::{Fec, History, Producer};
///
/// let producer = Producer::builder("udp://127.0.0.1:7000".parse()?)
///     .stream(7) // unique among the producers of the group
///     .session(1) // this run; random unless it is set
///     .fec("10,2".parse::<Fec>()?) // 2 repair packets for each 10 packets
///     .close_after(Duration::from_millis(20)) // latest instant for the repair packets of a block
///     .history(History { age_max: Duration::from_secs(2), ..History::default() })
///     .open()?;
/// assert_eq!(producer.session(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    target: Output,
    stream: u32,
    session: Option<u32>,
    fec: Option<Fec>,
    close_after: Option<Duration>,
    history: History,
    #[cfg(feature = "seal")]
    seal: Option<(SealKey, bool)>,
}

impl Builder {
    /// Sets the number of the stream, unique in its group. Default 1.
    pub fn stream(self, stream: u32) -> Builder {
        Builder { stream, ..self }
    }

    /// Sets the number of this run of the producer. Default: a random number.
    pub fn session(self, session: u32) -> Builder {
        Builder { session: Some(session), ..self }
    }

    /// Adds repair packets; default none.
    pub fn fec(self, fec: Fec) -> Builder {
        Builder { fec: Some(fec), ..self }
    }

    /// How long a packet may wait for its source block to fill; default 40 ms.
    pub fn close_after(self, close_after: Duration) -> Builder {
        Builder { close_after: Some(close_after), ..self }
    }

    /// How long packets are kept for retransmission, and the maximum share that is retransmitted;
    /// zero turns it off. Default 1 s, and half of the sent packets.
    pub fn history(self, history: History) -> Builder {
        Builder { history, ..self }
    }

    /// Seals the datagrams with a key of the channel or of this stream: a relay with the key
    /// refuses what others send. Requests are answered only if they are sealed as well.
    ///
    /// A session must not be used twice with the same key, so leave its number to chance.
    ///
    /// ```
    /// use tidecast_producer::{Producer, SealKey};
    ///
    /// // From `tidecast key new`; keep it in a file that only the program can read.
    /// let text = format!("1:{}", "0123456789abcdef".repeat(4));
    /// let key: SealKey = text.parse()?;
    /// let target = "udp://127.0.0.1:7000".parse()?;
    /// let mut producer = Producer::builder(target).stream(7).seal(key.for_stream(7)?).open()?;
    /// producer.send(b"temperature=21.5")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "seal")]
    pub fn seal(self, key: SealKey) -> Builder {
        Builder { seal: Some((key, false)), ..self }
    }

    /// Seals the datagrams like [`Builder::seal`], and encrypts their payloads: only a relay with
    /// the key can read them.
    #[cfg(feature = "seal")]
    pub fn encrypt(self, key: SealKey) -> Builder {
        Builder { seal: Some((key, true)), ..self }
    }

    /// Opens the socket.
    ///
    /// # Errors
    /// [`OpenError`] when the interface does not exist, the system refuses an option, or the key is
    /// for another stream.
    pub fn open(self) -> Result<Producer, OpenError> {
        let session = self.session.unwrap_or_else(random_session);
        let encoder = Encoder::new(self.stream, session, self.fec);
        let encoder = match self.close_after {
            Some(close_after) => encoder.close_after(close_after),
            None => encoder,
        };
        #[cfg(feature = "seal")]
        let encoder = self.sealed(encoder, session)?;
        let sender = Sender::open(&self.target)?;
        let (target, action) = (self.target.target, "wait for requests");
        let start = || Answering::start(&sender, session, self.history);
        let answering = (!self.history.age_max.is_zero()).then(start).transpose();
        let answering = answering.map_err(|cause| OpenError::System { target, action, cause })?;
        #[cfg(feature = "seal")]
        if let (Some(answering), Some((key, _))) = (&answering, self.seal) {
            answering.require(key);
        }
        Ok(Producer { encoder: Some(encoder), sender, answering, session })
    }

    #[cfg(feature = "seal")]
    fn sealed(&self, encoder: Encoder, session: u32) -> Result<Encoder, OpenError> {
        let Some((key, encrypt)) = &self.seal else { return Ok(encoder) };
        match Sealer::new(key, self.stream, session, *encrypt) {
            Ok(sealer) => Ok(encoder.sealed(Arc::new(sealer))),
            Err(cause) => {
                let (target, action) = (self.target.target, "seal");
                Err(OpenError::System {
                    target,
                    action,
                    cause: io::Error::new(io::ErrorKind::InvalidInput, cause),
                })
            }
        }
    }
}

/// A session number that no other session of this producer is likely to have.
fn random_session() -> u32 {
    // The kernel refuses only before it has gathered entropy; the clock distinguishes sessions
    // then.
    getrandom::u32().unwrap_or_else(|_| clock::unix_micros() as u32)
}

impl Producer {
    /// Creates the settings of a producer that sends to this target: stream 1, a random session,
    /// no FEC, a history of 1 s.
    pub fn builder(target: Output) -> Builder {
        let history = History::default();
        Builder {
            target,
            stream: 1,
            session: None,
            fec: None,
            close_after: None,
            history,
            #[cfg(feature = "seal")]
            seal: None,
        }
    }

    /// Returns the session number of this run.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Sends one payload, stamped with the wall clock, and the repair packets that are due with
    /// it.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the payload is too large; otherwise the system's error
    /// for the first datagram that could not be sent. Its number is used up, so receivers count a
    /// loss.
    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let Producer { encoder, sender, answering, .. } = self;
        let mut result = Ok(());
        if let Some(encoder) = encoder {
            let out = first_error(sender, answering.as_ref(), &mut result);
            encoder
                .push(clock::now(), clock::unix_micros(), payload, out)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        }
        result
    }

    /// Sends what is due: a heartbeat after a second of silence, and repair packets of blocks that
    /// did not fill.
    ///
    /// # Errors
    /// The system's error for the first datagram that could not be sent.
    pub fn maintain(&mut self) -> io::Result<()> {
        let Producer { encoder, sender, answering, .. } = self;
        let mut result = Ok(());
        if let Some(encoder) = encoder {
            encoder.poll(clock::now(), first_error(sender, answering.as_ref(), &mut result));
        }
        result
    }

    /// Returns when [`Producer::maintain`] is due; `None` before the first packet.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.encoder.as_ref().and_then(Encoder::next_deadline)
    }

    /// Returns the counters of receivers' requests and of their results.
    pub fn requests(&self) -> Requests {
        self.answering.as_ref().map(Answering::requests).unwrap_or_default()
    }

    /// Ends the session: sends the repair packets of unfinished blocks, and the end of session
    /// three times. If receivers have requested packets, it waits until the requests stop, which
    /// takes at least 200 ms.
    ///
    /// # Errors
    /// The system's error for the first datagram that could not be sent.
    pub fn finish(mut self) -> io::Result<()> {
        let ended = self.end();
        if let Some(answering) = &self.answering {
            answering.linger();
        }
        ended
    }

    fn end(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(first_error(&self.sender, self.answering.as_ref(), &mut result));
        }
        result
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // There is no caller to report an error to; a relay also ends the session after a time
        // without datagrams.
        let _ = self.end();
    }
}

/// Sends each datagram, keeps it for requests, and returns the first error.
fn first_error<'a>(
    sender: &'a Sender,
    answering: Option<&'a Answering>,
    result: &'a mut io::Result<()>,
) -> impl FnMut(&[u8]) + 'a {
    move |datagram| {
        // The datagram is kept before it is sent, because a request may arrive quickly.
        if let Some(answering) = answering {
            answering.keep(clock::now(), datagram);
        }
        let sent = sender.send(datagram);
        if result.is_ok() {
            *result = sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use tidecast_wire::native::{Kind, Packet};

    fn receiver() -> (UdpSocket, Output) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set a time-out");
        let url = format!("udp://{}", socket.local_addr().expect("bound"));
        (socket, url.parse().expect("a good URL"))
    }

    fn next(socket: &UdpSocket) -> (Kind, u64, u32, u64) {
        let mut bytes = [0; 2048];
        let len = socket.recv(&mut bytes).expect("a datagram");
        let packet = Packet::parse(&bytes[..len]).expect("a native datagram");
        (packet.kind(), packet.sequence(), packet.session(), packet.timestamp())
    }

    #[test]
    fn dropping_a_producer_ends_its_session_once() {
        let (socket, target) = receiver();
        let mut producer = Producer::builder(target).stream(5).session(77).open().expect("opens");
        let before = clock::unix_micros();
        producer.send(b"a").expect("sends");
        drop(producer);
        let (kind, number, session, timestamp) = next(&socket);
        assert_eq!((kind, number, session), (Kind::Data, 0, 77));
        assert!((before..=clock::unix_micros()).contains(&timestamp), "stamped with the wall clock");
        for _ in 0..3 {
            assert_eq!(next(&socket), (Kind::End, 1, 77, 0));
        }
    }

    #[test]
    fn finishing_ends_the_session_once_and_sessions_differ() {
        let (socket, target) = receiver();
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let producer = Producer::builder(target.clone()).open().expect("opens");
            sessions.push(producer.session());
            producer.finish().expect("sends");
        }
        let ends: Vec<_> = (0..6).map(|_| next(&socket)).collect();
        assert!(ends[..3].iter().all(|e| *e == (Kind::End, 0, sessions[0], 0)));
        assert!(ends[3..].iter().all(|e| *e == (Kind::End, 0, sessions[1], 0)));
        assert_ne!(sessions[0], sessions[1]);
    }

    #[test]
    fn a_payload_that_is_too_large_is_invalid_input() {
        let (_socket, target) = receiver();
        let mut producer = Producer::builder(target).open().expect("opens");
        let error = producer.send(&[0; 70_000]).expect_err("too large");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("70000"), "{error}");
    }

    #[test]
    fn maintaining_closes_blocks_when_it_is_time() {
        let (socket, target) = receiver();
        let fec = Fec::new(10, 1, 1).expect("a good shape");
        let builder = Producer::builder(target).session(1).fec(fec).close_after(Duration::ZERO);
        let mut producer = builder.open().expect("opens");
        assert_eq!(producer.next_deadline(), None);
        producer.send(b"a").expect("sends");
        assert!(producer.next_deadline().is_some_and(|at| at <= clock::now()));
        producer.maintain().expect("sends");
        assert_eq!([next(&socket).0, next(&socket).0], [Kind::Data, Kind::Repair]);
    }

    /// Requests packets of stream 5 of session 77.
    fn ask(socket: &UdpSocket, to: std::net::SocketAddr, ranges: &[(u64, u16)]) {
        use tidecast_wire::native::{NackRepr, Repr};
        let (mut payload, mut datagram) = (Vec::new(), Vec::new());
        NackRepr { ranges }.emit(&mut payload);
        let (kind, sequence, timestamp) = (Kind::Nack, 0, 0);
        Repr { kind, flags: 0, stream: 5, session: 77, sequence, timestamp, payload: &payload }
            .emit(&mut datagram);
        socket.send_to(&datagram, to).expect("sends");
    }

    #[test]
    fn what_a_receiver_asks_for_comes_again_while_the_program_does_something_else() {
        let (socket, target) = receiver();
        let mut producer = Producer::builder(target).stream(5).session(77).open().expect("opens");
        let (mut sent, mut from) = (Vec::new(), None);
        for payload in [b"a", b"b", b"c"] {
            producer.send(payload).expect("sends");
            let mut bytes = [0; 2048];
            let (len, source) = socket.recv_from(&mut bytes).expect("a datagram");
            sent.push(bytes[..len].to_vec());
            from = Some(source);
        }
        let from = from.expect("three datagrams");
        socket.send_to(b"hello", from).expect("sends");
        ask(&socket, from, &[(1, 9)]);
        for original in &sent[1..] {
            let mut bytes = [0; 2048];
            let len = socket.recv(&mut bytes).expect("a datagram");
            let again = Packet::parse(&bytes[..len]).expect("a good checksum");
            assert!(again.is_retransmission());
            assert_eq!(bytes[..3], original[..3]);
            assert_eq!(bytes[4..len - 4], original[4..original.len() - 4], "the flag and the checksum alone");
        }
        let Requests { numbers, malformed, foreign } = producer.requests();
        assert_eq!((numbers.requested, numbers.resent, numbers.gone), (9, 2, 7));
        assert_eq!((malformed, foreign), (0, 1));
        producer.finish().expect("sends");
    }

    #[cfg(feature = "seal")]
    #[test]
    fn a_sealed_producer_seals_all_and_answers_only_those_who_have_the_key() {
        use tidecast_wire::{
            native::{NackRepr, Repr},
            seal::Keyring,
        };
        let (socket, target) = receiver();
        let channel: SealKey = format!("1:{}", "ab".repeat(32)).parse().expect("a key");
        let keys = Keyring::new(vec![channel.clone()]).expect("a key").session(1, 5, 77).expect("its key");
        let builder =
            Producer::builder(target).stream(5).session(77).fec(Fec::new(2, 1, 1).expect("a shape"));
        let key = channel.for_stream(5).expect("a key of the channel");
        let error = builder.clone().stream(6).seal(key.clone()).open().expect_err("another stream");
        assert!(error.to_string().contains("stream"), "{error}");
        let mut producer = builder.encrypt(key).open().expect("opens");
        let next = || {
            let mut bytes = [0; 2048];
            let (len, source) = socket.recv_from(&mut bytes).expect("a datagram");
            let packet = Packet::parse(&bytes[..len]).expect("a native datagram");
            let mut plain = packet.payload().to_vec();
            assert!(keys.open(&packet, &bytes[..len], &mut plain), "{:?}", packet.kind());
            (packet.kind(), packet.is_encrypted(), packet.is_retransmission(), plain, source)
        };
        producer.send(b"one").expect("sends");
        producer.send(b"two").expect("sends");
        let sent = [next(), next(), next()];
        assert_eq!(sent.each_ref().map(|sent| sent.0), [Kind::Data, Kind::Data, Kind::Repair]);
        assert_eq!((sent[1].1, sent[1].3.as_slice()), (true, &b"two"[..]));
        let from = sent[0].4;
        ask(&socket, from, &[(0, 1)]);
        let mut payload = Vec::new();
        NackRepr { ranges: &[(1, 1)] }.emit(&mut payload);
        let (kind, sequence, timestamp) = (Kind::Nack, 0, 0);
        let request = Repr { kind, flags: 0, stream: 5, session: 77, sequence, timestamp, payload: &payload };
        let mut datagram = Vec::new();
        keys.seal(&request, false, &mut datagram);
        socket.send_to(&datagram, from).expect("sends");
        let again = next();
        assert_eq!((again.2, again.3.as_slice()), (true, &b"two"[..]), "the other request was not answered");
        assert_eq!((producer.requests().foreign, producer.requests().numbers.resent), (1, 1));
        producer.finish().expect("sends");
        assert_eq!(next().0, Kind::End);
    }

    #[test]
    fn without_a_history_nobody_waits_for_requests() {
        let (_socket, target) = receiver();
        let history = History { age_max: Duration::ZERO, ..History::default() };
        let mut producer = Producer::builder(target).history(history).open().expect("opens");
        producer.send(b"a").expect("sends");
        assert!(producer.answering.is_none());
        assert_eq!(producer.requests(), Requests::default());
    }
}
