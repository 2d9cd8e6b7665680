//! One test per row of the table in `recovery.rs`: what is found, and what recovery does.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges of commits"
)]

use pome_wal::{
    Bytes, Damage, Device, Error, Faults, Log, LogOptions, PayloadRef, PwriteDevice, Recovery,
    SimDevice, Start,
};
use std::{io::IoSlice, ops::Range, sync::Arc};

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.log_segment_bytes = 8 << 10;
    options.payload_segment_bytes = 16 << 10;
    options
}

fn create(disk: &SimDevice) -> (Log, Start) {
    let log = Log::create(Arc::new(disk.clone()), options(), 77).unwrap();
    let start = log.position();
    (log, start)
}

/// Three commits with bodies of 100 bytes, synced; that they are is not written anywhere.
fn three(disk: &SimDevice) -> Start {
    let (log, start) = create(disk);
    for i in 1..=3 {
        log.commit(&[i; 100], &[]).unwrap();
    }
    log.sync().unwrap();
    start
}

/// The same, and the mark is on disk.
fn three_marked(disk: &SimDevice) -> Start {
    let (log, start) = create(disk);
    for i in 1..=3 {
        log.commit(&[i; 100], &[]).unwrap();
    }
    log.close().unwrap();
    start
}

const FIRST: u64 = 32;
const HEADER: u64 = 56;
const FRAME: u64 = 160;

fn flip(disk: &SimDevice, file: &str, byte: u64) {
    assert!(disk.flip_bit(file, byte * 8));
}

type Opened = (Log, Recovery, Vec<(u64, Vec<u8>, Vec<PayloadRef>)>);

fn open(disk: &SimDevice, start: Start) -> Opened {
    let mut seen = Vec::new();
    let (log, recovery) = Log::open(Arc::new(disk.clone()), options(), start, |r| {
        seen.push((r.seq, r.body.to_vec(), r.payloads));
        Ok::<_, Error>(())
    })
    .unwrap();
    (log, recovery, seen)
}

fn seqs(opened: &Opened) -> Vec<u64> {
    opened.2.iter().map(|r| r.0).collect()
}

fn lost(opened: &Opened) -> Vec<Range<u64>> {
    opened.1.damage.iter().map(|d| d.seqs.clone()).collect()
}

fn torn(opened: &Opened) -> Option<Range<u64>> {
    opened.1.torn.as_ref().map(|t| t.seqs.clone())
}

/// Each way in which a process can end.
fn ends() -> [fn(&SimDevice) -> SimDevice; 2] {
    [SimDevice::kill, SimDevice::power_cut]
}

#[test]
fn row_nothing() {
    let disk = SimDevice::new(1);
    let (_, start) = create(&disk);
    let opened = open(&disk.power_cut(), start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![], vec![], None)
    );
    assert_eq!(opened.0.commit(b"", &[]).unwrap().seq, 1);
}

#[test]
fn row_whole() {
    let disk = SimDevice::new(1);
    let start = three_marked(&disk);
    let opened = open(&disk.power_cut(), start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![1, 2, 3], vec![], None)
    );
    assert_eq!((opened.1.mark, opened.1.rewritten), (3, 0));
    assert!(
        opened
            .2
            .iter()
            .all(|(seq, body, _)| *body == [*seq as u8; 100])
    );
}

#[test]
fn row_tail_is_rewritten() {
    for seed in 0..200 {
        let disk = SimDevice::new(seed);
        let (log, start) = create(&disk);
        log.commit(&[1; 100], &[]).unwrap();
        log.commit(&[2; 100], &[Bytes::from(vec![2; 3000])])
            .unwrap();
        // The sync fails. The pages are still seen by reads, and no sync will ever write them again.
        let mut faults = Faults::default();
        faults.fail_sync = Some(1);
        disk.set_faults(faults);
        assert!(matches!(log.sync(), Err(Error::Poisoned { .. })));
        let disk = disk.kill();
        let opened = open(&disk, start);
        let found = seqs(&opened);
        assert_eq!(opened.1.rewritten, found.len() as u64);
        // What was found then is on disk now.
        let disk = disk.power_cut();
        let again = open(&disk, start);
        assert_eq!(seqs(&again), found, "seed {seed}");
        assert_eq!((again.1.rewritten, torn(&again)), (0, None));
    }
}

