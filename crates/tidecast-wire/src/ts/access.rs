//! Finds points at which decoding of a transport stream can start: random access points of the
//! video stream, which its packets declare (`random_access_indicator`, ISO/IEC 13818-1 section
//! 2.4.3.5), or which its pictures show.
//!
//! Encoders set the indicator on audio too, so only the PID counts that the program map table
//! lists as video. `channel::tap` uses it to keep the start of a stream for players.

use super::{
    PACKET, SYNC, adaptation, payload,
    picture::{Codec, Picture},
    pid,
    psi::{PID_PAT, Section, Sections, TABLE_PAT, TABLE_PMT},
    starts_unit,
};
use crate::limits::TS_PROGRAMS_MAX;

/// Meaning of a packet for a decoder that is to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A picture of the video stream starts with this packet.
    pub begins: bool,
    /// Decoding can start with the latest picture, possibly with this packet.
    pub access: bool,
    /// The video stream changes here.
    pub changed: bool,
}

/// Follows one transport stream, or one programme of a multiplex: the first one with video.
#[derive(Clone, Debug, Default)]
pub struct Access {
    association: Sections,
    programs: Vec<Program>,
    video: Option<Video>,
}

/// A programme of the stream.
#[derive(Clone, Debug)]
struct Program {
    /// PID of its map table.
    pid: u16,
    map: Sections,
    video: Option<(u16, Codec)>,
}

/// The followed video stream.
#[derive(Clone, Debug)]
struct Video {
    pid: u16,
    codec: Codec,
    /// The indicator was set in a packet without the start of a picture: it applies to the next
    /// one.
    announced: bool,
    /// The latest picture, as long as its type is unknown.
    picture: Option<Picture>,
}

impl Access {
    /// Examines the next packet of the stream.
    pub fn see(&mut self, packet: &[u8; PACKET]) -> Seen {
        if packet[0] != SYNC || packet[1] & 0x80 != 0 {
            return Seen::default();
        }
        let pid = pid(packet);
        if let Some(video) = self.video.as_mut().filter(|video| video.pid == pid) {
            return video.see(packet);
        }
        let listed = if pid == PID_PAT { self.associate(packet) } else { self.map(pid, packet) };
        Seen { changed: listed && self.choose(), ..Seen::default() }
    }

    /// The latest packets of the program association table and of the programmes' map tables, to
    /// be sent before a part of the stream. Empty before the first ones.
    pub fn tables(&self) -> Vec<u8> {
        let maps = self.programs.iter().map(|program| program.map.last());
        std::iter::once(self.association.last()).chain(maps).flatten().copied().collect()
    }

    /// Whether a video stream is known.
    pub fn has_video(&self) -> bool {
        self.video.is_some()
    }

    /// Reads a packet of the association table. Returns whether it listed the programmes again.
    fn associate(&mut self, packet: &[u8; PACKET]) -> bool {
        let pids = listed(&mut self.association, packet, TABLE_PAT, |section| {
            section.programs().map(|(_, pid)| pid).take(TS_PROGRAMS_MAX).collect::<Vec<_>>()
        });
        let Some(pids) = pids else { return false };
        if self.programs.iter().map(|program| program.pid).eq(pids.iter().copied()) {
            return false;
        }
        let mut known = std::mem::take(&mut self.programs);
        let program = |pid| {
            let place = known.iter().position(|program| program.pid == pid);
            let new = || Program { pid, map: Sections::default(), video: None };
            place.map_or_else(new, |place| known.swap_remove(place))
        };
        self.programs = pids.into_iter().map(program).collect();
        true
    }

    /// Reads a packet of a map table, if it is one. Returns whether the video stream has changed.
    fn map(&mut self, pid: u16, packet: &[u8; PACKET]) -> bool {
        let Some(program) = self.programs.iter_mut().find(|program| program.pid == pid) else { return false };
        let video = listed(&mut program.map, packet, TABLE_PMT, |section| {
            section.streams().find_map(|stream| Codec::of(stream.kind).map(|codec| (stream.pid, codec)))
        });
        let Some(video) = video else { return false };
        std::mem::replace(&mut program.video, video) != video
    }

