//! Few files are open at a time, however many there are. Alone in its process, since it lowers the limit of the process.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_wal::{Bytes, Error, Log, LogOptions, PwriteDevice};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::sync::Arc;

#[test]
fn few_files_are_open_at_a_time() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(64);
    setrlimit(Resource::Nofile, limit).unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let dir = tempfile::tempdir().unwrap();
    let device = Arc::new(PwriteDevice::open(dir.path()).unwrap());
    let mut options = LogOptions::default();
    options.log_segment_bytes = 4 << 10;
    options.payload_segment_bytes = 4 << 10;
    let log = Log::create(device.clone(), options.clone(), 7).unwrap();
    let mut refs = Vec::new();
    for i in 0..500u64 {
        let payload = Bytes::from(vec![i as u8; 3000]);
        refs.extend(log.commit(b"", &[payload]).unwrap().payloads);
        if i % 16 == 15 {
            let start = log.position();
            log.sync().unwrap();
            log.release(&start).unwrap();
        }
    }
    assert_eq!(log.payload_segments().len(), 500);
    // Views stay, files do not.
    let mut views = Vec::new();
    for step in [1, 7, 499, 250] {
        for i in 0..refs.len() {
            let i = i * step % refs.len();
            views.push((i, log.read(&refs[i]).unwrap()));
        }
        assert!(open() - before <= 16 + 6, "{} files", open() - before);
    }
    assert!(views.iter().all(|(i, bytes)| bytes[..] == [*i as u8; 3000]));
    let start = log.position();
    log.close().unwrap();
    drop(log);
    let (log, _) = Log::open(device, options, start, |_| Ok::<_, Error>(())).unwrap();
    for at in &refs {
        log.read(at).unwrap();
    }
    assert!(open() - before <= 16 + 6, "{} files", open() - before);
}
