//! Files that are not synced: left to itself, the crate syncs each of them with each write, which neither pome nor npm does in these workloads.

/// The storage of a core in a folder, for one of the two versions of `hypercore`.
#[macro_export]
macro_rules! unsynced {
    ($hypercore:ident, $folder:expr) => {{
        let folder: &std::path::Path = $folder;
        let file = |store: $hypercore::Store| {
            let name = match store {
                $hypercore::Store::Tree => "tree",
                $hypercore::Store::Data => "data",
                $hypercore::Store::Bitfield => "bitfield",
                $hypercore::Store::Oplog => "oplog",
            };
            let path = folder.join(name);
            let opened = async move {
                let disk = random_access_disk::RandomAccessDisk::builder(path).auto_sync(false);
                Ok(Box::new(disk.build().await?) as Box<dyn $hypercore::StorageTraits + Send>)
            };
            Box::pin(opened) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>
        };
        $hypercore::Storage::open(file, false).await?
    }};
}
