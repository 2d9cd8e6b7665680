//! What was done here and is not published, when somebody else writes under the same names: what was put here or written stays, attributes alone give
//! way, and neither is lost. Each case also with the end of the process in between, after which somebody else has written while nothing was mounted.

use super::{
    memory::{MemoryDrive, Spoilt},
    rooms::{ME, Room, WRITE, corestore, name},
};
use crate::{
    DriveOptions, Hyperdrive, Keep,
    posix::Special,
    vfs::{drive::LiveDrive, node::ROOT, *},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use pome_cores::{Batch, Corestore};
use std::sync::Arc;

/// A mount of a drive in memory.
pub(super) struct Here {
    _dir: tempfile::TempDir,
    pub(super) corestore: Corestore,
    pub(super) drive: Arc<MemoryDrive>,
    pub(super) room: Room,
}

impl Here {
    pub(super) async fn new(files: &[(&str, &str)]) -> Self {
        let (dir, corestore) = corestore();
        let drive = MemoryDrive::new(corestore.clone());
        for (path, text) in files {
            drive.put(path, Some(text.as_bytes()));
        }
        let room = Room::open(&corestore, &drive).await;
        let _dir = dir;
        Self {
            _dir,
            corestore,
            drive,
            room,
        }
    }

    /// Somebody else writes: while the mount is there, or after a kill and before the next mount.
    async fn elsewhere(mut self, crash: bool, write: impl FnOnce(&MemoryDrive)) -> Self {
        match crash {
            false => {
                write(&self.drive);
                self.room.vfs.lower_changed().await.unwrap();
            }
            true => {
                drop(self.room);
                write(&self.drive);
                self.room = Room::open(&self.corestore, &self.drive).await;
            }
        }
        self
    }

    pub(super) async fn find(&self, path: &str) -> Result<Stat, VfsError> {
        let mut found = self.room.vfs.stat(ROOT)?;
        for part in path.split('/') {
            found = self.room.vfs.lookup(found.ino, name(part)).await?;
        }
        Ok(found)
    }

    pub(super) async fn content(&self, path: &str) -> Bytes {
        let found = self.find(path).await.unwrap();
        self.room.vfs.read(found.ino, 0, 100).await.unwrap()
    }

    async fn is_gone(&self, path: &str) -> bool {
        matches!(self.find(path).await, Err(VfsError::NotFound))
    }

    /// Sets a mode, and nothing else.
    pub(super) async fn chmod(&self, path: &str, mode: u32) {
        let ino = self.find(path).await.unwrap().ino;
        let set = SetAttrs {
            mode: Some(mode),
            ..SetAttrs::default()
        };
        self.room.vfs.set_attrs(ino, set).await.unwrap();
        self.room.vfs.forget(ino, 1);
    }

    async fn rename(&self, from: &str, to: &str) {
        let (from, to) = ((ROOT, name(from)), (ROOT, name(to)));
        let moved = self.room.vfs.rename(from, to, RenameMode::Replace);
        moved.await.unwrap();
    }

    /// Publishes, and answers the names in the drive: what the mount shows then is what the drive has.
    pub(super) async fn published(&mut self) -> Vec<String> {
        self.room.vfs.publish_now().await.unwrap();
        assert_eq!(self.room.vfs.pending(), Pending::default());
        self.room = Room::open(&self.corestore, &self.drive).await;
        assert_eq!(self.room.vfs.pending(), Pending::default());
        self.drive.entries().entries.keys().cloned().collect()
    }
}

fn put_entry(drive: &MemoryDrive, path: &str, entry: LowerEntry) {
    use futures_util::FutureExt;
    let change = vec![Change::Entry(path.to_owned(), Some(entry))];
    let put = drive.publish(None, change, Batch::new());
    put.now_or_never().unwrap().unwrap();
}

fn put_symlink(drive: &MemoryDrive, path: &str) {
    let entry = LowerEntry {
        executable: false,
        linkname: Some("theirs".to_owned()),
        content: None,
        metadata: None,
    };
    put_entry(drive, path, entry);
}

#[tokio::test]
async fn what_was_renamed_onto_a_name_with_the_same_content_outlives_a_deletion_of_that_name() {
    for crash in [false, true] {
        let here = Here::new(&[("/a", "x")]).await;
        let same = here.drive.entries().entries["/a"].clone();
        put_entry(&here.drive, "/b", same);
        here.room.vfs.lower_changed().await.unwrap();
        here.rename("a", "b").await;
        let mut here = here.elsewhere(crash, |drive| drive.put("/b", None)).await;
        assert_eq!(here.content("b").await, "x", "crash: {crash}");
        assert_eq!(here.published().await, ["/b"], "crash: {crash}");
        assert_eq!(here.content("b").await, "x", "crash: {crash}");
        assert!(here.is_gone("a").await);
    }
}

#[tokio::test]
async fn what_was_renamed_onto_a_name_stays_over_what_is_put_there_elsewhere() {
    for crash in [false, true] {
        let here = Here::new(&[("/a", "mine"), ("/b", "old")]).await;
        here.rename("a", "b").await;
        // That attributes are changed besides makes it no less what was put there.
        here.chmod("b", 0o600).await;
        let theirs = |drive: &MemoryDrive| drive.put("/b", Some(b"put elsewhere"));
        let mut here = here.elsewhere(crash, theirs).await;
        assert_eq!(here.published().await, ["/b"], "crash: {crash}");
        assert_eq!(here.content("b").await, "mine", "crash: {crash}");
    }
}

#[tokio::test]
async fn attributes_alone_give_way_to_a_new_content_also_after_a_kill() {
    for crash in [false, true] {
        let here = Here::new(&[("/f", "old")]).await;
        here.chmod("f", 0o600).await;
        let theirs = |drive: &MemoryDrive| drive.put("/f", Some(b"put elsewhere"));
        let mut here = here.elsewhere(crash, theirs).await;
        assert_eq!(here.content("f").await, "put elsewhere", "crash: {crash}");
        assert_eq!(here.published().await, ["/f"]);
        assert_eq!(here.content("f").await, "put elsewhere", "crash: {crash}");
    }
}

#[tokio::test]
async fn attributes_alone_give_way_to_a_deletion_a_symlink_and_a_folder_also_after_a_kill() {
    for crash in [false, true] {
        for what in ["deletion", "symlink", "folder"] {
            let here = Here::new(&[("/f", "old")]).await;
            here.chmod("f", 0o600).await;
            let theirs = |drive: &MemoryDrive| match what {
                "deletion" => drive.put("/f", None),
                "symlink" => put_symlink(drive, "/f"),
                _ => {
                    drive.put("/f", None);
                    drive.put("/f/x", Some(b"put elsewhere"));
                }
            };
            let mut here = here.elsewhere(crash, theirs).await;
            let names = here.published().await;
            let case = format!("{what}, crash: {crash}");
            match what {
                "deletion" => assert!(names.is_empty() && here.is_gone("f").await, "{case}"),
                "symlink" => {
                    assert_eq!(here.find("f").await.unwrap().kind, FileKind::Link, "{case}");
                }
                _ => {
                    assert_eq!(names, ["/f/x"], "{case}");
                    assert_eq!(here.content("f/x").await, "put elsewhere", "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn attributes_stay_after_a_kill_where_nobody_wrote_elsewhere() {
    let here = Here::new(&[("/d/f", "old"), ("/g", "old")]).await;
    here.chmod("d/f", 0o600).await;
    here.chmod("d", 0o700).await;
    let theirs = |drive: &MemoryDrive| drive.put("/g", Some(b"put elsewhere"));
    let mut here = here.elsewhere(true, theirs).await;
    assert_eq!(here.published().await, ["/d/f", "/g"]);
    assert_eq!(here.content("d/f").await, "old");
    assert_eq!(here.find("d/f").await.unwrap().attrs.mode, 0o600);
    assert_eq!(here.find("d").await.unwrap().attrs.mode, 0o700);
    assert_eq!(here.content("g").await, "put elsewhere");
}

#[tokio::test]
async fn what_was_written_stays_over_what_is_put_elsewhere_also_after_a_kill() {
    for crash in [false, true] {
        for deleted in [false, true] {
            let here = Here::new(&[("/f", "old")]).await;
            here.chmod("f", 0o600).await;
            let ino = here.find("f").await.unwrap().ino;
            here.room.vfs.write(ino, 0, "mine".into()).unwrap();
            let theirs = |drive: &MemoryDrive| match deleted {
                true => drive.put("/f", None),
                false => drive.put("/f", Some(b"put elsewhere")),
            };
            let mut here = here.elsewhere(crash, theirs).await;
            assert_eq!(here.published().await, ["/f"]);
            assert_eq!(here.content("f").await, "mine", "{crash}, {deleted}");
            assert_eq!(here.find("f").await.unwrap().attrs.mode, 0o600);
        }
    }
}

#[tokio::test]
async fn attributes_of_symlinks_and_pipes_give_way_to_what_is_put_elsewhere() {
    for crash in [false, true] {
        for pipe in [false, true] {
            for what in ["file", "symlink", "deletion"] {
                let mut here = Here::new(&[]).await;
                let (vfs, s) = (here.room.vfs.clone(), name("s"));
                match pipe {
                    true => vfs.make_special(ROOT, s, 0o644, ME, Special::Fifo).await,
                    false => vfs.make_link(ROOT, s, name("mine"), ME).await,
                }
                .unwrap();
                drop(vfs);
                here.published().await;
                let ino = here.find("s").await.unwrap().ino;
                let set = SetAttrs {
                    mtime: Some(Time(7, 0)),
                    ..SetAttrs::default()
                };
                here.room.vfs.set_attrs(ino, set).await.unwrap();
                let theirs = |drive: &MemoryDrive| match what {
                    "file" => drive.put("/s", Some(b"put elsewhere")),
                    "symlink" => put_symlink(drive, "/s"),
                    _ => drive.put("/s", None),
                };
                let mut here = here.elsewhere(crash, theirs).await;
                let names = here.published().await;
                let case = format!("{what} for a pipe: {pipe}, crash: {crash}");
                match what {
                    "file" => assert_eq!(here.content("s").await, "put elsewhere", "{case}"),
                    "symlink" => {
                        let ino = here.find("s").await.unwrap().ino;
                        let target = here.room.vfs.read_link(ino).unwrap();
                        assert_eq!(&*target, "theirs", "{case}");
                    }
                    _ => assert!(names.is_empty(), "{case}"),
                }
            }
        }
    }
}

/// A file with the names `p` and `q`, published.
async fn two_names() -> Here {
    let mut here = Here::new(&[]).await;
    let vfs = here.room.vfs.clone();
    let file = vfs.make_file(ROOT, name("p"), 0o644, ME).await.unwrap().ino;
    vfs.write(file, 0, "old".into()).unwrap();
    vfs.link(file, ROOT, name("q")).await.unwrap();
    drop(vfs);
    assert_eq!(here.published().await, ["/p", "/q"]);
    here
}

#[tokio::test]
async fn one_of_several_names_gives_way_to_what_is_put_there_elsewhere_and_the_others_stay() {
    for crash in [false, true] {
        for theirs in [None, Some(&b"put elsewhere"[..])] {
            for at in ["/p", "/q"] {
                let here = two_names().await;
                here.chmod("p", 0o600).await;
                let mut here = here.elsewhere(crash, |drive| drive.put(at, theirs)).await;
                let case = format!("{at}, deleted: {}, crash: {crash}", theirs.is_none());
                let (gone, left) = match at {
                    "/p" => ("p", "q"),
                    _ => ("q", "p"),
                };
                assert_eq!(here.find(left).await.unwrap().links, 1, "{case}");
                let names = here.published().await;
                assert_eq!(here.content(left).await, "old", "{case}");
                let stays = here.find(left).await.unwrap();
                assert_eq!((stays.links, stays.attrs.mode), (1, 0o600), "{case}");
                match theirs {
                    Some(_) => assert_eq!(here.content(gone).await, "put elsewhere", "{case}"),
                    None => assert_eq!(names.len(), 1, "{case}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_was_added_here_stays_when_the_file_is_deleted_or_replaced_elsewhere() {
    for crash in [false, true] {
        for theirs in [None, Some(&b"put elsewhere"[..])] {
            let here = Here::new(&[("/a", "old")]).await;
            let file = here.find("a").await.unwrap().ino;
            here.room.vfs.link(file, ROOT, name("b")).await.unwrap();
            let mut here = here.elsewhere(crash, |drive| drive.put("/a", theirs)).await;
            let names = here.published().await;
            assert_eq!(here.content("b").await, "old", "crash: {crash}");
            match theirs {
                Some(_) => assert_eq!(here.content("a").await, "put elsewhere", "{crash}"),
                None => assert_eq!(names, ["/b"], "crash: {crash}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_written_to_a_file_of_several_names_stays_under_all_of_them() {
    for crash in [false, true] {
        let here = two_names().await;
        let file = here.find("p").await.unwrap().ino;
        let handle = here.room.vfs.open_file(file, WRITE).await.unwrap();
        here.room.vfs.write(file, 0, "new".into()).unwrap();
        here.room.vfs.close(handle).unwrap();
        let theirs = |drive: &MemoryDrive| drive.put("/q", Some(b"put elsewhere"));
        let mut here = here.elsewhere(crash, theirs).await;
        here.published().await;
        for path in ["p", "q"] {
            assert_eq!(here.content(path).await, "new", "{path}, crash: {crash}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_was_emptied_elsewhere_goes_though_something_in_it_had_a_record() {
    for crash in [false, true] {
        for what in ["open", "mode of the file", "mode of the folder", "deleted"] {
            let here = Here::new(&[("/a/b/f", "x"), ("/a/b/g", "x")]).await;
            let file = here.find("a/b/f").await.unwrap().ino;
            let folder = here.find("a/b").await.unwrap().ino;
            match what {
                "open" => {
                    here.room.vfs.open_file(file, WRITE).await.unwrap();
                    // From now on it has a record, and so have the folders above.
                    here.room.vfs.publish_now().await.unwrap();
                }
                "mode of the file" => here.chmod("a/b/f", 0o600).await,
                "mode of the folder" => here.chmod("a/b", 0o700).await,
                _ => here.room.vfs.unlink(folder, name("f")).await.unwrap(),
            }
            let theirs = |drive: &MemoryDrive| {
                drive.put("/a/b/f", None);
                drive.put("/a/b/g", None);
            };
            let mut here = here.elsewhere(crash, theirs).await;
            assert!(here.is_gone("a").await, "{what}, crash: {crash}");
            assert!(here.published().await.is_empty());
            let described = &here.drive.entries().folders;
            assert!(described.is_empty(), "{what}, crash: {crash}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_was_emptied_elsewhere_stays_with_what_was_put_into_it_here() {
    for crash in [false, true] {
        let here = Here::new(&[("/d/f", "x"), ("/e/f", "x")]).await;
        let folder = here.find("d").await.unwrap().ino;
        let made = here.room.vfs.make_file(folder, name("mine"), 0o644, ME);
        made.await.unwrap();
        let file = here.find("e/f").await.unwrap().ino;
        here.room.vfs.write(file, 0, "mine".into()).unwrap();
        let theirs = |drive: &MemoryDrive| {
            drive.put("/d/f", None);
            drive.put("/e/f", None);
        };
        let mut here = here.elsewhere(crash, theirs).await;
        assert_eq!(
            here.published().await,
            ["/d/mine", "/e/f"],
            "crash: {crash}"
        );
    }
}

#[tokio::test]
async fn a_folder_that_both_made_has_what_both_put_into_it() {
    for crash in [false, true] {
        let here = Here::new(&[]).await;
        let made = here.room.vfs.make_folder(ROOT, name("d"), 0o755, ME).await;
        let folder = made.unwrap().ino;
        let below = here.room.vfs.make_folder(folder, name("e"), 0o755, ME);
        let below = below.await.unwrap().ino;
        for (folder, file) in [(folder, "mine"), (below, "mine")] {
            let made = here.room.vfs.make_file(folder, name(file), 0o644, ME);
            made.await.unwrap();
        }
        let theirs = |drive: &MemoryDrive| {
            drive.put("/d/theirs", Some(b"x"));
            drive.put("/d/e/theirs", Some(b"x"));
        };
        let mut here = here.elsewhere(crash, theirs).await;
        let all = ["d/e/mine", "d/e/theirs", "d/mine", "d/theirs"];
        for path in all {
            assert!(here.find(path).await.is_ok(), "{path}, crash: {crash}");
        }
        let names = here.published().await;
        assert_eq!(names, all.map(|path| format!("/{path}")), "crash: {crash}");
    }
}

#[tokio::test]
async fn a_folder_that_is_renamed_here_takes_nothing_away_that_was_put_under_its_new_name() {
    for crash in [false, true] {
        let here = Here::new(&[("/e/mine", "x")]).await;
        here.rename("e", "d").await;
        let theirs = |drive: &MemoryDrive| drive.put("/d/theirs", Some(b"x"));
        let mut here = here.elsewhere(crash, theirs).await;
        here.room.vfs.publish_now().await.unwrap();
        assert!(here.find("d/theirs").await.is_ok(), "crash: {crash}");
        let names = here.published().await;
        assert_eq!(names, ["/d/mine", "/d/theirs"], "crash: {crash}");
    }
}

#[tokio::test]
async fn a_file_whose_old_content_cannot_be_read_does_not_keep_the_others_back() {
    let here = Here::new(&[("/f", "some text"), ("/h", "x")]).await;
    let vfs = &here.room.vfs;
    let file = here.find("f").await.unwrap().ino;
    vfs.write(file, 5, "words".into()).unwrap();
    *here.drive.spoilt.lock() = Spoilt::Bytes;
    let made = vfs.make_file(ROOT, name("g"), 0o644, ME).await.unwrap();
    vfs.write(made.ino, 0, "new".into()).unwrap();
    here.rename("h", "i").await;
    // What is ready goes out by itself …
    vfs.publish(false).await.unwrap();
    let names = || -> Vec<String> { here.drive.entries().entries.keys().cloned().collect() };
    assert_eq!(names(), ["/f", "/g", "/i"]);
    assert_eq!(vfs.pending().files, 1);
    // … and whoever asks for all is told what is missing.
    let refused = vfs.publish_now().await.unwrap_err().to_string();
    assert!(
        refused.contains("/f") && refused.contains("spoilt"),
        "{refused}"
    );
    assert_eq!(here.drive.entries().entries["/f"].content.unwrap().size, 9);
    // It is tried again by itself, and at once when it was written anew.
    assert!(vfs.due().is_some());
    vfs.set_size(file, 0).await.unwrap();
    vfs.write(file, 0, "new".into()).unwrap();
    vfs.publish(false).await.unwrap();
    assert_eq!(here.drive.entries().entries["/f"].content.unwrap().size, 3);
    assert_eq!(vfs.pending(), Pending::default());
    vfs.publish_now().await.unwrap();
}

/// A drive with a file in it, and a mount of it.
async fn real(corestore: &Corestore) -> (Hyperdrive, Arc<Vfs>) {
    let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default());
    let drive = drive.await.unwrap();
    let put = drive.put("/f", vec![1; 100_000], Default::default());
    put.await.unwrap();
    let key = drive.key().to_string();
    let live = LiveDrive::new(drive.clone());
    let vfs = Vfs::open(live, corestore, &key, VfsOptions::default()).await;
    (drive, vfs.unwrap())
}

#[tokio::test]
async fn an_old_content_that_is_not_here_any_more_is_not_waited_for() {
    let (_dir, corestore) = corestore();
    let (drive, vfs) = real(&corestore).await;
    let file = vfs.lookup(ROOT, name("f")).await.unwrap().ino;
    vfs.write(file, 0, "new".into()).unwrap();
    let blobs = drive.blobs().await.unwrap().core().clone();
    blobs.clear(0..blobs.length()).await.unwrap();
    vfs.make_file(ROOT, name("g"), 0o644, ME).await.unwrap();
    let published = tokio::time::timeout(pome_test_support::PATIENCE, vfs.publish(false));
    published.await.unwrap().unwrap();
    assert!(drive.entry("/g").await.unwrap().is_some());
    let hidden = vfs.lookup(ROOT, name(".pome")).await.unwrap().ino;
    let status = vfs.lookup(hidden, name("status")).await.unwrap().ino;
    let status = vfs.read(status, 0, 10_000).await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["pending"]["files"], 1);
    assert_eq!(status["unreadable"][0]["path"], "/f");
    assert!(status["unreadable"][0]["error"].is_string(), "{status}");
}

/// What a publication says of a content is what the drive says of it later: else attributes would give way to what they belong to.
#[tokio::test]
async fn attributes_stay_after_a_kill_on_every_kind_of_content() {
    let (_dir, corestore) = corestore();
    let (drive, vfs) = real(&corestore).await;
    let write = async |vfs: &Vfs, file: &str, offset: u64, bytes: Vec<u8>| {
        let open = vfs.create(ROOT, name(file), 0o644, ME, WRITE).await;
        let (stat, handle) = open.unwrap();
        if !bytes.is_empty() {
            vfs.write(stat.ino, offset, bytes.into()).unwrap();
        }
        vfs.close(handle).unwrap();
    };
    let changes = [
        ("empty", 0),
        ("small", 5),
        ("large", 400_000),
        ("grown", 300_000),
    ];
    for (file, size) in changes.into_iter().chain([("mapped", 1 << 20)]) {
        write(&vfs, file, 0, (0..size).map(|n| (n / 999) as u8).collect()).await;
        vfs.publish_now().await.unwrap();
    }
    write(&vfs, "grown", 300_000, vec![7; 100]).await;
    vfs.publish_now().await.unwrap();
    write(&vfs, "mapped", 500_000, vec![7; 100]).await;
    vfs.publish_now().await.unwrap();
    let mapped = drive.entry("/mapped").await.unwrap().unwrap().value.blob;
    assert!(mapped.unwrap().block_map);
    let all = ["f", "empty", "small", "large", "grown", "mapped"];
    for file in all {
        let ino = vfs.lookup(ROOT, name(file)).await.unwrap().ino;
        let set = SetAttrs {
            mode: Some(0o600),
            ..SetAttrs::default()
        };
        vfs.set_attrs(ino, set).await.unwrap();
    }
    // Nobody says goodbye.
    drop(vfs);
    let key = drive.key().to_string();
    let live = LiveDrive::new(drive.clone());
    let vfs = Vfs::open(live, &corestore, &key, VfsOptions::default()).await;
    let vfs = vfs.unwrap();
    assert_eq!(vfs.pending().changes, all.len() as u64);
    for file in all {
        let stat = vfs.lookup(ROOT, name(file)).await.unwrap();
        assert_eq!(stat.attrs.mode, 0o600, "{file}");
    }
}

type Meanwhile = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A drive of which things happen before it takes a publication, one each time.
struct Between {
    live: Arc<LiveDrive>,
    happens: Mutex<Vec<Meanwhile>>,
}

impl Drive for Between {
    fn writable(&self) -> bool {
        self.live.writable()
    }
    fn head(&self) -> BoxFuture<'_, Result<Arc<dyn Tree>, LowerError>> {
        self.live.head()
    }
    fn put_contents(&self, all: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<Content>, LowerError>> {
        self.live.put_contents(all)
    }
    fn content_writer(&self) -> BoxFuture<'_, Result<Box<dyn ContentWriter>, LowerError>> {
        self.live.content_writer()
    }
    fn blocks_of<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Option<Vec<Block>>, LowerError>> {
        self.live.blocks_of(content)
    }
    fn extending_writer<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Option<Box<dyn ContentWriter>>, LowerError>> {
        self.live.extending_writer(content)
    }
    fn map_writer(&self) -> BoxFuture<'_, Result<Option<Box<dyn MapWriter>>, LowerError>> {
        self.live.map_writer()
    }
    fn publish(
        &self,
        over: Option<u64>,
        changes: Vec<Change>,
        batch: Batch,
    ) -> BoxFuture<'_, Result<Option<Arc<dyn Tree>>, LowerError>> {
        let happens = self.happens.lock().pop();
        Box::pin(async move {
            if let Some(happens) = happens {
                happens().await;
            }
            self.live.publish(over, changes, batch).await
        })
    }
}

/// A content that is the old one once more, or a part of it, is not dropped with the last version that had it while it is on its way into the next one.
#[tokio::test]
async fn what_a_publication_builds_on_is_kept_until_it_is_published() {
    for size in [100_000usize, 1 << 20] {
        let (_dir, corestore) = corestore();
        let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default());
        let drive = drive.await.unwrap();
        let bytes: Vec<u8> = (0..size).map(|n| (n / 1000) as u8).collect();
        let put = drive.put("/f", bytes.clone(), Default::default());
        put.await.unwrap();
        drive.set_retention(Keep::Versions(1)).await.unwrap();
        let (other, collected) = (drive.clone(), drive.clone());
        // The first try is over what somebody else writes then; before the second one, versions are dropped.
        let between = Arc::new(Between {
            live: LiveDrive::new(drive.clone()),
            happens: Mutex::new(vec![
                Box::new(|| {
                    Box::pin(async move {
                        collected.gc().await.unwrap();
                    })
                }),
                Box::new(|| {
                    Box::pin(async move {
                        let put = other.put("/f", "put elsewhere", Default::default());
                        put.await.unwrap();
                    })
                }),
            ]),
        });
        let key = drive.key().to_string();
        let vfs = Vfs::open(between.clone(), &corestore, &key, VfsOptions::default());
        let vfs = vfs.await.unwrap();
        // Written anew, as many programs save: nothing but the drive says what it was before.
        vfs.unlink(ROOT, name("f")).await.unwrap();
        let file = vfs.make_file(ROOT, name("f"), 0o644, ME).await.unwrap().ino;
        let mut changed = bytes;
        if size > 500_000 {
            changed[size / 2] ^= 1;
        }
        vfs.write(file, 0, changed.clone().into()).unwrap();
        vfs.publish_now().await.unwrap();
        assert!(between.happens.lock().is_empty());
        let read = tokio::time::timeout(pome_test_support::PATIENCE, drive.get("/f"));
        assert!(read.await.unwrap().unwrap().unwrap() == changed, "{size}");
        // Nothing is kept for ever by it.
        drive.put("/g", "1", Default::default()).await.unwrap();
        vfs.lower_changed().await.unwrap();
        assert_eq!(drive.gc().await.unwrap().oldest, drive.version());
    }
}