#[test]
fn row_torn_tail() {
    for end in ends() {
        for byte in [5, HEADER + 3] {
            let disk = SimDevice::new(1);
            let start = three(&disk);
            let at = FIRST + 2 * FRAME;
            flip(&disk, "log-1", at + byte);
            let disk = end(&disk);
            let opened = open(&disk, start);
            assert_eq!((seqs(&opened), lost(&opened)), (vec![1, 2], vec![]));
            if byte > HEADER {
                let torn = opened.1.torn.as_ref().unwrap();
                assert_eq!((torn.file.as_deref(), torn.offset), (Some("log-1"), at));
                assert_eq!(torn.seqs, 3..4);
            }
            assert_eq!(opened.0.commit(b"another", &[]).unwrap().seq, 3);
            let opened = open(&disk.kill(), start);
            assert_eq!((seqs(&opened), torn(&opened)), (vec![1, 2, 3], None));
            assert_eq!(opened.2[2].1, b"another");
        }
    }
}

#[test]
fn row_power_cut_gap() {
    let disk = SimDevice::new(1);
    let start = three(&disk);
    flip(&disk, "log-1", FIRST + FRAME + 70);
    let opened = open(&disk.power_cut(), start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![1], vec![], Some(2..4))
    );
    assert_eq!(opened.0.committed_seq(), 1);
}

#[test]
fn row_same_boot_gap() {
    for byte in [5, 70] {
        let disk = SimDevice::new(1);
        let start = three(&disk);
        flip(&disk, "log-1", FIRST + FRAME + byte);
        let opened = open(&disk.kill(), start);
        assert_eq!((seqs(&opened), torn(&opened)), (vec![1, 3], None));
        let damage = Damage {
            file: Some("log-1".into()),
            offset: FIRST + FRAME,
            seqs: 2..3,
        };
        assert_eq!(opened.1.damage, [damage]);
        assert_eq!(opened.0.committed_seq(), 3);
    }
}

#[test]
fn row_gap_below_mark() {
    for end in ends() {
        for byte in [5, 70] {
            let disk = SimDevice::new(1);
            let start = three_marked(&disk);
            flip(&disk, "log-1", FIRST + byte);
            let mut disk = end(&disk);
            // It is still so after commits and another start.
            for round in 0..3 {
                let opened = open(&disk, start);
                let expected: Vec<u64> = (2..=3 + round).collect();
                assert_eq!((seqs(&opened), torn(&opened)), (expected, None));
                assert_eq!(lost(&opened), [1..2]);
                assert_eq!(opened.1.damage[0].file.as_deref(), Some("log-1"));
                assert_eq!(opened.1.damage[0].offset, FIRST);
                assert_eq!(opened.0.commit(b"", &[]).unwrap().seq, 4 + round);
                opened.0.close().unwrap();
                disk = end(&disk);
            }
        }
    }
}

#[test]
fn row_end_below_mark() {
    for end in ends() {
        let disk = SimDevice::new(1);
        let start = three_marked(&disk);
        flip(&disk, "log-1", FIRST + 2 * FRAME + 5);
        let disk = end(&disk);
        let opened = open(&disk, start);
        assert_eq!(
            (seqs(&opened), lost(&opened), torn(&opened)),
            (vec![1, 2], vec![3..4], None)
        );
        assert_eq!(opened.0.commit(b"", &[]).unwrap().seq, 4);
        let opened = open(&disk.kill(), start);
        assert_eq!((seqs(&opened), lost(&opened)), (vec![1, 2, 4], vec![3..4]));
    }
}

