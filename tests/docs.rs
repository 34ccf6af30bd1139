//! Consistency of the repository's documents.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Returns all documents for readers.
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

#[test]
fn every_document_is_in_the_index() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let index = fs::read_to_string(docs.join("README.md")).expect("UTF-8");
    for folder in ["", "guides/", "examples/"] {
        for entry in fs::read_dir(docs.join(folder)).expect(folder).map(|entry| entry.expect("an entry")) {
            let name = format!("{folder}{}", entry.file_name().to_str().expect("UTF-8"));
            let document = [".md", ".py", ".c"].iter().any(|end| name.ends_with(end));
            let listed = name == "README.md" || index.contains(&format!("]({name})"));
            assert!(!document || listed, "docs/README.md does not list {name}");
        }
    }
}

/// A block fits a terminal of 80 columns.
#[test]
fn blocks_of_the_readme_are_narrow() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(readme).expect("UTF-8");
    for line in text.split("```").skip(1).step_by(2).flat_map(str::lines) {
        assert!(line.chars().count() <= 80, "README.md: {line}");
    }
}

fn rooms(root: &Path) -> Output {
    Command::new("python3").arg(root.join("tests/rooms")).output().expect("python3")
}

/// The picture in docs/architecture.md shows which module uses which.
#[test]
fn no_two_rooms_use_each_other_and_the_picture_of_them_is_true() {
    let output = rooms(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn two_rooms_that_use_each_other_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rooms");
    write("tests/rooms", &fs::read_to_string(script).expect("a script"));
    write("docs/architecture.md", "<!-- tests/rooms -->\n<!-- end -->\n");
    write("src/main.rs", "mod a;\nmod b;\n");
    write("src/a.rs", "mod inner;\n");
    write("src/a/inner.rs", "use crate::b::{self, Thing};\n");
    // These are not uses: a comment, a string, a test.
    let none = "// use crate::a::inner;\nconst TEXT: &str = \"crate::a\";\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n";
    write("src/b.rs", none);
    let cycles =
        || String::from_utf8_lossy(&rooms(folder.path()).stdout).contains("tidecast: a cycle of a, b");
    assert!(!cycles());
    write("src/b.rs", &format!("{none}fn f(_: super::a::inner::Other) {{}}\n"));
    assert!(cycles());
}
