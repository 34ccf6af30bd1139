//! Writes the results into docs/recovery.md: everything between two marks is replaced; the plots
//! are saved beside it, and all figures in benches/results/.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    marked, plot,
    run::{Effort, Grid},
    tables,
};

fn marks(name: &str) -> [String; 2] {
    [
        format!("<!-- {name}: begin, written by `cargo bench --bench recovery -- --write-docs` -->"),
        format!("<!-- {name}: end -->"),
    ]
}

/// Writes tables and plots.
pub(crate) fn write(grid: &Grid, effort: &Effort, complete: &str, out: &Path) -> io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/recovery.md");
    let mut text = fs::read_to_string(&path)?;
    let made = format!(
        "{} media packets for each figure ({:.0} minutes of 8 Mbit/s), seed {}.\n\n{}",
        effort.packets,
        effort.packets as f64 * 0.001_316 / 60.0,
        effort.seed,
        tables::left(grid)
    );
    for (name, content) in [("left", made), ("delays", tables::delays(grid))] {
        let [begin, end] = marks(name);
        text = marked::replace(&text, [&begin, &end], &format!("{content}\n"), &path)?;
    }
    fs::write(&path, text)?;
    fs::write(root.join("benches/results/recovery.md"), complete)?;
    for name in plot::NAMES {
        fs::copy(out.join(name), root.join("docs").join(name))?;
    }
    println!("written: {}", path.display());
    Ok(())
}
