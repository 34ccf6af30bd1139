//! The sending side: takes media packets, and returns repair packets.

use std::{collections::VecDeque, mem};

use super::{Axis, Shape, Sum};
use crate::{
    limits::DATAGRAM_BYTES_MAX,
    rtp,
    st2022::{HEADER, PAYLOAD_TYPE, Repr, Shard},
};

/// Result of adding a media packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is protected.
    Added,
    /// Its place in the matrix is taken.
    Duplicate,
    /// Its matrix is complete, so it is not protected.
    Late,
    /// Not an RTP packet.
    NotRtp,
    /// Its repair packets would be too long for a datagram.
    TooLong,
}

/// A repair packet to be sent: columns go to the media's port + 2, rows to + 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Column or row stream.
    pub axis: Axis,
    /// The whole UDP payload.
    pub bytes: Vec<u8>,
}

/// Makes the repair packets of one RTP stream.
///
/// A row's repair packet is sent with the row's last media packet. Those of a matrix' columns are
/// spread over the next matrix, one for every D media packets, so that they form no burst, and one
/// burst of losses does not hit media and repair packets together. Rows and columns with a gap in
/// the numbering are not sent: a receiver could not determine what they protect.
#[derive(Debug)]
pub struct Encoder {
    shape: Shape,
    columns: Stream,
    rows: Stream,
    /// SSRC of the media in the matrix; `None` before the first packet.
    ssrc: Option<u32>,
    /// Timestamp of the latest media packet, used for repair packets.
    timestamp: u32,
    matrix: Matrix,
    /// Complete columns of the previous matrix, with the position in the matrix at which each is
    /// due.
    waiting: VecDeque<(usize, Line)>,
}

/// One repair stream.
#[derive(Debug)]
struct Stream {
    axis: Axis,
    next_sequence: u16,
    /// Whether a complete row or column was sent. GStreamer takes the length of the first one for
    /// that of all, so the first one must not be shorter.
    length_known: bool,
}

/// A row or column that is being summed up.
#[derive(Debug, Default)]
struct Line {
    /// Lowest and highest number.
    base: u16,
    last: u16,
    offset: u8,
    count: u8,
    /// Count of packets when it was last sent.
    sent: u8,
    sum: Sum,
}

#[derive(Debug)]
struct Matrix {
    base: u16,
    /// One bit per filled position, at most 100.
    filled: u128,
    columns: Vec<Line>,
    rows: Vec<Line>,
}

impl Line {
    fn add(&mut self, sequence: u16, shard: Shard<'_>) {
        self.count += 1;
        self.sum.add(shard);
        // Numbers may come out of order.
        if self.count == 1 || sequence.wrapping_sub(self.base) > 0x7fff {
            self.base = sequence;
        }
        if self.count == 1 || sequence.wrapping_sub(self.last) <= 0x7fff {
            self.last = sequence;
        }
    }

    /// Whether it has packets, and no gap.
    fn is_whole(&self) -> bool {
        let steps = u16::from(self.count).wrapping_sub(1);
        self.count > 0 && self.last.wrapping_sub(self.base) == steps * u16::from(self.offset)
    }
}

impl Stream {
    fn new(axis: Axis, next_sequence: u16) -> Stream {
        Stream { axis, next_sequence, length_known: false }
    }

    fn send(&mut self, line: &Line, timestamp: u32, out: &mut Vec<Datagram>) {
        let repr = Repr {
            axis: self.axis,
            payload_type: PAYLOAD_TYPE,
            sequence: self.next_sequence,
            timestamp,
            ssrc: 0,
            base: line.base,
            offset: line.offset,
            count: line.count,
            shard: line.sum.shard(),
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.length_known = true;
        let mut bytes = Vec::new();
        repr.emit(&mut bytes);
        out.push(Datagram { axis: self.axis, bytes });
    }
}

impl Stream {
    /// Sends an incomplete line, of at most `full` packets, unless it was sent with the same
    /// packets.
    fn send_early(&mut self, line: &mut Line, full: u8, timestamp: u32, out: &mut Vec<Datagram>) {
        if (self.length_known || line.count == full) && line.is_whole() && line.sent < line.count {
            line.sent = line.count;
            self.send(line, timestamp, out);
        }
    }
}

impl Matrix {
    fn new(shape: Shape) -> Matrix {
        let line = |offset| Line { offset, ..Line::default() };
        let rows = if shape.row_fec { shape.rows } else { 0 };
        Matrix {
            base: 0,
            filled: 0,
            columns: (0..shape.columns).map(|_| line(shape.columns)).collect(),
            rows: (0..rows).map(|_| line(1)).collect(),
        }
    }

    fn restart(&mut self, base: u16) {
        (self.base, self.filled) = (base, 0);
        for line in self.columns.iter_mut().chain(&mut self.rows) {
            (line.count, line.sent) = (0, 0);
            line.sum.clear();
        }
    }
}

impl Encoder {
    /// Creates an encoder whose repair streams start at these numbers; a sender chooses them at
    /// random (RFC 3550).
    pub fn new(shape: Shape, first_column: u16, first_row: u16) -> Encoder {
        Encoder {
            shape,
            columns: Stream::new(Axis::Column, first_column),
            rows: Stream::new(Axis::Row, first_row),
            ssrc: None,
            timestamp: 0,
            matrix: Matrix::new(shape),
            waiting: VecDeque::new(),
        }
    }

