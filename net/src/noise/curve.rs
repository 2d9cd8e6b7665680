//! Diffie–Hellman on the points of Ed25519, so that one key pair signs and shakes hands.
//!
//! Source: noise-curve-ed 2.1.0, `index.js`; libsodium's `crypto_scalarmult_ed25519_noclamp`, called there with a clamped scalar. Vectors:
//! `tests/vectors/stream.json`, `dh`.

use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::SigningKey;
use snow::types::{Dh, Random};
use zeroize::Zeroizing;

/// What both sides of a Diffie–Hellman exchange share: `public` times the secret scalar of the key pair that `seed` makes.
///
/// `None` when `public` is no point that may be used, as libsodium has it: not on the curve, not in canonical form, of small order, or
/// outside of the main subgroup. A peer that could send such a point would know the outcome.
pub fn dh(seed: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
    let point = CompressedEdwardsY(*public).decompress()?;
    if point.compress().0 != *public || point.is_small_order() || !point.is_torsion_free() {
        return None;
    }
    let scalar = Zeroizing::new(SigningKey::from_bytes(seed).to_scalar_bytes());
    Some(point.mul_clamped(*scalar).compress().0)
}

/// [`dh`] in the shape that snow asks for. The private key is the seed.
pub(super) struct Ed25519 {
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Ed25519 {
    pub(super) fn blank() -> Self {
        Self {
            seed: Zeroizing::new([0; 32]),
            public: [0; 32],
        }
    }
}

impl Dh for Ed25519 {
    fn name(&self) -> &'static str {
        "Ed25519"
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    fn set(&mut self, seed: &[u8]) {
        self.seed.copy_from_slice(seed);
        self.public = SigningKey::from_bytes(&self.seed)
            .verifying_key()
            .to_bytes();
    }
    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *seed)?;
        self.set(&*seed);
        Ok(())
    }
    fn pubkey(&self) -> &[u8] {
        &self.public
    }
    fn privkey(&self) -> &[u8] {
        &*self.seed
    }
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = public
            .first_chunk()
            .and_then(|public| dh(&self.seed, public))
            .ok_or(snow::Error::Dh)?;
        let out = out.first_chunk_mut().ok_or(snow::Error::Dh)?;
        *out = public;
        Ok(())
    }
}
