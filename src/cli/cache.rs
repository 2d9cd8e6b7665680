//! `pome mount --cache-size`: what a mount of somebody else's drive keeps of its contents is bounded.
//!
//! The bytes of the blocks that are here are counted; what was used least lately goes, and comes again when it is read. What is pinned stays. The disk gets the room back as
//! from everything that is cleared: by compaction, a moment later.

use super::{failure::Failure, limit::Pins};
use pome_cores::{Corestore, Hypercore, replication::CoreEvent};
use pome_drive_fs::Hyperdrive;
use std::time::Duration;
use tokio::{sync::broadcast::error::RecvError, task::JoinHandle};

/// So much of the budget may come before it is looked at again: 1 part in so many.
const STEP_PART: u64 = 8;
/// How often it is looked at although nothing is known to have come.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps the budget until it is dropped.
pub(crate) struct Cache(JoinHandle<()>);

impl Drop for Cache {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cache {
    pub(crate) fn keep(cores: &Corestore, drive: &Hyperdrive, budget: u64) -> Self {
        let (cores, drive) = (cores.clone(), drive.clone());
        Self(tokio::spawn(async move {
            if let Err(failure) = keep(&cores, &drive, budget).await {
                tracing::warn!(drive = %drive.key(), "the size of the cache is not kept any more: {}", failure.message);
            }
        }))
    }
}

async fn keep(cores: &Corestore, drive: &Hyperdrive, budget: u64) -> Result<(), Failure> {
    let core = drive.blobs().await?.core().clone();
    let _uses = cores.track_uses();
    let mut events = core.events();
    loop {
        make_room(cores, &core, budget).await?;
        let mut came = 0;
        let some = async {
            while came < budget / STEP_PART {
                match events.recv().await {
                    Ok(CoreEvent::Download { byte_length, .. }) => came += byte_length,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        // Slow readers do not wait for the whole step.
        let _ = tokio::time::timeout(EVERY, some).await;
    }
}

/// When so much is here that another step might be too much, clears what was used least lately until there is room for two.
async fn make_room(cores: &Corestore, core: &Hypercore, budget: u64) -> Result<(), Failure> {
    let reader = core.clone();
    let held = tokio::task::spawn_blocking(move || reader.held());
    let held = held
        .await
        .map_err(|error| Failure::new("PANIC", format!("the count broke off: {error}")))??;
    let mut taken: u64 = held.iter().map(|run| run.bytes).sum();
    let target = budget - budget / STEP_PART * 2;
    if taken <= budget - budget / STEP_PART {
        return Ok(());
    }
    let pins = Pins::read(cores)?;
    for run in held.into_iter().filter(|run| !pins.hold(run)) {
        if taken <= target {
            break;
        }
        taken = taken.saturating_sub(run.bytes);
        core.clear(run.range).await?;
    }
    Ok(())
}
