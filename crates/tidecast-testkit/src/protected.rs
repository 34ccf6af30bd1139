//! A real sender's media and ST 2022-1 repair packets as captured: checks which packets they
//! recover, and compares them with the output of the program's own encoder for the same media.
use std::collections::{BTreeMap, BTreeSet};

use tidecast_wire::{
    fec::matrix::{Decoder, Encoder, Shape, Sum, Taken},
    rtp,
    seq::Space,
    st2022::{Axis, Repair, Shard},
};

/// Packets of one sender: which of the three ports each was sent to (0 media, 1 columns, 2 rows),
/// and the UDP payload.
pub struct Protected {
    pub datagrams: Vec<(u8, Vec<u8>)>,
}

fn sequence(bytes: &[u8]) -> u16 {
    rtp::Packet::parse(bytes).expect("RTP").sequence()
}

impl Protected {
    pub fn media(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.datagrams.iter().filter(|(stream, _)| *stream == 0).map(|(_, bytes)| bytes)
    }

    pub fn repairs(&self, axis: Axis) -> Vec<&Vec<u8>> {
        let stream = if axis == Axis::Column { 1 } else { 2 };
        let repairs = self.datagrams.iter().filter(|(of, _)| *of == stream).map(|(_, bytes)| bytes);
        repairs
            .inspect(|bytes| assert_eq!(Repair::parse(bytes).expect("a repair packet").axis(), axis))
            .collect()
    }

    /// Returns the extended media numbers by their 16 bits.
    fn numbers(&self) -> BTreeMap<u16, u64> {
        let first = sequence(self.media().next().expect("media"));
        let extended = |wire: u16| 7 * 65_536 + u64::from(first) + u64::from(wire.wrapping_sub(first));
        self.media().map(|bytes| (sequence(bytes), extended(sequence(bytes)))).collect()
    }

    /// Returns the numbers that at least one repair packet protects, all of whose media are
    /// present.
    fn protected(&self) -> BTreeSet<u64> {
        let numbers = self.numbers();
        let mut protected = BTreeSet::new();
        for bytes in self.repairs(Axis::Column).into_iter().chain(self.repairs(Axis::Row)) {
            let repair = Repair::parse(bytes).expect("a repair packet");
            let line = (0..repair.count()).map(|j| repair.base().wrapping_add((j * repair.offset()) as u16));
            if let Some(line) = line.map(|wire| numbers.get(&wire).copied()).collect::<Option<Vec<_>>>() {
                protected.extend(line);
            }
        }
        protected
    }

    /// Deletes each protected media packet in turn and checks that it is recovered unchanged.
    /// Returns their number.
    pub fn each_comes_back(&self) -> usize {
        let protected = self.protected();
        for deleted in &protected {
            let back = self.without(*deleted);
            let original = self.media().find(|bytes| self.numbers()[&sequence(bytes)] == *deleted);
            assert_eq!(back.as_ref(), original, "{deleted}");
        }
        protected.len()
    }

    /// Returns the deleted packet as recovered by the decoder.
    fn without(&self, deleted: u64) -> Option<Vec<u8>> {
        let numbers = self.numbers();
        let start = *numbers.values().min().expect("media");
        let (mut decoder, mut end) = (Decoder::new(start), start);
        for (stream, bytes) in &self.datagrams {
            let news = if *stream == 0 {
                let number = numbers[&sequence(bytes)];
                if number == deleted {
                    continue;
                }
                end = end.max(number + 1);
                decoder.media(number, Sum::from(Shard::of(bytes).expect("RTP")))
            } else {
                let repair = Repair::parse(bytes).expect("a repair packet");
                let base = Space::RTP.extend(end, repair.base().into());
                decoder.repair(base, &repair).expect("of this stream")
            };
            assert!(news.nonsense == 0 && !news.hopeless.contains(&deleted), "{deleted}: {news:?}");
            if news.rebuilt.contains(&deleted) {
                let ssrc = rtp::Packet::parse(self.media().next()?).ok()?.ssrc();
                let mut packet = Vec::new();
                return decoder.rebuilt(deleted)?.emit(deleted as u16, ssrc, &mut packet).then_some(packet);
            }
        }
        None
    }

    /// Returns the repair packets of the program's own encoder for the same media, columns and
    /// rows, with the sender's first sequence numbers.
    pub fn ours(&self, columns: u8, rows: u8) -> [Vec<Vec<u8>>; 2] {
        let first = |axis| sequence(self.repairs(axis)[0]);
        let shape = Shape::new(columns, rows, true).expect("a matrix");
        let mut encoder = Encoder::new(shape, first(Axis::Column), first(Axis::Row));
        let mut out = Vec::new();
        self.media().for_each(|packet| assert_eq!(encoder.media(packet, &mut out), Taken::Added));
        encoder.flush(&mut out);
        let of = |axis| out.iter().filter(|d| d.axis == axis).map(|d| d.bytes.clone()).collect::<Vec<_>>();
        [of(Axis::Column), of(Axis::Row)]
    }

    /// Compares the encoder's repair packets with the sender's: every one that the sender sent, in
    /// its order, must be the same except for the `ignored` bytes.
    pub fn we_send_the_same(&self, columns: u8, rows: u8, ignored: std::ops::Range<usize>) {
        for (axis, ours) in [Axis::Column, Axis::Row].into_iter().zip(self.ours(columns, rows)) {
            let theirs = self.repairs(axis);
            assert!(
                theirs.len() <= ours.len(),
                "{axis:?}: {} of ours, {} of theirs",
                ours.len(),
                theirs.len()
            );
            for (i, (theirs, mut ours)) in theirs.into_iter().zip(ours).enumerate() {
                ours[ignored.clone()].copy_from_slice(&theirs[ignored.clone()]);
                assert_eq!(&ours, theirs, "{axis:?} {i}");
            }
        }
    }
}
