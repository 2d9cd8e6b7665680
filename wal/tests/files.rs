//! The log on real files.
#![allow(clippy::unwrap_used)]

use pome_wal::{Bytes, Device, DeviceKind, Error, Log, LogOptions, Recovery, Start};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_open};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
};

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 1 << 20;
    options
}

/// Every test runs on both devices.
macro_rules! on_both_devices {
    ($($test:ident),* $(,)?) => {
        mod pwrite {
            $(#[test]
            fn $test() {
                super::$test(pome_wal::DeviceKind::Pwrite);
            })*
        }
        mod uring {
            $(#[test]
            fn $test() {
                let folder = tempfile::tempdir().unwrap();
                match pome_wal::DeviceKind::Uring.open(folder.path()) {
                    Ok(_) => super::$test(pome_wal::DeviceKind::Uring),
                    Err(e) => pome_test_support::skipped(stringify!($test), e),
                }
            })*
        }
    };
}

on_both_devices!(
    commits_come_back_across_segments_and_reopens,
    a_release_gives_log_segments_back_and_recovery_starts_there,
    at_rest_there_is_one_log_segment,
    a_new_log_is_small_and_is_not_made_twice,
    the_lock_has_one_holder,
    waiting_committers_share_a_sync,
    one_of_those_that_wait_writes_for_all,
    who_waits_for_one_that_panics_gets_an_error,
    many_reads_answer_as_one_does,
    a_sync_of_many_names_what_failed
);

type Commits = Vec<(u64, Vec<u8>, Vec<Bytes>)>;

fn reopen(device: &Arc<dyn Device>, start: Start) -> (Log, Recovery, Commits) {
    let mut seen = Vec::new();
    let (log, recovery) = Log::open(device.clone(), options(), start, |r| {
        seen.push((r.seq, r.body.to_vec(), r.payloads));
        Ok::<_, Error>(())
    })
    .unwrap();
    let seen = seen
        .into_iter()
        .map(|(seq, body, refs)| {
            let payloads = refs.iter().map(|r| log.read(r).unwrap()).collect();
            (seq, body, payloads)
        })
        .collect();
    (log, recovery, seen)
}

fn sample(i: u64) -> (Vec<u8>, Vec<Bytes>) {
    let body = vec![i as u8; (i as usize * 37) % 900];
    let payloads = (0..if i.is_multiple_of(7) { i % 4 } else { 0 })
        .map(|k| Bytes::from(vec![(i + k) as u8; (i * 1000 + k) as usize % 70_000]))
        .collect();
    (body, payloads)
}

fn commits_come_back_across_segments_and_reopens(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let mut log = Log::create(device.clone(), options(), 7).unwrap();
    let start = log.position();
    let mut expected: Commits = Vec::new();
    for round in 0..4 {
        for _ in 0..200 {
            let i = log.committed_seq() + 1;
            let (body, payloads) = sample(i);
            let done = log.commit(&body, &payloads).unwrap();
            assert_eq!(done.seq, i);
            for (at, payload) in done.payloads.iter().zip(&payloads) {
                assert_eq!(log.read(at).unwrap(), payload);
            }
            expected.push((i, body, payloads));
            if i.is_multiple_of(50) {
                log.write_back();
            }
        }
        match round {
            0 => {}
            1 => log.sync().unwrap(),
            _ => log.close().unwrap(),
        }
        drop(log);
        let (next, recovery, seen) = reopen(&device, start);
        assert_eq!((recovery.torn, recovery.damage), (None, vec![]));
        assert!(seen == expected, "round {round}");
        log = next;
    }
}

