//! Apps as people write them, two at a time, on a network of the test's own: both are `pome run`, or one is the same program on npm's modules, in npm's Bare or
//! in node. Each test runs in a namespace with nothing but loopback. The npm half needs `npm ci` in `tests/interop` and
//! `tests/suites` (Bare).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "process/ is shared with tests that use all of it")]

mod apps_world;
mod process;

use apps_world::{App, By, World};
use pome_test_support::namespace;
use std::{
    fs,
    time::{Duration, Instant},
};

/// Runs the two sides of a scenario on these, in a namespace.
fn between(test: &str, first: By, second: By, scenario: fn(&World, By, By)) {
    if first.works(test) && second.works(test) && namespace::inside(test) {
        scenario(&World::new(), first, second);
    }
}

/// How often is tried what needs a first dial that comes through.
const TRIES: usize = 20;

/// A dial gives up when the other side says nothing for some seconds, as it may on a busy machine, and an app that looks for a peer once knows of nothing then.
/// Who starts it again dials again.
fn again<T>(what: &str, mut start: impl FnMut() -> Option<T>) -> T {
    (0..TRIES)
        .find_map(|_| start())
        .unwrap_or_else(|| panic!("{what}, however often"))
}

/// Tests of a scenario, each by whom its two sides are run.
macro_rules! tests {
    ($scenario:ident: $($test:ident = $first:ident, $second:ident;)*) => {$(
        #[test]
        fn $test() {
            between(stringify!($test), By::$first, By::$second, $scenario);
        }
    )*};
}

tests! { dial:
    two_peers_by_key = Pome, Pome;
    bare_is_dialled = Bare, Pome;
    bare_dials = Pome, Bare;
    node_is_dialled = Node, Pome;
    node_dials = Pome, Node;
}

fn dial(world: &World, listens: By, dials: By) {
    let mut server = world.app(listens, "server", &[]);
    let key = server.says("key");
    let mut client = again("the client does not connect", || {
        let mut client = world.app(dials, "client", &[&key]);
        client.tells("connected").map(|_| client)
    });
    client.type_in("from the client\n");
    server.says("somebody is here");
    server.says("from the client");
    server.type_in("from the server\n");
    client.says("from the server");
    assert_eq!(server.interrupt(), Some(130));
}

tests! { chat:
    many_peers_by_topic = Pome, Pome;
    bare_and_others_by_topic = Bare, Pome;
    many_and_bare_by_topic = Pome, Bare;
    node_and_others_by_topic = Node, Pome;
    many_and_node_by_topic = Pome, Node;
}

fn chat(world: &World, one: By, others: By) {
    let mut first = world.app(one, "peer", &[]);
    let topic = first.says("topic");
    let mut second = world.app(others, "peer", &[&topic]);
    assert_eq!(second.says("peer"), "64");
    first.says("peer");
    // Who comes now finds both.
    second.says("topic");
    let mut third = world.app(others, "peer", &[&topic]);
    third.says("peer");
    third.says("peer");
    third.type_in("hello all");
    first.says("heard: hello all");
    second.says("heard: hello all");
    assert_eq!(third.interrupt(), Some(130));
}

tests! { follow:
    a_core_is_written_and_read = Pome, Pome;
    a_core_of_bare_is_read = Bare, Pome;
    bare_reads_a_core = Pome, Bare;
    a_core_of_node_is_read = Node, Pome;
    node_reads_a_core = Pome, Node;
}

fn follow(world: &World, writes: By, reads: By) {
    let mut writer = world.app(writes, "writer", &[]);
    let key = writer.says("key");
    writer.type_in("before");
    world.is_announced(&key);
    let mut reader = world.app(reads, "reader", &[&key]);
    // What was typed may have been appended by then, or not.
    let length: u32 = reader.says("length").parse().unwrap();
    if length == 0 {
        reader.says("block 0: before");
    }
    writer.type_in("first");
    reader.says("block 1: first");
    writer.type_in("second");
    reader.says("block 2: second");
    assert_eq!(reader.interrupt(), Some(130));
    assert_eq!(writer.interrupt(), Some(130));

    // All of it is there the next time, at both.
    let mut writer = world.app(writes, "writer", &[]);
    assert_eq!(writer.says("key"), key);
    world.is_announced(&key);
    let mut reader = world.app(reads, "reader", &[&key]);
    assert_eq!(reader.says("length"), "3");
    writer.type_in("third");
    reader.says("block 3: third");
}

tests! { many:
    many_cores_of_a_store = Pome, Pome;
    many_cores_of_bare_are_read = Bare, Pome;
    bare_reads_many_cores = Pome, Bare;
    many_cores_of_node_are_read = Node, Pome;
    node_reads_many_cores = Pome, Node;
}

fn many(world: &World, writes: By, reads: By) {
    let mut writer = world.app(writes, "many-writer", &[]);
    let key = writer.says("key");
    world.is_announced(&key);
    let mut reader = world.app(reads, "many-reader", &[&key]);
    reader.says("listening");
    writer.type_in("abc");
    reader.says("core 0 block 0: abc");
    writer.type_in("something long");
    reader.says("core 1 block 0: something long");
}