/// A commit with a payload and one without; answers where the payload is.
fn with_payload(disk: &SimDevice) -> (Log, Start, PayloadRef) {
    let (log, start) = create(disk);
    let payload = Bytes::from(vec![9; 5000]);
    let at = log.commit(b"ops", &[payload]).unwrap().payloads[0];
    log.commit(b"more", &[]).unwrap();
    log.sync().unwrap();
    (log, start, at)
}

#[test]
fn row_bad_payload_below_mark() {
    for end in ends() {
        let disk = SimDevice::new(1);
        let (log, start, at) = with_payload(&disk);
        log.close().unwrap();
        flip(&disk, "payload-1", at.offset + 100);
        let opened = open(&end(&disk), start);
        assert_eq!(
            (seqs(&opened), lost(&opened), torn(&opened)),
            (vec![1, 2], vec![], None)
        );
        assert_eq!(opened.2[0].2, [at]);
        assert!(matches!(opened.0.read(&at), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn row_bad_payload_same_boot() {
    let disk = SimDevice::new(1);
    let (_, start, at) = with_payload(&disk);
    flip(&disk, "payload-1", at.offset + 100);
    let disk = disk.kill();
    let opened = open(&disk, start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![1, 2], vec![0..0], None)
    );
    assert_eq!(opened.1.damage[0].file.as_deref(), Some("payload-1"));
    assert!(matches!(opened.0.read(&at), Err(Error::Corrupt { .. })));

    // After a power cut the same bytes are a write that did not arrive.
    let disk = SimDevice::new(1);
    let (_, start, at) = with_payload(&disk);
    flip(&disk, "payload-1", at.offset + 100);
    let opened = open(&disk.power_cut(), start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![], vec![], Some(1..3))
    );
}

#[test]
fn row_missing_files() {
    let disk = SimDevice::new(1);
    let start = three_marked(&disk);
    disk.remove("log-1").unwrap();
    let opened = open(&disk.kill(), start);
    assert_eq!(seqs(&opened), []);
    assert_eq!(opened.1.damage[0].file.as_deref(), Some("log-1"));

    let disk = SimDevice::new(1);
    let (log, _, _) = with_payload(&disk);
    let start = log.position();
    log.close().unwrap();
    disk.open("payload-1", false)
        .unwrap()
        .set_len(4000)
        .unwrap();
    let opened = open(&disk.kill(), start);
    assert_eq!(opened.1.damage[0].file.as_deref(), Some("payload-1"));
}

#[test]
fn row_bad_file_header() {
    let disk = SimDevice::new(1);
    let (log, start, at) = with_payload(&disk);
    log.close().unwrap();
    flip(&disk, "log-1", 17);
    flip(&disk, "payload-1", 30);
    let disk = disk.power_cut();
    let opened = open(&disk, start);
    assert_eq!((seqs(&opened), torn(&opened)), (vec![1, 2], None));
    assert_eq!(lost(&opened), [0..0, 0..0]);
    assert_eq!(opened.0.read(&at).unwrap(), vec![9; 5000]);
    let opened = open(&disk.power_cut(), start);
    assert_eq!((seqs(&opened), lost(&opened)), (vec![1, 2], vec![]));
}

#[test]
fn row_unfinished_segment() {
    let disk = SimDevice::new(1);
    let start = three_marked(&disk);
    let write = |name: &str, bytes: &[u8]| {
        let file = disk.open(name, true).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    };
    write("log-5", &[0; 4000]);
    write("log-6", &[]);
    write("payload-4", b"pomePay\0\x01");
    let disk = disk.kill();
    let opened = open(&disk, start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![1, 2, 3], vec![], None)
    );
    let mut names = disk.list().unwrap();
    names.retain(|n| n != "log-1");
    assert_eq!(names, [""; 0]);
    let at = opened.0.commit(b"", &[Bytes::from_static(b"x")]).unwrap();
    assert!(at.payloads[0].segment > 4, "the number is not used again");
}

#[test]
fn row_void() {
    let disk = SimDevice::new(1);
    let (log, start) = create(&disk);
    log.commit(&[1; 100], &[]).unwrap();
    log.commit(&[2; 1900], &[]).unwrap();
    log.commit(&[3; 100], &[]).unwrap();
    log.sync().unwrap();
    flip(&disk, "log-1", FIRST + FRAME + 70);
    let disk = disk.power_cut();
    let opened = open(&disk, start);
    assert_eq!(torn(&opened), Some(2..4));
    // The third frame is still there, whole, behind the new second one.
    opened.0.commit(b"new", &[]).unwrap();
    opened.0.sync().unwrap();
    let mut disk = disk;
    for end in ends() {
        disk = end(&disk);
        let opened = open(&disk, start);
        assert_eq!(
            (seqs(&opened), lost(&opened), torn(&opened)),
            (vec![1, 2], vec![], None)
        );
        assert_eq!(opened.2[1].1, b"new");
    }
}

#[test]
fn row_foreign_file() {
    let other = SimDevice::new(2);
    let log = Log::create(Arc::new(other.clone()), options(), 78).unwrap();
    for _ in 0..9 {
        log.commit(b"not ours", &[]).unwrap();
    }
    let disk = SimDevice::new(1);
    let start = three_marked(&disk);
    let bytes = other.bytes("log-1").unwrap();
    let file = disk.open("log-9", true).unwrap();
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    let disk = disk.kill();
    let opened = open(&disk, start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![1, 2, 3], vec![], None)
    );
    assert_eq!(opened.1.foreign, ["log-9"]);
    assert!(disk.bytes("log-9").unwrap() == bytes);
    // In place of one of ours it is damage.
    let file = disk.open("log-1", false).unwrap();
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    let opened = open(&disk.kill(), start);
    assert_eq!(opened.1.foreign, ["log-1", "log-9"]);
    assert_eq!(opened.1.damage[0].file.as_deref(), Some("log-1"));
}