    /// The matrix.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Adds a media packet that is being sent, as a whole datagram. Appends the repair packets to
    /// send after it.
    pub fn media(&mut self, packet: &[u8], out: &mut Vec<Datagram>) -> Taken {
        let (Some(shard), Ok(rtp)) = (Shard::of(packet), rtp::Packet::parse(packet)) else {
            return Taken::NotRtp;
        };
        if HEADER + shard.body.len() > DATAGRAM_BYTES_MAX {
            return Taken::TooLong;
        }
        let Some(position) = self.position(rtp.sequence(), rtp.ssrc(), out) else { return Taken::Late };
        if self.matrix.filled >> position & 1 == 1 {
            return Taken::Duplicate;
        }
        self.timestamp = rtp.timestamp();
        self.add(position, rtp.sequence(), shard, out);
        self.release(position, out);
        Taken::Added
    }

    /// Position of a number in the matrix; starts the next matrix, or a new one after a jump.
    /// `None` if its matrix is complete.
    fn position(&mut self, sequence: u16, ssrc: u32, out: &mut Vec<Datagram>) -> Option<usize> {
        let packets = self.shape.packets();
        let ahead = usize::from(sequence.wrapping_sub(self.matrix.base));
        if self.ssrc != Some(ssrc) {
            self.jump(sequence, ssrc, out);
        } else if ahead >= 0x1_0000 - packets {
            return None;
        } else if ahead >= 2 * packets {
            self.jump(sequence, ssrc, out);
        } else if ahead >= packets {
            self.next_matrix(out);
        }
        Some(sequence.wrapping_sub(self.matrix.base).into())
    }

    /// The numbering restarts, so the previous stream has ended.
    fn jump(&mut self, sequence: u16, ssrc: u32, out: &mut Vec<Datagram>) {
        self.flush(out);
        self.ssrc = Some(ssrc);
        self.matrix.restart(sequence);
    }

    fn next_matrix(&mut self, out: &mut Vec<Datagram>) {
        self.release(usize::MAX, out);
        let spacing = usize::from(self.shape.rows);
        for (index, column) in self.matrix.columns.iter_mut().enumerate() {
            if column.count == self.shape.rows && column.sent < column.count {
                let empty = Line { offset: column.offset, ..Line::default() };
                self.waiting.push_back((index * spacing, mem::replace(column, empty)));
            }
        }
        let base = self.matrix.base.wrapping_add(self.shape.packets() as u16);
        self.matrix.restart(base);
    }

    fn add(&mut self, position: usize, sequence: u16, shard: Shard<'_>, out: &mut Vec<Datagram>) {
        let columns = usize::from(self.shape.columns);
        self.matrix.filled |= 1 << position;
        self.matrix.columns[position % columns].add(sequence, shard);
        let Some(row) = self.matrix.rows.get_mut(position / columns) else { return };
        row.add(sequence, shard);
        if row.count == self.shape.columns {
            row.sent = row.count;
            self.rows.send(row, self.timestamp, out);
        }
    }

    /// Sends the columns that are due at a position.
    fn release(&mut self, position: usize, out: &mut Vec<Datagram>) {
        while let Some((_, column)) = self.waiting.pop_front_if(|(due, _)| *due <= position) {
            self.columns.send(&column, self.timestamp, out);
        }
    }

    /// The stream pauses: sends everything that still protects packets, including rows and columns
    /// that are shorter than usual, once for the same packets. The matrix continues with the next
    /// packet.
    pub fn pause(&mut self, out: &mut Vec<Datagram>) {
        self.release(usize::MAX, out);
        let Encoder { shape, columns, rows, matrix, timestamp, .. } = self;
        matrix.rows.iter_mut().for_each(|row| rows.send_early(row, shape.columns, *timestamp, out));
        let lines = matrix.columns.iter_mut();
        lines.for_each(|column| columns.send_early(column, shape.rows, *timestamp, out));
    }

    /// The stream ends: sends the same as for a pause, and the next packet starts another stream.
    pub fn flush(&mut self, out: &mut Vec<Datagram>) {
        self.pause(out);
        self.ssrc = None;
        self.matrix.restart(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::st2022::Repair;

    /// Sends packets with these numbers, then pauses. Returns axis, base and count of each repair
    /// packet.
    fn until_pause(encoder: &mut Encoder, numbers: std::ops::Range<u16>) -> Vec<(Axis, u16, u64)> {
        let mut out = Vec::new();
        for sequence in numbers {
            let mut packet = Vec::new();
            rtp::Repr { marker: false, payload_type: 33, sequence, timestamp: 0, ssrc: 1, payload: b"media" }
                .emit(&mut packet);
            assert_eq!(encoder.media(&packet, &mut out), Taken::Added);
        }
        encoder.pause(&mut out);
        let line = |datagram: &Datagram| {
            let repair = Repair::parse(&datagram.bytes).unwrap();
            (repair.axis(), repair.base(), repair.count())
        };
        out.iter().map(line).collect()
    }

    /// Receivers take the length of the first row or column for that of all.
    #[test]
    fn a_pause_protects_all_packets_once_the_length_of_lines_is_known() {
        let mut encoder = Encoder::new(Shape::new(4, 4, true).unwrap(), 0, 0);
        assert_eq!(until_pause(&mut encoder, 0..3), []);
        // the row is complete, no column is
        assert_eq!(until_pause(&mut encoder, 3..6), [(Axis::Row, 0, 4), (Axis::Row, 4, 2)]);
        let columns = (0..4).map(|base| (Axis::Column, base, 4));
        let rest: Vec<_> = [4, 8, 12].map(|base| (Axis::Row, base, 4)).into_iter().chain(columns).collect();
        assert_eq!(until_pause(&mut encoder, 6..16), rest);
        let short = [(Axis::Row, 16, 2), (Axis::Column, 16, 1), (Axis::Column, 17, 1)];
        assert_eq!(until_pause(&mut encoder, 16..18), short);
        assert_eq!(until_pause(&mut encoder, 18..18), [], "sent already");
    }
}