fn a_release_gives_log_segments_back_and_recovery_starts_there(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let log = Log::create(device.clone(), options(), 7).unwrap();
    let mut start = log.position();
    for i in 0..5000u64 {
        log.commit(&[1; 200], &[]).unwrap();
        if i % 700 == 699 {
            assert!(log.log_bytes() > 100_000);
            start = log.position();
            log.release(&start).unwrap();
            assert_eq!(log.log_bytes(), 0);
        }
    }
    let files = device.list().unwrap();
    assert!(files.len() <= 4, "{files:?}");
    drop(log);
    let (log, recovery, seen) = reopen(&device, start);
    assert_eq!(recovery.damage, []);
    assert_eq!((seen.len(), log.committed_seq()), (100, 5000));
}

fn at_rest_there_is_one_log_segment(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let log = Log::create(device.clone(), options(), 7).unwrap();
    let logs = || {
        let names = device.list().unwrap();
        names.iter().filter(|n| n.starts_with("log-")).count()
    };
    for round in 0..3 {
        for _ in 0..2000 {
            log.commit(&[1; 200], &[]).unwrap();
        }
        assert!(logs() > 5);
        let start = log.position();
        // Busy: somebody commits while the checkpoint is written.
        log.commit(&[1; 200], &[]).unwrap();
        log.sync().unwrap();
        log.release(&start).unwrap();
        assert!(logs() > 1);
        if round > 0 {
            // Idle, and the segment that the checkpoint names is not the one that is written to, perhaps.
            log.mark().unwrap();
            assert!(logs() <= 2);
        }
        let start = log.position();
        log.sync().unwrap();
        log.release(&start).unwrap();
        assert_eq!(logs(), 1);
    }
    let start = log.position();
    log.release(&start).unwrap();
    drop(log);
    let (log, recovery, _) = reopen(&device, start);
    assert_eq!((log.committed_seq(), recovery.damage), (6003, vec![]));
    assert_eq!(logs(), 1);
}

fn a_new_log_is_small_and_is_not_made_twice(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let log = Log::create(device.clone(), LogOptions::default(), 7).unwrap();
    let names = device.list().unwrap();
    assert_eq!(names, ["log-1"]);
    let first = device.open("log-1", false).unwrap().len().unwrap();
    assert_eq!(first, 256 << 10);
    // A frame that is longer than the first segment finds room, also when that one is free again; and no segment grows.
    for round in 0..6 {
        for size in [400 << 10, 200 << 10] {
            log.commit(&vec![round; size], &[]).unwrap();
            for name in device.list().unwrap() {
                let len = device.open(&name, false).unwrap().len().unwrap();
                assert!(len == 2 << 20 || len == 256 << 10, "{name}: {len}");
            }
        }
        let start = log.position();
        log.commit(b"busy", &[]).unwrap();
        log.sync().unwrap();
        log.release(&start).unwrap();
    }
    drop(log);
    for name in device.list().unwrap() {
        device.remove(&name).unwrap();
    }
    let log = Log::create(device.clone(), LogOptions::default(), 7).unwrap();
    // Cut short before anything was committed: made anew.
    drop(log);
    let log = Log::create(device.clone(), LogOptions::default(), 8).unwrap();
    log.commit(b"x", &[]).unwrap();
    drop(log);
    let again = Log::create(device, LogOptions::default(), 9);
    assert!(matches!(again, Err(Error::Exists { .. })));
}

fn the_lock_has_one_holder(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let other = kind.open(dir.path()).unwrap();
    let held = device.lock().unwrap();
    let refused = other.lock().err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    // A descriptor that a forked process has of it keeps nobody out.
    let file = |link: &std::fs::DirEntry| std::fs::read_link(link.path()).ok();
    let lock = dir.path().canonicalize().unwrap().join("lock");
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let own = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let forked: Vec<_> = own
        .filter(|link| file(link).is_some_and(|file| file == lock))
        .map(|link| link.file_name().into_string().unwrap().parse().unwrap())
        .map(|fd| rustix::process::pidfd_getfd(&this, fd, PidfdGetfdFlags::empty()).unwrap())
        .collect();
    assert_eq!(forked.len(), 1);
    drop(held);
    other.lock().unwrap();
    drop(forked);
}