#[test]
fn row_too_long() {
    // A hole, so it costs nothing; on a real disk, since the simulated one keeps holes in memory.
    let dir = tempfile::tempdir().unwrap();
    let device = Arc::new(PwriteDevice::open(dir.path()).unwrap());
    let log = Log::create(device.clone(), options(), 77).unwrap();
    let start = log.position();
    for i in 1..=3 {
        log.commit(&[i; 100], &[]).unwrap();
    }
    log.close().unwrap();
    drop(log);
    const GIB: u64 = 1 << 30;
    device
        .open("log-1", false)
        .unwrap()
        .set_len(GIB + 1)
        .unwrap();
    let again = || {
        let mut seen = 0;
        let (log, recovery) = Log::open(device.clone(), options(), start, |_| {
            seen += 1;
            Ok::<_, Error>(())
        })
        .unwrap();
        let damage = Damage {
            file: Some("log-1".into()),
            offset: GIB,
            seqs: 0..0,
        };
        assert_eq!((seen, recovery.damage), (3, vec![damage]));
        log
    };
    let log = again();
    assert_eq!(log.commit(b"", &[]).unwrap().seq, 4);
    // A checkpoint past it puts it right.
    log.sync().unwrap();
    let start = log.position();
    log.release(&start).unwrap();
    log.mark().unwrap();
    let mut names = device.list().unwrap();
    names.retain(|name| name.starts_with("log"));
    assert_eq!(names, ["log-2"]);
}

#[test]
fn row_newer_version() {
    let disk = SimDevice::new(1);
    let start = three_marked(&disk);
    let mut header = disk.bytes("log-1").unwrap()[..32].to_vec();
    header[8] = 2;
    let crc = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    let file = disk.open("log-1", false).unwrap();
    file.write_at(&[IoSlice::new(&header)], 0).unwrap();
    let before = disk.bytes("log-1");
    let opened = Log::open(Arc::new(disk.clone()), options(), start, |_| {
        Ok::<_, Error>(())
    });
    assert!(matches!(
        opened.err(),
        Some(Error::UnknownVersion {
            found: 2,
            known: 1,
            ..
        })
    ));
    assert_eq!(disk.bytes("log-1"), before);
}

