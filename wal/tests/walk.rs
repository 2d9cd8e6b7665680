//! Walking through segments, sealing them, and telling a file from its copy.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_wal::{
    BadRange, Bytes, Device, DeviceKind, Error, FileStamp, Log, LogOptions, PayloadRef,
    SegmentFrame, SegmentPart, SimDevice, Start,
};
use std::{io, sync::Arc};

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.log_segment_bytes = 4 << 10;
    options.payload_segment_bytes = 8 << 10;
    options
}

fn create(device: &Arc<dyn Device>) -> Log {
    Log::create(device.clone(), options(), 77).unwrap()
}

fn reopen(device: &Arc<dyn Device>, start: Start) -> Log {
    let opened = Log::open(device.clone(), options(), start, |_| Ok::<_, Error>(()));
    let (log, recovery) = opened.unwrap();
    assert_eq!(recovery.damage, []);
    log
}

/// All kinds of device; the folders live as long as the answer.
fn devices() -> ([tempfile::TempDir; 2], [Arc<dyn Device>; 3]) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let plain = DeviceKind::Pwrite.open(dirs[0].path()).unwrap();
    let ring = DeviceKind::Auto.open(dirs[1].path()).unwrap();
    (dirs, [Arc::new(SimDevice::new(1)), plain, ring])
}

fn walk(log: &Log, segment: u32, checked: bool) -> (Vec<SegmentFrame>, Vec<BadRange>) {
    let mut frames = log.frames(segment).unwrap();
    if checked {
        frames = frames.checked();
    }
    let (mut good, mut bad) = (vec![], vec![]);
    for part in &mut frames {
        match part.unwrap() {
            SegmentPart::Frame(frame) => good.push(frame),
            SegmentPart::Bad(range) => bad.push(range),
            part => panic!("{part:?}"),
        }
    }
    assert_eq!(frames.offset(), frames.end());
    (good, bad)
}

type Made = Vec<(u64, Vec<u8>, Vec<PayloadRef>)>;

fn fill(log: &Log, commits: u64) -> Made {
    let fill = |i: u64| {
        let body = vec![i as u8; i as usize % 13];
        let payloads: Vec<_> = (0..i % 3)
            .map(|k| Bytes::from(vec![(i + k) as u8; (i * 97) as usize % 900 + 1]))
            .collect();
        let done = log.commit(&body, &payloads).unwrap();
        (done.seq, body, done.payloads)
    };
    (1..=commits).map(fill).collect()
}

#[test]
fn a_walk_meets_every_frame_in_order_and_a_check_finds_nothing() {
    let (_dir, devices) = devices();
    for device in devices {
        let log = create(&device);
        let start = log.position();
        let mut made = fill(&log, 100);
        made.retain(|(_, _, refs)| !refs.is_empty());
        for log in [log, reopen(&device, start)] {
            let mut met = Vec::new();
            let segments = log.payload_segments();
            assert!(segments.len() > 3);
            assert_eq!(
                log.active_payload_segment(),
                segments.last().map(|(number, _)| *number)
            );
            for (segment, len) in segments {
                let (frames, bad) = walk(&log, segment, true);
                assert_eq!(bad, []);
                let mut at = 32;
                for frame in frames {
                    assert_eq!(frame.offset, at);
                    at += frame.len;
                    met.push((frame.seq, frame.body.to_vec(), frame.payloads));
                }
                assert_eq!(at, len);
            }
            assert!(met == made);
            assert_eq!(log.check_log().unwrap(), []);
        }
    }
}

