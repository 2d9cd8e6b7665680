//! The functions that everything else waits for, each as a piece of work that can be done again and again: by criterion, which times it, and by the program of
//! this package, which has valgrind count its instructions. What they work on is the same each time, and no thread works beside them.
//!
//! ```
//! let hot = pome_bench_hot::ALL.iter().find(|hot| hot.name == "leaf hash, 64 KiB").unwrap();
//! let mut work = (hot.make)().unwrap();
//! work().unwrap();
//! ```
#![forbid(unsafe_code)]

use bytes::Bytes;
use pome_bee::{Hyperbee, RangeOptions};
use pome_cores::{
    CoreOptions, Corestore, Durability, Hypercore, KeyPair, Manifest, Verifier,
    crypto::leaf_hash,
    merkle::{Node, NodeRequest, Proof, ProofRequest, Tree, TreeError, UpgradeRequest},
};
use pome_net::{
    noise::{Handshake, Pattern, Role},
    secret_stream::{OVERHEAD, SecretStreamCipher},
    udx::{Header, Kind, Seq},
};
use pome_storage::{Batch, Options, Space, Store};
use std::{collections::HashMap, hint::black_box};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// What went wrong, as text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What comes of a piece of work.
pub type Result<T> = std::result::Result<T, Error>;
/// A piece of work that can be done again and again.
pub type Work = Box<dyn FnMut() -> Result<()>>;

/// A hot function.
#[derive(Debug, Clone, Copy)]
pub struct Hot {
    /// What it is.
    pub name: &'static str,
    /// Makes ready what it works on.
    pub make: fn() -> Result<Work>,
}

const fn hot(name: &'static str, make: fn() -> Result<Work>) -> Hot {
    Hot { name, make }
}

/// All of them.
pub const ALL: &[Hot] = &[
    hot("commit of 100 B", || commits(1, 100)),
    hot("commit of 1,000 × 100 B", || commits(1_000, 100)),
    hot("commit of 64 KiB", || commits(1, LARGE)),
    hot("store get, 100 B in a table", gets),
    hot("store get of a key that is not there", absent_gets),
    hot("store scan of 1,000", scans),
    hot("store scan of 1,000, lent", lent_scans),
    hot("store opened, 10,000 values in a table", opens),
    hot("leaf hash, 64 KiB", leaf),
    hot("merkle append of 64", merkle_append),
    hot("proof of a block made", proof_made),
    hot("proof of a block verified", proof_verified),
    hot("proof of an upgrade verified", upgrade_verified),
    hot("core append of 100 B", core_append),
    hot("core get of 100 B", core_get),
    hot("bitfield scan of 10,000", bitfield),
    hot("bee put", bee_put),
    hot("bee get", bee_get),
    hot("bee scan of 1,000", bee_scan),
    hot("secret stream, seal and open 100 B", || stream(100)),
    hot("secret stream, seal and open 64 KiB", || stream(LARGE)),
    hot("noise handshake (IK), both sides", noise),
    hot("UDX header, both ways", udx),
];

const LARGE: usize = 64 << 10;
const SPACE: Space = Space(7);
/// Values of a store, blocks of a core, entries of a bee that are read.
const COUNT: u64 = 10_000;

/// The next of the numbers below `end`, in no order.
fn next(state: &mut u64, end: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 33) % end
}

/// A key of 32 bytes; neighbours in number are far from each other in order.
fn key(n: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..16].copy_from_slice(&n.to_be_bytes());
    key
}

fn store() -> Result<(TempDir, Store)> {
    let folder = tempfile::tempdir()?;
    let mut options = Options::default();
    options.background = false;
    let store = Store::open(folder.path(), options)?;
    Ok((folder, store))
}

fn commits(values: u64, bytes: usize) -> Result<Work> {
    let (folder, store) = store()?;
    let value = Bytes::from(vec![7; bytes]);
    let mut n = 0;
    Ok(Box::new(move || {
        let _here = &folder;
        let mut batch = Batch::new();
        for _ in 0..values {
            n += 1;
            batch.put(SPACE, key(n % COUNT), value.clone());
        }
        store.commit(batch, Durability::Buffered)?;
        Ok(())
    }))
}

/// A store whose values are in a table.
fn table() -> Result<(TempDir, Store)> {
    let (folder, store) = store()?;
    for start in (0..COUNT).step_by(1_000) {
        let mut batch = Batch::new();
        for n in start..start + 1_000 {
            batch.put(SPACE, key(n), vec![n as u8; 100]);
        }
        store.commit(batch, Durability::Buffered)?;
    }
    store.checkpoint()?;
    Ok((folder, store))
}

fn gets() -> Result<Work> {
    let (folder, store) = table()?;
    let mut state = 1;
    Ok(Box::new(move || {
        let _here = &folder;
        let value = store.get(SPACE, &key(next(&mut state, COUNT)))?;
        black_box(value.ok_or("a value is missing")?);
        Ok(())
    }))
}

