//! The names of a store's files.

use crate::format::{MANIFEST_PREFIX, SUPERBLOCK, SUPERBLOCK_NEW, TABLE_PREFIX, file_number};

/// A file of a store, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFile {
    /// Which manifest is current, and the same while it is made.
    Superblock,
    Manifest(u64),
    Table(u64),
    Log(u32),
    Payload(u32),
}

impl StoreFile {
    /// `None` when the name is none of ours: the numbers of tables and manifests are hexadecimal, those of log and payload segments decimal, and
    /// there is one way to write each.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let decimal = |prefix| {
            let digits = name.strip_prefix(prefix)?;
            let number: u32 = digits.parse().ok().filter(|n| (1..1 << 31).contains(n))?;
            (number.to_string() == digits).then_some(number)
        };
        if name == SUPERBLOCK || name == SUPERBLOCK_NEW {
            return Some(Self::Superblock);
        }
        let manifest = || file_number(MANIFEST_PREFIX, name).map(Self::Manifest);
        let table = || file_number(TABLE_PREFIX, name).map(Self::Table);
        let log = || decimal("log-").map(Self::Log);
        let payload = || decimal("payload-").map(Self::Payload);
        manifest().or_else(table).or_else(log).or_else(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_way_to_be_written() {
        assert_eq!(StoreFile::parse("log-12"), Some(StoreFile::Log(12)));
        assert_eq!(StoreFile::parse("payload-1"), Some(StoreFile::Payload(1)));
        assert_eq!(
            StoreFile::parse("table-0000001f"),
            Some(StoreFile::Table(31))
        );
        assert_eq!(
            StoreFile::parse("manifest-00000001"),
            Some(StoreFile::Manifest(1))
        );
        for other in [
            "log-0",
            "log-01",
            "log-+1",
            "log-",
            "log-0000000c",
            "payload-x",
            "table-1f",
            "table-0000001F",
            "lock",
            "restoring",
            "owner.log",
        ] {
            assert_eq!(StoreFile::parse(other), None, "{other}");
        }
    }
}
