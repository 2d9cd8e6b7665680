//! Live interop with the npm modules, both ways, through files of proofs: what pome writes, hypercore verifies and hyperbee and hyperdrive read; what
//! they write, pome verifies, keeps over a reopen and reads.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`). `POME_SEED` sets the seed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "interop/bundle.rs"]
mod bundle;

use bundle::{Bundle, hex, key32, npm_works, pack, random_bytes, unhex, unpack};
use bytes::Bytes;
use futures_util::TryStreamExt;
use pome_bee::{Change, HistoryOptions, Hyperbee, RangeOptions};
use pome_cores::{
    CoreOptions, Corestore, Durability, Hypercore, Key, KeyPair, Manifest, ManifestOptions, Signer,
    Verifier, crypto, multisig::Part,
};
use pome_drive_fs::{
    DriveOptions, Hyperdrive, ListOptions, LocalOptions, Localdrive, MirrorOptions, Mirrordrive,
    PutOptions,
    fuse::{MountOptions, mount},
};
use pome_storage::{Options, Store};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::Path,
};

fn seed() -> u64 {
    let seed = std::env::var("POME_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    eprintln!("POME_SEED={seed}");
    seed
}

fn cores_in(folder: &Path) -> Corestore {
    Corestore::open(Store::open(folder, Options::default()).unwrap()).unwrap()
}

/// Two stores: one that writes, one whose cores are readers of the first one's.
struct Stores {
    writer: Corestore,
    readers: Corestore,
    _folders: [tempfile::TempDir; 2],
}

impl Stores {
    fn new() -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        Self {
            writer: cores_in(folders[0].path()),
            readers: cores_in(folders[1].path()),
            _folders: folders,
        }
    }
}

async fn append_randomly(core: &Hypercore, rng: &mut ChaCha8Rng) {
    for _ in 0..30 {
        core.append_batch(random_blocks(rng)).await.unwrap();
    }
}

fn random_blocks(rng: &mut ChaCha8Rng) -> Vec<Bytes> {
    let max = if rng.random_ratio(1, 6) { 70_000 } else { 200 };
    (0..rng.random_range(1..6))
        .map(|_| random_bytes(rng, max))
        .collect()
}

/// The blocks of a core, as they were appended.
async fn blocks(core: &Hypercore) -> Vec<String> {
    let mut out = Vec::new();
    for index in 0..core.length() {
        out.push(hex(core.get(index).await.unwrap()));
    }
    out
}

async fn npm_must_read_core(what: &str, core: &Hypercore, bundle: &Bundle) {
    let seen = bundle.read_by_npm("core");
    assert_eq!(seen["length"], core.length(), "{what}");
    assert_eq!(seen["byteLength"], core.byte_length(), "{what}");
    assert_eq!(seen["blocks"], json!(blocks(core).await), "{what}");
}