fn absent_gets() -> Result<Work> {
    let (folder, store) = table()?;
    let mut state = 1;
    Ok(Box::new(move || {
        let _here = &folder;
        match store.get(SPACE, &key(COUNT + next(&mut state, COUNT)))? {
            None => Ok(()),
            Some(_) => Err("a value is there".into()),
        }
    }))
}

/// Read-only: nothing is written that the next opening would find.
fn opens() -> Result<Work> {
    let (folder, store) = table()?;
    store.close()?;
    drop(store);
    Ok(Box::new(move || {
        let mut options = Options::default();
        options.background = false;
        options.read_only = true;
        black_box(Store::open(folder.path(), options)?);
        Ok(())
    }))
}

fn scans() -> Result<Work> {
    let (folder, store) = table()?;
    let mut state = 1;
    Ok(Box::new(move || {
        let _here = &folder;
        // Anywhere in the first half of the keys' order.
        let from = (next(&mut state, 1 << 30) << 33).to_be_bytes();
        for entry in store.snapshot().range(SPACE, &from[..]..).take(1_000) {
            black_box(entry?);
        }
        Ok(())
    }))
}

fn lent_scans() -> Result<Work> {
    let (folder, store) = table()?;
    let mut state = 1;
    Ok(Box::new(move || {
        let _here = &folder;
        let from = (next(&mut state, 1 << 30) << 33).to_be_bytes();
        let snapshot = store.snapshot();
        let mut scan = snapshot.scan(SPACE, &from[..]..);
        for _ in 0..1_000 {
            black_box(scan.next_entry()?);
        }
        Ok(())
    }))
}

fn leaf() -> Result<Work> {
    let block = vec![7; LARGE];
    Ok(Box::new(move || {
        black_box(leaf_hash(&block));
        Ok(())
    }))
}

fn merkle_append() -> Result<Work> {
    let blocks: Vec<Vec<u8>> = (0..64).map(|n| vec![n; 100]).collect();
    let mut tree = Tree::default();
    Ok(Box::new(move || {
        let mut batch = tree.batch();
        batch.append_blocks(&blocks);
        tree = batch.into_tree();
        Ok(())
    }))
}

/// A log in memory that is signed, and a reader that knows nothing of it.
struct Log {
    manifest: Manifest,
    tree: Tree,
    nodes: HashMap<u64, Node>,
    block: Bytes,
}

impl Log {
    fn new() -> Result<Self> {
        let pair = KeyPair::from_seed(&[7; 32]);
        let manifest = Manifest::single(pair.public);
        let block = Bytes::from(vec![7; 100]);
        let mut batch = Tree::default().batch();
        batch.append_blocks(&vec![block.clone(); COUNT as usize]);
        let signature = Verifier::new(manifest.clone()).sign(batch.tree(), &pair)?;
        batch.set_signature(signature);
        let nodes = batch.nodes().iter().map(|node| (node.index, *node));
        Ok(Self {
            manifest,
            nodes: nodes.collect(),
            tree: batch.into_tree(),
            block,
        })
    }

    /// With the nodes that a reader needs who has none.
    fn prove(&self, index: Option<u64>) -> std::result::Result<Proof, TreeError> {
        let nodes = |index: u64| Ok::<_, TreeError>(self.nodes.get(&index).copied());
        let block = index.map(|index| NodeRequest {
            index,
            nodes: Tree::max_missing_nodes(2 * index, COUNT),
        });
        let upgrade = index.is_none().then_some(UpgradeRequest {
            start: 0,
            length: COUNT,
        });
        let request = ProofRequest {
            block,
            upgrade,
            ..ProofRequest::default()
        };
        let mut proof = self
            .tree
            .proof(&nodes, &request, Some(self.block.clone()))?;
        proof.manifest = upgrade.is_some().then(|| self.manifest.clone());
        Ok(proof)
    }
}

fn proof_made() -> Result<Work> {
    let log = Log::new()?;
    let mut state = 1;
    Ok(Box::new(move || {
        black_box(log.prove(Some(next(&mut state, COUNT)))?);
        Ok(())
    }))
}

fn proof_verified() -> Result<Work> {
    let log = Log::new()?;
    let proofs: Vec<Proof> = (0..64)
        .map(|n| log.prove(Some(n * 151)))
        .collect::<std::result::Result<_, _>>()?;
    let mut at = 0;
    Ok(Box::new(move || {
        at += 1;
        let none = |index: u64| Ok::<_, TreeError>(log.nodes.get(&index).copied());
        let proof = &proofs[at % proofs.len()];
        black_box(Verifier::check(
            log.manifest.key(),
            Some(&log.manifest),
            &log.tree,
            &none,
            proof,
        )?);
        Ok(())
    }))
}

