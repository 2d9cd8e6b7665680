//! Files, the machine, sockets, subprocesses, HTTP, TLS and cryptography, as programs use them.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

#[test]
fn programs_do_as_under_bare() {
    support::programs("io");
}

/// What a process may take for the channel to its starter.
#[test]
fn a_channel_is_a_socket_that_was_there_first() {
    use std::{
        os::fd::{AsRawFd, OwnedFd},
        os::unix::net::UnixStream,
        process::Output,
    };
    let run = |number: i32| -> Output {
        let script = "const fs = require('bare-fs')
            for (let n = 0; n < 64; n++) fs.openSync('/dev/null')
            const ipc = Bare.IPC
            console.log(ipc === null)
            if (ipc) ipc.write('hello', () => Bare.exit())";
        let mut command = support::ours(&["--eval", script]);
        command
            .env("BARE_CHANNEL_FD", number.to_string())
            .env("BARE_CHANNEL_SERIALIZATION_MODE", "binary");
        support::run(command)
    };
    let inherited = |fd: OwnedFd| {
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
        fd
    };
    // Nothing has that number until the program opens something.
    assert_eq!(run(40).stdout, b"true\n");
    // A file of the starter's.
    let file = inherited(std::fs::File::open("/dev/null").unwrap().into());
    assert_eq!(run(file.as_raw_fd()).stdout, b"true\n");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = inherited(theirs.into());
    assert_eq!(run(theirs.as_raw_fd()).stdout, b"false\n");
    let mut said = [0; 5];
    std::io::Read::read_exact(&mut &ours, &mut said).unwrap();
    assert_eq!(&said, b"hello");
}
