//! `rabin-native`: cuts data into chunks where a rolling Rabin fingerprint says so, so that equal data is cut in equal places.
//!
//! The fingerprint of the last 64 bytes is a polynomial over GF(2), modulo one of degree 53; a chunk ends where its lowest 20 bits are zero. It says where to cut and nothing
//! else: it keeps no secret.

use super::super::{
    bridge::{held, hold},
    functions,
};
use crate::engine::bytes as views;
use rquickjs::{Ctx, Object, Result, Value};
use std::{cell::RefCell, rc::Rc, sync::LazyLock};

const POLYNOMIAL: u64 = 0x003d_a335_8b4d_c173;
const DEGREE: u32 = 53;
const WINDOW: usize = 64;
const MASK: u64 = (1 << 20) - 1;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "rabinNew" => |min: f64, max: f64| hold(Box::new(Shared::new(RefCell::new(Chunker::new(min, max))))),
        "rabinPush" => push,
        "rabinCount" => count,
    });
    Ok(())
}

type Shared = Rc<RefCell<Chunker>>;

struct Tables {
    /// What a byte that leaves the window has added.
    out: [u64; 256],
    /// What brings the fingerprint back below the polynomial.
    reduce: [u64; 256],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables {
        out: [0; 256],
        reduce: [0; 256],
    };
    for byte in 0..256 {
        let index = byte as usize;
        tables.out[index] = (1..WINDOW).fold(modulo(byte), |hash, _| modulo(hash << 8));
        tables.reduce[index] = modulo(byte << DEGREE) | (byte << DEGREE);
    }
    tables
});

fn modulo(mut value: u64) -> u64 {
    while let Some(top) = value.checked_ilog2().filter(|top| *top >= DEGREE) {
        value ^= POLYNOMIAL << (top - DEGREE);
    }
    value
}

struct Chunker {
    window: [u8; WINDOW],
    at: usize,
    digest: u64,
    /// Bytes of the chunk so far.
    count: u64,
    min: u64,
    max: u64,
}

impl Chunker {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates"
    )]
    fn new(min: f64, max: f64) -> Self {
        let mut chunker = Self {
            window: [0; WINDOW],
            at: 0,
            digest: 0,
            count: 0,
            min: min as u64,
            max: max as u64,
        };
        chunker.reset();
        chunker
    }

    fn reset(&mut self) {
        self.window = [0; WINDOW];
        (self.at, self.digest, self.count) = (0, 0, 0);
        self.slide(1);
    }

    fn slide(&mut self, byte: u8) {
        let tables = &*TABLES;
        self.digest ^= tables.out[usize::from(self.window[self.at])];
        self.window[self.at] = byte;
        self.at = (self.at + 1) % WINDOW;
        let top = (self.digest >> (DEGREE - 8)) & 0xff;
        self.digest = (self.digest << 8) | u64::from(byte);
        self.digest ^= tables.reduce[usize::from(top.to_le_bytes()[0])];
    }

    /// How many bytes there are to the end of the chunk, and its length; nothing when it goes on past these.
    fn push(&mut self, data: &[u8]) -> Option<(usize, u64)> {
        for (index, byte) in data.iter().enumerate() {
            self.slide(*byte);
            self.count += 1;
            let is_cut = self.count >= self.min && self.digest & MASK == 0;
            if is_cut || self.count >= self.max {
                let length = self.count;
                self.reset();
                return Some((index + 1, length));
            }
        }
        None
    }
}

/// `[bytes used, length of the chunk]`; both 0 when the chunk is not at its end.
fn push<'js>(ctx: Ctx<'js>, id: u32, data: Value<'js>) -> Result<Vec<f64>> {
    let chunker: Shared = held(&ctx, id)?;
    let end = views::read(&data, |data| chunker.borrow_mut().push(data))?;
    #[expect(clippy::cast_precision_loss, reason = "lengths below 2^53")]
    Ok(end.map_or(vec![0.0, 0.0], |(used, length)| {
        vec![used as f64, length as f64]
    }))
}

/// Bytes of the chunk that is not at its end.
#[expect(clippy::cast_precision_loss, reason = "lengths below 2^53")]
fn count(ctx: Ctx<'_>, id: u32) -> Result<f64> {
    let chunker: Shared = held(&ctx, id)?;
    let count = chunker.borrow().count;
    Ok(count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where rabin-native 2.0 cuts the same bytes.
    #[test]
    fn chunks_are_those_of_npm() {
        let mut state = 12_345_u32;
        let data: Vec<u8> = (0..6_000_000)
            .map(|_| {
                state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                state.to_le_bytes()[2]
            })
            .collect();
        let mut chunker = Chunker::new(1000.0, 2_500_000.0);
        let (mut rest, mut found) = (&data[..], Vec::new());
        while let Some((used, length)) = chunker.push(rest) {
            rest = &rest[used..];
            found.push(length);
        }
        assert_eq!(
            found,
            [
                125_038, 359_366, 427_371, 148_591, 293_714, 359_752, 13_592, 1_707_800, 1_787_269,
                114_596
            ]
        );
        assert_eq!(chunker.count, 662_911);
    }
}