#[tokio::test]
async fn npm_reads_our_cores() {
    if !npm_works("npm_reads_our_cores") {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let Stores {
        writer,
        readers,
        _folders,
    } = Stores::new();
    let pair = |n| KeyPair::from_seed(&[n; 32]);
    let single =
        |version, pair: &KeyPair| Manifest::single_signer(version, Signer::new(pair.public));
    let linked = Manifest::create(ManifestOptions {
        signers: vec![Signer::new(pair(3).public)],
        linked: vec![Key([9; 32])],
        user_data: Some(b"anything".to_vec()),
        ..ManifestOptions::default()
    });
    let encryption_key = [5; 32];
    let cases = [
        ("named", CoreOptions::name("log"), None),
        (
            "encrypted",
            CoreOptions::name("secret").with_encryption_key(encryption_key),
            Some(encryption_key),
        ),
        ("a key pair's", CoreOptions::key_pair(pair(1)), None),
        (
            "manifest version 0",
            CoreOptions::manifest(single(0, &pair(2))).with_key_pair(pair(2)),
            None,
        ),
        (
            "manifest version 2",
            CoreOptions::manifest(linked.unwrap()).with_key_pair(pair(3)),
            None,
        ),
        (
            "manifest version 3",
            CoreOptions::manifest(single(3, &pair(4))).with_key_pair(pair(4)),
            None,
        ),
        (
            "of version 10",
            CoreOptions::key(Key(pair(6).public)).with_key_pair(pair(6)),
            None,
        ),
        (
            "of version 10, encrypted",
            CoreOptions::key(Key(pair(7).public))
                .with_key_pair(pair(7))
                .with_encryption_key(encryption_key),
            Some(encryption_key),
        ),
    ];
    for (what, options, encryption_key) in cases {
        let core = writer.get(options).await.unwrap();
        append_randomly(&core, &mut rng).await;
        let bundle = Bundle::of(vec![pack(&core, &readers, &mut rng).await], encryption_key);
        npm_must_read_core(what, &core, &bundle).await;
    }

    let log = writer.get(CoreOptions::name("log")).await.unwrap();
    let fixed = writer.staticify(&log).await.unwrap();
    assert_ne!(fixed.key(), log.key());
    let bundle = Bundle::of(vec![pack(&fixed, &readers, &mut rng).await], None);
    npm_must_read_core("static", &fixed, &bundle).await;

    let empty = writer.get(CoreOptions::name("empty")).await.unwrap();
    let bundle = Bundle::of(vec![pack(&empty, &readers, &mut rng).await], None);
    npm_must_read_core("empty", &empty, &bundle).await;
}

/// Two of three signers sign each length.
#[tokio::test]
async fn npm_reads_our_cores_of_several_signers() {
    if !npm_works("npm_reads_our_cores_of_several_signers") {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let Stores {
        writer,
        readers,
        _folders,
    } = Stores::new();
    let pairs = [21, 22, 23].map(|n| KeyPair::from_seed(&[n; 32]));
    for version in [0, 1] {
        let manifest = Manifest::create(ManifestOptions {
            version: Some(version),
            signers: pairs.iter().map(|pair| Signer::new(pair.public)).collect(),
            quorum: Some(2),
            ..ManifestOptions::default()
        })
        .unwrap();
        let verifier = Verifier::with_key(manifest.key(), manifest.clone());
        let core = writer.get(CoreOptions::manifest(manifest)).await.unwrap();
        for _ in 0..5 {
            let blocks = random_blocks(&mut rng);
            let mut batch = core.tree().batch();
            batch.append_blocks(&blocks);
            let parts = [0, 2].map(|signer: usize| Part {
                signer: signer as u64,
                signature: verifier
                    .sign(batch.tree(), &pairs[signer])
                    .unwrap()
                    .as_ref()
                    .try_into()
                    .unwrap(),
                patch: 0,
                nodes: Vec::new(),
            });
            let signature = verifier.assemble(&parts).unwrap();
            core.append_signed(blocks.clone(), signature.clone().into())
                .await
                .unwrap();
            assert!(
                core.append_signed(blocks, signature.into()).await.is_err(),
                "signed once, appended twice"
            );
        }
        let bundle = Bundle::of(vec![pack(&core, &readers, &mut rng).await], None);
        npm_must_read_core("several signers", &core, &bundle).await;
    }
}

/// A reader follows while the core grows: it upgrades from any length to any other, with or without a block in the same proof.
#[tokio::test]
async fn npm_follows_our_growing_core() {
    if !npm_works("npm_follows_our_growing_core") {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let Stores {
        writer,
        readers,
        _folders,
    } = Stores::new();
    let core = writer.get(CoreOptions::name("live")).await.unwrap();
    let mut packer = bundle::Packer::new(&core, &readers).await;
    let mut sent = std::collections::BTreeSet::new();
    for _ in 0..60 {
        core.append_batch(random_blocks(&mut rng)).await.unwrap();
        if rng.random_ratio(1, 3) {
            continue;
        }
        let length = core.length();
        // A block that the upgrade brings must lie in what was asked for.
        let block = rng
            .random_bool(0.5)
            .then(|| rng.random_range(0..length))
            .filter(|index| sent.insert(*index));
        packer.upgrade(length, block).await;
        let index = rng.random_range(0..length);
        if sent.insert(index) {
            packer.block(index).await;
        }
    }
    packer.upgrade_if_longer().await;
    for index in (0..core.length())
        .rev()
        .filter(|index| !sent.contains(index))
    {
        packer.block(index).await;
    }
    let bundle = Bundle::of(vec![packer.finish().await], None);
    npm_must_read_core("growing", &core, &bundle).await;
}

/// What `read.js` and `write.js` say of a bee.
async fn bee_as_json(bee: &Hyperbee) -> (Value, Value) {
    let entries: Vec<_> = bee.range(RangeOptions::new()).try_collect().await.unwrap();
    let entry = |e: &pome_bee::Entry| json!({ "seq": e.seq, "key": hex(&e.key), "value": e.value.as_ref().map(hex) });
    let history: Vec<_> = bee
        .history(HistoryOptions::default())
        .try_collect()
        .await
        .unwrap();
    let change = |e: &pome_bee::HistoryEntry| {
        let kind = match e.change {
            Change::Put => "put",
            Change::Del => "del",
        };
        json!({ "type": kind, "seq": e.seq, "key": hex(&e.key) })
    };
    (
        entries.iter().map(entry).collect(),
        history.iter().map(change).collect(),
    )
}

fn random_key(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let number: u32 = rng.random_range(0..150);
    match number % 3 {
        0 => format!("k{number}").into_bytes(),
        1 => vec![0, number as u8, 0xff],
        _ => vec![number as u8; 1 + number as usize],
    }
}

async fn change_randomly(bee: &Hyperbee, rng: &mut ChaCha8Rng) {
    for _ in 0..300 {
        let key = random_key(rng);
        match rng.random_range(0..6) {
            0 | 1 => bee.del(&key).await.unwrap(),
            2 => {
                let mut batch = bee.batch();
                for _ in 0..rng.random_range(0..20) {
                    let key = random_key(rng);
                    if rng.random_ratio(1, 4) {
                        batch.del(&key).await.unwrap();
                    } else {
                        batch.put(&key, random_bytes(rng, 60)).await.unwrap();
                    }
                }
                batch.flush(Durability::Buffered).await.unwrap();
            }
            _ => bee.put(&key, random_bytes(rng, 60)).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn npm_reads_our_bees() {
    if !npm_works("npm_reads_our_bees") {
        return;
    }
    let seed = seed();
    for (n, encryption_key) in [None, None, Some([8; 32])].into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed + n as u64);
        let Stores {
            writer,
            readers,
            _folders,
        } = Stores::new();
        let mut options = CoreOptions::name("bee");
        if let Some(key) = encryption_key {
            options = options.with_encryption_key(key);
        }
        let bee = Hyperbee::new(writer.get(options).await.unwrap());
        change_randomly(&bee, &mut rng).await;
        let bundle = Bundle::of(
            vec![pack(bee.core(), &readers, &mut rng).await],
            encryption_key,
        );
        let seen = bundle.read_by_npm("bee");
        let (entries, history) = bee_as_json(&bee).await;
        assert_eq!(seen["version"], bee.version());
        assert_eq!(seen["entries"], entries);
        assert_eq!(seen["history"], history);
    }
}

/// What `read.js` and `write.js` say of a drive's files.
async fn drive_as_json(drive: &Hyperdrive) -> Value {
    let entries: Vec<_> = drive
        .list("/", ListOptions::default())
        .try_collect()
        .await
        .unwrap();
    let mut out = Vec::new();
    for entry in entries {
        let content = match entry.value.blob {
            Some(_) => Some(drive.get(&entry.path).await.unwrap().unwrap()),
            None => None,
        };
        out.push(json!({
            "path": entry.path,
            "seq": entry.seq,
            "executable": entry.value.executable,
            "linkname": entry.value.linkname,
            "metadata": entry.value.metadata,
            "byteLength": content.as_ref().map(|content| content.len()),
            "hash": content.as_ref().map(|content| hex(crypto::hash(&[content]))),
        }));
    }
    out.into()
}

fn random_path(rng: &mut ChaCha8Rng) -> String {
    let name = ["a", "ü", "with space", "x.tar.gz", "日本", "e\u{301}"][rng.random_range(0..6)];
    format!(
        "/d{}/{name}{}",
        rng.random_range(0..4),
        rng.random_range(0..4)
    )
}

async fn fill_randomly(drive: &Hyperdrive, rng: &mut ChaCha8Rng) {
    let options = |rng: &mut ChaCha8Rng| PutOptions {
        executable: rng.random_bool(0.3),
        metadata: rng
            .random_bool(0.3)
            .then(|| json!({ "n": rng.random_range(0..9), "text": "ä\u{1}\"" })),
        ..PutOptions::default()
    };
    for _ in 0..60 {
        let path = random_path(rng);
        match rng.random_range(0..8) {
            0 => drive.del(&path).await.unwrap(),
            1 => drive.symlink(&path, "../d0/target", None).await.unwrap(),
            2 => {
                // Many blocks, the last one short, written in parts that do not meet their ends.
                let mut content = vec![0; 65_536 * 5 + rng.random_range(0..65_536)];
                rng.fill_bytes(&mut content);
                let mut stream = drive.write_stream(&path, options(rng)).await.unwrap();
                for part in content.chunks(50_001) {
                    stream.write(part.to_vec()).await.unwrap();
                }
                stream.finish().await.unwrap();
            }
            3 => {
                let mut batch = drive.batch().unwrap();
                for _ in 0..rng.random_range(0..6) {
                    match rng.random_range(0..4) {
                        0 => batch.del(&random_path(rng)).unwrap(),
                        1 => batch.symlink(&random_path(rng), "/absolute", None).unwrap(),
                        _ => batch
                            .put(&random_path(rng), random_bytes(rng, 3000), options(rng))
                            .unwrap(),
                    }
                }
                batch.flush(Durability::Buffered).await.unwrap();
            }
            4 => {
                let mut stream = drive.dedup_stream(&path, options(rng)).await.unwrap();
                let part = random_bytes(rng, 70_000);
                for part in [part.clone(), random_bytes(rng, 300), part] {
                    stream.write(part).await.unwrap();
                }
                stream.finish().await.unwrap();
            }
            _ => drive
                .put(&path, random_bytes(rng, 3000), options(rng))
                .await
                .unwrap(),
        }
    }
}

/// Packs a drive and lets npm read it.
async fn npm_must_read_drive(
    drive: &Hyperdrive,
    readers: &Corestore,
    encryption_key: Option<[u8; 32]>,
    rng: &mut ChaCha8Rng,
) {
    let blobs = drive.blobs().await.unwrap().core();
    let cores = vec![
        pack(drive.core(), readers, rng).await,
        pack(blobs, readers, rng).await,
    ];
    let seen = Bundle::of(cores, encryption_key).read_by_npm("drive");
    assert_eq!(seen["version"], drive.version());
    assert_eq!(seen["files"], drive_as_json(drive).await);
}

#[tokio::test]
async fn npm_reads_our_drives() {
    if !npm_works("npm_reads_our_drives") {
        return;
    }
    let seed = seed();
    for (n, encryption_key) in [None, Some([7; 32])].into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed + n as u64);
        let Stores {
            writer,
            readers,
            _folders,
        } = Stores::new();
        let options = DriveOptions {
            key: None,
            encryption_key,
            ..DriveOptions::default()
        };
        let drive = Hyperdrive::open(writer.namespace("drive"), options)
            .await
            .unwrap();
        fill_randomly(&drive, &mut rng).await;
        npm_must_read_drive(&drive, &readers, encryption_key, &mut rng).await;
    }
}

/// What a mount writes: maps over older blocks, contents that grew, holes, files of several names, and what is no file.
#[tokio::test(flavor = "multi_thread")]
async fn npm_reads_what_a_mount_published() {
    const TEST: &str = "npm_reads_what_a_mount_published";
    if !npm_works(TEST) {
        return;
    }
    let Stores {
        writer,
        readers,
        _folders,
    } = Stores::new();
    let drive = Hyperdrive::open(writer.namespace("drive"), DriveOptions::default())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = MountOptions::default();
    let mounted = match mount(&writer, &drive, folder.path(), options).await {
        Ok(mounted) => mounted,
        Err(error) => return pome_test_support::skipped(TEST, error),
    };
    let at = |name: &str| folder.path().join(name);
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let mut large = vec![0; 900_000];
    rng.fill_bytes(&mut large);
    for name in ["patched", "grown", "shrunk"] {
        fs::write(at(name), &large).unwrap();
        mounted.publish_now().await.unwrap();
        let file = fs::File::options().write(true).open(at(name)).unwrap();
        match name {
            "patched" => file.write_all_at(&large[..100], 300_000).unwrap(),
            "grown" => file.write_all_at(&large[..70_000], 900_000).unwrap(),
            _ => file.set_len(400_000).unwrap(),
        }
        drop(file);
        // What grew is behind the old content only while nothing else is.
        mounted.publish_now().await.unwrap();
    }
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(2_000_000).unwrap();
    sparse.write_all_at(b"data", 1_000_000).unwrap();
    drop(sparse);
    fs::write(at("one"), "of two").unwrap();
    fs::create_dir(at("d")).unwrap();
    fs::hard_link(at("one"), at("d/two")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), mode).unwrap();
    mounted.unmount().await.unwrap().published.unwrap();
    let blob = async |path: &str| {
        let entry = drive.entry(path).await.unwrap().unwrap();
        entry.value.blob
    };
    for (path, map) in [
        ("/patched", true),
        ("/grown", false),
        ("/shrunk", true),
        ("/sparse", true),
    ] {
        assert_eq!(blob(path).await.unwrap().block_map, map, "{path}");
    }
    assert_eq!(blob("/one").await, blob("/d/two").await);
    assert_eq!(blob("/pipe").await, None);
    npm_must_read_drive(&drive, &readers, None, &mut rng).await;
}

/// Of these drives only the header tells where the contents are.
#[tokio::test]
async fn npm_reads_our_drives_in_old_cores() {
    if !npm_works("npm_reads_our_drives_in_old_cores") {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let pair = KeyPair::from_seed(&[31; 32]);
    let manifest = Manifest::single_signer(0, Signer::new(pair.public));
    for options in [
        CoreOptions::manifest(manifest).with_key_pair(pair.clone()),
        CoreOptions::key(Key(pair.public)).with_key_pair(pair),
    ] {
        let Stores {
            writer,
            readers,
            _folders,
        } = Stores::new();
        let core = writer.get(options).await.unwrap();
        let drive = Hyperdrive::from_core(writer, core, None).await.unwrap();
        fill_randomly(&drive, &mut rng).await;
        npm_must_read_drive(&drive, &readers, None, &mut rng).await;
    }
}

/// A drive that is opened by its key, before anything of it is here, waits for what it needs and no longer.
#[tokio::test]
async fn a_reader_of_nothing_waits_for_the_drive() {
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let Stores {
        writer,
        readers,
        _folders,
    } = Stores::new();
    let drive = Hyperdrive::open(writer, DriveOptions::default())
        .await
        .unwrap();
    let plain = PutOptions::default();
    drive.put("/a", "here at last", plain).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let late = cores_in(folder.path());
    let options = DriveOptions {
        key: Some(drive.key()),
        encryption_key: None,
        ..DriveOptions::default()
    };
    let reader = Hyperdrive::open(late.clone(), options).await.unwrap();
    let reading = tokio::spawn(async move {
        // The version is that of the moment; the contents need the header first.
        let blobs = reader.blobs().await.unwrap().core().clone();
        blobs.get(0).await.unwrap()
    });
    let blobs = drive.blobs().await.unwrap().core();
    for core in [drive.core(), blobs] {
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        let packed = pack(core, &readers, &mut rng).await;
        unpack(&late, &packed, &mut rng).await;
    }
    let reading = tokio::time::timeout(pome_test_support::PATIENCE, reading).await;
    assert_eq!(reading.unwrap().unwrap(), "here at last");
}

/// A folder with all kinds of files, imported: modes, times and folders that npm does not know must not be in its way.
#[tokio::test]
async fn npm_reads_a_folder_that_we_imported() {
    if !npm_works("npm_reads_a_folder_that_we_imported") {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir_all(root.join("empty/folders")).unwrap();
    std::fs::create_dir_all(root.join("ü/deep")).unwrap();
    std::fs::write(root.join("none"), "").unwrap();
    std::fs::write(root.join("ü/large"), random_bytes(&mut rng, 1_000_000)).unwrap();
    std::fs::write(root.join("ü/deep/run me"), "#!/bin/sh").unwrap();
    let mode = PermissionsExt::from_mode(0o741);
    std::fs::set_permissions(root.join("ü/deep/run me"), mode).unwrap();
    symlink("../none", root.join("ü/link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();

    let Stores {
        writer,
        readers,
        _folders,
    } = Stores::new();
    let drive = Hyperdrive::open(writer, DriveOptions::default())
        .await
        .unwrap();
    let local = Localdrive::open(root, LocalOptions::default()).unwrap();
    let import = Mirrordrive::new(local, drive.clone(), MirrorOptions::default());
    let count = import.run(|_| ()).await.unwrap();
    assert_eq!((count.add, count.skip), (5, 0));
    npm_must_read_drive(&drive, &readers, None, &mut rng).await;
}

/// What npm wrote, in a store of ours that has been closed and opened again since.
struct Received {
    bundle: Bundle,
    cores: Corestore,
    _folder: tempfile::TempDir,
}

async fn received_from_npm(kind: &str) -> Received {
    let seed = seed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let bundle = Bundle::written_by_npm(kind, seed);
    let folder = tempfile::tempdir().unwrap();
    let cores = cores_in(folder.path());
    for packed in &bundle.cores {
        let core = unpack(&cores, packed, &mut rng).await;
        core.close().await.unwrap();
    }
    cores.close().await.unwrap();
    drop(cores);
    let cores = cores_in(folder.path());
    for packed in &bundle.cores {
        let core = cores
            .get(CoreOptions::key(Key(key32(&packed.key))))
            .await
            .unwrap();
        assert_eq!(core.length(), packed.length);
        assert_eq!(hex(core.tree_hash().await.unwrap()), packed.tree_hash);
        assert!(!core.writable());
    }
    Received {
        bundle,
        cores,
        _folder: folder,
    }
}

#[tokio::test]
async fn we_read_npm_cores() {
    if !npm_works("we_read_npm_cores") {
        return;
    }
    for kind in ["core", "core-encrypted"] {
        let Received {
            bundle,
            cores,
            _folder,
        } = received_from_npm(kind).await;
        let packed = &bundle.cores[0];
        let mut options = CoreOptions::key(Key(key32(&packed.key)));
        if let Some(key) = bundle.encryption_key() {
            options = options.with_encryption_key(key);
        }
        let core = cores.get(options).await.unwrap();
        assert_eq!(core.byte_length(), packed.byte_length, "{kind}");
        assert_eq!(json!(blocks(&core).await), bundle.truth["blocks"], "{kind}");
    }
}

#[tokio::test]
async fn we_read_npm_bees() {
    if !npm_works("we_read_npm_bees") {
        return;
    }
    let Received {
        bundle,
        cores,
        _folder,
    } = received_from_npm("bee").await;
    let key = CoreOptions::key(Key(key32(&bundle.cores[0].key)));
    let bee = Hyperbee::new(cores.get(key).await.unwrap());
    assert_eq!(bundle.truth["version"], bee.version());
    let (entries, history) = bee_as_json(&bee).await;
    assert_eq!(bundle.truth["entries"], entries);
    assert_eq!(bundle.truth["history"], history);
    for entry in entries.as_array().unwrap() {
        let found = bee
            .get(&unhex(entry["key"].as_str().unwrap()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(entry["seq"], found.seq);
    }
}

#[tokio::test]
async fn we_read_npm_drives() {
    if !npm_works("we_read_npm_drives") {
        return;
    }
    for kind in ["drive", "drive-encrypted", "drive-blockmap"] {
        let Received {
            bundle,
            cores,
            _folder,
        } = received_from_npm(kind).await;
        let key = Some(Key(key32(&bundle.cores[0].key)));
        let options = DriveOptions {
            key,
            encryption_key: bundle.encryption_key(),
            ..DriveOptions::default()
        };
        let drive = Hyperdrive::open(cores, options).await.unwrap();
        assert_eq!(bundle.truth["version"], drive.version(), "{kind}");
        let files = drive_as_json(&drive).await;
        assert_eq!(bundle.truth["files"], files, "{kind}");
        assert!(files.as_array().unwrap().len() > 10, "{kind}");
        if kind == "drive-blockmap" {
            let list: Vec<_> = drive
                .list("/", ListOptions::default())
                .try_collect()
                .await
                .unwrap();
            assert!(
                list.iter()
                    .any(|entry| entry.value.blob.is_some_and(|blob| blob.block_map))
            );
        }
    }
}
