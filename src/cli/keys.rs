//! Where the key of an encrypted store comes from: a key file, a file with the passphrase, the first line of stdin, or a person at the terminal. And how it
//! goes to the owner that is started: through a pipe, never in its arguments or environment.

use super::{
    args::{Command, Global, NewKey, StoreCommand},
    failure::Failure,
};
use pome_storage::Key;
use rustix::process::DumpableBehavior;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    fs::File,
    io::{ErrorKind, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The longest passphrase, in bytes: it must fit into a pipe that nobody reads yet.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
const KEY_FILE: &str = "POME_KEY_FILE";
const PASSPHRASE_FILE: &str = "POME_PASSPHRASE_FILE";

/// A key on its way to the process that has the store open.
#[derive(Debug, Clone)]
pub(crate) struct Handed(pub(crate) Key);

impl Serialize for Handed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.to_bytes().iter())
    }
}

impl<'de> Deserialize<'de> for Handed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Zeroizing::new(Vec::<u8>::deserialize(from)?);
        Key::from_bytes(&bytes)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

enum Source {
    Nowhere,
    KeyFile(PathBuf),
    PassphraseFile(PathBuf),
    /// It is here.
    Here(Key),
}

/// The key of the store, if there is one: read when it is needed, not before.
pub(crate) struct Keys {
    source: Source,
}

impl Keys {
    /// From the options, else from the environment. `-` takes the first line of stdin at once, whoever needs it: what follows is the command's.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        if global.key_from_stdin {
            return Self::handed_over();
        }
        let options = (global.key_file.clone(), global.passphrase_file.clone());
        let (key_file, passphrase_file) = match options {
            (None, None) => {
                let variable = |name| {
                    std::env::var_os(name)
                        .filter(|value| !value.is_empty())
                        .map(PathBuf::from)
                };
                (variable(KEY_FILE), variable(PASSPHRASE_FILE))
            }
            given => given,
        };
        let source = match (key_file, passphrase_file) {
            (None, None) => Source::Nowhere,
            (Some(path), None) => Source::KeyFile(path),
            (None, Some(path)) if path.as_os_str() == "-" => Source::Here(from_stdin()?),
            (None, Some(path)) => Source::PassphraseFile(path),
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "a store has one key: give its key file or its passphrase, not both",
                ));
            }
        };
        Ok(Self { source })
    }

    /// What [`hand_over`] wrote.
    fn handed_over() -> Result<Self, Failure> {
        let mut bytes = room(PASSPHRASE_BYTES_MAX + 1);
        std::io::stdin()
            .take(PASSPHRASE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::io("the key of the store", &e))?;
        let source = match bytes.is_empty() {
            true => Source::Nowhere,
            false => Source::Here(kept_from_dumps(Key::from_bytes(&bytes)?)),
        };
        Ok(Self { source })
    }

    /// True when a key was given, wherever it is.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self.source, Source::Nowhere)
    }

    /// The key, if one was given.
    pub(crate) fn get(&mut self) -> Result<Option<Key>, Failure> {
        let key = match &self.source {
            Source::Nowhere => return Ok(None),
            Source::Here(key) => key.clone(),
            Source::KeyFile(path) => read_key_file(path)?,
            Source::PassphraseFile(path) => read_passphrase(path)?,
        };
        self.source = Source::Here(key.clone());
        Ok(Some(key))
    }

    /// The key of a store that is made: a key file that is missing is made too, and a person is asked twice.
    pub(crate) fn get_new(&mut self) -> Result<Key, Failure> {
        let key = match &self.source {
            Source::Nowhere => ask_twice("--key-file or --passphrase-file")?,
            Source::KeyFile(path) => read_or_make_key_file(path)?,
            Source::Here(key) => key.clone(),
            Source::PassphraseFile(path) => read_passphrase(path)?,
        };
        self.source = Source::Here(key.clone());
        Ok(key)
    }

    /// Asks the person at the terminal, if there is one and no key was given. True when there is now something to try.
    pub(crate) fn ask(&mut self, failure: &Failure, dir: &Path) -> Result<bool, Failure> {
        let wants_passphrase =
            failure.code == "KEY_NEEDED" && failure.message.contains("passphrase (");
        if self.is_given() || !wants_passphrase || !std::io::stdin().is_terminal() {
            return Ok(false);
        }
        let key = ask(&format!("Passphrase of {}: ", dir.display()))?;
        self.source = Source::Here(key);
        Ok(true)
    }
}

