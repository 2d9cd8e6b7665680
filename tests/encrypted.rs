//! Encrypted stores from the command line: who is let in, how a key travels, and that nothing lies on disk in clear.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use pome_storage::{Key, Options, Space, Store};
use process::{
    Pome, fuse_works, lines,
    terminal::{Seen, Terminal},
};
use std::{fs, io::BufRead, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// In which files of the store these bytes are.
fn files_with(store: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(store).unwrap() {
        let entry = entry.unwrap();
        // A socket has no bytes.
        let content = fs::read(entry.path()).unwrap_or_default();
        if content.windows(bytes.len()).any(|window| window == bytes) {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

/// Names, keys, values and files of every kind.
fn fill(pome: &Pome, key: &[&str], folder: &tempfile::TempDir) -> Vec<Vec<u8>> {
    let with = |args: &[&str]| pome.json(&[key, args].concat());
    let drive = with(&["drive", "create", "orchard-drive"]);
    let public = drive[0]["key"]
        .as_str()
        .unwrap()
        .parse::<pome_cores::Key>()
        .unwrap();
    let file = path(folder, "file");
    fs::write(&file, "orchard-file-content ".repeat(2000)).unwrap();
    with(&["drive", "put", "/orchard-path/file", &file]);
    with(&[
        "drive",
        "put",
        "/orchard-path/small",
        file_of(folder, "orchard-small-file").as_str(),
    ]);
    with(&["core", "append", "orchard-core", "orchard-block"]);
    with(&["bee", "put", "orchard-bee", "orchard-key", "orchard-value"]);
    fs::write(&file, "orchard-newer-content ".repeat(20)).unwrap();
    with(&["drive", "put", "/orchard-path/file", &file]);
    [
        "orchard-drive",
        "orchard-path",
        "orchard-file-content",
        "orchard-newer-content",
        "orchard-small-file",
        "orchard-core",
        "orchard-block",
        "orchard-bee",
        "orchard-key",
        "orchard-value",
    ]
    .into_iter()
    .map(|secret| secret.as_bytes().to_vec())
    .chain([public.as_bytes().to_vec()])
    .collect()
}

fn file_of(folder: &tempfile::TempDir, content: &str) -> String {
    let file = path(folder, "other");
    fs::write(&file, content).unwrap();
    file
}

/// The primary key, and the seeds of all cores, as `docs/store-format.md` says where they are.
fn secret_seeds(store: &Path, key: Option<Key>) -> Vec<Vec<u8>> {
    let mut options = Options::default();
    options.key = key;
    let store = Store::open(store, options).unwrap();
    let primary = store.get(Space(0), &[0]).unwrap().unwrap();
    let mut seeds = vec![primary[1..33].to_vec()];
    for entry in store.snapshot().range(Space(0), &[2][..]..&[3][..]) {
        let (_, record) = entry.unwrap();
        let flags = record[41];
        if flags & 2 != 0 {
            seeds.push(record[record.len() - 32..].to_vec());
        }
    }
    assert!(store.checkpoint().unwrap());
    store.close().unwrap();
    seeds
}

#[test]
fn no_name_key_value_or_seed_lies_on_disk() {
    let (folder, plain) = pome();
    let secrets = fill(&plain, &[], &folder);
    let seeds = secret_seeds(&plain.store, None);
    assert!(seeds.len() >= 4, "{} seeds", seeds.len());
    for secret in secrets.iter().chain(&seeds) {
        let text = String::from_utf8_lossy(secret);
        assert_ne!(
            files_with(&plain.store, secret),
            [""; 0],
            "{text} is looked for in vain"
        );
    }
    let (folder, sealed) = pome();
    let key_file = path(&folder, "key");
    let key = ["--key-file", key_file.as_str()];
    let made = sealed.json(&[&key[..], &["store", "init", "--encrypt"]].concat());
    assert_eq!(made[0]["encrypted"], true);
    let secrets = fill(&sealed, &key, &folder);
    let opened = Key::from_key_file(&fs::read(&key_file).unwrap()).unwrap();
    let seeds = secret_seeds(&sealed.store, Some(opened.clone()));
    let raw = opened.to_bytes()[1..].to_vec();
    for secret in secrets.iter().chain(&seeds).chain([&raw]) {
        let text = String::from_utf8_lossy(secret);
        assert_eq!(
            files_with(&sealed.store, secret),
            [""; 0],
            "{text} lies there in clear"
        );
    }
    let info = sealed.json(&[&key[..], &["store", "info"]].concat());
    assert_eq!(info[0]["encrypted"], true);
    let check = sealed.json(&[&key[..], &["store", "check"]].concat());
    assert_eq!(check.last().unwrap()["ok"], true);
}

#[test]
fn a_key_file_is_made_for_its_person_alone() {
    let (folder, pome) = pome();
    let key_file = path(&folder, "key");
    assert_eq!(
        pome.fails(&["--key-file", &key_file, "store", "init"]),
        (2, "USAGE".into()),
        "a key, and not encrypted"
    );
    assert_eq!(
        pome.fails(&["store", "init", "--encrypt"]),
        (2, "USAGE".into()),
        "nobody to ask"
    );
    assert!(!Path::new(&key_file).exists() && !pome.store.exists());
    pome.ok(&["--key-file", &key_file, "store", "init", "--encrypt"]);
    let mode = fs::metadata(&key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read(&key_file).unwrap().len(), 65);
    for args in [
        &["store", "init"][..],
        &["--key-file", &key_file, "store", "init", "--encrypt"],
    ] {
        assert_eq!(pome.fails(args), (1, "STORE_EXISTS".into()));
    }
    assert_eq!(pome.fails(&["core", "ls"]), (1, "KEY_NEEDED".into()));
    let missing = path(&folder, "nothing");
    assert_eq!(
        pome.fails(&["--key-file", &missing, "core", "ls"]),
        (3, "NOT_FOUND".into())
    );
    let bad = file_of(&folder, "no key");
    assert_eq!(
        pome.fails(&["--key-file", &bad, "core", "ls"]),
        (1, "BAD_KEY".into())
    );
    let other = file_of(&folder, &"ab".repeat(32));
    assert_eq!(
        pome.fails(&["--key-file", &other, "core", "ls"]),
        (1, "WRONG_KEY".into())
    );
    assert_eq!(
        pome.fails(&[
            "--key-file",
            &key_file,
            "--passphrase-file",
            &bad,
            "core",
            "ls"
        ]),
        (2, "USAGE".into())
    );
    let by_variable = pome
        .command(&["core", "ls"])
        .env("POME_KEY_FILE", &key_file)
        .env("POME_PASSPHRASE_FILE", "")
        .output()
        .unwrap();
    assert!(by_variable.status.success());

    let plain = Pome::new(folder.path().join("plain"));
    assert_eq!(plain.json(&["store", "init"])[0]["encrypted"], false);
    assert_eq!(
        plain.fails(&["--key-file", &key_file, "core", "ls"]),
        (1, "NOT_ENCRYPTED".into())
    );
    let rekeyed = ["store", "rekey", "--new-key-file", &key_file];
    assert_eq!(plain.fails(&rekeyed), (1, "NOT_ENCRYPTED".into()));
}

#[test]
fn a_passphrase_is_a_file_or_the_first_line_of_stdin() {
    let (folder, pome) = pome();
    let phrase = file_of(&folder, "correct horse\n");
    let key = ["--passphrase-file", phrase.as_str()];
    // A store that another command makes is encrypted when a key is given.
    pome.ok(&[&key[..], &["core", "create", "log"]].concat());
    assert_eq!(pome.fails(&["core", "ls"]), (1, "KEY_NEEDED".into()));
    let from_stdin = ["--json", "--passphrase-file", "-", "core", "append", "log"];
    let appended = pome.with_stdin(&from_stdin, b"correct horse\none\ntwo\n");
    assert!(appended.status.success());
    assert_eq!(lines(&appended.stdout)[0]["length"], 2);
    assert_eq!(
        pome.ok(&[&key[..], &["core", "get", "log", "0"]].concat()),
        b"one"
    );
    let wrong = pome.with_stdin(&from_stdin, b"correct hors\none\n");
    assert_eq!(lines(&wrong.stdout)[0]["error"]["code"], "WRONG_KEY");
    let empty = pome.with_stdin(&from_stdin, b"\none\n");
    assert_eq!(lines(&empty.stdout)[0]["error"]["code"], "BAD_KEY");
    let long = pome.with_stdin(&from_stdin, &[b'x'; 5000]);
    assert_eq!(lines(&long.stdout)[0]["error"]["code"], "BAD_KEY");
}

#[test]
fn only_the_new_key_opens_after_a_rekey() {
    let (folder, pome) = pome();
    let [old, new, phrase] = ["old", "new", "phrase"].map(|name| path(&folder, name));
    pome.ok(&["--key-file", &old, "store", "init", "--encrypt"]);
    pome.ok(&["--key-file", &old, "core", "append", "log", "a block"]);
    pome.ok(&["--key-file", &old, "store", "rekey", "--new-key-file", &new]);
    assert_eq!(
        pome.fails(&["--key-file", &old, "core", "ls"]),
        (1, "WRONG_KEY".into())
    );
    fs::write(&phrase, "a new phrase").unwrap();
    pome.ok(&[
        "--key-file",
        &new,
        "store",
        "rekey",
        "--new-passphrase-file",
        &phrase,
    ]);
    // The old one, then the new one.
    let both = [
        "--passphrase-file",
        "-",
        "store",
        "rekey",
        "--new-passphrase-file",
        "-",
    ];
    assert!(
        pome.with_stdin(&both, b"a new phrase\na newer one\n")
            .status
            .success()
    );
    assert_eq!(
        pome.fails(&["--passphrase-file", &phrase, "core", "ls"]),
        (1, "WRONG_KEY".into())
    );
    fs::write(&phrase, "a newer one\r\n").unwrap();
    assert_eq!(
        pome.ok(&["--passphrase-file", &phrase, "core", "get", "log", "0"]),
        b"a block"
    );
    assert_eq!(
        pome.fails(&["--passphrase-file", &phrase, "store", "rekey"]),
        (2, "USAGE".into()),
        "nobody to ask"
    );
}

/// The process that owns the store, by its socket's peers: the one that is called `owner`.
fn owner_of(store: &Path) -> String {
    let wanted = store.to_str().unwrap();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line
            .split(|b| *b == 0)
            .map(String::from_utf8_lossy)
            .collect();
        if words.iter().any(|w| w == "owner") && words.iter().any(|w| w == wanted) {
            return name;
        }
    }
    panic!("nobody owns {wanted}");
}

#[test]
fn the_owner_gets_the_key_and_its_clients_need_none() {
    let (folder, pome) = pome();
    let phrase = file_of(&folder, "a secret of many words\n");
    let key = ["--passphrase-file", phrase.as_str()];
    pome.ok(&[&key[..], &["store", "init", "--encrypt"]].concat());
    pome.ok(&[&key[..], &["drive", "create", "d"]].concat());
    assert_eq!(
        pome.fails(&["drive", "watch", "d"]),
        (1, "KEY_NEEDED".into()),
        "the owner that would be started has no key"
    );
    let mut watch = pome
        .command(&["--json", "--passphrase-file", "-", "drive", "watch", "d"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = watch.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"a secret of many words\n").unwrap();
    let mut line = String::new();
    std::io::BufReader::new(watch.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("watching"), "{line}");
    let owner = owner_of(&pome.store);
    for file in ["cmdline", "environ"] {
        // The environment of a process that has a key is root's to read.
        let bytes = fs::read(format!("/proc/{owner}/{file}")).unwrap_or_default();
        let words = b"secret of many";
        assert!(
            !bytes.windows(words.len()).any(|w| w == words),
            "{file} tells the passphrase"
        );
    }
    // A client of a running owner needs no key, and a rekey reaches it.
    pome.ok(&["core", "append", "log", "a block"]);
    let new = path(&folder, "new");
    pome.ok(&["store", "rekey", "--new-key-file", &new]);
    assert_eq!(pome.fails(&["store", "init"]), (1, "STORE_EXISTS".into()));
    drop(stdin);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&watch),
        rustix::process::Signal::INT,
    )
    .unwrap();
    watch.wait().unwrap();
    assert_eq!(
        pome.ok(&["--key-file", &new, "core", "get", "log", "0"]),
        b"a block"
    );
    assert_eq!(
        pome.fails(&[&key[..], &["core", "ls"]].concat()),
        (1, "WRONG_KEY".into())
    );
}

#[test]
fn a_mount_in_the_background_takes_its_key_along() {
    if !fuse_works("a_mount_in_the_background_takes_its_key_along") {
        return;
    }
    let (folder, pome) = pome();
    let mountpoint = folder.path().join("mnt");
    let at = mountpoint.to_str().unwrap();
    let mount = [
        "--passphrase-file",
        "-",
        "mount",
        at,
        "--background",
        "--offline",
    ];
    let mounted = pome.with_stdin(&mount, b"under the apple tree\n");
    assert!(mounted.status.success(), "{mounted:?}");
    fs::write(mountpoint.join("apple"), "a red one").unwrap();
    pome.ok(&["unmount", at]);
    let phrase = file_of(&folder, "under the apple tree");
    assert_eq!(
        pome.ok(&["--passphrase-file", &phrase, "drive", "get", "/apple"]),
        b"a red one"
    );
    assert_eq!(
        pome.fails(&["drive", "get", "/apple"]),
        (1, "KEY_NEEDED".into())
    );
    assert_eq!(files_with(&pome.store, b"a red one"), [""; 0]);
    assert_eq!(files_with(&pome.store, b"apple"), [""; 0]);
}

/// All that is in a folder: names, bytes, and when they were written.
fn all_in(folder: &Path) -> Vec<(String, Vec<u8>, std::time::SystemTime)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut all: Vec<_> = files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            (name, fs::read(file.path()).unwrap(), written)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_person_at_a_terminal_is_asked_for_the_passphrase() {
    let (folder, pome) = pome();
    let (phrase, other) = ("correct horse", "battery staple");
    let file = file_of(&folder, phrase);
    let with_file = ["--passphrase-file", file.as_str()];
    let shown = |seen: &Seen| seen.screen.contains("horse") || seen.screen.contains("battery");

    // Twice, and not the same: nothing is made.
    let mut terminal = Terminal::new(&pome, &["--json", "store", "init", "--encrypt"]);
    terminal.answer("New passphrase: ", phrase);
    terminal.answer("The same again: ", other);
    let seen = terminal.end();
    assert_eq!(seen.status, 1, "{}", seen.screen);
    assert!(seen.screen.contains("BAD_KEY"), "{}", seen.screen);
    assert!(!shown(&seen), "{}", seen.screen);
    assert!(!pome.store.exists());

    let mut terminal = Terminal::new(&pome, &["store", "init", "--encrypt"]);
    terminal.answer("New passphrase: ", phrase);
    terminal.answer("The same again: ", phrase);
    let seen = terminal.end();
    assert_eq!(seen.status, 0, "{}", seen.screen);
    assert!(!shown(&seen), "{}", seen.screen);
    pome.ok(&[&with_file[..], &["core", "append", "log", "one"]].concat());

    // A wrong one: nothing is touched.
    let before = all_in(&pome.store);
    let mut terminal = Terminal::new(&pome, &["--json", "core", "append", "log", "two"]);
    terminal.answer("Passphrase of ", other);
    let seen = terminal.end();
    assert_eq!(seen.status, 1, "{}", seen.screen);
    assert!(seen.screen.contains("WRONG_KEY"), "{}", seen.screen);
    assert!(!shown(&seen), "{}", seen.screen);
    assert!(
        all_in(&pome.store) == before,
        "a wrong key changed something"
    );

    let mut terminal = Terminal::new(&pome, &["core", "append", "log", "two"]);
    terminal.answer("Passphrase of ", phrase);
    let seen = terminal.end();
    assert_eq!(seen.status, 0, "{}", seen.screen);
    assert_eq!(
        pome.ok(&[&with_file[..], &["core", "get", "log", "1"]].concat()),
        b"two"
    );

    // The new one is asked for twice, the old one once.
    let mut terminal = Terminal::new(&pome, &["store", "rekey"]);
    terminal.answer("New passphrase: ", other);
    terminal.answer("The same again: ", other);
    terminal.answer("Passphrase of ", phrase);
    let seen = terminal.end();
    assert_eq!(seen.status, 0, "{}", seen.screen);
    assert!(!shown(&seen), "{}", seen.screen);
    assert_eq!(
        pome.fails(&[&with_file[..], &["core", "ls"]].concat()),
        (1, "WRONG_KEY".into())
    );
    let file = file_of(&folder, other);
    let with_file = ["--passphrase-file", file.as_str()];
    assert_eq!(
        pome.ok(&[&with_file[..], &["core", "get", "log", "0"]].concat()),
        b"one"
    );
}
