//! Nodes in another process, npm's hyperdht or ours, which do what they are told.
#![allow(dead_code, reason = "each test uses a part of it")]

use crate::told::Told;
use pome_test_support::npm_folder;
use serde_json::{Value, json};
use std::{
    net::SocketAddrV4,
    ops::{Deref, DerefMut},
};
use tokio::process::Command;

/// The npm modules that the other side is made of.
pub(crate) const MODULES: &[&str] = &["hyperdht", "dht-rpc"];

pub(crate) struct Npm(Told);

impl Deref for Npm {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl DerefMut for Npm {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

impl Npm {
    pub(crate) fn start() -> Self {
        Self::from(Command::new("node").arg(npm_folder().join("dht.js")))
    }

    /// Any program that speaks as `dht.js` does.
    pub(crate) fn from(command: &mut Command) -> Self {
        Self(Told::spawn(command))
    }

    /// The next event of a name.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        self.next(|line| line["event"] == name).await
    }

    /// A lasting node that begins with these.
    pub(crate) async fn node(&mut self, bootstrap: &[SocketAddrV4]) -> (u64, SocketAddrV4) {
        self.node_with(bootstrap, json!({})).await
    }

    pub(crate) async fn node_with(
        &mut self,
        bootstrap: &[SocketAddrV4],
        mut options: Value,
    ) -> (u64, SocketAddrV4) {
        let bootstrap: Vec<String> = bootstrap.iter().map(ToString::to_string).collect();
        options["bootstrap"] = json!(bootstrap);
        let node = self.tell("node", options).await;
        let port = u16::try_from(node["port"].as_u64().unwrap()).unwrap();
        let address = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port);
        (node["node"].as_u64().unwrap(), address)
    }
}

/// The addresses in a list of texts.
pub(crate) fn addresses(value: &Value) -> Vec<SocketAddrV4> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    list.iter()
        .map(|text| text.as_str().unwrap().parse().unwrap())
        .collect()
}