fn waiting_committers_share_a_sync(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let log = Log::create(device.clone(), options(), 7).unwrap();
    let start = log.position();
    std::thread::scope(|scope| {
        for thread in 0..16u8 {
            let log = &log;
            scope.spawn(move || {
                for i in 0..50u8 {
                    let payloads = vec![Bytes::from(vec![thread; 100]); usize::from(i % 10 == 0)];
                    let done = log.commit(&[thread, i], &payloads).unwrap();
                    log.wait_synced(done.seq).unwrap();
                    assert!(log.synced_seq() >= done.seq);
                }
            });
        }
    });
    assert_eq!((log.commits(), log.synced_seq()), (800, 800));
    // Of those whose commits are all made when the first of them waits, one syncs for all.
    let before = log.syncs();
    let commit = |thread| log.commit(&[thread, 50], &[]).unwrap().seq;
    let made: Vec<u64> = (0..16).map(commit).collect();
    std::thread::scope(|scope| {
        for seq in made {
            let log = &log;
            scope.spawn(move || log.wait_synced(seq).unwrap());
        }
    });
    assert_eq!(log.syncs(), before + 1);
    drop(log);
    let (_, recovery, seen) = reopen(&device, start);
    assert_eq!((recovery.damage, seen.len()), (vec![], 816));
    for thread in 0..16u8 {
        let of_thread = seen.iter().filter(|s| s.1[0] == thread);
        assert!(of_thread.map(|s| s.1[1]).eq(0..=50));
    }
}

