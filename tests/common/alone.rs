//! What a process has is looked at in one of its own: the tests of one binary run side by side.

use std::process::Command;

/// Runs a test of this binary in another process, which finds `mark` in its environment.
pub fn in_another_process(test: &str, mark: &str) {
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", test, "--nocapture"]).env(mark, "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    // A name that no test bears runs none, and fails none.
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
