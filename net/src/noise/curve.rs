//! Diffie–Hellman on the points of Ed25519, so that one key pair signs and shakes hands.
//!
//! Source: noise-curve-ed 2.1.0, `index.js`; libsodium's `crypto_scalarmult_ed25519_noclamp`, called there with a clamped scalar. Vectors:
//! `tests/vectors/stream.json`, `dh`.

use curve25519_dalek::{
    Scalar,
    edwards::{CompressedEdwardsY, EdwardsPoint},
    traits::IsIdentity,
};
use ed25519_dalek::{Digest, Sha512};
use parking_lot::Mutex;
use pome_cores::KeyPair;
use snow::types::{Dh, Random};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What both sides of a Diffie–Hellman exchange share: `public` times the secret scalar of the key pair that `seed` makes.
///
/// `None` when `public` is no point that may be used, as libsodium has it: not on the curve, not in canonical form, of small order, or
/// outside of the main subgroup. A peer that could send such a point would know the outcome.
pub fn dh(seed: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
    Some(point(public)?.mul_clamped(*scalar(seed)).compress().0)
}

/// The secret scalar of the key pair that `seed` makes, before it is clamped.
fn scalar(seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let hash = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(seed)));
    let mut scalar = Zeroizing::new([0; 32]);
    scalar.copy_from_slice(&hash[..32]);
    scalar
}

/// The point in these bytes, if it may be used.
fn point(public: &[u8; 32]) -> Option<EdwardsPoint> {
    if !is_canonical(public) {
        return None;
    }
    let point = CompressedEdwardsY(*public).decompress()?;
    has_prime_order(&point).then_some(point)
}

/// The number in these bytes, without the sign, is less than 2^255 - 19. (A zero with a sign is refused with the points of small order: those are all
/// that have one.)
fn is_canonical(point: &[u8; 32]) -> bool {
    point[0] < 0xed || point[1..31].iter().any(|byte| *byte != 0xff) || point[31] & 0x7f != 0x7f
}

/// The order l of the main subgroup takes such a point to zero, and it is not zero itself. Asked as (l - 1)·P = -P: the multiplication may take its time
/// from the factor, which everybody knows; it does not take it from the point.
fn has_prime_order(point: &EdwardsPoint) -> bool {
    let almost =
        EdwardsPoint::vartime_double_scalar_mul_basepoint(&-Scalar::ONE, point, &Scalar::ZERO);
    !point.is_identity() && almost == -point
}

/// The points of the other side that were looked at in one handshake. Each of its two keys is used up to two times, and whether it may be used costs as much to
/// find out as to use it.
#[derive(Clone, Default)]
pub(super) struct Points(Arc<Mutex<[Option<Known>; 2]>>);

/// As it was written, and what it is.
type Known = (CompressedEdwardsY, EdwardsPoint);

impl Points {
    fn get(&self, public: &[u8; 32]) -> Option<EdwardsPoint> {
        let mut known = self.0.lock();
        let same = |(bytes, _): &&Known| bytes.0 == *public;
        if let Some((_, point)) = known.iter().flatten().find(same) {
            return Some(*point);
        }
        let point = point(public)?;
        known.swap(0, 1);
        known[0] = Some((CompressedEdwardsY(*public), point));
        Some(point)
    }
}

/// [`dh`] in the shape that snow asks for. The private key is the seed.
pub(super) struct Ed25519 {
    seed: Zeroizing<[u8; 32]>,
    /// What `seed` makes: the scalar, before it is clamped, and the point.
    scalar: Zeroizing<[u8; 32]>,
    public: [u8; 32],
    /// The lasting pair of this side, whose public key need not be made again.
    local: KeyPair,
    points: Points,
}

impl Ed25519 {
    pub(super) fn blank(local: KeyPair, points: Points) -> Self {
        Self {
            seed: Zeroizing::new([0; 32]),
            scalar: Zeroizing::new([0; 32]),
            public: [0; 32],
            local,
            points,
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
        self.scalar = scalar(&self.seed);
        self.public = match *self.local.seed() == *self.seed {
            true => self.local.public,
            false => EdwardsPoint::mul_base_clamped(*self.scalar).compress().0,
        };
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
            .and_then(|public| self.points.get(public))
            .ok_or(snow::Error::Dh)?;
        let out = out.first_chunk_mut().ok_or(snow::Error::Dh)?;
        *out = public.mul_clamped(*self.scalar).compress().0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};

    #[test]
    fn only_points_of_the_main_subgroup_are_used() {
        let fine = ED25519_BASEPOINT_POINT * Scalar::from(7u8);
        assert!(dh(&[1; 32], &fine.compress().0).is_some());
        for small in EIGHT_TORSION {
            assert!(!has_prime_order(&small));
            assert_eq!(has_prime_order(&(fine + small)), small.is_identity());
            assert_eq!((fine + small).is_torsion_free(), small.is_identity());
            let mut bytes = small.compress().0;
            assert_eq!(dh(&[1; 32], &bytes), None);
            bytes[31] ^= 0x80;
            assert_eq!(dh(&[1; 32], &bytes), None);
        }
    }

    #[test]
    fn a_point_that_was_looked_at_is_remembered_and_no_other_one_is_taken_for_it() {
        let points = Points::default();
        for round in 0..3 {
            for n in 1..5u8 {
                let point = ED25519_BASEPOINT_POINT * Scalar::from(n);
                assert_eq!(points.get(&point.compress().0), Some(point), "{round}");
            }
            let mixed = (ED25519_BASEPOINT_POINT + EIGHT_TORSION[1]).compress().0;
            assert_eq!(points.get(&mixed), None, "{round}");
        }
    }

    #[test]
    fn a_point_is_written_in_one_way() {
        let mut most = [0xff; 32];
        most[0] = 0xec;
        assert!(is_canonical(&most));
        for low in 0xed..=0xff {
            most[0] = low;
            for sign in [0x7f, 0xff] {
                most[31] = sign;
                assert!(!is_canonical(&most));
                let point = CompressedEdwardsY(most).decompress();
                assert!(point.is_none_or(|point| point.compress().0 != most));
                assert_eq!(dh(&[1; 32], &most), None);
            }
        }
    }
}
