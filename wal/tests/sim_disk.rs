//! The simulated disk does what it says: one test per misfortune.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_wal::{Device, Faults, File, SimDevice};
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

const SECTOR: usize = 512;

fn faults(set: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    set(&mut faults);
    faults
}

/// A disk with two files of 8 sectors each, all of it synced.
fn disk(seed: u64) -> (SimDevice, Arc<dyn File>, Arc<dyn File>) {
    let disk = SimDevice::new(seed);
    let make = |name: &str, byte: u8| {
        let file = disk.open(name, true).unwrap();
        write(&*file, &[byte; 8 * SECTOR], 0).unwrap();
        file.sync().unwrap();
        file
    };
    let (a, b) = (make("a", 1), make("b", 2));
    disk.sync_dir().unwrap();
    (disk, a, b)
}

fn write(file: &dyn File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_at(&[IoSlice::new(bytes)], at)
}

/// How many sectors of both files are full of this byte.
fn sectors(disk: &SimDevice, byte: u8) -> usize {
    let files = ["a", "b"].map(|name| disk.bytes(name).unwrap());
    let sectors = files.iter().flat_map(|bytes| bytes.chunks(SECTOR));
    sectors.filter(|s| s.iter().all(|b| *b == byte)).count()
}

#[test]
fn a_misdirected_write_lands_elsewhere_and_shows_when_the_page_cache_lets_go() {
    let mut elsewhere = 0;
    for seed in 0..100 {
        let (disk, a, _) = disk(seed);
        disk.set_faults(faults(|f| f.misdirect_write = Some(2)));
        write(&*a, &[7; SECTOR], 0).unwrap();
        write(&*a, &[9; 3 * SECTOR], 512).unwrap();
        write(&*a, &[8; SECTOR], 2048).unwrap();
        a.sync().unwrap();
        assert_eq!((disk.faults_fired(), sectors(&disk, 9)), (1, 3));
        disk.evict();
        let arrived = disk.bytes("a").unwrap()[512..2048].to_vec();
        let arrived = arrived.chunks(SECTOR).filter(|s| s[0] == 9).count();
        elsewhere += sectors(&disk, 9) - arrived;
        let before = (disk.bytes("a"), disk.bytes("b"));
        let cut = disk.power_cut();
        assert_eq!((cut.bytes("a"), cut.bytes("b")), before);
    }
    assert!(elsewhere > 50, "{elsewhere}");
}

#[test]
fn a_lost_write_was_synced_and_is_stale() {
    let mut stale = 0;
    for seed in 0..100 {
        let (disk, a, _) = disk(seed);
        disk.set_faults(faults(|f| f.lose_write = Some(1)));
        // Past the end, too: the length is right, the bytes are not.
        write(&*a, &[9; 4 * SECTOR], 6 * 512).unwrap();
        a.sync().unwrap();
        assert_eq!(sectors(&disk, 9), 4);
        let disk = disk.power_cut();
        assert_eq!(disk.bytes("a").unwrap().len(), 10 * SECTOR);
        let here = sectors(&disk, 9);
        assert!(here < 4);
        stale += 4 - here;
        assert_eq!(here + sectors(&disk, 1) + sectors(&disk, 0), 10);
    }
    assert!(stale > 100, "{stale}");
}

#[test]
fn a_skipped_sync_brings_nothing_until_the_next() {
    for again in [false, true] {
        let mut kept = 0;
        for seed in 0..100 {
            let (disk, a, _) = disk(seed);
            disk.set_faults(faults(|f| f.skip_sync = Some(1)));
            write(&*a, &[9; SECTOR], 0).unwrap();
            a.sync().unwrap();
            if again {
                a.sync().unwrap();
            }
            kept += sectors(&disk.power_cut(), 9);
        }
        assert_eq!(kept == 100, again, "{kept}");
    }
}

#[test]
fn a_skipped_sync_of_the_folder_leaves_names_to_chance() {
    let mut kept = 0;
    for seed in 0..100 {
        let (disk, ..) = disk(seed);
        disk.set_faults(faults(|f| f.skip_sync_dir = Some(1)));
        disk.open("c", true).unwrap();
        disk.sync_dir().unwrap();
        kept += usize::from(disk.power_cut().list().unwrap().contains(&"c".into()));
    }
    assert!((20..80).contains(&kept), "{kept}");
}

#[test]
fn a_full_disk_has_room_again_after_so_many_calls() {
    let (disk, a, b) = disk(1);
    disk.set_faults(faults(|f| {
        f.full_from = Some(3);
        f.full_calls = 3;
    }));
    write(&*a, &[3; SECTOR], 4096).unwrap();
    write(&*a, &[3; SECTOR], 4608).unwrap();
    let full = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::StorageFull;
    assert!(full(write(&*a, &[3; SECTOR], 5120)));
    // What does not grow has room.
    write(&*b, &[3; SECTOR], 0).unwrap();
    assert!(full(b.set_len(8192)));
    write(&*a, &[3; SECTOR], 5120).unwrap();
    b.set_len(8192).unwrap();
    assert_eq!(disk.faults_fired(), 3);
}

#[test]
fn each_kind_of_call_fails_once() {
    let (disk, a, _) = disk(1);
    disk.set_faults(faults(|f| {
        f.fail_read = Some(1);
        f.fail_write = Some(2);
        f.fail_sync = Some(1);
    }));
    write(&*a, &[3], 0).unwrap();
    assert!(a.view(0..1).is_err());
    assert!(write(&*a, &[4], 0).is_err());
    assert!(disk.sync_dir().is_err());
    assert_eq!(disk.faults_fired(), 3);
    a.view(0..1).unwrap();
    write(&*a, &[4], 0).unwrap();
    a.sync().unwrap();
    disk.sync_dir().unwrap();
}

#[test]
fn a_flipped_bit_is_one_bit_of_one_file() {
    let (disk, ..) = disk(1);
    let before = disk.copy(2, false);
    let mut hit = [false; 2];
    for _ in 0..20 {
        let (name, bit) = disk.flip_any_bit().unwrap();
        let (old, new) = (before.bytes(&name).unwrap(), disk.bytes(&name).unwrap());
        let byte = (bit / 8) as usize;
        assert_eq!(old[byte] ^ new[byte], 1 << (bit % 8));
        assert!(disk.flip_bit(&name, bit));
        assert_eq!(disk.bytes(&name).unwrap(), old);
        hit[usize::from(name == "b")] = true;
    }
    assert_eq!(hit, [true; 2]);
    assert_eq!(SimDevice::new(1).flip_any_bit(), None);
}
