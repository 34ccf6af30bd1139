//! Writes the results into benches/README.md: everything between two marks is replaced by the
//! sections that the cases have written.

use std::{fs, io, path::Path};

use crate::{
    marked,
    report::{Figure, Section},
    targets,
};

const BEGIN: &str = "<!-- results: begin, written by `cargo bench --bench relay -- --write-readme` -->";
const END: &str = "<!-- results: end -->";

/// Writes the sections' results into the README, and copies their plots to `results/` beside it.
pub(crate) fn write(sections: &[Section], out: &Path) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let path = folder.join("README.md");
    let text = fs::read_to_string(&path)?;
    let text = marked::replace(&text, [BEGIN, END], &results(sections), &path)?;
    fs::create_dir_all(folder.join("results"))?;
    for plot in sections.iter().flat_map(|section| &section.plots) {
        fs::copy(out.join(plot), folder.join("results").join(plot))?;
    }
    fs::write(&path, text)?;
    println!("written: {}", path.display());
    Ok(())
}

fn results(sections: &[Section]) -> String {
    let figures: Vec<Figure> = sections.iter().flat_map(|section| section.figures.clone()).collect();
    let mut text = machines(sections);
    if let Some(verdicts) = targets::table(&figures) {
        text.push_str(&format!("{}\n", verdicts.markdown()));
    }
    sections.iter().for_each(|section| text.push_str(&section.markdown("results/")));
    text
}

/// Returns each machine (in each state) once, with the cases that ran on it.
fn machines(sections: &[Section]) -> String {
    let mut seen: Vec<(String, Vec<&str>)> = Vec::new();
    for section in sections {
        let machine = &section.machine;
        let line = format!(
            "{}, {} processors, Linux {}, {}, commit {}, {}",
            machine.processor,
            machine.processors,
            machine.kernel,
            machine.compiler,
            machine.commit,
            machine.date
        );
        match seen.iter_mut().find(|(known, _)| *known == line) {
            Some((_, cases)) => cases.push(&section.case),
            None => seen.push((line, vec![&section.case])),
        }
    }
    seen.iter().map(|(line, cases)| format!("- {line}: {}\n", cases.join(", "))).collect::<String>() + "\n"
}
