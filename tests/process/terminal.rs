//! The binary with a person at a terminal: a pseudo-terminal that `script` makes.

use super::Pome;
use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Nothing here takes so long, on whatever machine.
const PATIENCE: Duration = pome_test_support::PATIENCE;

/// A command that runs in a terminal.
pub(crate) struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    /// So much of the screen was read.
    seen: usize,
    /// The terminal's device.
    tty: String,
}

/// What a person saw.
pub(crate) struct Seen {
    pub(crate) status: i32,
    pub(crate) screen: String,
}

impl Terminal {
    /// Starts `pome` in a terminal of its own.
    pub(crate) fn new(pome: &Pome, args: &[&str]) -> Self {
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let line = format!(
            "tty; '{}' {}; echo \"it ended: $?\"; stty -a | tr '; ' '\\n\\n' | grep -x -e '-*echo'",
            env!("CARGO_BIN_EXE_pome"),
            quoted.join(" ")
        );
        let mut child = Command::new("script")
            .args(["-q", "-f", "-c", &line, "/dev/null"])
            .env("POME_STORE", &pome.store)
            .env("POME_APPS", pome.apps())
            .envs(pome.variables())
            .env("SHELL", "/bin/sh")
            .env_remove("SUDO_USER")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("script (of util-linux) runs");
        let mut stdout = child.stdout.take().expect("a pipe");
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(n @ 1..) = stdout.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]);
                shown.lock().expect("no panic").push_str(&text);
            }
        });
        let mut terminal = Self {
            keyboard: child.stdin.take().expect("a pipe"),
            child,
            screen,
            reader: Some(reader),
            seen: 0,
            tty: String::new(),
        };
        let first = terminal.wait_for("\n");
        terminal.tty = first.trim().to_owned();
        terminal
    }

    fn patiently<T>(&self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(done) = done() {
                return done;
            }
            let screen = self.screen.lock().expect("no panic").clone();
            assert!(
                begin.elapsed() < PATIENCE,
                "{what} did not come; the screen shows {screen:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a text is on the screen behind what was seen before; answers all up to its end.
    fn wait_for(&mut self, text: &str) -> String {
        let seen = self.seen;
        let new = self.patiently(text, || {
            let screen = self.screen.lock().expect("no panic");
            let at = screen[seen..].find(text)?;
            Some(screen[seen..seen + at + text.len()].to_owned())
        });
        self.seen += new.len();
        new
    }

    /// Types an answer when it is asked for; the terminal shows it.
    pub(crate) fn reply(&mut self, prompt: &str, line: &str) {
        self.wait_for(prompt);
        self.keyboard
            .write_all(line.as_bytes())
            .expect("a keyboard");
        self.keyboard.write_all(b"\r").expect("a keyboard");
    }

    /// Types an answer when it is asked for, and when the terminal shows no more what is typed.
    pub(crate) fn answer(&mut self, prompt: &str, line: &str) {
        self.wait_for(prompt);
        self.patiently("a terminal without echo", || {
            let modes = Command::new("stty").args(["-F", &self.tty, "-a"]).output();
            let modes = modes.expect("stty (of coreutils) runs").stdout;
            String::from_utf8_lossy(&modes)
                .split_whitespace()
                .any(|word| word == "-echo")
                .then_some(())
        });
        self.keyboard
            .write_all(line.as_bytes())
            .expect("a keyboard");
        self.keyboard.write_all(b"\r").expect("a keyboard");
    }

    /// Waits for the end. The terminal must show again what is typed.
    pub(crate) fn end(mut self) -> Seen {
        self.wait_for("it ended: ");
        let status = self.wait_for("\n");
        let echo = self.wait_for("\n");
        assert_eq!(echo.trim(), "echo", "the terminal is left as it was");
        drop(self.keyboard);
        self.child.wait().expect("ends");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
        let screen = self.screen.lock().expect("no panic").clone();
        Seen {
            status: status.trim().parse().expect("a number"),
            screen,
        }
    }
}