tests! { look_up:
    a_bee_is_shared = Pome, Pome;
    a_bee_of_bare_is_read = Bare, Pome;
    bare_reads_a_bee = Pome, Bare;
    a_bee_of_node_is_read = Node, Pome;
    node_reads_a_bee = Pome, Node;
}

fn look_up(world: &World, writes: By, reads: By) {
    let mut writer = world.app(writes, "bee-writer", &[]);
    let key = writer.says("key");
    let mut reader = world.app(reads, "bee-reader", &[&key]);
    reader.type_in("pear\n");
    // Who asks npm's before it has heard of the bee's length hears of nothing, and so does who asks when the first dial came to nothing.
    let until = Instant::now() + pome_test_support::PATIENCE;
    let mut said = reader.line();
    while said == "no pear" {
        assert!(Instant::now() < until, "no pear for so long");
        std::thread::sleep(Duration::from_millis(100));
        reader.type_in("pear\n");
        said = reader.line();
    }
    assert_eq!(said, "pear -> another pome");
    reader.type_in("apple\n");
    reader.says("apple -> a pome");
    reader.type_in("nobody\n");
    reader.says("no nobody");
    // npm's `update` may come back before a peer that was found has said anything: there is no block then.
    let (said, mut block) = again("there is no block", || {
        let mut block = world.app(reads, "block-reader", &[&key]);
        block.tells("block").map(|said| (said, block))
    });
    assert_eq!(said, "3 pear another pome");
    assert_eq!(block.child.wait().unwrap().code(), Some(0));
}

tests! { mirror:
    a_drive_follows_another = Pome, Pome;
    a_drive_follows_one_of_bare = Bare, Pome;
    a_drive_of_bare_follows_another = Pome, Bare;
    a_drive_follows_one_of_node = Node, Pome;
    a_drive_of_node_follows_another = Pome, Node;
}

fn mirror(world: &World, writes: By, reads: By) {
    let (from, to) = (world.home.path().join("from"), world.home.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("one.txt"), "one").unwrap();
    let mut writer = world.app(writes, "drive-writer", &[from.to_str().unwrap()]);
    let key = writer.says("key");
    writer.type_in("\n");
    assert_eq!(
        writer.says("mirrored"),
        r#"{"files":1,"add":1,"remove":0,"change":0}"#
    );
    let mut reader = world.app(reads, "drive-reader", &[&key, to.to_str().unwrap()]);
    while fs::read(to.join("one.txt")).unwrap_or_default() != b"one" {
        reader.says("mirrored");
    }
    let (entry, mut lister) = again("no entry is listed", || {
        let mut lister = world.app(reads, "drive-lister", &[&key]);
        let entry = lister.line();
        (entry != "end").then_some((entry, lister))
    });
    assert_eq!(entry, r#"entry "files\u0000/one.txt" 3"#);
    lister.says("end");
    fs::write(from.join("two.txt"), "two").unwrap();
    fs::remove_file(from.join("one.txt")).unwrap();
    writer.type_in("\n");
    while to.join("one.txt").exists() || fs::read(to.join("two.txt")).unwrap_or_default() != b"two"
    {
        reader.says("mirrored");
    }
}

tests! { converge:
    writers_of_a_base = PomeNpm, PomeNpm;
    a_base_of_bare_is_written = Bare, PomeNpm;
    bare_writes_a_base = PomeNpm, Bare;
    a_base_of_node_is_written = Node, PomeNpm;
    node_writes_a_base = PomeNpm, Node;
}

/// Two writers of npm's autobase, each in a process of its own, agree on one order of what both wrote.
fn converge(world: &World, one: By, other: By) {
    let folder = |name: &str| world.home.path().join(name).display().to_string();
    let mut first = world.app(one, "base", &[&folder("first")]);
    let key = first.says("key");
    world.is_announced(&key);
    let mut second = world.app(other, "base", &[&folder("second"), &key]);
    let local = second.says("local");
    first.type_in(&format!("put 0\nadd {local}\n"));
    first.says("writable");
    second.says("writable");
    for text in 1..5 {
        first.type_in(&format!("put a{text}\n"));
        second.type_in(&format!("put b{text}\n"));
    }
    let show = |app: &mut App| {
        app.type_in("show\n");
        app.says("view")
    };
    let until = Instant::now() + pome_test_support::PATIENCE;
    loop {
        let (ours, theirs) = (show(&mut first), show(&mut second));
        let mut all: Vec<&str> = ours.split(',').collect();
        if all.len() == 9 && ours == theirs {
            assert_eq!(all[0], "0");
            all.sort_unstable();
            assert_eq!(all, ["0", "a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"]);
            break;
        }
        assert!(Instant::now() < until, "{ours} and {theirs}");
    }
    assert_eq!(first.interrupt(), Some(130));
    assert_eq!(second.interrupt(), Some(130));
}
