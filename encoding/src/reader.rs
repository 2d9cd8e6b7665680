//! Reading and writing the primitives that every other encoding is made of.

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended before the value did.
    #[error("input ends early: {wanted} bytes wanted, {left} left")]
    OutOfBounds {
        /// How many bytes the value needs.
        wanted: u64,
        /// How many were there.
        left: usize,
    },
    /// The bytes are there, but are no value of this encoding.
    #[error("invalid {what}")]
    Invalid {
        /// Name of the encoding.
        what: &'static str,
    },
}

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

    /// A compact-encoding `uint`: one byte up to 252, else a tag (0xfd, 0xfe, 0xff) and 2, 4 or 8 bytes, little-endian.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        Ok(match self.u8()? {
            0xfd => u64::from(u16::from_le_bytes(self.fixed()?)),
            0xfe => u64::from(u32::from_le_bytes(self.fixed()?)),
            0xff => u64::from_le_bytes(self.fixed()?),
            small => u64::from(small),
        })
    }

    /// A `uint` length and that many bytes.
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.uint()?;
        self.take(n)
    }
}

/// How many bytes [`put_uint`] writes.
pub fn uint_len(n: u64) -> usize {
    match n {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Appends a compact-encoding `uint`, in its shortest form.
pub fn put_uint(out: &mut Vec<u8>, n: u64) {
    match uint_len(n) {
        1 => out.push(n as u8),
        3 => {
            out.push(0xfd);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        5 => {
            out.push(0xfe);
            out.extend_from_slice(&(n as u32).to_le_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// Appends a `uint` length and the bytes.
pub fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
