//! One short history, and at every single device call of it: an I/O error, or the end of the process, or a power cut, until a run
//! has no call left to fail. And commits while the disk is full.
#![allow(clippy::unwrap_used)]

use pome_wal::{Bytes, Device, Error, Faults, Log, LogOptions, SimDevice, Start};
use std::sync::Arc;

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.log_segment_bytes = 4 << 10;
    options.payload_segment_bytes = 8 << 10;
    options
}

/// What the history did before it was stopped.
struct Done {
    start: Start,
    /// Newest commit that was answered, and that was synced.
    committed: u64,
    synced: u64,
}

fn body(seq: u64) -> Vec<u8> {
    vec![seq as u8; 300 + seq as usize]
}

fn payloads(seq: u64) -> Vec<Bytes> {
    let len = 1000 + 10 * seq as usize;
    (0..seq % 3).map(|_| vec![seq as u8; len].into()).collect()
}

/// Goes on past errors where the log does.
fn history(log: &Log, done: &mut Done) -> Result<(), Error> {
    let mut first = Ok(());
    let mut note = |result: Result<(), Error>| {
        let poisoned = matches!(result, Err(Error::Poisoned { .. }));
        if first.is_ok() {
            first = result;
        }
        !poisoned
    };
    for step in 0..24 {
        let seq = done.committed + 1;
        let result = log.commit(&body(seq), &payloads(seq));
        done.committed += u64::from(result.is_ok());
        if !note(result.map(|c| assert_eq!(c.seq, seq))) {
            break;
        }
        let result = match step % 8 {
            2 => log.sync().map(|()| done.synced = done.committed),
            4 => log.mark(),
            7 => {
                let start = log.position();
                log.sync().and_then(|()| {
                    done.synced = done.committed;
                    done.start = start;
                    log.release(&start)
                })
            }
            _ => Ok(()),
        };
        if !note(result) {
            break;
        }
    }
    note(log.close().map(|()| done.synced = done.committed));
    first
}

fn check(disk: &SimDevice, done: &Done, boot_kept: bool, what: &str) {
    let mut last = done.start.seq;
    let mut refs = Vec::new();
    let mut gap = false;
    let opened = Log::open(Arc::new(disk.clone()), options(), done.start, |r| {
        gap |= r.seq != last + 1;
        last = r.seq;
        assert_eq!(r.body, body(r.seq), "{what}");
        refs.push((r.seq, r.payloads));
        Ok::<_, Error>(())
    });
    let (log, recovery) = opened.unwrap();
    for (seq, refs) in refs {
        let expected = payloads(seq);
        assert_eq!(refs.len(), expected.len());
        for (at, payload) in refs.iter().zip(expected) {
            assert!(log.read(at).unwrap() == payload, "{what}");
        }
    }
    // A failed sync whose pages are evicted in the same boot is real damage; nothing else is.
    assert!(
        boot_kept || recovery.damage.is_empty(),
        "{what}: {recovery:?}"
    );
    assert!(!gap || !recovery.damage.is_empty(), "{what}");
    assert!(last >= done.synced, "{what}: {last} of {}", done.synced);
    assert!(last <= done.committed + 1, "{what}");
    assert_eq!(log.commit(b"", &[]).unwrap().seq, recovery.last_seq + 1);
    log.close().unwrap();
}

#[test]
fn an_end_or_an_error_at_every_call() {
    let mut runs = 0;
    for kind in 0..4 {
        for n in 1.. {
            let disk = SimDevice::new(n);
            let log = Log::create(Arc::new(disk.clone()), options(), 5).unwrap();
            let mut done = Done {
                start: log.position(),
                committed: 0,
                synced: 0,
            };
            let mut faults = Faults::default();
            if kind < 2 {
                faults.fail_call = Some(n);
            } else {
                faults.stop_at = Some(n);
            }
            disk.set_faults(faults);
            let result = history(&log, &mut done);
            let fired = disk.faults_fired();
            let what = format!("kind {kind} call {n}");
            assert_eq!(result.is_err(), fired > 0, "{what}: {result:?}");
            let disk = if kind % 2 == 0 {
                disk.kill()
            } else {
                disk.power_cut()
            };
            check(&disk, &done, kind == 0, &what);
            runs += 1;
            if fired == 0 {
                assert_eq!(done.committed, 24);
                break;
            }
        }
    }
    assert!(runs > 200, "{runs} runs");
}

/// No file may grow.
fn full(disk: &SimDevice) -> Faults {
    let names = disk.list().unwrap();
    let used: usize = names.iter().map(|n| disk.bytes(n).unwrap().len()).sum();
    let mut faults = Faults::default();
    faults.space_bytes = Some(used as u64);
    faults
}

#[test]
fn a_full_disk_fails_its_commit_alone() {
    for space in (4_096..40_000).step_by(97) {
        let disk = SimDevice::new(space);
        let log = Log::create(Arc::new(disk.clone()), options(), 5).unwrap();
        let mut faults = Faults::default();
        faults.space_bytes = Some(space);
        disk.set_faults(faults);
        let mut done = Done {
            start: log.position(),
            committed: 0,
            synced: 0,
        };
        let result = history(&log, &mut done);
        if let Err(e) = result {
            assert!(e.is_full(), "{e}");
            assert_eq!(e.code(), "ENOSPC");
        }
        // A disk that is full to the last byte can be opened, again and again.
        let mut disk = disk.kill();
        for again in 0..5 {
            disk.set_faults(full(&disk));
            let opened = Log::open(Arc::new(disk.clone()), options(), done.start, |_| {
                Ok::<_, Error>(())
            });
            let (log, recovery) = opened.unwrap_or_else(|e| panic!("space {space}: {e}"));
            assert_eq!(recovery.last_seq, done.committed);
            assert_eq!(recovery.damage, []);
            log.mark().unwrap();
            if again > 2 {
                log.close().unwrap();
            }
            drop(log);
            disk = if again % 2 == 0 {
                disk.kill()
            } else {
                disk.power_cut()
            };
        }
        disk.set_faults(full(&disk));
        let disk = disk.power_cut();
        check(&disk, &done, false, &format!("space {space}"));
    }
}
