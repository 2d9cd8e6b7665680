//! Proofs between trees of any shape: what one makes the other believes, and nothing else.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use pome_cores::{
    Key, KeyPair, Manifest, ManifestOptions, Prologue, Signer, Verifier,
    merkle::{
        MerkleBatch, Node, NodeRequest, Proof, ProofRequest, Seek, SeekRequest, Tree, TreeError,
        UpgradeRequest,
    },
    replication::messages::Data,
};
use pome_encoding::Reader;
use proptest::{collection::vec, prelude::*};

/// A core in memory.
#[derive(Clone)]
struct Log {
    manifest: Manifest,
    tree: Tree,
    nodes: BTreeMap<u64, Node>,
    blocks: BTreeMap<u64, Bytes>,
}

impl Log {
    /// A core with nothing in it.
    fn empty(manifest: &Manifest) -> Self {
        Self {
            manifest: manifest.clone(),
            tree: Tree {
                prologue: manifest.prologue,
                ..Tree::default()
            },
            nodes: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    fn nodes(&self) -> impl Fn(u64) -> Result<Option<Node>, TreeError> {
        |index| Ok(self.nodes.get(&index).copied())
    }

    fn store(&mut self, batch: MerkleBatch) {
        if let Some(removed) = batch.removed() {
            self.nodes.retain(|index, _| {
                !removed.range.contains(index) && !removed.parents.contains(index)
            });
            self.blocks
                .retain(|index, _| 2 * index < removed.range.start);
        }
        for node in batch.nodes() {
            self.nodes.insert(node.index, *node);
        }
        self.tree = batch.into_tree();
    }

    fn append(&mut self, blocks: &[Vec<u8>], pair: &KeyPair) {
        if blocks.is_empty() {
            return;
        }
        let mut batch = self.tree.batch();
        batch.append_blocks(blocks);
        let signature = Verifier::new(self.manifest.clone()).sign(batch.tree(), pair);
        batch.set_signature(signature.unwrap());
        for (index, block) in (self.tree.length..).zip(blocks) {
            self.blocks.insert(index, Bytes::copy_from_slice(block));
        }
        self.store(batch);
    }

    fn truncate(&mut self, length: u64, pair: &KeyPair) {
        let mut batch = self.tree.batch();
        batch
            .truncate(&self.nodes(), length, self.tree.fork + 1)
            .unwrap();
        let signature = Verifier::new(self.manifest.clone()).sign(batch.tree(), pair);
        batch.set_signature(signature.unwrap());
        self.store(batch);
    }

    fn prove(&self, request: &ProofRequest) -> Result<Proof, TreeError> {
        let block = request
            .block
            .and_then(|block| self.blocks.get(&block.index).cloned());
        let mut proof = self.tree.proof(&self.nodes(), request, block)?;
        proof.manifest = request.upgrade.map(|_| self.manifest.clone());
        Ok(through_the_wire(&proof))
    }

    /// Takes a proof of the same fork.
    fn take(&mut self, proof: &Proof) -> Result<(), TreeError> {
        let key = self.manifest.key();
        let verified = Verifier::check(key, None, &self.tree, &self.nodes(), proof)?;
        if let Some(block) = &proof.block {
            self.blocks.insert(block.index, block.value.clone());
        }
        self.store(verified.unwrap().batch);
        Ok(())
    }
}

fn through_the_wire(proof: &Proof) -> Proof {
    let mut bytes = Vec::new();
    let data = Data {
        request: 1,
        proof: proof.clone(),
    };
    data.encode(&mut bytes);
    let mut input = Reader::new(&bytes);
    let back = Data::decode(&mut input).unwrap();
    assert!(input.is_empty());
    assert_eq!(back, data);
    back.proof
}

fn pair() -> KeyPair {
    KeyPair::from_seed(&[7; 32])
}

fn log(blocks: &[Vec<u8>]) -> Log {
    let mut log = Log::empty(&Manifest::single(pair().public));
    log.append(blocks, &pair());
    log
}

fn upgrade(start: u64, end: u64) -> ProofRequest {
    ProofRequest {
        upgrade: Some(UpgradeRequest {
            start,
            length: end - start,
        }),
        ..ProofRequest::default()
    }
}

fn blocks(max: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..5), 0..max)
}

