//! `pome store backup`, `restore` and `adopt`.

use super::{
    failure::Failure,
    io::{Io, path_json},
    service::Service,
    store::with_progress,
};
use pome_storage::Store;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Copies the store while it is in use.
pub(crate) async fn backup(service: &Service, dir: &Path, io: &mut Io) -> Result<(), Failure> {
    let dir = io.path(dir);
    if dir.starts_with(&service.dir) {
        return Err(Failure::usage(format!(
            "{} lies in the store's own folder",
            dir.display()
        )));
    }
    let (store, to) = (service.store().clone(), dir.clone());
    let done = with_progress(io, "bytes", move |progress| store.backup(to, progress)).await??;
    let value = json!({
        "backup": path_json(&dir),
        "seq": done.seq,
        "files": done.files,
        "bytes": done.bytes,
        "copiedFiles": done.copied_files,
        "copiedBytes": done.copied_bytes,
        "removedFiles": done.removed_files,
    });
    let text = format!(
        "{}: {} bytes in {} files, of which {} bytes in {} files were copied now",
        dir.display(),
        done.bytes,
        done.files,
        done.copied_bytes,
        done.copied_files,
    );
    io.result(value, text).await
}

/// There is a store where one should be made.
pub(crate) fn in_the_way(dir: &Path) -> Failure {
    Failure::new(
        "NOT_A_STORE",
        format!(
            "a restore wants an empty folder, and {} is a store; say where with --store",
            dir.display()
        ),
    )
}

/// Makes a store in `to`.
pub(crate) async fn restore(from: PathBuf, to: PathBuf, io: &mut Io) -> Result<(), Failure> {
    let store = to.clone();
    let done = with_progress(io, "bytes", move |progress| {
        Store::restore(from, to, progress)
    })
    .await??;
    let value = json!({
        "store": path_json(&store),
        "seq": done.seq,
        "files": done.files,
        "bytes": done.bytes,
        "recovering": true,
    });
    let text = format!(
        "{}: {} bytes in {} files; it signs nothing until peers were asked, or until \"pome store adopt\" says that no other copy is in use",
        store.display(),
        done.bytes,
        done.files,
    );
    io.result(value, text).await
}

/// The word of a person that there is no other copy.
pub(crate) async fn adopt(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let store = service.store().clone();
    let adopted = tokio::task::spawn_blocking(move || store.adopt());
    let adopted = adopted
        .await
        .map_err(|error| Failure::new("PANIC", format!("the adopting broke off: {error}")))??;
    let value = json!({ "store": path_json(&service.dir), "adopted": adopted });
    let text = match adopted {
        true => format!("{} signs again", service.dir.display()),
        false => format!(
            "{} was not recovering; there is nothing to adopt",
            service.dir.display()
        ),
    };
    io.result(value, text).await
}
