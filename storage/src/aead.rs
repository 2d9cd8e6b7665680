//! One message, sealed or opened: ring's ciphers, under nonces of 24 bytes.
//!
//! ring takes nonces of 12. So as XChaCha20 does it: HChaCha20 makes a key of this message of the key and bytes 0…15 of the nonce, and
//! the nonce of the cipher is `number u32 ‖ bytes 16…23`. With ChaCha20-Poly1305 and number 0 that is XChaCha20-Poly1305, byte for
//! byte. A message of many parts has another number for each.

use chacha20::{R20, hchacha};
use ring::aead::{
    AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey,
};
use zeroize::Zeroizing;

pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const NONCE_BYTES: usize = 24;
pub(crate) const TAG_BYTES: usize = 16;

/// The key of one message, and what its nonces have in common.
pub(crate) struct Message {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Message {
    /// A message of XChaCha20-Poly1305, if its one part has number 0.
    pub(crate) fn chacha(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES]) -> Self {
        Self::new(&CHACHA20_POLY1305, key, nonce)
    }

    /// A message of AES-256-GCM.
    pub(crate) fn aes(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES]) -> Self {
        Self::new(&AES_256_GCM, key, nonce)
    }

    fn new(
        algorithm: &'static Algorithm,
        key: &[u8; KEY_BYTES],
        nonce: &[u8; NONCE_BYTES],
    ) -> Self {
        let (mut first, mut short) = ([0; 16], [0; 12]);
        first.copy_from_slice(&nonce[..16]);
        short[4..].copy_from_slice(&nonce[16..]);
        let own = hchacha::<R20>(key.into(), (&first).into());
        let own: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(own.into());
        let unbound = UnboundKey::new(algorithm, &*own).expect("a key has 32 bytes");
        Self {
            key: LessSafeKey::new(unbound),
            nonce: short,
        }
    }

    fn nonce(&self, number: u32) -> Nonce {
        let mut nonce = self.nonce;
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts a part in place, under a number that no other has; answers the tag.
    pub(crate) fn seal(&self, number: u32, aad: &[u8], buf: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::from(aad), buf)
            .expect("a part is far below the 256 GiB that one nonce can seal");
        let mut out = [0; TAG_BYTES];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts a part in place. False when the tag does not fit; the buffer then holds nothing.
    #[must_use]
    pub(crate) fn open(
        &self,
        number: u32,
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        let (nonce, tag) = (self.nonce(number), Tag::from(*tag));
        let opened = self
            .key
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, buf, 0..);
        opened.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
    use proptest::{collection::vec, prelude::*};

    proptest! {
        /// What another implementation of the whole construction seals is what is sealed here.
        #[test]
        fn it_is_xchacha20_poly1305(
            (key, nonce) in any::<([u8; KEY_BYTES], [u8; NONCE_BYTES])>(),
            aad in vec(any::<u8>(), 0..80),
            plain in prop_oneof![vec(any::<u8>(), 0..300), vec(any::<u8>(), 4000..9000)],
        ) {
            let mut want = plain.clone();
            let tag: [u8; TAG_BYTES] = XChaCha20Poly1305::new(&key.into())
                .encrypt_inout_detached(&nonce.into(), &aad, (&mut want[..]).into())
                .unwrap()
                .into();
            let message = Message::chacha(&key, &nonce);
            let mut sealed = plain.clone();
            prop_assert_eq!(message.seal(0, &aad, &mut sealed), tag);
            prop_assert_eq!(&sealed, &want);
            prop_assert!(message.open(0, &aad, &mut sealed, &tag));
            prop_assert_eq!(sealed, plain);
        }

        #[test]
        fn what_was_changed_does_not_open(
            plain in vec(any::<u8>(), 1..5000),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
            part in 0..3_u8,
            aes in any::<bool>(),
        ) {
            let made = if aes { Message::aes } else { Message::chacha };
            let message = made(&[1; KEY_BYTES], &[2; NONCE_BYTES]);
            let (mut sealed, mut aad) = (plain, *b"a place");
            let mut tag = message.seal(0, &aad, &mut sealed);
            let bytes: &mut [u8] = match part {
                0 => &mut sealed,
                1 => &mut tag,
                _ => &mut aad,
            };
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(!message.open(0, &aad, &mut sealed, &tag));
        }

        #[test]
        fn a_part_opens_under_its_number_only(plain in vec(any::<u8>(), 0..50), aes in any::<bool>(), other in 0..9_u32) {
            let made = if aes { Message::aes } else { Message::chacha };
            let message = made(&[1; KEY_BYTES], &[2; NONCE_BYTES]);
            let mut part = plain.clone();
            let tag = message.seal(5, b"", &mut part);
            prop_assert_eq!(message.open(other, b"", &mut part, &tag), other == 5);
        }
    }
}
