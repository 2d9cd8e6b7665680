//! A thousand threads, one after another, leave nothing behind. Alone in its process, for it measures the process.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_runtime::{Exit, Options, Runtime};

/// What the process has in memory, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn threads(count: u32) {
    let program = format!(
        "for (let i = 0; i < {count}; i++) {{
            new Bare.Thread({{ data: {{ i, shared: new SharedArrayBuffer(100000) }} }}, (data) => {{
                new Uint8Array(data.shared).fill(1)
                Buffer.from('a buffer')
            }}).join()
        }}"
    );
    assert_eq!(
        Runtime::new(Options::default()).eval(&program, false),
        Exit::Code(0)
    );
}

/// Threads that say something through a channel before they end.
fn talking(count: u32) {
    let program = format!(
        "const Channel = require('bare-channel')
        async function main () {{
            for (let i = 0; i < {count}; i++) {{
                const channel = new Channel()
                const port = channel.connect()
                const thread = new Bare.Thread({{ data: channel.handle }}, (handle) => {{
                    const port = require('bare-channel').from(handle).connect()
                    port.unref()
                    port.writeSync(new Uint8Array(100000))
                }})
                if ((await port.read()).byteLength !== 100000) throw new Error('something else')
                thread.join()
                await port.close()
            }}
        }}
        main()"
    );
    assert_eq!(
        Runtime::new(Options::default()).eval(&program, false),
        Exit::Code(0)
    );
}

#[test]
fn a_thousand_threads_leave_nothing_behind() {
    threads(50);
    let before = resident();
    threads(1000);
    let more = resident().saturating_sub(before);
    // Each has a heap of more than a megabyte while it runs.
    assert!(more < 16 << 20, "{more} bytes more after 1,000 threads");

    talking(20);
    let before = resident();
    talking(200);
    let more = resident().saturating_sub(before);
    assert!(more < 16 << 20, "{more} bytes more after 200 that talked");
}
