//! What a person mistypes, and what scripts hand over that nobody meant: nothing is made of it, and what is said names it.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use process::{Pome, fuse_works, lines};
use serde_json::json;
use std::{
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    process::Stdio,
};

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().expect("a folder");
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The last line of a command that fails: its error's message.
fn message(pome: &Pome, args: &[&str]) -> String {
    let output = pome.run(&[&["--json"], args].concat());
    assert!(!output.status.success(), "{args:?}");
    let last = lines(&output.stdout).pop().unwrap();
    last["error"]["message"].as_str().unwrap().to_owned()
}

/// The exit status of a command whose stdout nobody reads.
fn unread(pome: &Pome, args: &[&str]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = pome.command(args);
    let done = command.stdout(writer).stderr(Stdio::null()).status();
    done.unwrap().code()
}

#[test]
fn a_pipe_that_nobody_reads_is_no_error() {
    let (_folder, pome) = pome();
    assert_eq!(
        unread(&pome, &["status"]),
        Some(0),
        "where there is no store"
    );
    assert_eq!(unread(&pome, &["--json", "status"]), Some(0));
    assert_eq!(unread(&pome, &["--json", "nonsense"]), Some(2));
    pome.ok(&["core", "append", "log", "x"]);
    assert_eq!(unread(&pome, &["core", "ls"]), Some(0));
    assert_eq!(unread(&pome, &["completions", "bash"]), Some(0));
    assert_eq!(unread(&pome, &["man"]), Some(0));
}

#[test]
fn what_is_missing_is_named_in_json_too() {
    let (_folder, pome) = pome();
    let said = message(&pome, &["core", "get", "log"]);
    assert!(said.contains("<INDEX>"), "{said}");
}

/// It was taken for an empty stdin: an empty file was put, with exit status 0.
#[test]
fn a_stdin_that_cannot_be_read_is_not_its_end() {
    let (folder, pome) = pome();
    pome.ok(&["drive", "create", "home"]);
    let commands: [&[&str]; 3] = [
        &["drive", "put", "/x"],
        &["core", "append", "log"],
        &["bee", "batch", "people"],
    ];
    for words in commands {
        let mut command = pome.command(&[&["--json"], words].concat());
        command.stdin(fs::File::open(folder.path()).unwrap());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let said = lines(&output.stdout).pop().unwrap();
        assert_eq!(said["error"]["code"], "IO", "{said}");
    }
    assert_eq!(pome.ok(&["drive", "ls"]), b"");
}

#[test]
fn nothing_is_made_for_what_is_refused() {
    let (folder, pome) = pome();
    pome.ok(&["core", "create", "log"]);
    let none = folder.path().join("none");
    assert_eq!(
        pome.fails(&["core", "append", "typo", "--file", text(&none)]),
        (3, "NOT_FOUND".into())
    );
    for (key, value) in [("zz", "00"), ("00", "0"), ("+f", "00")] {
        let put = ["bee", "put", "people", key, value, "--encoding", "hex"];
        assert_eq!(pome.fails(&put), (2, "USAGE".into()), "{key} {value}");
    }
    let batch = pome.with_stdin(&["bee", "batch", "people"], b"nonsense\n");
    assert_eq!(batch.status.code(), Some(2));
    assert_eq!(pome.json(&["core", "ls"]).len(), 1, "the log alone");
    // What is none is refused before anybody types a line.
    let batch = pome.fails(&["bee", "batch", "log"]);
    assert_eq!(batch, (1, "NAME_TAKEN".into()));
}

#[test]
fn versions_that_never_were_are_refused_at_once() {
    let (_folder, pome) = pome();
    pome.ok(&["bee", "put", "people", "ada", "1815"]);
    for diff in [&["1", "9"][..], &["9", "1"], &["9"]] {
        let words = [&["bee", "diff", "people"], diff].concat();
        assert_eq!(pome.fails(&words), (1, "BAD_ARGUMENT".into()), "{diff:?}");
    }
    assert_eq!(pome.json(&["bee", "diff", "people", "0"]).len(), 1);
    pome.ok(&["drive", "create", "home"]);
    pome.ok(&["drive", "put", "/a", "/dev/null"]);
    assert_eq!(
        pome.json(&["drive", "diff", "0", "2"]).len(),
        1,
        "from the beginning on"
    );
    assert_eq!(
        pome.fails(&["drive", "diff", "1", "9"]),
        (1, "BAD_ARGUMENT".into())
    );
}