/// No core dump of this process from now on, and no debugger of another: it has a key.
fn kept_from_dumps(key: Key) -> Key {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a core dump of this process would have the key of the store in it");
    }
    key
}

/// A buffer that does not move while it is filled: no copy stays behind.
fn room(bytes: u64) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(bytes as usize + 1))
}

fn passphrase_of(bytes: &[u8]) -> Result<Key, Failure> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    Ok(kept_from_dumps(Key::from_passphrase(bytes)?))
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let io = |e: std::io::Error| Failure::io(&path.display().to_string(), &e);
    let mut bytes = room(PASSPHRASE_BYTES_MAX + 1);
    File::open(path)
        .and_then(|file| file.take(PASSPHRASE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(io)?;
    if bytes.len() as u64 > PASSPHRASE_BYTES_MAX {
        return Err(too_long(&path.display().to_string()));
    }
    Ok(bytes)
}

fn too_long(what: &str) -> Failure {
    Failure::new(
        "BAD_KEY",
        format!("not a key: {what} has more than {PASSPHRASE_BYTES_MAX} bytes"),
    )
}

fn read_key_file(path: &Path) -> Result<Key, Failure> {
    Ok(kept_from_dumps(Key::from_key_file(&read_secret(path)?)?))
}

fn read_passphrase(path: &Path) -> Result<Key, Failure> {
    if path.as_os_str() == "-" {
        return from_stdin();
    }
    passphrase_of(&read_secret(path)?)
}

/// The first line of stdin, byte by byte: not one byte of what follows is taken.
fn from_stdin() -> Result<Key, Failure> {
    let mut line = room(PASSPHRASE_BYTES_MAX + 1);
    let mut byte = [0];
    loop {
        match rustix::io::read(std::io::stdin(), &mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() as u64 == PASSPHRASE_BYTES_MAX => {
                return Err(too_long("the first line of stdin"));
            }
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Failure::io("stdin", &e.into())),
        }
    }
    passphrase_of(&line)
}

/// A key file, made with mode 0600 where there is none; it is on disk when this returns.
fn read_or_make_key_file(path: &Path) -> Result<Key, Failure> {
    let io = |e: std::io::Error| Failure::io(&path.display().to_string(), &e);
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match made {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return read_key_file(path),
        Err(e) => return Err(io(e)),
    };
    let key = kept_from_dumps(Key::generate()?);
    let content = key.to_key_file().unwrap_or_default();
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(above)?.sync_all())
        .map_err(io)?;
    Ok(key)
}

fn ask(prompt: &str) -> Result<Key, Failure> {
    let line = rpassword::prompt_password(prompt).map_err(|e| Failure::io("the terminal", &e))?;
    passphrase_of(Zeroizing::new(line).as_bytes())
}

/// Asks for a new passphrase; `options` say what to give where nobody can be asked.
fn ask_twice(options: &str) -> Result<Key, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "there is nobody to ask for a passphrase; give a key with {options}"
        )));
    }
    let key = ask("New passphrase: ")?;
    if ask("The same again: ")?.to_bytes() != key.to_bytes() {
        return Err(Failure::new("BAD_KEY", "the two passphrases differ"));
    }
    Ok(key)
}

impl NewKey {
    fn get(&self) -> Result<Key, Failure> {
        match (&self.new_key_file, &self.new_passphrase_file) {
            (Some(path), _) => read_or_make_key_file(path),
            (_, Some(path)) => read_passphrase(path),
            _ => ask_twice("--new-key-file or --new-passphrase-file"),
        }
    }
}

/// Reads what a command wants to say to the owner beside the key of the store: a new one.
pub(crate) fn complete(command: &mut Command) -> Result<(), Failure> {
    if let Command::Store(StoreCommand::Rekey(new)) = command {
        new.key = Some(Handed(new.get()?));
    }
    Ok(())
}

/// Writes a key, or none, into the pipe from which a process that was started with `--key-from-stdin` reads.
pub(crate) fn hand_over(key: Option<&Key>, mut pipe: impl Write) -> std::io::Result<()> {
    match key {
        Some(key) => pipe.write_all(&key.to_bytes()),
        None => Ok(()),
    }
}
