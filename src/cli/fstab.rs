//! `mount.pome`: what mount(8) calls for a line of /etc/fstab. The same binary under that name; `docs/mounting.md` has the options.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

/// mount(8)'s word for an invocation that makes no sense …
const USAGE: u8 = 1;
/// … and for a mount that failed.
const FAILED: u8 = 32;

/// `mount.pome SOURCE FOLDER [-sfnv] [-o OPTIONS]`: mounts in the background, and returns when the folder is usable.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let words = match words(args.map(|arg| arg.to_string_lossy().into_owned())) {
        Ok(Some(words)) => words,
        Ok(None) => return ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mount.pome: {why}");
            return ExitCode::from(USAGE);
        }
    };
    // A copy of the binary has this name itself, and would be taken for `mount.pome` again.
    let ran = std::env::current_exe()
        .and_then(|pome| Command::new(pome).arg0("pome").args(words).status());
    match ran {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("mount.pome: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Options that ask for what is so in any case, or that are about the line and not the mount.
const NOTHING: &[&str] = &[
    "defaults",
    "rw",
    "auto",
    "noauto",
    "nofail",
    "_netdev",
    "user",
    "users",
    "nouser",
    "group",
    "owner",
    "exec",
    "async",
    "nodev",
    "nosuid",
    "noatime",
    "relatime",
    "diratime",
    "nodiratime",
];

/// Options that are options of `pome mount`, or of any command, without a value …
const FLAGS: &[&str] = &[
    "all",
    "allow_other",
    "lan_only",
    "no_lan",
    "no_swarm",
    "offline",
    "write_through",
];
/// … and with one.
const VALUES: &[&str] = &[
    "cache_size",
    "deadline",
    "key_file",
    "passphrase_file",
    "peer",
    "store",
    "timeout",
    "version",
];

/// The words of `pome mount` that do what mount(8) asks for; `None` when it asks for nothing to be done.
fn words(args: impl Iterator<Item = String>) -> Result<Option<Vec<String>>, String> {
    let (mut places, mut options) = (Vec::new(), Vec::new());
    let (mut sloppy, mut fake, mut verbose) = (false, false, false);
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.strip_prefix('-') {
            Some("o") => {
                let list = args.next().ok_or("-o wants options")?;
                options.extend(list.split(',').map(str::to_owned));
            }
            Some("t" | "N") => {
                args.next();
            }
            Some(flags) if !flags.is_empty() => {
                for flag in flags.chars() {
                    match flag {
                        's' => sloppy = true,
                        'f' => fake = true,
                        'v' => verbose = true,
                        'n' => {}
                        other => return Err(format!("-{other} is no option")),
                    }
                }
            }
            _ => places.push(arg),
        }
    }
    let [source, folder] = &places[..] else {
        return Err("a drive and a folder are wanted".into());
    };
    let mut words = vec![
        "mount".to_owned(),
        folder.clone(),
        "--background".to_owned(),
    ];
    let mut all = false;
    for option in options.iter().filter(|option| !option.is_empty()) {
        let (name, value) = option
            .split_once('=')
            .map_or((&**option, None), |(n, v)| (n, Some(v)));
        let dashed = format!("--{}", name.replace('_', "-"));
        match value {
            None if name == "ro" => words.push("--read-only".into()),
            None if NOTHING.contains(&name) => {}
            None if FLAGS.contains(&name) => {
                all |= name == "all";
                words.push(dashed);
            }
            Some(value) if VALUES.contains(&name) => words.push(format!("{dashed}={value}")),
            _ if name.starts_with("x-") || name == "comment" => {}
            _ if sloppy => {}
            _ => return Err(format!("{option:?} is no option of a drive")),
        }
    }
    if !all && source != "none" {
        words.push(format!("--drive={source}"));
    }
    if verbose {
        words.push("-v".into());
    }
    Ok((!fake).then_some(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<Vec<String>>, String> {
        words(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn lines_become_words() {
        let words = of(
            "home /mnt -o rw,noauto,x-systemd.automount,allow_other,store=/srv/p,cache_size=2G -n",
        );
        assert_eq!(
            words.unwrap().unwrap(),
            [
                "mount",
                "/mnt",
                "--background",
                "--allow-other",
                "--store=/srv/p",
                "--cache-size=2G",
                "--drive=home"
            ]
        );
        let words = of("none /mnt -o ro,all").unwrap().unwrap();
        assert_eq!(
            words,
            ["mount", "/mnt", "--background", "--read-only", "--all"]
        );
        assert_eq!(of("home /mnt -f"), Ok(None));
        assert!(of("home").is_err());
        // What would not be obeyed is refused.
        assert!(of("home /mnt -o noexec").is_err());
        assert!(of("home /mnt -o store").is_err());
        assert!(of("home /mnt -s -o noexec").is_ok());
    }
}
