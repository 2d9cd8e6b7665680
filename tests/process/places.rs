//! Places on a network that the test makes: network namespaces around a bridge, which is here, some of them behind a router that masquerades (nftables).
//!
//! ```text
//! here, 5.5.0.1/16: a bridge
//!   ├── open        the place itself, 5.5.1.n
//!   ├── consistent  a router, 5.5.1.n, that keeps the port of the place's socket; only who was sent to may send back
//!   └── random      a router that gives out another random port for each destination
//! ```

use std::{
    io::Read,
    process::{Child, Command, Stdio},
};

/// The address here.
pub(crate) const HERE: &str = "5.5.0.1";

fn sh(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).status();
    assert!(done.expect("sh runs").success(), "{script}");
}

/// A network namespace that lives as long as this.
pub(crate) struct Namespace(Child);

impl Namespace {
    /// With nothing but loopback.
    pub(crate) fn new() -> Self {
        let mut child = Command::new("unshare")
            .args([
                "-n",
                "sh",
                "-c",
                "ip link set lo up && echo && exec sleep 600",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = [0];
        let mut out = child.stdout.take().expect("a pipe");
        out.read_exact(&mut line).expect("it is there");
        Self(child)
    }

    /// The process that keeps it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.id().to_string(), "-n"]);
        command
    }

    pub(crate) fn sh(&self, script: &str) {
        let done = self.inside().args(["sh", "-ec", script]).status();
        assert!(done.expect("nsenter runs").success(), "{script}");
    }

    /// TCP connections that stand.
    pub(crate) fn connections(&self) -> usize {
        let tcp = self.inside().args(["cat", "/proc/net/tcp"]).output();
        let text = String::from_utf8(tcp.expect("nsenter runs").stdout).expect("text");
        // The fourth column is the state.
        let states = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3));
        states.filter(|state| *state == "01").count()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is in front of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Open,
    Consistent,
    Random,
}

pub(crate) struct Place {
    pub(crate) inside: Namespace,
    _router: Option<Namespace>,
}

/// The network around the bridge.
pub(crate) struct Places {
    made: u8,
    /// Nothing gets from one place to another, but only here and back.
    isolated: bool,
}

impl Places {
    pub(crate) fn new(isolated: bool) -> Self {
        // Without an address of its own a bridge takes that of one of its ports, another one with each port that comes: then nobody finds it for a while.
        sh(&format!(
            "ip link add hub address 02:00:00:00:00:01 type bridge
             ip addr add {HERE}/16 dev hub
             ip link set hub up"
        ));
        Self { made: 0, isolated }
    }

    /// One more address here.
    pub(crate) fn host(&self, n: u8) -> String {
        let host = format!("5.5.0.{n}");
        sh(&format!("ip addr replace {host}/16 dev hub"));
        host
    }

    pub(crate) fn add(&mut self, front: Front) -> Place {
        self.made += 1;
        let n = self.made;
        let inside = Namespace::new();
        let router = (front != Front::Open).then(Namespace::new);
        let outer = router.as_ref().unwrap_or(&inside);
        sh(&format!(
            "ip link add here-{n} type veth peer name there-{n}
             ip link set there-{n} netns {}
             ip link set here-{n} master hub up",
            outer.id()
        ));
        if self.isolated {
            sh(&format!(
                "ip link set here-{n} type bridge_slave isolated on"
            ));
        }
        outer.sh(&format!(
            "ip addr add 5.5.1.{n}/16 dev there-{n}
             ip link set there-{n} up"
        ));
        if let Some(router) = &router {
            let kind = match front {
                Front::Random => "random,fully-random",
                _ => "",
            };
            // What nobody inside asked for is dropped, and leaves no trace in the table of connections.
            router.sh(&format!(
                "echo 1 > /proc/sys/net/ipv4/ip_forward
                 ip link add inside type veth peer name outside netns {}
                 ip addr add 192.168.1.1/24 dev inside
                 ip link set inside up
                 nft -f - <<END
                 table ip nat {{
                   chain out {{ type nat hook postrouting priority 100; oifname there-{n} masquerade {kind}; }}
                   chain in {{ type filter hook input priority 0; iifname there-{n} drop; }}
                 }}
END",
                inside.id()
            ));
            inside.sh("ip addr add 192.168.1.2/24 dev outside
                 ip link set outside up
                 ip route add default via 192.168.1.1");
        }
        Place {
            inside,
            _router: router,
        }
    }
}

/// True when all that it takes is here; says loudly what is skipped when it is not.
pub(crate) fn works(test: &str) -> bool {
    pome_test_support::tools_work(test, &["ip", "nsenter", "nft"])
}
