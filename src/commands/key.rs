//! `tidecast key`: makes keys for sealed datagrams.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::Failure;
use crate::{
    cli::{self, KeyCommand},
    config::seal,
};
use tidecast_wire::seal::Key;

/// Prints a key, or writes it to a file.
///
/// # Errors
/// [`Failure::Usage`] if there is no such key; the file exists already, or cannot be written.
pub(super) fn run(args: &cli::Key, out: &mut impl Write) -> Result<(), Failure> {
    let (key, file) = match &args.what {
        KeyCommand::New { id, output } => (Key::random(*id).map_err(usage)?, output),
        KeyCommand::Stream { file, stream, output } => {
            let key = first(file)?;
            (key.for_stream(*stream).map_err(|error| usage(format!("{}: {error}", file.display())))?, output)
        }
    };
    let line = format!("{}\n", key.secret_text());
    match file {
        Some(path) => write_private(path, &line).map_err(|error| {
            let reason = format!("cannot write {}, expected a path where no file is yet", path.display());
            anyhow::Error::new(error).context(reason).into()
        }),
        None => out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(Failure::output),
    }
}

/// The first key of a file.
pub(super) fn first(file: &Path) -> Result<Key, Failure> {
    let keys = seal::read(file).map_err(Failure::Usage)?;
    keys.into_iter().next().ok_or_else(|| usage(format!("{}: no key", file.display())))
}

/// Writes a new file that only its owner can read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

#[cfg(all(test, feature = "seal"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made(what: KeyCommand) -> Result<String, Failure> {
        let mut out = Vec::new();
        run(&cli::Key { what }, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_new_key_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("channel.key");
        let new = || made(KeyCommand::New { id: 3, output: Some(file.clone()) });
        assert_eq!(new().unwrap(), "");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let key = first(&file).unwrap();
        assert_eq!((key.id(), key.stream()), (3, None));
        let error = new().unwrap_err().message();
        assert!(error.starts_with("error: cannot write ") && error.contains("File exists"), "{error}");
        assert_eq!(first(&file).unwrap(), key, "unchanged");
        let printed = [0, 1].map(|_| made(KeyCommand::New { id: 0, output: None }).unwrap());
        assert_ne!(printed[0], printed[1]);
    }

    #[test]
    fn a_key_of_one_stream_is_derived_again_from_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("channel.key");
        made(KeyCommand::New { id: 3, output: Some(file.clone()) }).unwrap();
        let stream =
            |file: &Path, stream| made(KeyCommand::Stream { file: file.to_owned(), stream, output: None });
        let seven = stream(&file, 7).unwrap();
        assert!(seven.starts_with("3/7:"), "{seven}");
        assert_eq!(stream(&file, 7).unwrap(), seven);
        assert_ne!(stream(&file, 8).unwrap()[4..], seven[4..]);
        let own = folder.path().join("seven.key");
        std::fs::write(&own, &seven).unwrap();
        assert_eq!(stream(&own, 7).unwrap(), seven);
        let error = stream(&own, 8).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.message().ends_with("key 3 is for stream 7, expected one for stream 8 or for all"));
    }
}
