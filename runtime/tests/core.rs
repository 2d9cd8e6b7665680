//! Modules, the loop, threads, and how programs end.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

#[test]
fn programs_run_as_in_bare() {
    support::programs("core");
}

#[test]
fn modules_are_found_and_linked_as_in_bare() {
    support::programs("modules");
}

#[test]
fn threads_run_as_in_bare() {
    support::programs("threads");
}

#[test]
fn scripts_on_the_command_line() {
    let output = support::run(support::ours(&["-p", "1 + 1"]));
    assert_eq!(support::told(&output), "2\nexit 0\n");
    let output = support::run(support::ours(&[
        "--eval",
        "Bare.exit(Bare.argv.length)",
        "a",
        "b",
    ]));
    assert_eq!(support::told(&output), "exit 3\n");
    let output = support::run(support::ours(&["--nope"]));
    assert_eq!(support::told(&output), "exit 1\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "unknown flag: nope\n"
    );
}

/// What both print to stdout and stderr, and how they end.
#[test]
fn flags_as_bare_takes_them() {
    let gc = "[typeof gc, gc.length, gc(), gc({ execution: 'async' }) instanceof Promise, Object.keys(globalThis).includes('gc')].join()";
    let in_thread = "new Bare.Thread(() => console.log(typeof gc)).join()";
    let bundle = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/programs/modules/run.bundle"
    );
    let lines: [(&[&str], &str); 10] = [
        (&["-p", "typeof gc"], "undefined\nexit 0\n"),
        (
            &["--expose-gc", "-p", gc],
            "function,0,,true,true\nexit 0\n",
        ),
        (&["--expose-gc", "-e", in_thread], "function\nexit 0\n"),
        (&[bundle], "runs whole false true true\nexit 0\n"),
        (&["--no-version", "-p", "4"], "4\nexit 0\n"),
        (&["--nope", "-h"], "exit 1\nunknown flag: nope\n"),
        (&["-vx"], "exit 1\nunknown flag: x\n"),
        (&["-e"], "exit 1\ninvalid flag: e\n"),
        (&["--eval="], "exit 1\ninvalid flag: eval\n"),
        (&["--version=1"], "exit 1\ninvalid flag: version\n"),
    ];
    for (args, expected) in lines {
        for command in [Some(support::ours(args)), support::npms(args)] {
            let Some(command) = command else { continue };
            let output = support::run(command);
            let told = support::told(&output) + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(told, expected, "{args:?}");
        }
    }
}

#[test]
fn typed_lines_may_await() {
    let lines = "const later = await new Promise((resolve) => setTimeout(resolve, 5, 'late'))\nlater + ' line'\nawait Promise.reject(new Error('no'))\n_error.message\n.exit\n'never'\n";
    assert_eq!(
        typed(support::ours(&[]), lines),
        "late line\nno\nexit 0\nUncaught Error: no"
    );
}

/// Ctrl-C ends a loop without end, and what was declared before is still there.
#[test]
fn a_typed_line_is_ended_by_ctrl_c() {
    let mut child = support::ours(&[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    };
    writeln!(stdin, "const x = 5; console.log('begins'); while (true);").unwrap();
    assert_eq!(line(), "begins\n");
    let interrupt = |id: u32| {
        let status = Command::new("kill")
            .args(["-INT", &id.to_string()])
            .status();
        assert!(status.unwrap().success());
    };
    interrupt(child.id());
    writeln!(stdin, "x + 1; console.log(_error.code)").unwrap();
    assert_eq!(line(), "INTERRUPTED\n");
    writeln!(
        stdin,
        "setTimeout(console.log, 1, 'awaits'); await new Promise(() => {{}})"
    )
    .unwrap();
    assert_eq!(line(), "awaits\n");
    interrupt(child.id());
    assert_eq!(line(), "\n");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_fails_fails_as_in_bare() {
    support::programs_that_fail("errors");
}

fn typed(mut command: Command, lines: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    support::told(&output) + said.lines().next().unwrap_or_default()
}

#[test]
fn lines_as_they_are_typed() {
    let lines = "const x = 1\nx + 1\nfunction f () {\n  return x + 5\n}\nf()\nthrow new Error('typed')\n_error.message.length\n";
    assert_eq!(
        typed(support::ours(&[]), lines),
        "2\n6\n5\nexit 0\nUncaught Error: typed"
    );
}

#[test]
fn memory_that_is_not_there_is_a_named_error() {
    let mut options = pome_runtime::Options::default();
    options.memory_limit = Some(32 << 20);
    let program = "
        const all = []
        const fill = () => { while (true) all.push(new Uint8Array(1 << 20)) }
        try {
            fill()
        } catch (err) {
            all.length = 0
            Bare.exitCode = err.name === 'InternalError' && err.message === 'out of memory' ? 7 : 1
        }
        // It goes on after that, also in a promise.
        Promise.resolve().then(fill).catch((err) => {
            all.length = 0
            if (err.message !== 'out of memory') Bare.exitCode = 2
        })
    ";
    let runtime = pome_runtime::Runtime::new(options);
    assert_eq!(runtime.eval(program, false), pome_runtime::Exit::Code(7));
    // Nobody catches it: the program is over, and says why.
    let uncaught = "
        const all = []
        Bare.on('uncaughtException', (err) => Bare.exit(require('bare-inspect')(err).includes('InternalError: out of memory') ? 8 : 1))
        while (true) all.push(new Uint8Array(1 << 20))
    ";
    assert_eq!(runtime.eval(uncaught, false), pome_runtime::Exit::Code(8));
    let uncaught = "const all = []; while (true) all.push(new Uint8Array(1 << 20))";
    assert_eq!(runtime.eval(uncaught, false), pome_runtime::Exit::Abort);
    // A thread has a heap of its own with the same limit.
    let thread = "
        new Bare.Thread(() => {
            try {
                new Uint8Array(64 << 20)
            } catch (err) {
                Bare.exit(0)
            }
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
        }).join()
        Bare.exitCode = 3
    ";
    assert_eq!(runtime.eval(thread, false), pome_runtime::Exit::Code(3));
}
