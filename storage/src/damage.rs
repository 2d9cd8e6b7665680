//! Damage is remembered until a person decides.

use crate::{Store, error::Error, superblock::Switch};
use pome_wal::{
    Damage,
    mutation::{Mutation, is_on},
};
use std::sync::atomic::Ordering;

impl Store {
    /// What recovery found broken, now or at an earlier open: commits that are lost though they were there. A store with damage should sign nothing
    /// until a person decided; see [`accept_damage`](Self::accept_damage).
    pub fn damage(&self) -> Vec<Damage> {
        self.inner().switch.lock().manifest.damage.clone()
    }

    /// True when [`damage`](Self::damage) names anything. Costs nothing.
    pub fn is_damaged(&self) -> bool {
        self.inner().damaged.load(Ordering::Acquire)
    }

    /// The decision of a person: what is lost is lost, and the store goes on with what is there. Answers what was accepted; from now on, and after
    /// every later open, [`damage`](Self::damage) is empty until something breaks that is not accepted. On disk when this returns. A core that signed what is lost
    /// must be caught up from a peer before it is appended to, else it is forked.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint), and `ReadOnly`; the damage is then still there.
    pub fn accept_damage(&self) -> Result<Vec<Damage>, Error> {
        let inner = self.inner();
        inner.alive()?;
        if inner.options.read_only {
            let store = inner.name.clone();
            return Err(Error::ReadOnly { store });
        }
        if !self.is_damaged() {
            return Ok(vec![]);
        }
        // A checkpoint past all that is there: the log with the hole is read no more.
        inner.commit_nothing()?;
        inner.checkpoint()?;
        let mut switch = inner.switch.lock();
        let mut manifest = switch.manifest.clone();
        let accepted = std::mem::take(&mut manifest.damage);
        inner.switch_to(&mut switch, manifest)?;
        inner.damaged.store(false, Ordering::Release);
        Ok(accepted)
    }
}

impl Switch {
    /// Damage is written down before anything else is, so that it cannot be forgotten.
    pub(crate) fn remember_damage(
        &mut self,
        found: &[Damage],
        read_only: bool,
    ) -> Result<(), Error> {
        if is_on(Mutation::ForgetDamage) {
            return Ok(());
        }
        let mut manifest = self.manifest.clone();
        for damage in found {
            if !manifest.damage.contains(damage) {
                manifest.damage.push(damage.clone());
            }
        }
        if manifest.damage == self.manifest.damage {
            return Ok(());
        }
        if read_only {
            self.manifest = manifest;
            return Ok(());
        }
        self.to(manifest)
    }
}
