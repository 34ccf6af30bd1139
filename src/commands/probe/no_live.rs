//! Replaces `live` in a build without it: `probe` prints lines.

use super::Live;

/// There is no display.
pub(super) fn available() -> bool {
    false
}

/// Shows nothing.
pub(super) fn show(_live: &mut Live<'_>) -> anyhow::Result<()> {
    Ok(())
}
