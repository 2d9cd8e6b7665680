//! Tests that measure the process that they run in: each in one of its own.

use std::process::Command;

const ALONE: &str = "POME_TEST_ALONE";

/// True when the test is the only one in its process. Else it runs itself again in one where it is, and `false` comes back: the caller returns.
///
/// # Panics
/// When the test failed there.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("the name of this program");
    let status = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(ALONE, "1")
        .status()
        .expect("this program runs");
    assert!(status.success(), "{test} failed in its own process");
    false
}
