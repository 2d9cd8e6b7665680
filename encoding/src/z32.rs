//! z-base-32: five bits a character, most significant bit first, no padding.
//!
//! Source: z32 1.1.0, `index.js`. Vectors: `tests/vectors/crypto.json`, lists `z32` and `z32_decode`.

const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The value of each byte in the alphabet, 0xff for those that are not in it.
const REVERSE: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// A character that is not in the z-base-32 alphabet (which has lowercase letters only, without `l` and `v`, and no `0` and `2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no character of z-base-32 at byte {position}")]
pub struct Z32Error {
    /// Where, in bytes from the start of the text.
    pub position: usize,
}

/// Writes `bytes` as text: one character per five bits, the last filled up with zero bits.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held)) as usize & 31]));
    }
    text
}

/// Reads text back. Bits past the last byte are ignored. Lengths that [`encode`] never makes are read as the npm module does: with one,
/// three or six characters past a multiple of eight, the byte that has begun is filled up with zero bits.
///
/// # Errors
/// [`Z32Error`] names the first character outside of the alphabet.
pub fn decode(text: &str) -> Result<Vec<u8>, Z32Error> {
    let mut bytes = Vec::with_capacity((text.len() * 5).div_ceil(8));
    let (mut bits, mut held) = (0u32, 0u32);
    for (position, c) in text.bytes().enumerate() {
        let value = REVERSE[usize::from(c)];
        if value == 0xff {
            return Err(Z32Error { position });
        }
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    if matches!(text.len() % 8, 1 | 3 | 6) {
        bytes.push((bits << (8 - held)) as u8);
    }
    Ok(bytes)
}
