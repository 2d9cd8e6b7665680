//! The mode of a terminal, put back when the program ends.

use std::os::fd::{AsFd, OwnedFd};

use parking_lot::Mutex;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::failure::Failure;

/// What the terminal was before a program changed it, and a descriptor to put it back with.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// 0 is the mode that the terminal had; anything else is raw: every key at once, without echo.
pub(crate) fn set_mode(fd: &OwnedFd, mode: u8) -> Result<(), Failure> {
    if mode == 0 {
        restore();
        return Ok(());
    }
    let current = tcgetattr(fd)?;
    let mut before = BEFORE.lock();
    if before.is_none() {
        *before = Some((fd.as_fd().try_clone_to_owned()?, current.clone()));
    }
    drop(before);
    let mut raw = current;
    raw.make_raw();
    // What a program prints still ends its lines, as under libuv.
    raw.output_modes |= rustix::termios::OutputModes::OPOST | rustix::termios::OutputModes::ONLCR;
    Ok(tcsetattr(fd, OptionalActions::Drain, &raw)?)
}

/// Puts the terminal back as it was; called when the program ends, too.
pub(crate) fn restore() {
    if let Some((fd, before)) = BEFORE.lock().take() {
        // A terminal that is gone has no mode.
        let _gone = tcsetattr(&fd, OptionalActions::Drain, &before);
    }
}
