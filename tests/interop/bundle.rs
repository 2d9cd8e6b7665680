//! Cores in a file, as `bundle.js` has them: for each its key, its lengths, and the proofs that carry every block, each as the `data` message of
//! the wire.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use pome_cores::{
    CoreOptions, Corestore, Hypercore, Key,
    merkle::{NodeRequest, Proof, ProofRequest, UpgradeRequest, flat_tree},
    multisig,
    replication::messages::Data,
};
use pome_encoding::Reader;
use pome_test_support::skipped;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{path::Path, process::Command};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bundle {
    pub(crate) cores: Vec<Packed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption_key: Option<String>,
    /// What its writer says is in it.
    #[serde(flatten)]
    pub(crate) truth: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Packed {
    pub(crate) key: String,
    pub(crate) length: u64,
    pub(crate) byte_length: u64,
    pub(crate) tree_hash: String,
    pub(crate) messages: Vec<String>,
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

pub(crate) fn key32(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

impl Bundle {
    pub(crate) fn of(cores: Vec<Packed>, encryption_key: Option<[u8; 32]>) -> Self {
        Self {
            cores,
            encryption_key: encryption_key.map(hex),
            truth: Map::new(),
        }
    }

    pub(crate) fn encryption_key(&self) -> Option<[u8; 32]> {
        self.encryption_key.as_deref().map(key32)
    }

    /// What the npm modules read in it; `kind` as `read.js` has it.
    pub(crate) fn read_by_npm(&self, kind: &str) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.json");
        std::fs::write(&file, serde_json::to_vec(self).unwrap()).unwrap();
        let output = node("read.js", &[file.to_str().unwrap(), kind]);
        serde_json::from_slice(&output).unwrap()
    }

    /// What the npm modules write; `kind` as `write.js` has it.
    pub(crate) fn written_by_npm(kind: &str, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.json");
        node(
            "write.js",
            &[kind, &seed.to_string(), file.to_str().unwrap()],
        );
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// True when node and the npm modules are here; says loudly what is skipped when not.
pub(crate) fn npm_works(test: &str) -> bool {
    let modules = folder().join("node_modules/hypercore").exists();
    let works = modules && Command::new("node").arg("--version").output().is_ok();
    if !works {
        skipped(
            test,
            "needs node, and the npm modules: npm ci --prefix tests/interop",
        );
    }
    works
}

fn node(script: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new("node")
        .arg(folder().join(script))
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "node {script} {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A wire message with this proof.
pub(crate) fn message(proof: Proof) -> Vec<u8> {
    let mut out = Vec::new();
    Data { request: 0, proof }.encode(&mut out);
    out
}

/// Collects what a reader of `core` is sent. The reader is real, so that it asks for the nodes that it lacks and no others.
pub(crate) struct Packer {
    core: Hypercore,
    reader: Hypercore,
    messages: Vec<String>,
}

impl Packer {
    pub(crate) async fn new(core: &Hypercore, readers: &Corestore) -> Self {
        let reader = readers.get(CoreOptions::key(core.key())).await.unwrap();
        Self {
            core: core.clone(),
            reader,
            messages: Vec::new(),
        }
    }

    /// Answers a request and takes the answer.
    pub(crate) async fn send(&mut self, request: ProofRequest) {
        let mut proof = self.core.proof(&request).await.unwrap();
        if self.reader.manifest().is_none() {
            // A core whose key is its signer's has no manifest to send.
            proof.manifest = self
                .core
                .manifest()
                .filter(|manifest| manifest.key() == self.core.key());
        }
        let message = message(proof);
        self.messages.push(hex(&message));
        let data = Data::decode(&mut Reader::new(&message)).unwrap();
        assert!(
            self.reader.apply_proof(&data.proof).await.unwrap(),
            "{request:?}"
        );
    }

    /// Asks for the length up to `length`, together with `block`.
    pub(crate) async fn upgrade(&mut self, length: u64, block: Option<u64>) {
        let start = self.reader.length();
        let upgrade = Some(UpgradeRequest {
            start,
            length: length - start,
        });
        let block = match block {
            Some(index) => Some(NodeRequest {
                index,
                nodes: self.missing_nodes(index).await,
            }),
            None => None,
        };
        self.send(ProofRequest {
            block,
            upgrade,
            ..ProofRequest::default()
        })
        .await;
    }

    /// Asks for what there is more than the reader knows, if anything.
    pub(crate) async fn upgrade_if_longer(&mut self) {
        let length = self.core.length();
        if length > self.reader.length() {
            self.upgrade(length, None).await;
        }
    }

    pub(crate) async fn block(&mut self, index: u64) {
        let block = Some(NodeRequest {
            index,
            nodes: self.missing_nodes(index).await,
        });
        self.send(ProofRequest {
            block,
            ..ProofRequest::default()
        })
        .await;
    }

    /// How many levels the reader must climb from a block to a node that it has; none for a block past its length.
    async fn missing_nodes(&self, block: u64) -> u64 {
        let (mut at, mut levels) = (2 * block, 0);
        if block >= self.reader.length() {
            return 0;
        }
        while self.reader.node(at).await.unwrap().is_none() {
            at = flat_tree::parent(at);
            levels += 1;
        }
        levels
    }

    pub(crate) async fn finish(self) -> Packed {
        let core = &self.core;
        assert_eq!(self.reader.length(), core.length());
        Packed {
            key: hex(core.key().0),
            length: core.length(),
            byte_length: core.byte_length(),
            tree_hash: hex(core.tree_hash().await.unwrap()),
            messages: self.messages,
        }
    }
}

/// Everything of `core`, the blocks in any order.
pub(crate) async fn pack(core: &Hypercore, readers: &Corestore, rng: &mut ChaCha8Rng) -> Packed {
    let mut packer = Packer::new(core, readers).await;
    let length = core.length();
    if length > 0 {
        // A peer may ask for less than there is: what is signed comes all the same, in the additional nodes.
        packer.upgrade(rng.random_range(1..=length), None).await;
        let mut order: Vec<u64> = (0..length).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        for index in order {
            packer.block(index).await;
        }
    }
    packer.finish().await
}

/// Fills a core of `store` with what a bundle says. Before each message, ones like it but for one bit must be refused; of the first message, which
/// has the signature, every bit.
pub(crate) async fn unpack(store: &Corestore, packed: &Packed, rng: &mut ChaCha8Rng) -> Hypercore {
    let core = store
        .get(CoreOptions::key(Key(key32(&packed.key))))
        .await
        .unwrap();
    let mut refused = 0;
    for (n, message) in packed.messages.iter().enumerate() {
        let message = unhex(message);
        let bits = 8 * message.len();
        let flips: Vec<usize> = match n {
            0 => (0..bits.min(8 * 1024)).collect(),
            _ => (0..4)
                .map(|_| rng.random_range(0..bits))
                .chain(0..8)
                .collect(),
        };
        for bit in flips {
            refused += usize::from(is_refused(&core, &message, bit).await);
        }
        let data = Data::decode(&mut Reader::new(&message)).unwrap();
        assert!(core.apply_proof(&data.proof).await.unwrap(), "message {n}");
    }
    assert!(
        refused >= 4 * packed.messages.len(),
        "{refused} of {}",
        packed.messages.len()
    );
    assert_eq!(core.length(), packed.length);
    assert_eq!(core.contiguous_length(), packed.length);
    if packed.length > 0 {
        assert_eq!(hex(core.tree_hash().await.unwrap()), packed.tree_hash);
    }
    core
}

/// Sends `message` with one bit turned. False when it says nothing else, or nothing at all, so that there is nothing to refuse.
async fn is_refused(core: &Hypercore, message: &[u8], bit: usize) -> bool {
    let mut other = message.to_vec();
    other[bit / 8] ^= 1 << (bit % 8);
    let Ok(data) = Data::decode(&mut Reader::new(&other)) else {
        return true;
    };
    let honest = Data::decode(&mut Reader::new(message)).unwrap();
    let known = core.manifest().is_some();
    if said(&data.proof, known) == said(&honest.proof, known) {
        return false;
    }
    let before = (
        core.length(),
        core.fork(),
        core.contiguous_length(),
        core.tree(),
    );
    let blocks: Vec<u64> = [&data, &honest]
        .iter()
        .filter_map(|d| d.proof.block.as_ref())
        .map(|b| b.index)
        .collect();
    let mut stored = Vec::new();
    for index in &blocks {
        stored.push(core.stored_block(*index).await.unwrap());
    }
    let answer = core.apply_proof(&data.proof).await;
    let Proof {
        block,
        hash,
        seek,
        upgrade,
        ..
    } = &data.proof;
    if block.is_some() || hash.is_some() || seek.is_some() || upgrade.is_some() {
        assert!(
            !matches!(answer, Ok(true)),
            "bit {bit} was believed: {:?} for {:?}",
            data.proof,
            honest.proof
        );
    }
    assert_eq!(
        before,
        (
            core.length(),
            core.fork(),
            core.contiguous_length(),
            core.tree()
        ),
        "bit {bit}"
    );
    for (index, stored) in blocks.iter().zip(stored) {
        assert_eq!(
            core.stored_block(*index).await.unwrap(),
            stored,
            "bit {bit}"
        );
    }
    true
}

/// A proof without what no reader looks at: a manifest that it knows; and, beside the signers and their signatures, the
/// room that a signature has for a patch, which counts only where the manifest allows one.
fn said(proof: &Proof, manifest_known: bool) -> (Proof, Vec<(u64, [u8; 64])>) {
    let mut proof = proof.clone();
    if manifest_known {
        proof.manifest = None;
    }
    let mut signatures = Vec::new();
    if let Some(upgrade) = &mut proof.upgrade
        && let Some(signature) = &upgrade.signature
        && let Ok(signature) = multisig::inflate(signature)
    {
        signatures = signature
            .proofs
            .iter()
            .map(|part| (part.signer, part.signature))
            .collect();
        upgrade.signature = None;
    }
    (proof, signatures)
}

/// Random bytes, up to `max` of them.
pub(crate) fn random_bytes(rng: &mut ChaCha8Rng, max: usize) -> Bytes {
    let mut out = vec![0; rng.random_range(0..=max)];
    rand::Rng::fill_bytes(rng, &mut out);
    out.into()
}
