//! Names the content of a programme's elementary stream from its descriptors.

/// Stream types of ISO/IEC 13818-1 table 2-34 and of ATSC; private data is identified by its
/// descriptors.
pub(super) fn kind(stream_type: u8, descriptors: &[u8]) -> String {
    let name = match stream_type {
        0x01 => "MPEG-1 video",
        0x02 => "MPEG-2 video",
        0x03 => "MPEG-1 audio",
        0x04 => "MPEG-2 audio",
        0x06 => return private(descriptors).unwrap_or("private data").to_owned(),
        0x0f => "AAC audio",
        0x10 => "MPEG-4 video",
        0x11 => "AAC audio (LATM)",
        0x15 => "metadata",
        0x1b => "H.264 video",
        0x20 => "H.264 video (MVC)",
        0x21 => "JPEG 2000 video",
        0x24 => "HEVC video",
        0x33 => "VVC video",
        0x42 => "AVS video",
        0x81 => "AC-3 audio",
        0x86 => "SCTE-35 cues",
        0x87 => "E-AC-3 audio",
        other => return format!("stream type {other:#04x}"),
    };
    name.to_owned()
}

/// Descriptors of EN 300 468 and registrations (ISO/IEC 13818-1 section 2.6.8) that identify
/// private data.
fn private(mut descriptors: &[u8]) -> Option<&'static str> {
    while let [tag, length, rest @ ..] = descriptors {
        let body = rest.get(..usize::from(*length))?;
        match (*tag, body) {
            (0x05, [b'O', b'p', b'u', b's', ..]) => return Some("Opus audio"),
            (0x05, [b'A', b'C', b'-', b'3', ..]) | (0x6a, _) => return Some("AC-3 audio"),
            (0x05, [b'K', b'L', b'V', b'A', ..]) => return Some("KLV metadata"),
            (0x05, [b'H', b'E', b'V', b'C', ..]) => return Some("HEVC video"),
            (0x7a, _) => return Some("E-AC-3 audio"),
            (0x7b, _) => return Some("DTS audio"),
            (0x56, _) => return Some("teletext"),
            (0x59, _) => return Some("DVB subtitles"),
            _ => descriptors = &rest[body.len()..],
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn streams_are_named_by_their_type_and_private_data_by_its_descriptors() {
        assert_eq!(kind(0x1b, &[0x52, 1, 7]), "H.264 video");
        assert_eq!(kind(0x06, &[0x05, 4, b'O', b'p', b'u', b's']), "Opus audio");
        assert_eq!(kind(0x06, &[0x52, 1, 7, 0x6a, 0]), "AC-3 audio");
        assert_eq!(kind(0x06, &[0x52, 9, 7, 0x6a, 0]), "private data");
        assert_eq!(kind(0x99, &[]), "stream type 0x99");
    }

    proptest! {
        #[test]
        fn arbitrary_descriptors_never_panic(stream_type: u8, descriptors in vec(any::<u8>(), 0..64)) {
            prop_assert!(!kind(stream_type, &descriptors).is_empty());
        }
    }
}
