//! The documents of the repository hold together.

use std::{fs, path::PathBuf};

/// All documents that people read.
fn documents() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md"]
        .map(|file| root.join(file))
        .to_vec();
    for folder in ["docs", "docs/guides"] {
        let entries =
            fs::read_dir(root.join(folder)).expect(folder).map(|entry| entry.expect("an entry").path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8"))).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = path.parent().expect("a folder").join(target);
            assert!(file.exists(), "{}: {link} leads nowhere", path.display());
        }
    }
}
