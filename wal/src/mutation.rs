//! Rules of the engine that a simulation may break on purpose, to show that it notices.
//!
//! Each rule asks [`is_on`] where it is kept. Without the feature `sim` that is a constant `false`, and nothing of this is in the program. With it, a
//! thread switches one mutation on for itself, so that tests beside it see the engine as it is.

/// A rule that may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Recovery takes frames past a gap as if there were none.
    IgnoreGap,
    /// Recovery does not write the tail again that no frame calls synced.
    NoRewrite,
    /// Recovery takes frames that an earlier recovery has cut.
    TrustOldEpoch,
    /// Recovery does not begin an epoch of its own on disk.
    NoEpochMark,
    /// A payload is handed out, and a frame taken as whole, without a look at the payload's crc.
    TrustPayload,
    /// The names of new segments are not made durable.
    SkipDirSync,
    /// A failed sync is tried again as if nothing had happened.
    NoPoison,
    /// What a failed write left behind stays there.
    NoUndo,
    /// A checkpoint lets the log go before the switch to it is on disk.
    EarlyRelease,
    /// A checkpoint removes segments in which nothing is alive before the switch to it is on disk.
    EarlyRemoval,
    /// A table is not synced before a manifest names it.
    TableNotSynced,
    /// A checkpoint does not wait for the log whose payloads its table names.
    LogNotSynced,
    /// The folder is not synced before the superblock names a new manifest.
    ManifestNotLinked,
    /// The superblock that was read at open is taken to be on disk.
    NoReaffirm,
    /// Damage that recovery found is not written down.
    ForgetDamage,
    /// A value that compaction has moved is looked for in its new place, whatever became of it there.
    BlindMove,
    /// Every crc fits: not a rule that a simulation could miss, but what lets a fuzzer past them.
    AnyCrc,
}

impl Mutation {
    /// All of them, but for [`AnyCrc`](Self::AnyCrc).
    pub const ALL: [Self; 16] = [
        Self::IgnoreGap,
        Self::NoRewrite,
        Self::TrustOldEpoch,
        Self::NoEpochMark,
        Self::TrustPayload,
        Self::SkipDirSync,
        Self::NoPoison,
        Self::NoUndo,
        Self::EarlyRelease,
        Self::EarlyRemoval,
        Self::TableNotSynced,
        Self::LogNotSynced,
        Self::ManifestNotLinked,
        Self::NoReaffirm,
        Self::ForgetDamage,
        Self::BlindMove,
    ];
}

#[cfg(feature = "sim")]
mod hook {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Breaks this rule, and no other, in all that the current thread does from now on.
    pub fn switch(mutation: Option<Mutation>) {
        ON.set(mutation);
    }

    /// True when this rule shall be broken.
    pub fn is_on(mutation: Mutation) -> bool {
        ON.get() == Some(mutation)
    }

    /// True when a crc is what it should be.
    pub fn fits(found: u32, expected: u32) -> bool {
        found == expected || is_on(Mutation::AnyCrc)
    }
}

#[cfg(feature = "sim")]
pub use hook::{fits, is_on, switch};

/// True when this rule shall be broken: never, in a program.
#[cfg(not(feature = "sim"))]
#[inline(always)]
pub const fn is_on(_: Mutation) -> bool {
    false
}

/// True when a crc is what it should be.
#[cfg(not(feature = "sim"))]
#[inline(always)]
pub const fn fits(found: u32, expected: u32) -> bool {
    found == expected
}
