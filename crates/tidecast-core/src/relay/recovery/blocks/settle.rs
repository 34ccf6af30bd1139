//! Decides about blocks with missing packets: recover, give up, or wait.

use super::{BlockRecovery, RebuiltPayload, solve::Puzzle, unpadded};
use crate::relay::recovery::{Findings, Means};
use tidecast_wire::native::SourceShard;

/// Decision about a block.
enum Fate {
    Open,
    /// All repair packets have come, and they may have overtaken media packets.
    Awaited,
    /// It is complete, or no longer useful.
    Over,
    Rebuild,
    Hopeless,
}

impl BlockRecovery {
    pub(super) fn settle(&mut self, means: &mut Means<'_>) -> Findings<RebuiltPayload> {
        let mut findings = Findings::default();
        let mut place = 0;
        while place < self.blocks.len() {
            match self.fate(place, means) {
                Fate::Open => place += 1,
                Fate::Awaited => {
                    findings.awaited = findings.awaited.max(Some(self.blocks[place].end()));
                    place += 1;
                }
                Fate::Over => {
                    let block = &self.blocks[place];
                    findings.nonsense += u64::from(block.senseless.is_some() && block.present < block.k);
                    self.close(place);
                }
                Fate::Hopeless => {
                    findings.hopeless.extend(self.missing(place).filter(|n| *n >= self.start));
                    self.close(place);
                }
                Fate::Rebuild => self.rebuild(place, means, &mut findings),
            }
        }
        findings
    }

    fn missing(&self, place: usize) -> impl Iterator<Item = u64> + '_ {
        self.blocks[place].numbers().filter(|n| self.source(*n).is_none())
    }

    fn fate(&mut self, place: usize, means: &Means<'_>) -> Fate {
        let (newest, believed) = (self.newest, self.is_believed(self.blocks[place].shape()));
        let block = &mut self.blocks[place];
        let missing = block.k - block.present;
        let enough = missing <= block.have && block.senseless != Some(block.came());
        if missing == 0 {
            return Fate::Over;
        }
        // If the contents contradict each other, the genuine copy of a repair packet may still
        // come.
        let more = block.have < block.m || (believed && block.senseless.is_some());
        if !enough && more && !block.outlived(newest) {
            block.decided = None;
            return Fate::Open;
        }
        // A single repair packet could pretend to be a media packet that is still to come.
        if enough && !believed && block.k == 1 && block.end() > means.end {
            block.decided = None;
            return Fate::Open;
        }
        if !enough && block.end() > means.end {
            block.decided = None;
            return if believed { Fate::Awaited } else { Fate::Open };
        }
        let decided = *block.decided.get_or_insert(means.now);
        match enough {
            _ if means.now < decided + means.grace && block.first >= means.overdue => Fate::Open,
            true => Fate::Rebuild,
            // A block with contradictions, or with an unusual shape, does not show what may still
            // come.
            false if believed && block.senseless.is_none() => Fate::Hopeless,
            false => Fate::Over,
        }
    }

    /// Recovers the missing packets of the block, and closes it. If the contents contradict each
    /// other, it stays open until more has come.
    fn rebuild(&mut self, place: usize, means: &mut Means<'_>, findings: &mut Findings<RebuiltPayload>) {
        let mut credit = self.credit;
        let puzzle = Puzzle::new(&self.blocks[place], |number| self.source(number));
        let (missing, shards) = (puzzle.missing(), puzzle.solve(means.codes, &mut credit));
        self.credit = credit;
        let Some(shards) = shards else {
            let block = &mut self.blocks[place];
            (block.senseless, block.decided) = (Some(block.came()), None);
            return;
        };
        self.close(place);
        for (number, shard) in missing.into_iter().zip(shards) {
            let Ok(source) = SourceShard::parse(&shard) else { continue };
            let SourceShard { flags, timestamp, payload } = source;
            findings.rebuilt.push(RebuiltPayload { number, flags, timestamp, payload: payload.to_vec() });
            // A number above all received ones must not displace a packet that is still needed.
            if number < means.end {
                self.keep(number, unpadded(source), means.now, true);
            }
        }
    }
}
