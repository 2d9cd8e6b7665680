//! Tests that run in a network of their own: nothing but loopback, so that nothing leaves the machine and nobody else's addresses are met.

use crate::skipped;
use std::process::{Command, Stdio};

const INSIDE: &str = "POME_IN_NAMESPACE";

/// True when the test runs inside a network namespace in which only loopback is up. Outside, the test runs itself again in one and `false` comes back: the
/// caller returns. Where there are no namespaces, the test is skipped, loudly.
///
/// # Panics
/// When the test failed inside.
pub fn inside(test: &str) -> bool {
    inside_with(test, "-rn")
}

/// The same in a namespace in which FUSE can be mounted, too.
///
/// # Panics
/// When the test failed inside.
pub fn inside_with_mounts(test: &str) -> bool {
    inside_with(test, "-rnm")
}

fn inside_with(test: &str, flags: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let works = Command::new("unshare")
        .args([flags, "sh", "-c", "ip link set lo up"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skipped(test, "needs network namespaces: unshare -rnm, and ip");
        return false;
    }
    let program = std::env::current_exe().expect("the name of this program");
    let status = Command::new("unshare")
        .args([flags, "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "{test} failed in its namespace");
    false
}
