//! Nothing that tells something lies on disk in clear.

use crate::{key, value};
use pome_storage::{Batch, Durability, Journal, Key, Options, Space, Store};
use std::path::Path;

const SECRETS: [&str; 6] = [
    "name-of-a-pear",
    "small-value-of-a-pear",
    "large-value-of-a-pear",
    "deleted-range-of-pears",
    "journal-of-a-pear",
    "pear-in-the-filter",
];

/// A store, and a backup of it.
fn fill(folder: &Path, backup: &Path, key: Option<Key>) {
    let mut options = Options::default();
    options.key = key;
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 256 << 10;
    options.checkpoint_log_bytes = 32 << 10;
    let store = Store::open(folder, options).unwrap();
    let [name, small, large, range, journal_bytes, _] = SECRETS;
    let journal = Journal::open(&store, Space(9)).unwrap();
    for round in 0..6 {
        for n in 0..200u32 {
            let mut batch = Batch::new();
            let own = format!("{name}-{n}-{round}");
            batch.put(Space(1), own.as_bytes(), small.as_bytes().to_vec());
            if n % 20 == 0 {
                batch.put(Space(2), own.as_bytes(), value(large, 5000));
                // So much is overwritten that a segment is emptied.
                batch.put(Space(2), format!("{name}-{}", n % 40), value(large, 9000));
                batch.delete_range(
                    Space(3),
                    format!("{range}-{n}"),
                    format!("{range}-{}", n + 1),
                );
                journal.append(&mut batch, value(journal_bytes, 1500));
                journal.append(&mut batch, value(journal_bytes, 150));
            }
            let durability = match n % 50 {
                0 => Durability::Synced,
                _ => Durability::Buffered,
            };
            store.commit(batch, durability).unwrap();
        }
        store.checkpoint().unwrap();
        store.backup(backup, &mut |_, _| {}).unwrap();
    }
    store.compact().unwrap();
    store.backup(backup, &mut |_, _| {}).unwrap();
    let mut batch = Batch::new();
    batch.put(Space(1), SECRETS[5].as_bytes(), small.as_bytes().to_vec());
    batch.delete_range(Space(3), range.as_bytes(), format!("{range}-9"));
    store.commit(batch, Durability::Synced).unwrap();
    store.close().unwrap();
}

/// Which of the secrets are found in which file.
fn found(folder: &Path) -> Vec<(String, &'static str)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        for secret in SECRETS {
            // Any eight bytes in a row give it away.
            let parts = secret.as_bytes().windows(8);
            let mut hits = parts.filter(|part| memchr(part, &bytes));
            if hits.next().is_some() {
                found.push((entry.file_name().into_string().unwrap(), secret));
            }
        }
    }
    found
}

fn memchr(part: &[u8], bytes: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn nothing_plain_lies_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    let plain_backup = folder.path().join("plain-backup");
    fill(&plain, &plain_backup, None);
    let clear = found(&plain);
    for secret in SECRETS {
        assert!(
            clear.iter().any(|(_, s)| *s == secret),
            "{secret} is looked for in vain"
        );
    }
    for kind in ["log-", "payload-", "table-"] {
        assert!(
            clear.iter().any(|(file, _)| file.starts_with(kind)),
            "nothing in {kind}"
        );
    }
    assert_ne!(found(&plain_backup), vec![]);
    let sealed_backup = folder.path().join("sealed-backup");
    let sealed = folder.path().join("sealed");
    fill(&sealed, &sealed_backup, Some(key()));
    assert_eq!(found(&sealed), vec![]);
    assert_eq!(found(&sealed_backup), vec![]);
    assert!(!memchr(
        &crate::KEY[..8],
        &std::fs::read(sealed.join("superblock")).unwrap()
    ));
}