/// Each puts down what it has to say, and one of those that wait writes it.
fn one_of_those_that_wait_writes_for_all(kind: DeviceKind) {
    type Said = (Vec<u8>, Arc<OnceLock<u64>>);
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let log = Log::create(device.clone(), options(), 7).unwrap();
    let start = log.position();
    let said = Mutex::new(Vec::<Said>::new());
    let runs = AtomicU64::new(0);
    let write = || {
        let mut rest = VecDeque::from(std::mem::take(&mut *said.lock().unwrap()));
        while !rest.is_empty() {
            let (mut run, mut added) = (log.run().unwrap(), Vec::new());
            while let Some((body, _)) = rest.front() {
                let seq = run.next_seq();
                if !run.add(body).unwrap() {
                    break;
                }
                added.push((rest.pop_front().unwrap().1, seq));
            }
            run.write().unwrap();
            runs.fetch_add(1, Ordering::Relaxed);
            for (outcome, seq) in added {
                outcome.set(seq).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..16u8 {
            let (log, said, write) = (&log, &said, &write);
            scope.spawn(move || {
                for i in 0..50u8 {
                    let outcome = Arc::new(OnceLock::new());
                    let made = || outcome.get().map(|seq| Ok::<_, Error>(*seq));
                    // Some are too large for the log itself.
                    let mut body = vec![thread, i];
                    body.resize(if i % 16 == 0 { 20_000 } else { 20 }, 7);
                    said.lock().unwrap().push((body, outcome.clone()));
                    let seq = log.write_and_wait(made, write).unwrap();
                    assert!(log.synced_seq() >= seq);
                }
            });
        }
    });
    assert_eq!((log.commits(), log.synced_seq()), (800, 800));
    // What is all put down when the first of them waits is written in one go.
    let before = runs.load(Ordering::Relaxed);
    let put_down = |thread| {
        let outcome = Arc::new(OnceLock::new());
        said.lock()
            .unwrap()
            .push((vec![thread, 50], outcome.clone()));
        outcome
    };
    let outcomes: Vec<_> = (0..16).map(put_down).collect();
    std::thread::scope(|scope| {
        for outcome in outcomes {
            let (log, write) = (&log, &write);
            scope.spawn(move || {
                let made = || outcome.get().map(|seq| Ok::<_, Error>(*seq));
                log.write_and_wait(made, write).unwrap();
            });
        }
    });
    assert_eq!(runs.into_inner(), before + 1);
    drop(log);
    let (_, recovery, seen) = reopen(&device, start);
    assert_eq!((recovery.damage, seen.len()), (vec![], 816));
    for thread in 0..16u8 {
        let of_thread = seen.iter().filter(|s| s.1[0] == thread);
        assert!(of_thread.map(|s| s.1[1]).eq(0..=50));
    }
}

fn who_waits_for_one_that_panics_gets_an_error(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(kind.open(dir.path()).unwrap(), options(), 7).unwrap();
    let log = Arc::new(log);
    let looked = Arc::new(AtomicU64::new(0));
    let (begin, begun) = channel();
    let (tell, told) = channel();
    let leader = {
        let (log, looked) = (log.clone(), looked.clone());
        std::thread::spawn(move || {
            let nobody = || None::<Result<u64, Error>>;
            log.write_and_wait(nobody, || {
                begin.send(()).unwrap();
                // The other one has looked twice before it sleeps.
                while looked.load(Ordering::Acquire) < 2 {
                    std::thread::yield_now();
                }
                panic!("on purpose");
            })
        })
    };
    begun.recv().unwrap();
    let other = log.clone();
    std::thread::spawn(move || {
        let made = || {
            looked.fetch_add(1, Ordering::Release);
            None::<Result<u64, Error>>
        };
        tell.send(other.write_and_wait(made, || ())).unwrap();
    });
    let outcome = told.recv_timeout(pome_test_support::PATIENCE);
    assert!(matches!(outcome, Ok(Err(Error::Poisoned { .. }))));
    assert!(leader.join().is_err());
    // Nobody knows what the panic left half done.
    let refused = log.commit(b"x", &[]).err();
    assert!(matches!(refused, Some(Error::Poisoned { .. })));
}

fn many_reads_answer_as_one_does(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let log = Log::create(device.clone(), options(), 7).unwrap();
    let mut refs = Vec::new();
    for i in 0..60u64 {
        let payload = Bytes::from(vec![i as u8; i as usize * 1777]);
        refs.extend(log.commit(b"", &[payload]).unwrap().payloads);
    }
    assert!(log.payload_segments().len() > 2);
    refs.reverse();
    // One that is not there, one past the end, one with another crc.
    let mut bad = [refs[3]; 3];
    bad[0].segment = 99;
    bad[1].offset = u64::MAX - 5;
    bad[2].crc ^= 1;
    refs.splice(10..10, bad);
    let answers = log.read_many(&refs);
    assert_eq!(answers.len(), refs.len());
    for (i, (at, answer)) in refs.iter().zip(answers).enumerate() {
        match (log.read(at), answer) {
            (Ok(one), Ok(many)) => assert_eq!(one, many),
            (Err(one), Err(many)) => assert_eq!(one.to_string(), many.to_string()),
            (one, many) => panic!("{i}: {one:?} and {many:?}"),
        }
        assert_eq!(log.read(at).is_err(), (10..13).contains(&i));
    }
    assert!(log.read_many(&[]).is_empty());
}

fn a_sync_of_many_names_what_failed(kind: DeviceKind) {
    let dir = tempfile::tempdir().unwrap();
    let device = kind.open(dir.path()).unwrap();
    let mut files: Vec<_> = (0..40)
        .map(|i| {
            let file = device.open(&format!("f{i}"), true).unwrap();
            file.write_at(&[std::io::IoSlice::new(b"bytes")], 0)
                .unwrap();
            file
        })
        .collect();
    device.sync_many(&files).unwrap();
    device.sync_many(&files[..1]).unwrap();
    device.sync_many(&[]).unwrap();
    // A file that cannot be synced: a pipe under a file's name.
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    for at in [0, 17, 39] {
        let good = std::mem::replace(&mut files[at], device.open("pipe", false).unwrap());
        let (which, _) = device.sync_many(&files).unwrap_err();
        assert_eq!(which, at);
        files[at] = good;
    }
    device.sync_many(&files).unwrap();
}
