//! Streams of npm's udx-native in another process, which do what they are told.

use crate::told::Told;
use pome_test_support::npm_folder;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::{Deref, DerefMut},
};
use tokio::process::Command;

/// The npm modules that the other side is made of.
pub(crate) const MODULES: &[&str] = &["udx-native"];

pub(crate) struct Npm {
    told: Told,
    /// Its socket.
    pub(crate) socket: u64,
    pub(crate) address: SocketAddr,
}

impl Deref for Npm {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.told
    }
}

impl DerefMut for Npm {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.told
    }
}

impl Npm {
    pub(crate) async fn start() -> Self {
        let told = Told::spawn(Command::new("node").arg(npm_folder().join("udx.js")));
        let mut npm = Self {
            told,
            socket: 0,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
        };
        (npm.socket, npm.address) = npm.bind().await;
        npm
    }

    /// Another socket of it.
    pub(crate) async fn bind(&mut self) -> (u64, SocketAddr) {
        let socket = self.tell("socket", json!({})).await;
        let port = u16::try_from(socket["port"].as_u64().unwrap()).unwrap();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        (socket["socket"].as_u64().unwrap(), address)
    }

    /// What it says next of this stream and event.
    pub(crate) async fn event(&mut self, stream: u32, event: &str) -> Value {
        self.next(|line| line["event"] == event && line["stream"] == stream)
            .await
    }

    /// A stream on its socket.
    pub(crate) async fn stream(&mut self, id: u32, remote_id: u32, remote: SocketAddr) {
        self.tell("stream", json!({"stream": id})).await;
        self.connect(id, remote_id, remote).await;
    }

    pub(crate) async fn connect(&mut self, id: u32, remote_id: u32, remote: SocketAddr) {
        let to = json!({
            "stream": id, "socket": self.socket, "remoteId": remote_id, "port": remote.port(),
        });
        self.tell("connect", to).await;
    }

    /// A stream that connects to whoever sends first.
    pub(crate) async fn accept(&mut self, id: u32, remote_id: u32) {
        self.tell("stream", json!({"stream": id, "accept": remote_id}))
            .await;
    }

    /// All that it has read of a stream that has ended: how many bytes, and their hash.
    pub(crate) async fn read(&mut self, stream: u32) -> (u64, String) {
        let end = self.event(stream, "end").await;
        let hash = end["hash"].as_str().unwrap().to_owned();
        (end["bytes"].as_u64().unwrap(), hash)
    }

    /// The error that a stream closed with, when it did not end well.
    pub(crate) async fn closed(&mut self, stream: u32) -> Option<String> {
        let close = self.event(stream, "close").await;
        close["error"].as_str().map(str::to_owned)
    }
}