fn upgrade_verified() -> Result<Work> {
    let log = Log::new()?;
    let proof = log.prove(None)?;
    Ok(Box::new(move || {
        let none = |_| Ok::<_, TreeError>(None);
        let empty = Tree::default();
        black_box(Verifier::check(
            log.manifest.key(),
            None,
            &empty,
            &none,
            &proof,
        )?);
        Ok(())
    }))
}

/// What asynchronous work runs on.
struct Here {
    runtime: Runtime,
    cores: Corestore,
    _folder: TempDir,
}

impl Here {
    fn new() -> Result<Self> {
        let (folder, store) = store()?;
        Ok(Self {
            runtime: Builder::new_current_thread().build()?,
            cores: Corestore::open(store)?,
            _folder: folder,
        })
    }

    /// A core with `COUNT` blocks.
    fn core(&self) -> Result<Hypercore> {
        self.runtime.block_on(async {
            let core = self.cores.get(CoreOptions::name("hot")).await?;
            for _ in 0..COUNT / 1_000 {
                let block = Bytes::from(vec![7; 100]);
                core.append_batch(vec![block; 1_000]).await?;
            }
            Ok(core)
        })
    }

    fn bee(&self) -> Result<Hyperbee> {
        self.runtime.block_on(async {
            let bee = Hyperbee::new(self.cores.get(CoreOptions::name("hot")).await?);
            let mut batch = bee.batch();
            for n in 0..COUNT {
                batch.put(&key(n), vec![7; 100]).await?;
            }
            batch.flush(Durability::Buffered).await?;
            Ok(bee)
        })
    }
}

fn core_append() -> Result<Work> {
    let here = Here::new()?;
    let core = here.core()?;
    Ok(Box::new(move || {
        here.runtime.block_on(core.append(vec![7; 100]))?;
        Ok(())
    }))
}

fn core_get() -> Result<Work> {
    let here = Here::new()?;
    let core = here.core()?;
    let mut state = 1;
    Ok(Box::new(move || {
        black_box(here.runtime.block_on(core.get(next(&mut state, COUNT)))?);
        Ok(())
    }))
}

fn bitfield() -> Result<Work> {
    let here = Here::new()?;
    let core = here.core()?;
    Ok(Box::new(move || {
        match here.runtime.block_on(core.has(0..COUNT))? {
            true => Ok(()),
            false => Err("blocks are missing".into()),
        }
    }))
}

fn bee_put() -> Result<Work> {
    let here = Here::new()?;
    let bee = here.bee()?;
    let mut state = 1;
    Ok(Box::new(move || {
        let key = key(next(&mut state, COUNT));
        here.runtime.block_on(bee.put(&key, vec![8; 100]))?;
        Ok(())
    }))
}

fn bee_get() -> Result<Work> {
    let here = Here::new()?;
    let bee = here.bee()?;
    let mut state = 1;
    Ok(Box::new(move || {
        let key = key(next(&mut state, COUNT));
        let entry = here.runtime.block_on(bee.get(&key))?;
        black_box(entry.ok_or("an entry is missing")?);
        Ok(())
    }))
}

fn bee_scan() -> Result<Work> {
    use futures_util::TryStreamExt;
    let here = Here::new()?;
    let bee = here.bee()?;
    Ok(Box::new(move || {
        let range = RangeOptions::default().with_limit(1_000);
        here.runtime.block_on(async {
            let mut entries = bee.range(range);
            while let Some(entry) = entries.try_next().await? {
                black_box(entry);
            }
            Ok(())
        })
    }))
}

fn stream(bytes: usize) -> Result<Work> {
    let mut seals = SecretStreamCipher::new(&[7; 32], &[0; 24]);
    let mut opens = seals.clone();
    let mut message = vec![7; bytes + OVERHEAD];
    Ok(Box::new(move || {
        seals.seal(&mut message);
        match opens.open(&mut message) {
            true => Ok(()),
            false => Err("it does not open".into()),
        }
    }))
}

fn noise() -> Result<Work> {
    let (ours, theirs) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    Ok(Box::new(move || {
        let remote = Some(&theirs.public);
        let mut a = Handshake::new(Pattern::Ik, Role::Initiator, &ours, remote, b"", [3; 32])?;
        let mut b = Handshake::new(Pattern::Ik, Role::Responder, &theirs, None, b"", [4; 32])?;
        while !(a.is_complete() && b.is_complete()) {
            match a.is_our_turn() {
                true => b.receive(&a.send(b"")?)?,
                false => a.receive(&b.send(b"")?)?,
            };
        }
        Ok(())
    }))
}

fn udx() -> Result<Work> {
    let mut seq = 0;
    Ok(Box::new(move || {
        seq += 1;
        let header = Header {
            kind: Kind(1),
            data_offset: 0,
            id: 7,
            window: 1 << 20,
            seq: Seq(seq),
            ack: Seq(seq / 2),
        };
        match Header::decode(&black_box(header.encode())) {
            Some(back) if back.seq.0 == seq => Ok(()),
            _ => Err("another header".into()),
        }
    }))
}