#[test]
fn a_check_finds_every_bit_of_a_segment_and_a_walk_goes_on_behind_it() {
    let disk = SimDevice::new(1);
    let device: Arc<dyn Device> = Arc::new(disk.clone());
    let log = create(&device);
    for i in 1..=3u8 {
        let payloads = [Bytes::from(vec![i; 21]), Bytes::from(vec![i; 8])];
        log.commit(&[i; 3], &payloads).unwrap();
    }
    let (frames, _) = walk(&log, 1, false);
    let (_, len) = log.payload_segments()[0];
    for bit in 0..len * 8 {
        assert!(disk.flip_bit("payload-1", bit));
        let (seen, bad) = walk(&log, 1, true);
        assert_eq!(bad.len(), 1, "bit {bit}: {bad:?}");
        let bad = &bad[0];
        assert!(
            (bad.offset..bad.offset + bad.len).contains(&(bit / 8)),
            "bit {bit}: {bad:?}"
        );
        if let Some(at) = bad.payload {
            assert_eq!((bad.what, bad.offset), ("payload", at.offset));
            assert!(matches!(log.read(&at), Err(Error::Corrupt { .. })));
        }
        // A bad frame costs itself alone.
        let lost = usize::from(bad.what == "frame");
        assert_eq!(seen.len(), frames.len() - lost);
        if lost == 1 {
            let hit = frames.iter().find(|f| f.offset == bad.offset).unwrap();
            assert_eq!(bad.len, hit.len);
            assert!(seen.iter().all(|f| f.offset != hit.offset));
        }
        assert!(disk.flip_bit("payload-1", bit));
    }
    let missing = log.frames(2).err().unwrap();
    let Error::Io { source, .. } = missing else {
        panic!("{missing}");
    };
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_check_of_the_log_finds_every_bit_of_it() {
    let disk = SimDevice::new(1);
    let device: Arc<dyn Device> = Arc::new(disk.clone());
    let log = create(&device);
    for i in 0..60u8 {
        log.commit(&[i; 100], &[]).unwrap();
    }
    // Two segments are full.
    let (frame, frames) = (160, (4096 - 32) / 160);
    let end = 32 + frame * (60 - 2 * frames);
    for (name, end) in [("log-1", 32 + frames * frame), ("log-3", end)] {
        for byte in 0..end + 8 {
            assert!(disk.flip_bit(name, byte * 8 + byte % 8));
            let bad = log.check_log().unwrap();
            if byte < end {
                assert_eq!(bad.len(), 1, "{name} byte {byte}: {bad:?}");
                assert_eq!(bad[0].file, name);
                let range = bad[0].offset..bad[0].offset + bad[0].len;
                assert!(range.contains(&byte), "{name} byte {byte}: {bad:?}");
            } else {
                assert_eq!(bad, []);
            }
            assert!(disk.flip_bit(name, byte * 8 + byte % 8));
        }
    }
}

#[test]
fn a_sealed_segment_can_go_when_a_checkpoint_lies_past_it() {
    let (_dir, devices) = devices();
    for device in devices {
        let log = create(&device);
        assert_eq!(log.seal_payload_segment().unwrap(), None);
        let start = log.position();
        let value = [Bytes::from(vec![1; 100])];
        log.commit(b"", &value).unwrap();
        assert_eq!(log.seal_payload_segment().unwrap(), Some(1));
        assert_eq!(log.active_payload_segment(), Some(2));
        // Nothing to seal twice.
        assert_eq!(log.seal_payload_segment().unwrap(), None);
        assert!(matches!(
            log.remove_payload_segment(1),
            Err(Error::StillNeeded { segment: 1 })
        ));
        // An earlier start still finds everything.
        drop(log);
        let log = reopen(&device, start);
        assert_eq!(log.committed_seq(), 1);
        log.seal_payload_segment().unwrap();
        let start = log.position();
        log.sync().unwrap();
        log.release(&start).unwrap();
        for (segment, _) in log.payload_segments() {
            let removed = log.remove_payload_segment(segment);
            assert_eq!(removed.is_ok(), segment < start.payload.unwrap().0);
        }
        assert_eq!(log.payload_segments(), [start.payload.unwrap()]);
        drop(log);
        let log = reopen(&device, start);
        let done = log.commit(b"", &value).unwrap();
        assert_eq!(done.payloads[0].segment, start.payload.unwrap().0);
        assert_eq!(log.read(&done.payloads[0]).unwrap(), value[0]);
    }
}

#[test]
fn a_start_past_a_sealed_segment_survives_power_cuts() {
    for seed in 0..200 {
        let disk = SimDevice::new(seed);
        let device: Arc<dyn Device> = Arc::new(disk.clone());
        let log = create(&device);
        log.commit(b"", &[Bytes::from(vec![1; 100])]).unwrap();
        log.seal_payload_segment().unwrap();
        let start = log.position();
        log.sync().unwrap();
        assert_eq!(start.payload, Some((2, 32)));
        let device: Arc<dyn Device> = Arc::new(disk.power_cut());
        let log = reopen(&device, start);
        assert_eq!(log.committed_seq(), 1);
    }
}

#[test]
fn a_copy_is_told_from_the_file() {
    let ([dir, _], [disk, files, _]) = devices();
    let make = |device: &dyn Device| {
        let file = device.open("superblock", true).unwrap();
        file.write_at(&[io::IoSlice::new(b"bytes")], 0).unwrap();
        let made = device.stamp("superblock").unwrap();
        assert_eq!(made.nonce, [0; 16]);
        assert_ne!(made.inode, 0);
        made
    };
    // Where it has no place it says so.
    let made = make(&*files);
    let nonce = match files.set_nonce("superblock", [7; 16]).unwrap() {
        true => [7; 16],
        false => [0; 16],
    };
    assert_eq!(
        files.stamp("superblock").unwrap(),
        FileStamp { nonce, ..made }
    );
    let copy = dir.path().join("copy");
    std::fs::copy(dir.path().join("superblock"), copy).unwrap();
    let copy = files.stamp("copy").unwrap();
    assert_ne!(copy.inode, made.inode);
    assert_eq!(copy.nonce, [0; 16]);
    let missing = files.stamp("missing").unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    files.rename("superblock", "moved").unwrap();
    let moved = files.stamp("moved").unwrap();
    assert_eq!(moved, FileStamp { nonce, ..made });

    let made = make(&*disk);
    assert!(disk.set_nonce("superblock", [7; 16]).unwrap());
    let sim = SimDevice::new(3);
    make(&sim);
    sim.set_nonce("superblock", [7; 16]).unwrap();
    let made_there = sim.stamp("superblock").unwrap();
    assert_eq!(made_there.nonce, [7; 16]);
    assert_ne!(made.birth_ns, 0);
    for attributes in [false, true] {
        let copy = sim.copy(4, attributes);
        assert_eq!(copy.bytes("superblock").unwrap(), b"bytes");
        let copied = copy.stamp("superblock").unwrap();
        assert_ne!(copied.inode, made_there.inode);
        assert_ne!(copied.birth_ns, made_there.birth_ns);
        assert_eq!(copied.nonce == [7; 16], attributes);
        // All of the copy is on disk.
        assert_eq!(copy.power_cut().bytes("superblock").unwrap(), b"bytes");
    }
    let again = sim.power_cut().stamp("superblock");
    assert!(again.is_err() || again.unwrap().inode == made_there.inode);
}
