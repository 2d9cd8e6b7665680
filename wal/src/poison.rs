//! The latch that closes when a sync failed.
//!
//! After a failed fdatasync the kernel forgets that the pages were dirty: a second one answers "fine" though nothing reached the
//! disk. So it is never tried again; only recovery, which writes the tail anew, may go on.

use crate::{
    Error,
    mutation::{Mutation, is_on},
};
use std::{
    io,
    sync::{Arc, OnceLock},
};

#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<Error>);

impl Poison {
    /// Answers the first failure, if there was one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.0.get().map_or(Ok(()), |e| Err(e.clone()))
    }
    /// Latches (the first cause stays) and answers what callers get from now on.
    pub(crate) fn set(&self, op: &'static str, file: &str, source: io::Error) -> Error {
        if is_on(Mutation::NoPoison) {
            return Error::io(op, file, source);
        }
        self.0
            .get_or_init(|| {
                tracing::error!(file, op, %source, "the log is poisoned");
                Error::Poisoned {
                    op,
                    file: file.to_owned(),
                    source: Arc::new(source),
                }
            })
            .clone()
    }
}
