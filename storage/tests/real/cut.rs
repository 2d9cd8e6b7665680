//! Power cuts. The store lies on an ext4 of its own, on a loop device; its backing file is copied at a random moment, which is what a disk holds when
//! the power goes: what was synced, and what the kernel happened to write. The copy is mounted (its journal is replayed) and the store in it opened.
//!
//! The process is stopped while the file is copied, and the copy counts only when the device took no write meanwhile: so it is one moment.

use crate::{
    chance,
    child::{Worker, verify, verify_rebooted},
    setting,
};
use pome_test_support::skipped;
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

const IMAGE_MIB: u64 = 128;

fn run(command: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(command).args(args).output();
    let output = output.map_err(|e| format!("{command}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!(
            "{command} {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A mounted loop device; taken down when it is dropped.
struct Mounted {
    device: String,
    folder: PathBuf,
}

impl Mounted {
    fn new(image: &Path, folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        let device = run("losetup", &["-f", "--show", image.to_str().unwrap()])?;
        let mounted = Self {
            device,
            folder: folder.to_owned(),
        };
        run(
            "mount",
            &["-t", "ext4", &mounted.device, folder.to_str().unwrap()],
        )?;
        Ok(mounted)
    }

    /// Writes that the device has taken.
    fn writes(&self) -> u64 {
        let name = self.device.trim_start_matches("/dev/");
        let stat = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        let mut words = stat.split_whitespace();
        words.nth(4).unwrap().parse().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run("umount", &[self.folder.to_str().unwrap()]);
        let _ = run("losetup", &["-d", &self.device]);
    }
}

/// One power cut: what was answered before it is in the copy. False when no moment was quiet enough to be copied.
fn cut(worker: &Worker, disk: &Mounted, image: &Path, copy: &Path, there: &Path) -> bool {
    let pid = Pid::from_child(&worker.child);
    kill_process(pid, Signal::STOP).unwrap();
    // Of the second writer nothing is on disk for certain.
    let synced = [worker.answered()[0], 0];
    // A file of its own for each: another process that was given a view of all mounts holds the last one for a moment, and what is written when it lets go
    // must not meet the next copy.
    let _ = fs::remove_file(copy);
    let copied = (0..50).any(|_| {
        let before = disk.writes();
        run(
            "cp",
            &[
                "--sparse=always",
                image.to_str().unwrap(),
                copy.to_str().unwrap(),
            ],
        )
        .unwrap();
        disk.writes() == before
    });
    kill_process(pid, Signal::CONT).unwrap();
    if !copied {
        return false;
    }
    let mounted = Mounted::new(copy, there).unwrap();
    let newest = verify_rebooted(&there.join("store"), synced);
    println!("power cut: {synced:?} synced, {newest:?} there");
    drop(mounted);
    true
}

#[test]
fn power_cuts_of_a_loop_device() {
    let rounds = setting("POME_LOOP_ROUNDS", 3);
    let folder = tempfile::tempdir().unwrap();
    let (image, copy) = (folder.path().join("disk"), folder.path().join("copy"));
    let file = fs::File::create(&image).unwrap();
    file.set_len(IMAGE_MIB << 20).unwrap();
    let made = run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])
        .and_then(|_| Mounted::new(&image, &folder.path().join("mnt")));
    let disk = match made {
        Ok(disk) => disk,
        Err(e) => {
            let why = format_args!("needs root, loop devices and mkfs.ext4 ({e})");
            skipped("power_cuts_of_a_loop_device", why);
            return;
        }
    };
    let mut chance = chance();
    let mut worker = Worker::new(&disk.folder.join("store"), "auto", None);
    worker.wait_for(0);
    let mut done = 0;
    for _ in 0..4 * rounds {
        if done == rounds {
            break;
        }
        thread::sleep(Duration::from_millis(chance.random_range(5..300)));
        done += u64::from(cut(
            &worker,
            &disk,
            &image,
            &copy,
            &folder.path().join("there"),
        ));
    }
    let answered = worker.kill();
    verify(&disk.folder.join("store"), answered);
    assert_eq!(done, rounds, "too few moments were quiet");
    println!(
        "nightly: {rounds} power cuts under load, all that was synced is there ({answered:?} batches)"
    );
}
