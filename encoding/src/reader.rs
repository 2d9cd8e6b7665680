//! The cursor that every decoder reads from.

use crate::{DecodeError, varint::MAX_SAFE};

/// A cursor over borrowed bytes. Never panics; a length is checked before anything is taken.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: u64) -> Result<&'a [u8], DecodeError> {
        let left = self.rest.len();
        let n = usize::try_from(n)
            .ok()
            .filter(|n| *n <= left)
            .ok_or(DecodeError::OutOfBounds { wanted: n, left })?;
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }

    /// All that has not been read.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `N` bytes as an array.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.fixed::<1>()?[0])
    }

    /// A compact-encoding `uint`: one byte up to 252, else a tag (0xfd, 0xfe, 0xff) and 2, 4 or 8 bytes, little-endian. Longer forms than
    /// needed are taken too; numbers above [`MAX_SAFE`] are not.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        Ok(match self.u8()? {
            0xfd => u64::from(u16::from_le_bytes(self.fixed()?)),
            0xfe => u64::from(u32::from_le_bytes(self.fixed()?)),
            0xff => match u64::from_le_bytes(self.fixed()?) {
                n @ 0..=MAX_SAFE => n,
                _ => return Err(DecodeError::Invalid { what: "uint" }),
            },
            small => u64::from(small),
        })
    }

    /// A `uint` length and that many bytes.
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.uint()?;
        self.take(n)
    }
}