    /// Selects the first video stream. Returns whether it has changed.
    fn choose(&mut self) -> bool {
        let first = self.programs.iter().find_map(|program| program.video);
        if first == self.video.as_ref().map(|video| (video.pid, video.codec)) {
            return false;
        }
        self.video = first.map(|(pid, codec)| Video { pid, codec, announced: false, picture: None });
        true
    }
}

/// The entries of a table that a packet completes. Keeps the packets of its first section, so that
/// the data for players are bounded.
fn listed<T>(
    sections: &mut Sections,
    packet: &[u8; PACKET],
    table: u8,
    read: impl Fn(Section<'_>) -> T,
) -> Option<T> {
    let mut found = None;
    sections.take(packet, |section| {
        let wanted = found.is_none() && section.table() == table && section.is_first();
        if wanted {
            found = Some(read(section));
        }
        wanted
    });
    found
}

impl Video {
    fn see(&mut self, packet: &[u8; PACKET]) -> Seen {
        let begins = starts_unit(packet);
        let indicated = adaptation(packet).is_some_and(|(flags, _)| flags & 0x40 != 0);
        if !begins && !indicated && self.picture.is_none() {
            return Seen::default();
        }
        if !begins {
            self.announced |= indicated;
            return Seen { access: self.look(packet), ..Seen::default() };
        }
        let indicated = std::mem::take(&mut self.announced) || indicated;
        self.picture = payload(packet).filter(|_| !indicated).and_then(|p| Picture::begin(self.codec, p));
        Seen { begins, access: indicated || self.look(packet), changed: false }
    }

    /// Whether decoding can start with the picture, judging by this packet.
    fn look(&mut self, packet: &[u8; PACKET]) -> bool {
        let Some((picture, payload)) = self.picture.as_mut().zip(payload(packet)) else { return false };
        let told = picture.look(payload);
        if told.is_some() {
            self.picture = None;
        }
        told == Some(true)
    }
}

/// Streams for tests.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::psi;
    use proptest::{collection::vec, prelude::*};
    use tidecast_testkit::ts::{
        AUDIO, H264, H265, MPEG2, PMT, VIDEO, association, map, packed, packet, picture, section, tables,
    };

    fn following(kind: u8) -> Access {
        let mut access = Access::default();
        let seen: Vec<Seen> = tables(0, kind).iter().map(|packet| access.see(packet)).collect();
        assert!(seen[1].changed && access.has_video());
        access
    }

    const POINT: Seen = Seen { begins: true, access: true, changed: false };
    const PICTURE: Seen = Seen { begins: true, access: false, changed: false };

    #[test]
    fn the_indicator_counts_on_video_alone() {
        let mut access = following(0x1b);
        let key = picture(H264, true);
        let other = picture(H264, false);
        assert_eq!(access.see(&packet(AUDIO, true, true, &[0, 0, 1, 0xc0])), Seen::default());
        assert_eq!(access.see(&packet(VIDEO, true, false, &other)), PICTURE);
        assert_eq!(access.see(&packet(VIDEO, true, true, &other)), POINT);
        assert_eq!(access.see(&packet(VIDEO, true, false, &key)), POINT);
        // announced in advance, with the clock
        assert_eq!(access.see(&packet(VIDEO, false, true, &[])), Seen::default());
        assert_eq!(access.see(&packet(VIDEO, true, false, &other)), POINT);
        assert_eq!(access.see(&packet(VIDEO, true, false, &other)), PICTURE);
    }

    #[test]
    fn without_the_indicator_pictures_tell_even_in_a_later_packet() {
        for kind in [H264, H265, MPEG2] {
            let mut access = following(kind);
            let key = picture(kind, true);
            let seen = access.see(&packet(VIDEO, true, false, &key[..16]));
            assert_eq!(seen, PICTURE, "{kind:#x}");
            access.see(&packet(AUDIO, true, true, &[0, 0, 1, 0xc0]));
            let seen = key[16..].chunks(3).map(|part| access.see(&packet(VIDEO, false, false, part)));
            assert_eq!(seen.filter(|seen| seen.access).count(), 1, "{kind:#x}");
        }
    }

    #[test]
    fn scrambled_pictures_are_not_looked_into() {
        let mut access = following(0x1b);
        let key = picture(H264, true);
        let mut scrambled = packet(VIDEO, true, false, &key);
        scrambled[3] |= 0x80;
        assert_eq!(access.see(&scrambled), PICTURE);
        let mut indicated = packet(VIDEO, true, true, &key);
        indicated[3] |= 0xc0;
        assert_eq!(access.see(&indicated), POINT);
    }

    #[test]
    fn tables_are_kept_as_they_came_and_another_video_stream_is_told() {
        let mut access = Access::default();
        assert!(access.tables().is_empty());
        tables(3, 0x1b).iter().for_each(|packet| _ = access.see(packet));
        let latest = tables(4, 0x1b);
        assert!(latest.iter().all(|packet| access.see(packet) == Seen::default()));
        assert_eq!(access.tables(), latest.as_flattened());
        let changes: Vec<bool> = tables(5, 0x24).iter().map(|packet| access.see(packet).changed).collect();
        assert_eq!(changes, [false, true]);
        // radio
        let radio = packed(PMT, 6, &map(&[(0x0f, AUDIO)]));
        assert!(access.see(&radio[0]).changed && !access.has_video());
    }

    #[test]
    fn other_tables_on_the_same_pids_are_passed_over() {
        let mut access = following(0x1b);
        let tables = access.tables();
        let mut second = association(&[0x20]);
        second[6] = 1;
        second.truncate(second.len() - 4);
        let sum = psi::crc(&second);
        second.extend(sum.to_be_bytes());
        for other in [section(0x42, 1, &[0, 1, 0xe0, 0x20]), second] {
            assert_eq!(access.see(&packed(0, 1, &other)[0]), Seen::default());
        }
        for other in [section(0xfc, 1, &[0; 8]), section(TABLE_PAT, 1, &[0, 1, 0xe0, 0x20])] {
            assert_eq!(access.see(&packed(PMT, 1, &other)[0]), Seen::default());
        }
        assert!(access.tables() == tables && access.has_video());
    }

    #[test]
    fn of_several_programmes_the_first_one_with_video_is_followed() {
        let mut access = Access::default();
        access.see(&packed(0, 0, &association(&[0x20, 0x21, 0x22]))[0]);
        access.see(&packed(0x22, 0, &map(&[(0x1b, 0x300)]))[0]);
        assert!(access.see(&packed(0x21, 0, &map(&[(0x02, 0x200)]))[0]).changed);
        access.see(&packed(0x20, 0, &map(&[(0x0f, 0x400)]))[0]);
        assert_eq!(access.video.as_ref().map(|video| video.pid), Some(0x200));
        assert_eq!(access.tables().len(), 4 * PACKET);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(
            packets in vec((vec(any::<u8>(), PACKET), prop_oneof![Just(0u16), Just(PMT), Just(VIDEO)]), 0..60),
            kind in prop_oneof![Just(0x1bu8), Just(0x24), Just(0x02)],
        ) {
            let mut access = following(kind);
            for (bytes, pid) in packets {
                let mut packet: [u8; PACKET] = bytes.try_into().unwrap();
                packet[0] = SYNC;
                packet[1] = packet[1] & 0x60 | (pid >> 8) as u8;
                packet[2] = pid as u8;
                access.see(&packet);
                prop_assert!(access.tables().len() <= 17 * 8 * PACKET);
            }
        }
    }
}