/// What a sparse reader asks for next.
#[derive(Debug, Clone)]
enum Ask {
    Upgrade(u64),
    UpgradeAndBlock(u64, u64),
    UpgradeAndSeek(u64, u64),
    Block(u64),
    BlockAndSeek(u64, u64),
    Hash(u64),
    Seek(u64),
}

fn ask() -> impl Strategy<Value = Ask> {
    let n = || 0u64..1 << 16;
    prop_oneof![
        n().prop_map(Ask::Upgrade),
        (n(), n()).prop_map(|(a, b)| Ask::UpgradeAndBlock(a, b)),
        (n(), n()).prop_map(|(a, b)| Ask::UpgradeAndSeek(a, b)),
        n().prop_map(Ask::Block),
        (n(), n()).prop_map(|(a, b)| Ask::BlockAndSeek(a, b)),
        n().prop_map(Ask::Hash),
        n().prop_map(Ask::Seek),
    ]
}

fn node_request(log: &Log, index: u64) -> NodeRequest {
    let nodes = log.tree.missing_nodes(&log.nodes(), 2 * index).unwrap();
    NodeRequest { index, nodes }
}

fn request(writer: &Log, reader: &Log, ask: &Ask) -> Option<ProofRequest> {
    let (length, has) = (writer.tree.length, reader.tree.length);
    let grow = |by: u64| (has < length).then(|| upgrade(has, has + 1 + by % (length - has)));
    let seek = |bytes: u64, size: u64| {
        Some(SeekRequest {
            bytes: bytes % size.max(1),
            padding: 0,
        })
    };
    let size = writer.tree.byte_length;
    Some(match *ask {
        Ask::Upgrade(by) => grow(by)?,
        Ask::UpgradeAndBlock(by, index) => {
            let request = grow(by)?;
            let end = has + request.upgrade?.length;
            let index = index % end;
            let block = if index < has {
                node_request(reader, index)
            } else {
                NodeRequest { index, nodes: 0 }
            };
            ProofRequest {
                block: Some(block),
                ..request
            }
        }
        Ask::UpgradeAndSeek(by, bytes) => ProofRequest {
            seek: seek(bytes, size),
            ..grow(by)?
        },
        Ask::Block(index) => ProofRequest {
            block: Some(node_request(reader, index.checked_rem(has)?)),
            ..ProofRequest::default()
        },
        Ask::BlockAndSeek(index, bytes) => ProofRequest {
            block: Some(node_request(reader, index.checked_rem(has)?)),
            seek: seek(bytes, reader.tree.byte_length),
            ..ProofRequest::default()
        },
        Ask::Hash(index) => {
            let mut hash = node_request(reader, index.checked_rem(has)?);
            hash.index *= 2;
            ProofRequest {
                hash: Some(hash),
                ..ProofRequest::default()
            }
        }
        // as npm's replicator does: any block of the range, with the nodes from there to the top of the range
        Ask::Seek(bytes) => {
            let seek = seek(bytes, reader.tree.byte_length)?;
            match reader.tree.seek(&reader.nodes(), seek.bytes, 0).unwrap() {
                Seek::Found { .. } | Seek::Beyond => return None,
                Seek::Within { start, end } => ProofRequest {
                    hash: Some(NodeRequest {
                        index: 2 * start,
                        nodes: u64::from((start + end - 1).trailing_ones()),
                    }),
                    seek: Some(seek),
                    ..ProofRequest::default()
                },
            }
        }
    })
}

