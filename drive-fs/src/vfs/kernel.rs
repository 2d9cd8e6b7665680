//! Where the kernel keeps writes for a moment: what it has not handed over yet, and what it no longer believes of a file.
//!
//! A kernel that keeps writes takes its own word for a file's size and times, whatever it is told. So a file that was changed elsewhere becomes another inode there, as if it had been
//! renamed over; who has the old one open goes on with that.

use super::{node::Ino, vfs::Vfs};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

type Take = Arc<dyn Fn(Ino) + Send + Sync>;

/// The kernel above a mount.
#[derive(Default)]
pub(crate) struct Kernel {
    keeps_writes: AtomicBool,
    take: Mutex<Option<Take>>,
}

impl Vfs {
    /// From now on the kernel hands writes over when it likes to, at the latest when a file is closed or synced.
    pub fn kernel_keeps_writes(&self) {
        self.kernel.keeps_writes.store(true, Ordering::Release);
        self.state.lock().replaces = true;
    }

    /// Whom to ask for what the kernel keeps of a file. `take` returns when it was handed over; it is called on a thread that may wait.
    pub fn on_take(&self, take: impl Fn(Ino) + Send + Sync + 'static) {
        *self.kernel.take.lock() = Some(Arc::new(take));
    }

    /// True when the kernel may keep what was written.
    pub(crate) fn kernel_keeps(&self) -> bool {
        self.kernel.keeps_writes.load(Ordering::Acquire)
    }

    /// Has the kernel hand over what it keeps of these files, or of all, as far as they are open for writing.
    pub async fn take_from_kernel(&self, files: Option<Vec<Ino>>) {
        if !self.kernel_keeps() {
            return;
        }
        let Some(take) = self.kernel.take.lock().clone() else {
            return;
        };
        let open: Vec<Ino> = {
            let state = self.state.lock();
            let writes = |ino: &Ino| {
                let file = state.nodes.get(ino).and_then(|node| node.file());
                file.is_some_and(|file| file.writers > 0)
            };
            match files {
                Some(files) => files.into_iter().filter(writes).collect(),
                None => state.nodes.keys().copied().filter(writes).collect(),
            }
        };
        if open.is_empty() {
            return;
        }
        let taken = tokio::task::spawn_blocking(move || open.into_iter().for_each(|ino| take(ino)));
        if let Err(error) = taken.await {
            tracing::error!(%error, "what the kernel keeps was not asked for");
        }
    }

    /// The kernel asks that a file runs for nobody but its caller, after a write of somebody who may not keep it so.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn drop_privileges(&self, ino: Ino) -> super::error::Result<()> {
        let needless = |mode: u32| unprivileged(mode) == mode;
        if needless(self.stat(ino)?.attrs.mode) {
            return Ok(());
        }
        let _names = self.names.read().await;
        self.know_names(ino).await?;
        let mut state = self.state.lock();
        let node = state.node(ino)?;
        let mode = node.attrs.mode;
        let kept = unprivileged(mode);
        if node.is_folder() || kept == mode {
            return Ok(());
        }
        state.change_node(ino, |attrs| attrs.mode = kept)?;
        drop(state);
        self.publisher.changed();
        Ok(())
    }
}

/// A file's mode without set-uid, and without set-gid where that means the group it runs as.
pub(crate) fn unprivileged(mode: u32) -> u32 {
    let group = if mode & 0o010 == 0 { 0 } else { 0o2000 };
    mode & !(0o4000 | group)
}
