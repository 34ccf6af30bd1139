//! The results in docs/recovery.md: everything between two marks is made anew; the plots stand beside it, and all figures
//! in benches/results/.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    plot,
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
        let parts = text.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
        let (head, tail) = parts
            .ok_or_else(|| io::Error::other(format!("{begin} and {end} are not in {}", path.display())))?;
        text = format!("{head}{begin}\n\n{content}\n{end}{tail}");
    }
    fs::write(&path, text)?;
    fs::write(root.join("benches/results/recovery.md"), complete)?;
    for name in plot::NAMES {
        fs::copy(out.join(name), root.join("docs").join(name))?;
    }
    println!("written: {}", path.display());
    Ok(())
}
