//! Hyperdrive, Localdrive, Mirrordrive, and the mount.