proptest! {
    /// A reader that starts with nothing and asks for anything in any order ends up with the writer's tree.
    #[test]
    fn a_sparse_reader_believes_the_writer(blocks in blocks(70), asks in vec(ask(), 0..40)) {
        let writer = log(&blocks);
        let mut reader = Log::empty(&writer.manifest);
        for ask in asks {
            let Some(request) = request(&writer, &reader, &ask) else { continue };
            match writer.prove(&request) {
                Ok(proof) => reader.take(&proof).unwrap(),
                // a seek that leads out of the subtree that the block's request climbs to
                Err(refused) => {
                    prop_assert!(request.seek.is_some() && request.block.is_some(), "{refused}");
                }
            }
            for (index, node) in &reader.nodes {
                prop_assert_eq!(Some(node), writer.nodes.get(index));
            }
        }
        // then it reads everything
        if reader.tree.length < writer.tree.length {
            let rest = upgrade(reader.tree.length, writer.tree.length);
            reader.take(&writer.prove(&rest).unwrap()).unwrap();
        }
        prop_assert_eq!(&reader.tree, &writer.tree);
        for index in (0..writer.tree.length).rev() {
            let request = ProofRequest { block: Some(node_request(&reader, index)), ..ProofRequest::default() };
            reader.take(&writer.prove(&request).unwrap()).unwrap();
        }
        prop_assert_eq!(reader.nodes, writer.nodes);
        prop_assert_eq!(reader.blocks, writer.blocks);
    }

    /// Seeks of a sparse reader come to an end, at the right place.
    #[test]
    fn a_seek_finds_its_block(blocks in blocks(70), bytes in any::<u64>()) {
        let writer = log(&blocks);
        let mut reader = Log::empty(&writer.manifest);
        if writer.tree.length > 0 {
            reader.take(&writer.prove(&upgrade(0, writer.tree.length)).unwrap()).unwrap();
        }
        let bytes = bytes % (writer.tree.byte_length + 1);
        for round in 0.. {
            prop_assert!(round < 70, "the seek does not end");
            let Some(request) = request(&writer, &reader, &Ask::Seek(bytes)) else { break };
            reader.take(&writer.prove(&request).unwrap()).unwrap();
        }
        let found = writer.tree.seek(&writer.nodes(), bytes, 0).unwrap();
        if bytes < writer.tree.byte_length {
            prop_assert_eq!(reader.tree.seek(&reader.nodes(), bytes, 0).unwrap(), found);
            let Seek::Found { block, offset } = found else { panic!("{found:?}") };
            let range = writer.tree.byte_range(&writer.nodes(), block).unwrap();
            prop_assert_eq!(range.start + offset, bytes);
        } else if bytes > 0 {
            // the end, or an empty block before it
            let Seek::Found { block, offset: 0 } = found else { panic!("{found:?}") };
            prop_assert!(writer.blocks.range(block..).all(|(_, block)| block.is_empty()));
        }
    }

    /// No byte of a proof can change so that another block or node is believed.
    #[test]
    fn a_changed_proof_brings_nothing_false(
        blocks in vec(vec(any::<u8>(), 0..5), 1..40),
        ask in ask(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let writer = log(&blocks);
        let mut reader = Log::empty(&writer.manifest);
        if !matches!(ask, Ask::Upgrade(_) | Ask::UpgradeAndBlock(..) | Ask::UpgradeAndSeek(..)) {
            reader.take(&writer.prove(&upgrade(0, writer.tree.length)).unwrap()).unwrap();
        }
        let Some(request) = request(&writer, &reader, &ask) else { return Ok(()) };
        let Ok(proof) = writer.prove(&request) else { return Ok(()) };
        let mut bytes = Vec::new();
        Data { request: 1, proof }.encode(&mut bytes);
        let at = at.index(bytes.len());
        let before = reader.tree.clone();
        bytes[at] ^= flip;
        let Ok(data) = Data::decode(&mut Reader::new(&bytes)) else { return Ok(()) };
        if data.proof.fork != reader.tree.fork || reader.take(&data.proof).is_err() {
            return Ok(());
        }
        for (index, node) in &reader.nodes {
            let ours = writer.nodes.get(index).unwrap();
            prop_assert_eq!(node.hash, ours.hash);
        }
        for (index, block) in &reader.blocks {
            prop_assert_eq!(Some(block), writer.blocks.get(index));
        }
        prop_assert!(reader.tree == before || reader.tree.roots == writer.tree.roots);
    }

    /// Cutting and appending again leaves the same nodes as a log that never had others.
    #[test]
    fn a_truncated_log_keeps_no_old_node(first in blocks(60), second in blocks(60), cut in any::<u64>()) {
        let mut ours = log(&first);
        let cut = cut % (ours.tree.length + 1);
        ours.truncate(cut, &pair());
        ours.append(&second, &pair());
        let kept = first[..cut as usize].iter().chain(&second).cloned().collect::<Vec<_>>();
        let fresh = log(&kept);
        prop_assert_eq!(ours.nodes, fresh.nodes);
        prop_assert_eq!(ours.tree.roots, fresh.tree.roots);
        prop_assert_eq!((ours.tree.length, ours.tree.fork), (fresh.tree.length, 1));
    }

    /// A reader, full or sparse, follows the writer to another fork and keeps exactly what they have in common.
    #[test]
    fn a_reader_follows_a_reorg(
        first in blocks(60),
        second in blocks(60),
        cut in any::<u64>(),
        full in any::<bool>(),
        picks in vec(any::<u64>(), 20),
    ) {
        let mut writer = log(&first);
        let mut reader = Log::empty(&writer.manifest);
        if full {
            reader = writer.clone();
        } else if writer.tree.length > 0 {
            reader.take(&writer.prove(&upgrade(0, writer.tree.length)).unwrap()).unwrap();
        }
        let cut = cut % (writer.tree.length + 1);
        writer.truncate(cut, &pair());
        writer.append(&second, &pair());
        if writer.tree.length == 0 {
            return Ok(());
        }
        let proof = writer.prove(&upgrade(0, writer.tree.length)).unwrap();
        let key = reader.manifest.key();
        prop_assert!(Verifier::check(key, None, &reader.tree, &reader.nodes(), &proof).unwrap().is_none());

        let mut reorg = reader.tree.reorg(&reader.nodes(), &proof).unwrap();
        Verifier::check_upgrade(key, None, reorg.batch(), &proof).unwrap();
        for pick in picks {
            let Some(want) = reorg.want() else { break };
            let end = want.end.min(writer.tree.length);
            let index = want.start + pick % (end - want.start);
            let request = ProofRequest {
                hash: Some(NodeRequest { index: 2 * index, nodes: want.nodes }),
                ..ProofRequest::default()
            };
            prop_assert!(reorg.update(&reader.nodes(), &writer.prove(&request).unwrap()).unwrap());
        }
        prop_assert_eq!(reorg.want(), None);
        let ancestors = reorg.batch().ancestors();
        let same = first[cut as usize..].iter().zip(&second).take_while(|(a, b)| a == b).count() as u64;
        prop_assert!(ancestors <= cut + same);
        if full {
            prop_assert_eq!(ancestors, cut + same);
        }
        reader.store(reorg.into_batch());
        prop_assert_eq!(&reader.tree, &writer.tree);
        for (index, node) in &reader.nodes {
            prop_assert_eq!(Some(node), writer.nodes.get(index));
        }
        for index in 0..writer.tree.length {
            let request = ProofRequest { block: Some(node_request(&reader, index)), ..ProofRequest::default() };
            reader.take(&writer.prove(&request).unwrap()).unwrap();
        }
        prop_assert_eq!(reader.nodes, writer.nodes);
    }

    /// A prologue is believed by its hash; what follows by a signature; and nobody can start inside it.
    #[test]
    fn a_prologue_is_read_as_one(first in vec(vec(any::<u8>(), 0..5), 1..40), second in blocks(40), start in any::<u64>(), static_core in any::<bool>()) {
        let prologue = log(&first);
        let manifest = Manifest::create(ManifestOptions {
            signers: if static_core { vec![] } else { vec![Signer::new(pair().public)] },
            prologue: Some(Prologue { hash: prologue.tree.hash(), length: prologue.tree.length }),
            ..ManifestOptions::default()
        }).unwrap();
        let mut writer = Log {
            manifest: manifest.clone(),
            tree: Tree { prologue: manifest.prologue, signature: None, ..prologue.tree.clone() },
            ..prologue.clone()
        };
        if !static_core && !second.is_empty() {
            writer.append(&second, &pair());
            let refused: Result<(), TreeError> = writer.tree.batch().truncate(&writer.nodes(), prologue.tree.length - 1, 1);
            prop_assert_eq!(refused.unwrap_err().code(), "INVALID_OPERATION");
        }
        let mut reader = Log::empty(&manifest);
        let start = start % prologue.tree.length;
        let proof = writer.prove(&upgrade(start, prologue.tree.length)).unwrap();
        let sent = proof.upgrade.as_ref().unwrap();
        prop_assert_eq!((sent.start, sent.length), (0, prologue.tree.length));
        reader.take(&proof).unwrap();
        prop_assert_eq!(&reader.tree, &writer.tree);

        let mut inside = proof.clone();
        if let Some(upgrade) = &mut inside.upgrade {
            upgrade.length -= 1;
        }
        prop_assert!(Log::empty(&manifest).take(&inside).is_err());
        let other = log(&second);
        if other.tree.length == prologue.tree.length && other.tree.hash() != prologue.tree.hash() {
            let mut proof = other.prove(&upgrade(0, other.tree.length)).unwrap();
            proof.manifest = Some(manifest.clone());
            prop_assert!(Log::empty(&manifest).take(&proof).is_err());
        }
    }

    /// Two logs of one signer with one length and fork but other blocks: each proof holds by itself, and the hashes tell.
    #[test]
    fn a_conflict_is_two_proofs_that_hold(first in vec(vec(any::<u8>(), 0..5), 1..40), at in any::<prop::sample::Index>()) {
        let mut second = first.clone();
        second[at.index(first.len())].push(1);
        let (ours, theirs) = (log(&first), log(&second));
        let proof = theirs.prove(&upgrade(0, theirs.tree.length)).unwrap();
        let batch = ours.tree.verify_fully_remote(&proof).unwrap();
        Verifier::check_upgrade(ours.manifest.key(), Some(&ours.manifest), &batch, &proof).unwrap();
        prop_assert_eq!(batch.tree().length, ours.tree.length);
        prop_assert_ne!(batch.tree().hash(), ours.tree.hash());
        prop_assert!(ours.tree.verify_fully_remote(&Proof::default()).is_err());
    }

    /// A reader that has nothing but the roots lacks as many nodes as can be lacking.
    #[test]
    fn missing_nodes_are_counted_to_the_root(blocks in vec(vec(any::<u8>(), 0..2), 1..70)) {
        let writer = log(&blocks);
        let mut reader = Log::empty(&writer.manifest);
        reader.take(&writer.prove(&upgrade(0, writer.tree.length)).unwrap()).unwrap();
        for index in 0..=2 * writer.tree.length {
            let missing = reader.tree.missing_nodes(&reader.nodes(), index).unwrap();
            prop_assert_eq!(missing, Tree::max_missing_nodes(index, writer.tree.length));
        }
    }

    /// Any bytes are a manifest or an error, and a manifest reads back as itself.
    #[test]
    fn any_bytes_are_a_manifest_or_an_error(bytes in vec(any::<u8>(), 0..200), head in prop::sample::select(vec![vec![], vec![1, 2, 0], vec![2, 15, 0, 1, 1, 0], vec![0, 0, 2]])) {
        let bytes = [head, bytes].concat();
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }
    }

    /// Requests with any numbers are answered or refused.
    #[test]
    fn any_request_is_answered_or_refused(
        blocks in blocks(20),
        (a, b, c, d) in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        small in any::<bool>(),
        parts in 0u8..16,
    ) {
        let writer = log(&blocks);
        let cut = |n: u64| if small { n % 48 } else { n };
        let has = |bit: u8| (parts & bit != 0).then_some(());
        let request = ProofRequest {
            block: has(1).map(|()| NodeRequest { index: cut(a), nodes: cut(b) }),
            hash: has(2).map(|()| NodeRequest { index: cut(c), nodes: cut(d) }),
            seek: has(4).map(|()| SeekRequest { bytes: cut(a ^ c), padding: cut(d) % 11 }),
            upgrade: has(8).map(|()| UpgradeRequest { start: cut(b), length: cut(c) }),
        };
        let _ = writer.prove(&request);
    }

    /// Proofs with any numbers in them are refused without a panic.
    #[test]
    fn any_proof_is_checked(blocks in blocks(20), mut bytes in vec(any::<u8>(), 0..400), flags in 0u8..16) {
        let writer = log(&blocks);
        bytes.splice(0..0, [flags, 1, 0]);
        let Ok(data) = Data::decode(&mut Reader::new(&bytes)) else { return Ok(()) };
        let mut reader = writer.clone();
        let _ = reader.take(&data.proof);
        let _ = writer.tree.reorg(&writer.nodes(), &data.proof);
        let _ = Verifier::check(Key([1; 32]), None, &writer.tree, &writer.nodes(), &data.proof);
    }
}
