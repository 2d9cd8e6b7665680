//! What a node of the DHT may be told to do otherwise. No sockets, no clock: the other nodes are the test.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_net::dht_rpc::{
    AdaptiveTimeout, Ask, Message, Node, NodeFilter, NodeOptions, Output, QueryOptions, Request,
    Response, Socket, encode_address, internal, node_id,
};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

const BEGIN: Duration = Duration::from_secs(1);

/// The address of a node, of which there is one on each host.
fn at(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(80, 1, 1, n), 1_000)
}

fn node(set: impl FnOnce(&mut NodeOptions)) -> Node {
    let mut options = NodeOptions::default();
    options.quick_firewall = false;
    set(&mut options);
    Node::new(options, 1_000, [7; 32], BEGIN)
}

/// The questions that a node has to send, and to whom.
fn questions(node: &mut Node) -> Vec<(SocketAddrV4, Request)> {
    std::iter::from_fn(|| node.poll())
        .filter_map(|output| match output {
            Output::Send { to, bytes, .. } => match Message::decode(&bytes.into(), at(0))? {
                Message::Request(request) => Some((to, request)),
                Message::Response(_) => None,
            },
            _ => None,
        })
        .collect()
}

/// The node `from` answers, and tells of others.
fn answer(
    node: &mut Node,
    from: SocketAddrV4,
    request: &Request,
    closer: &[SocketAddrV4],
    now: Duration,
) {
    let response = Response {
        tid: request.tid,
        to: at(100),
        id: Some(node_id(from)),
        token: None,
        closer_nodes: closer.to_vec(),
        error: 0,
        value: None,
    };
    assert!(node.receive(Socket::Client, from, &response.encode().into(), now));
}

#[test]
fn who_is_filtered_out_is_neither_asked_nor_kept() {
    let unwanted = at(5);
    let mut filtered = node(|options| {
        options.bootstrap = vec![at(1)];
        options.filter = Some(NodeFilter(Arc::new(move |node| node != unwanted)));
    });
    let known: Vec<_> = (1..10).map(at).collect();
    let mut asked = Vec::new();
    loop {
        let questions = questions(&mut filtered);
        if questions.is_empty() {
            break;
        }
        for (to, request) in questions {
            answer(&mut filtered, to, &request, &known, BEGIN);
            asked.push(to);
        }
    }
    assert!(asked.contains(&at(4)) && !asked.contains(&unwanted));
    let kept = filtered.nodes();
    assert!(kept.contains(&at(4)) && !kept.contains(&unwanted));
}

#[test]
fn no_more_is_sent_at_a_time_than_the_window_allows() {
    for window in [5, 20] {
        let mut node = node(|options| options.max_window = window);
        let before = questions(&mut node).len();
        for n in 0..100 {
            node.request(at(n), Ask::default(), BEGIN);
        }
        let sent = questions(&mut node).len();
        assert_eq!(before + sent, window, "of a window of {window}");
    }
}

#[test]
fn a_query_asks_as_many_at_a_time_as_it_may() {
    for concurrency in [2, 7] {
        let mut node = node(|options| {
            options.nodes = (1..30).map(at).collect();
            options.concurrency = concurrency;
        });
        let _ = questions(&mut node);
        let mut options = QueryOptions::default();
        options.ask.command = 3;
        options.ask.target = Some([9; 32]);
        node.query(options, BEGIN);
        let sent = questions(&mut node);
        let sent = sent
            .iter()
            .filter(|(_, request)| request.command == 3 && !request.internal);
        assert_eq!(sent.count(), concurrency);
    }
}

/// What a lasting node answers to a question of its own kind, and when.
fn asked(node: &mut Node, command: u64, value: Bytes) -> Option<Duration> {
    let request = Request {
        tid: 77,
        to: at(100),
        id: None,
        token: None,
        internal: true,
        command,
        target: None,
        value: Some(value),
    };
    let _ = questions(node);
    assert!(node.receive(Socket::Server, at(1), &request.encode().into(), BEGIN));
    let mut now = BEGIN;
    while now < BEGIN + Duration::from_secs(30) {
        while let Some(output) = node.poll() {
            if let Output::Send { to, bytes, .. } = output
                && let Some(Message::Response(answer)) = Message::decode(&bytes.into(), at(0))
                && (to, answer.tid) == (at(1), 77)
            {
                return Some(now - BEGIN);
            }
        }
        now = node
            .next_timeout()
            .unwrap()
            .max(now + Duration::from_millis(1));
        node.handle_timeout(now);
    }
    None
}

#[test]
fn pings_are_put_off_no_longer_than_the_node_allows() {
    let delay = |ms: u32| Bytes::copy_from_slice(&ms.to_le_bytes());
    let three_at_most = || node(|options| options.max_ping_delay = Duration::from_secs(3));
    let ping = internal::DELAYED_PING;
    let three = asked(&mut three_at_most(), ping, delay(3_000));
    assert_eq!(three, Some(Duration::from_secs(3)));
    let more = asked(&mut three_at_most(), ping, delay(3_001));
    assert_eq!(more, None);
    let ten = asked(&mut node(|_| ()), ping, delay(10_000));
    assert_eq!(ten, Some(Duration::from_secs(10)));
}

/// The hints that a node gives when of two that it was told of none answers.
fn hints(set: impl FnOnce(&mut NodeOptions)) -> usize {
    let mut node = node(|options| {
        options.bootstrap = vec![at(1)];
        set(options);
    });
    let (mut now, mut hints) = (BEGIN, 0);
    while now < BEGIN + Duration::from_secs(60) {
        for (to, request) in questions(&mut node) {
            let is_hint = request.internal && request.command == internal::DOWN_HINT;
            if is_hint {
                let gone = [at(8), at(9)].map(|gone| encode_address(gone).to_vec());
                assert!(gone.contains(&request.value.clone().unwrap().to_vec()));
            }
            hints += usize::from(is_hint && to == at(1));
            if to == at(1) {
                answer(&mut node, to, &request, &[at(8), at(9)], now);
            }
        }
        now = node
            .next_timeout()
            .unwrap()
            .max(now + Duration::from_millis(1));
        node.handle_timeout(now);
    }
    hints
}

#[test]
fn who_told_of_nodes_that_are_gone_hears_of_it() {
    assert!(hints(|_| ()) >= 2);
    assert_eq!(hints(|options| options.down_hints = false), 0);
    assert_eq!(hints(|options| options.down_hints_max = 0), 0);
}

/// When a question that nobody answers is sent again the first time.
fn second_try(set: impl FnOnce(&mut NodeOptions)) -> Duration {
    let mut node = node(set);
    let _ = questions(&mut node);
    node.request(at(1), Ask::default(), BEGIN);
    assert_eq!(questions(&mut node).len(), 1);
    let mut now = BEGIN;
    loop {
        now = node
            .next_timeout()
            .unwrap()
            .max(now + Duration::from_millis(1));
        node.handle_timeout(now);
        if !questions(&mut node).is_empty() {
            return now - BEGIN;
        }
    }
}

#[test]
fn a_try_waits_a_second_or_as_long_as_answers_take() {
    assert_eq!(second_try(|_| ()), Duration::from_secs(1));
    let adaptive = AdaptiveTimeout {
        jitter: Duration::ZERO,
        ..AdaptiveTimeout::default()
    };
    let quick = second_try(|options| options.adaptive_timeout = Some(adaptive));
    assert_eq!(quick, Duration::from_millis(250));
}
