//! Each decoder: it ends, takes no memory on the word of a count, and what it reads is the same after it was written and read again.

use bytes::Bytes;
use pome_net::{
    dht_relay,
    dht_rpc::{self, node_id},
    hyperdht::messages::{
        Announce, Handshake, Holepunch, HolepunchPayload, LookupReply, MutablePut, MutableRecord,
        MutableSignable, NoisePayload, Peer, PluginRequest, RelayThrough, UdxInfo, Wire,
    },
};
use std::{
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Is it one, and how long is what it says? A version is always written as ours.
fn wire<T: Wire + PartialEq + Debug>(bytes: &[u8]) -> Option<usize> {
    let written = T::decode(bytes).ok()?.encode();
    let read = T::decode(&written).unwrap();
    assert_eq!(read.encode(), written);
    assert_eq!(T::decode(&read.encode()).unwrap(), read);
    // Nothing is made longer than it came, but where bytes that are no text are replaced.
    assert!(written.len() <= 3 * bytes.len() + 8, "{read:?}");
    Some(written.len())
}

/// Of another version nothing is read but that; what is written is of this one.
fn noise_payload(bytes: &[u8]) -> Option<usize> {
    match NoisePayload::decode(bytes) {
        Ok(payload) if payload.version != 1 => Some(0),
        _ => wire::<NoisePayload>(bytes),
    }
}

fn datagram(bytes: &[u8]) -> Option<usize> {
    let from = "3.3.3.3:3".parse().unwrap();
    let encode = |message: &dht_rpc::Message| match message {
        dht_rpc::Message::Request(request) => request.encode(),
        dht_rpc::Message::Response(response) => response.encode(),
    };
    let first = dht_rpc::Message::decode(&Bytes::copy_from_slice(bytes), from)?;
    let id = match &first {
        dht_rpc::Message::Request(request) => request.id,
        dht_rpc::Message::Response(response) => response.id,
    };
    assert!(id.is_none() || id == Some(node_id(from)));
    let written = encode(&first);
    let second = dht_rpc::Message::decode(&written.clone().into(), from).unwrap();
    assert_eq!(first, second);
    Some(written.len())
}

fn relayed(kind: u64, bytes: &[u8]) -> Option<usize> {
    let first = dht_relay::Message::decode(kind, bytes).ok()??;
    let (own, written) = first.encode();
    assert_eq!(own, kind);
    let second = dht_relay::Message::decode(kind, &written).unwrap().unwrap();
    assert_eq!(first, second);
    Some(written.len())
}

fn announcers(bytes: &[u8]) -> Option<usize> {
    let first = dht_relay::Announcers::decode(bytes).ok()?;
    let written = first.encode();
    assert_eq!(first, dht_relay::Announcers::decode(&written).unwrap());
    Some(written.len())
}

pub(crate) fn run(which: u8, bytes: &[u8]) -> u64 {
    let read = match which % 46 {
        0 => wire::<Handshake>(bytes),
        1 => wire::<Holepunch>(bytes),
        2 => noise_payload(bytes),
        3 => wire::<HolepunchPayload>(bytes),
        4 => wire::<Peer>(bytes),
        5 => wire::<LookupReply>(bytes),
        6 => wire::<Announce>(bytes),
        7 => wire::<MutableSignable>(bytes),
        8 => wire::<MutableRecord>(bytes),
        9 => wire::<MutablePut>(bytes),
        10 => wire::<PluginRequest>(bytes),
        11 => wire::<UdxInfo>(bytes),
        12 => wire::<RelayThrough>(bytes),
        13 => announcers(bytes),
        kind @ 14..42 => relayed(u64::from(kind) - 14, bytes),
        _ => datagram(bytes),
    };
    let mut answer = DefaultHasher::new();
    let size = read.map(|len| usize::BITS - len.leading_zeros());
    (which % 46, size).hash(&mut answer);
    answer.finish()
}