#[test]
fn row_not_frames() {
    // A log that holds its own files as values, and whose frame around them is damaged.
    let disk = SimDevice::new(1);
    let (log, start) = create(&disk);
    log.commit(&[1; 100], &[Bytes::from(vec![1; 50])]).unwrap();
    log.commit(&[2; 100], &[]).unwrap();
    let copies = [
        disk.bytes("log-1").unwrap().into(),
        disk.bytes("payload-1").unwrap().into(),
    ];
    let done = log.commit(&[3; 100], &copies).unwrap();
    log.commit(&[4; 100], &[]).unwrap();
    log.close().unwrap();
    let frame = done.payloads[0].offset - 2 * 8 - 104 - HEADER;
    flip(&disk, "payload-1", frame + 9);
    // And frames that somebody moved.
    let moved = disk.bytes("log-1").unwrap()[FIRST as usize..(FIRST + FRAME) as usize].to_vec();
    let file = disk.open("log-1", false).unwrap();
    file.write_at(&[IoSlice::new(&moved)], 4096).unwrap();
    let opened = open(&disk.kill(), start);
    assert_eq!(
        (seqs(&opened), lost(&opened), torn(&opened)),
        (vec![1, 2, 4], vec![3..4], None)
    );
}

#[test]
fn every_bit_of_a_synced_commit_counts() {
    let disk = SimDevice::new(1);
    let (log, start) = create(&disk);
    let payload = Bytes::from((0..200u8).collect::<Vec<_>>());
    log.commit(&[1; 40], &[]).unwrap();
    log.commit(&[2; 41], std::slice::from_ref(&payload))
        .unwrap();
    log.commit(&[3; 43], &[]).unwrap();
    log.close().unwrap();
    let mut read_only = options();
    read_only.read_only = true;
    let padded = |len: u64| len.next_multiple_of(8);
    let second = FIRST + HEADER + 8;
    let third = FIRST + padded(HEADER + 40);
    // File, first byte and past the last byte of what is checked, and whose commit it is.
    for (file, range, seq) in [
        ("log-1", FIRST..FIRST + HEADER + 40, 1),
        ("payload-1", FIRST..second + 41, 2),
        (
            "payload-1",
            padded(second + 41)..padded(second + 41) + 200,
            0,
        ),
        ("log-1", third..third + HEADER + 43, 3),
    ] {
        for bit in range.start * 8..range.end * 8 {
            assert!(disk.flip_bit(file, bit));
            let mut seen = Vec::new();
            let device = Arc::new(disk.clone());
            let (log, recovery) = Log::open(device, read_only.clone(), start, |r| {
                seen.push((r.seq, r.body.to_vec(), r.payloads));
                Ok::<_, Error>(())
            })
            .unwrap();
            let lost: Vec<_> = recovery.damage.iter().map(|d| d.seqs.clone()).collect();
            let expected: Vec<u64> = (1..=3).filter(|s| *s != seq).collect();
            assert_eq!(seen.iter().map(|s| s.0).collect::<Vec<_>>(), expected);
            assert_eq!(recovery.torn, None);
            if seq == 0 {
                assert_eq!(lost, []);
                let read = log.read(&seen[1].2[0]);
                assert!(
                    matches!(read, Err(Error::Corrupt { .. })),
                    "{file} bit {bit}"
                );
            } else {
                assert_eq!(lost, [seq..seq + 1], "{file} bit {bit}");
            }
            for (seq, body, refs) in &seen {
                assert!(body.iter().all(|b| u64::from(*b) == *seq));
                if lost != [0..0] && *seq == 2 && file == "log-1" {
                    assert_eq!(log.read(&refs[0]).unwrap(), payload);
                }
            }
            assert!(matches!(log.commit(b"", &[]), Err(Error::ReadOnly)));
            assert!(disk.flip_bit(file, bit));
        }
    }
}
