use crate::vfs::VfsError;
use std::{io, path::PathBuf, sync::Arc};

/// Why a drive could not be mounted or unmounted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mountpoint does not exist.
    #[error("{}: no such folder", path.display())]
    NoMountpoint {
        /// The mountpoint.
        path: PathBuf,
    },
    /// The mountpoint is no folder.
    #[error("{}: not a folder", path.display())]
    NotAFolder {
        /// The mountpoint.
        path: PathBuf,
    },
    /// The mountpoint has something in it.
    #[error("{}: the folder is not empty", path.display())]
    NotEmpty {
        /// The mountpoint.
        path: PathBuf,
    },
    /// The process that served a mount here is gone.
    #[error("{}: a dead mount is here; run \"pome unmount {}\"", path.display(), path.display())]
    DeadMount {
        /// The mountpoint.
        path: PathBuf,
    },
    /// Something is mounted here already.
    #[error("{}: something is mounted here already", path.display())]
    AlreadyMounted {
        /// The mountpoint.
        path: PathBuf,
    },
    /// Nothing is mounted here.
    #[error("{}: nothing is mounted here", path.display())]
    NotMounted {
        /// The mountpoint.
        path: PathBuf,
    },
    /// This process has the drive mounted for writing already.
    #[error("the drive {drive} is mounted already")]
    DriveMounted {
        /// The drive's key.
        drive: String,
    },
    /// The kernel has no FUSE for us.
    #[error("/dev/fuse: {source}; load the module fuse, or give this user access to the device")]
    NoFuse {
        /// The kernel's word.
        source: Arc<io::Error>,
    },
    /// The kernel refused.
    #[error("{}: {what}: {source}", path.display())]
    Kernel {
        /// The mountpoint.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The kernel's word.
        source: Arc<io::Error>,
    },
    /// The filesystem over the drive.
    #[error(transparent)]
    Vfs(Arc<VfsError>),
    /// The drive.
    #[error(transparent)]
    Drive(#[from] crate::Error),
}

impl From<VfsError> for MountError {
    fn from(error: VfsError) -> Self {
        Self::Vfs(Arc::new(error))
    }
}

impl MountError {
    /// The code for `--json` and for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoMountpoint { .. } => "NO_MOUNTPOINT",
            Self::NotAFolder { .. } => "NOT_A_FOLDER",
            Self::NotEmpty { .. } => "MOUNTPOINT_NOT_EMPTY",
            Self::DeadMount { .. } => "DEAD_MOUNT",
            Self::AlreadyMounted { .. } => "ALREADY_MOUNTED",
            Self::NotMounted { .. } => "NOT_MOUNTED",
            Self::DriveMounted { .. } => "DRIVE_MOUNTED",
            Self::NoFuse { .. } => "NO_FUSE",
            Self::Kernel { .. } => "MOUNT_FAILED",
            Self::Vfs(_) => "MOUNT_OVERLAY",
            Self::Drive(error) => error.code(),
        }
    }
}
