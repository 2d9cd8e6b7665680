//! The files of a log: their names, how they are made, and the handles of payload segments.

use crate::{
    Device, Error, File,
    frame::{self, FILE_HEADER, FileId, FileKind},
};
use parking_lot::RwLock;
use rustix::process::{Resource, getrlimit};
use std::{collections::BTreeMap, fmt, io::IoSlice, sync::Arc};

/// The bounds of the size of a log segment, in bytes.
pub(crate) const MIN_LOG_SEGMENT: u64 = 4 << 10;
pub(crate) const MAX_LOG_SEGMENT: u64 = 1 << 30;

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileKind::Log => write!(f, "log-{}", self.number),
            FileKind::Payload => write!(f, "payload-{}", self.number),
        }
    }
}

impl FileId {
    pub(crate) const fn log(number: u32) -> Self {
        Self {
            kind: FileKind::Log,
            number,
        }
    }
    pub(crate) const fn payload(number: u32) -> Self {
        Self {
            kind: FileKind::Payload,
            number,
        }
    }
    /// The file with this name; `None` when the name is none of ours.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (kind, digits) = match name.strip_prefix("log-") {
            Some(digits) => (FileKind::Log, digits),
            None => (FileKind::Payload, name.strip_prefix("payload-")?),
        };
        let file = Self {
            kind,
            number: digits.parse().ok().filter(|n| (1..1 << 31).contains(n))?,
        };
        (file.to_string() == name).then_some(file)
    }
    /// The files of a log in the folder, in order.
    pub(crate) fn list(device: &dyn Device) -> Result<Vec<Self>, Error> {
        let names = device.list().map_err(|e| Error::io("list", "folder", e))?;
        let mut files: Vec<_> = names.iter().filter_map(|n| Self::parse(n)).collect();
        files.sort_unstable();
        Ok(files)
    }
}

/// Runs a device call and names file and operation when it fails.
pub(crate) fn at<T>(
    op: &'static str,
    file: FileId,
    result: std::io::Result<T>,
) -> Result<T, Error> {
    result.map_err(|e| Error::io(op, &file.to_string(), e))
}

/// Makes a log segment, written full of zeros: syncs over blocks that were written before are twice as fast. Nothing is synced
/// here: whoever commits into it syncs it, and the folder, first. When this fails, no file is left behind if that is possible.
pub(crate) fn create_log(
    device: &dyn Device,
    number: u32,
    log_id: u64,
    bytes: u64,
) -> Result<Arc<dyn File>, Error> {
    let id = FileId::log(number);
    let file = at("create", id, device.open(&id.to_string(), true))?;
    let written = write_zeros(&*file, FILE_HEADER as u64, bytes)
        .and_then(|()| file.write_at(&[IoSlice::new(&frame::encode_file_header(id, log_id))], 0));
    if let Err(e) = written {
        // If this fails too, recovery finds a segment without frames and reuses or deletes it.
        drop(device.remove(&id.to_string()));
        return Err(Error::io("write", &id.to_string(), e));
    }
    Ok(file)
}

/// Writes zeros over `start..end`.
pub(crate) fn write_zeros(file: &dyn File, start: u64, end: u64) -> std::io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = start;
    while at < end {
        let parts: Vec<_> = (0..16)
            .map_while(|i| {
                let left = end.saturating_sub(at + i * ZEROS.len() as u64);
                (left > 0).then(|| IoSlice::new(&ZEROS[..left.min(ZEROS.len() as u64) as usize]))
            })
            .collect();
        file.write_at(&parts, at)?;
        at += parts.iter().map(|p| p.len() as u64).sum::<u64>();
    }
    Ok(())
}

/// Makes a payload segment with its header. When this fails, no file is left behind if that is possible.
pub(crate) fn create_payload(
    device: &dyn Device,
    number: u32,
    log_id: u64,
) -> Result<Arc<dyn File>, Error> {
    let id = FileId::payload(number);
    let file = at("create", id, device.open(&id.to_string(), true))?;
    let written = file
        .set_len(0)
        .and_then(|()| file.write_at(&[IoSlice::new(&frame::encode_file_header(id, log_id))], 0));
    if let Err(e) = written {
        drop(device.remove(&id.to_string()));
        return Err(Error::io("write", &id.to_string(), e));
    }
    Ok(file)
}

/// Handles of payload segments for reading, of which a bounded number are open at a time.
pub(crate) struct Readers {
    open: RwLock<BTreeMap<u32, Arc<dyn File>>>,
    most: usize,
}

impl Default for Readers {
    /// A quarter of what the process may have open, within bounds: the rest is for whoever else is in it.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self {
            open: RwLock::default(),
            most: (limit / 4).clamp(8, Self::MOST) as usize,
        }
    }
}

impl Readers {
    /// However many the process may have open.
    const MOST: u64 = 256;

    pub(crate) fn get(&self, device: &dyn Device, number: u32) -> Result<Arc<dyn File>, Error> {
        if let Some(file) = self.open.read().get(&number) {
            return Ok(file.clone());
        }
        let id = FileId::payload(number);
        let mut open = self.open.write();
        if let Some(file) = open.get(&number) {
            return Ok(file.clone());
        }
        let file = at("open", id, device.open(&id.to_string(), false))?;
        self.insert_into(&mut open, number, file.clone());
        Ok(file)
    }
    pub(crate) fn insert(&self, number: u32, file: Arc<dyn File>) {
        self.insert_into(&mut self.open.write(), number, file);
    }
    fn insert_into(
        &self,
        open: &mut BTreeMap<u32, Arc<dyn File>>,
        number: u32,
        file: Arc<dyn File>,
    ) {
        // The neighbour that would be next in a scan goes last: drop the farthest.
        while open.len() >= self.most {
            let (first, last) = match (open.first_key_value(), open.last_key_value()) {
                (Some((a, _)), Some((b, _))) => (*a, *b),
                _ => break,
            };
            let far = if number.abs_diff(first) > number.abs_diff(last) {
                first
            } else {
                last
            };
            open.remove(&far);
        }
        open.insert(number, file);
    }
    pub(crate) fn forget(&self, number: u32) {
        self.open.write().remove(&number);
    }
}
