//! Numbers of any size: a `uint` count of 64-bit words, then the words, least significant first, each little-endian.
//!
//! Source: compact-encoding 3.5.2, `index.js` (`biguint`, `bigint`).

use crate::{Codec, CodecError, Reader, put_uint, uint_len};

/// A whole number from 0 up, as large as memory allows: 64-bit words, least significant first, without zero words at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Natural {
    words: Vec<u64>,
}

impl Natural {
    /// From words, least significant first.
    pub fn from_words(mut words: Vec<u64>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }
    /// The words, least significant first, the last one never zero: none for the number 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
    /// True for 0.
    pub fn is_zero(&self) -> bool {
        self.words.is_empty()
    }

    fn doubled(&self) -> Self {
        let mut carry = 0;
        let mut words: Vec<u64> = self
            .words
            .iter()
            .map(|word| (word << 1) | std::mem::replace(&mut carry, word >> 63))
            .collect();
        words.push(carry);
        Self::from_words(words)
    }
    fn halved(&self) -> Self {
        let next = self.words.iter().skip(1).chain([&0]);
        let words = self.words.iter().zip(next);
        Self::from_words(
            words
                .map(|(word, next)| (word >> 1) | (next << 63))
                .collect(),
        )
    }
    /// One more, or one less (a number that is not 0).
    fn step(&self, up: bool) -> Self {
        let mut words = self.words.clone();
        for word in &mut words {
            let (sum, carry) = if up {
                word.overflowing_add(1)
            } else {
                word.overflowing_sub(1)
            };
            *word = sum;
            if !carry {
                return Self::from_words(words);
            }
        }
        words.push(1);
        Self::from_words(words)
    }
}

impl From<u64> for Natural {
    fn from(n: u64) -> Self {
        Self::from_words(vec![n])
    }
}

/// A whole number of any size and either sign.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Integer {
    negative: bool,
    magnitude: Natural,
}

impl Integer {
    /// From its distance to 0 and its side; 0 is never negative.
    pub fn new(negative: bool, magnitude: Natural) -> Self {
        Self {
            negative: negative && !magnitude.is_zero(),
            magnitude,
        }
    }
    /// True below 0.
    pub fn is_negative(&self) -> bool {
        self.negative
    }
    /// The distance to 0.
    pub fn magnitude(&self) -> &Natural {
        &self.magnitude
    }

    fn zig(&self) -> Natural {
        let doubled = self.magnitude.doubled();
        if self.negative {
            doubled.step(false)
        } else {
            doubled
        }
    }
    fn zag(n: Natural) -> Self {
        match n.words.first() {
            Some(low) if low & 1 == 1 => Self::new(true, n.halved().step(true)),
            _ => Self::new(false, n.halved()),
        }
    }
}

impl From<i64> for Integer {
    fn from(n: i64) -> Self {
        Self::new(n < 0, n.unsigned_abs().into())
    }
}

/// npm `biguint`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BigUint;

impl Codec for BigUint {
    type Value = Natural;
    fn encoded_len(&self, value: &Natural) -> usize {
        uint_len(value.words.len() as u64) + 8 * value.words.len()
    }
    fn encode(&self, value: &Natural, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_uint(out, value.words.len() as u64);
        for word in &value.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Natural, CodecError> {
        let count = input.uint()?;
        let mut bytes = Reader::new(input.take(count.saturating_mul(8))?);
        let mut words = Vec::with_capacity(bytes.rest().len() / 8);
        while !bytes.is_empty() {
            words.push(u64::from_le_bytes(bytes.fixed()?));
        }
        Ok(Natural::from_words(words))
    }
}

/// npm `bigint`: zig-zag over [`BigUint`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BigInt;

impl Codec for BigInt {
    type Value = Integer;
    fn encoded_len(&self, value: &Integer) -> usize {
        BigUint.encoded_len(&value.zig())
    }
    fn encode(&self, value: &Integer, out: &mut Vec<u8>) -> Result<(), CodecError> {
        BigUint.encode(&value.zig(), out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Integer, CodecError> {
        BigUint.decode(input).map(Integer::zag)
    }
}