/// `pome drive export "$UNSET"` wrote into the working folder, and with `--prune` would have emptied it.
#[test]
fn an_empty_word_is_no_folder() {
    let (folder, pome) = pome();
    pome.ok(&["drive", "create", "home"]);
    pome.ok(&["drive", "put", "/a", "/dev/null"]);
    for verb in ["import", "export"] {
        let mut command = pome.command(&["drive", verb, "home", "", "--prune"]);
        let status = command.current_dir(folder.path()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{verb}");
    }
    assert!(!folder.path().join("a").exists());
    let none = folder.path().join("none");
    let import = pome.fails(&["drive", "import", text(&none)]);
    assert_eq!(import, (3, "NOT_FOUND".into()));
}

#[test]
fn usage_is_told_from_failure() {
    let (_folder, pome) = pome();
    pome.ok(&["core", "append", "log", "x"]);
    for at in ["nowhere", "127.0.0.1:99999", ":1"] {
        let share = pome.fails(&["share", "--listen", at]);
        assert_eq!(share, (2, "USAGE".into()), "{at}");
    }
    let key = "yxh5m4fn5srcouuzbcso3cpcrgsodqyttmyqehu5odwsfsemqfey";
    let none = ["core", "info", key];
    assert_eq!(pome.fails(&none), (3, "STORAGE_EMPTY".into()));
    let said = message(&pome, &none);
    assert!(said.contains(key), "{said}");
}

#[test]
fn help_shows_what_may_be_left_out() {
    let (_folder, pome) = pome();
    for (words, usage) in [
        (["drive", "get"], "[OPTIONS] [NAME|KEY] <PATH>\n"),
        (["drive", "put"], "[OPTIONS] [NAME|KEY] <PATH> [FILE]\n"),
        (["drive", "diff"], "[OPTIONS] [NAME|KEY] <V1> <V2>\n"),
        (["drive", "import"], "[OPTIONS] [NAME|KEY] <DIR>\n"),
    ] {
        let help = String::from_utf8(pome.ok(&[&words[..], &["--help"]].concat())).unwrap();
        let usage = format!("Usage: pome {} {usage}", words.join(" "));
        assert!(help.contains(&usage), "{help}");
    }
    assert!(pome.ok(&["mount", "-V"]).starts_with(b"pome"));
    let page = String::from_utf8(pome.ok(&["man", "drive", "get"])).unwrap();
    assert!(page.contains(".TH pome-drive-get 1"), "{page}");
    assert!(page.contains("\\-\\-no\\-swarm"), "{page}");
    let none = pome.fails(&["man", "drive", "gte"]);
    assert_eq!(none, (2, "USAGE".into()));
}

#[test]
fn what_is_shown_is_what_is_kept() {
    let (_folder, pome) = pome();
    pome.ok(&["drive", "create", "home"]);
    for (words, key) in [
        (&["put", "/a/../b/./c", "/dev/null"][..], "/b/c"),
        (&["get", "//b/c"], "/b/c"),
        (&["rm", "/b/c/"], "/b/c"),
    ] {
        let shown = pome.json(&[&["drive"], words].concat());
        assert_eq!(shown[0]["key"], key, "{words:?}");
    }
}

#[test]
fn quiet_is_quiet() {
    if !fuse_works("quiet_is_quiet") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("mnt");
    // That the size means nothing for a drive of one's own is worth a word, but not now.
    for (quiet, said) in [(&[][..], true), (&["-q"], false)] {
        let words = ["--json", "mount", text(&at), "--cache-size", "5M"];
        let mut mount = pome.command(&[&words[..], quiet].concat());
        mount.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut mount = process::talk::Talker::new(mount.spawn().unwrap());
        let mut stderr = mount.child.stderr.take().unwrap();
        assert_eq!(mount.line()["event"], "mounted");
        mount.stop();
        let mut words = String::new();
        stderr.read_to_string(&mut words).unwrap();
        assert_eq!(words.contains("--cache-size"), said, "{words}");
    }
}

/// Colours are for terminals: in a file they are noise.
#[test]
fn what_is_said_into_a_pipe_has_no_colours() {
    let (_folder, pome) = pome();
    let key = "yxh5m4fn5srcouuzbcso3cpcrgsodqyttmyqehu5odwsfsemqfey";
    let output = pome.run(&["-v", "--peer", "127.0.0.1:1", "core", "get", key, "0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("a peer is not connected"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn paths_need_not_be_utf_8() {
    if !fuse_works("paths_need_not_be_utf_8") {
        return;
    }
    let (folder, pome) = pome();
    let odd = folder.path().join(OsStr::from_bytes(b"odd \xff"));
    fs::create_dir(&odd).unwrap();
    let run = |words: &[&OsStr]| {
        let mut command = pome.command(&["--json"]);
        let output = command.args(words).current_dir(&odd).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        lines(&output.stdout)
    };
    let word = |word: &'static str| OsStr::new(word);
    let hex: String = (odd.as_os_str().as_bytes().iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let shown = |name: &str| {
        let name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        json!({ "$hex": format!("{hex}2f{name}") })
    };
    let status = run(&[word("--store"), word("s"), word("status")]);
    assert_eq!(status[0]["store"], shown("s"));
    let made = run(&[word("--store"), word("s"), word("store"), word("init")]);
    assert_eq!(made[0]["store"], shown("s"));
    // Through an owner, from such a folder and about one in it.
    let mounted = run(&[word("mount"), word("m"), word("--background")]);
    assert_eq!(mounted[0]["mountpoint"], shown("m"));
    fs::write(odd.join("m/file"), "x").unwrap();
    let flushed = run(&[word("flush"), word("m/file")]);
    assert_eq!(flushed[0]["path"], "/file");
    let block = [word("core"), word("append"), word("log"), word("--file")];
    run(&[&block[..], &[odd.join("m/file").as_os_str()]].concat());
    let backup = run(&[word("store"), word("backup"), word("b")]);
    assert_eq!(backup[0]["backup"], shown("b"));
    let status = run(&[word("status")]);
    assert_eq!(status[0]["mounts"][0]["mountpoint"], shown("m"));
    let unmounted = run(&[word("unmount"), odd.join("m").as_os_str()]);
    assert_eq!(unmounted[0]["mountpoint"], shown("m"));
}

#[test]
fn a_mount_is_found_by_links_and_from_within() {
    if !fuse_works("a_mount_is_found_by_links_and_from_within") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("real");
    fs::create_dir(&at).unwrap();
    let link = folder.path().join("link");
    symlink("real", &link).unwrap();
    let mount = pome.mount(&link, &["--offline"]);
    assert_eq!(mount.event["mountpoint"], text(&at));
    fs::create_dir(at.join("deep")).unwrap();
    fs::write(at.join("deep/file"), "x").unwrap();
    let within = folder.path().join("within");
    symlink(link.join("deep"), &within).unwrap();
    for (words, path) in [
        (link.join("deep/file"), "/deep/file"),
        (within.join("file"), "/deep/file"),
        (within.clone(), "/deep"),
        (at.join("deep/../deep/./file"), "/deep/file"),
        (at.join("deep/.."), "/"),
    ] {
        let flushed = &pome.json(&["flush", text(&words)])[0];
        assert_eq!(flushed["path"], path, "{}", words.display());
        assert_eq!(pome.json(&["status", text(&words)])[0]["path"], path);
    }
    let outside = pome.fails(&["status", text(&at.join("../real2"))]);
    assert_eq!(outside, (3, "NOT_MOUNTED".into()));
    let unmounted = &pome.json(&["unmount", text(&link)])[0];
    assert_eq!(unmounted["mountpoint"], text(&at));
    drop(mount);
}

#[test]
fn all_drives_or_none() {
    if !fuse_works("all_drives_or_none") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("all");
    for words in [&["mount", "--all"][..], &["mount", "--all", "--background"]] {
        let words = [words, &[text(&at)]].concat();
        assert_eq!(pome.fails(&words), (3, "NOT_FOUND".into()), "{words:?}");
    }
    assert!(!at.exists());
    pome.ok(&["drive", "create", "a"]);
    pome.ok(&["drive", "create", "b"]);
    pome.json(&["mount", "--all", "--background", text(&at)]);
    let status = &pome.json(&["status"])[0];
    assert_eq!(status["peers"], 0);
    assert_eq!(status["mounts"][1]["peers"], 0);
    // By the word that mounted them.
    let unmounted = pome.json(&["unmount", text(&at)]);
    assert_eq!(unmounted.len(), 2);
    assert_eq!(unmounted[0]["mountpoint"], text(&at.join("a")));
    let again = pome.fails(&["unmount", text(&at)]);
    assert_eq!(again, (3, "NOT_MOUNTED".into()));
}

/// A packager may copy the binary where we make a link.
#[test]
fn mount_pome_may_be_a_copy() {
    if !fuse_works("mount_pome_may_be_a_copy") {
        return;
    }
    let (folder, pome) = pome();
    pome.ok(&["drive", "create", "home"]);
    let at = folder.path().join("mnt");
    let copy = Pome::new(&pome.store).copied_to(&folder.path().join("mount.pome"));
    copy.ok(&["home", text(&at), "-o", "offline"]);
    fs::write(at.join("x"), "x").unwrap();
    assert_eq!(pome.json(&["unmount", text(&at)])[0]["how"], "normal");
}
