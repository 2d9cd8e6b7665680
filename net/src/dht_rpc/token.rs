//! Tokens: who has one has received a datagram at its address lately.

use pome_cores::crypto;
use std::{net::Ipv4Addr, time::Duration};

/// A token is taken for one to two of these.
const ROTATE: Duration = Duration::from_millis(7_500);

/// The secrets behind the tokens that this node gives out.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    /// The previous and the current one.
    secrets: [[u8; 32]; 2],
    rotate_at: Duration,
}

impl Tokens {
    pub(crate) fn new(secrets: [[u8; 32]; 2], now: Duration) -> Self {
        Self {
            secrets,
            rotate_at: now + ROTATE,
        }
    }

    /// Replaces what has become too old.
    fn rotate(&mut self, now: Duration) {
        for _ in 0..2 {
            if now < self.rotate_at {
                return;
            }
            self.rotate_at += ROTATE;
            self.secrets.swap(0, 1);
            self.secrets[1] = crypto::hash(&[&self.secrets[1]]);
        }
        self.rotate_at = self.rotate_at.max(now + ROTATE);
    }

    fn make(secret: &[u8; 32], host: Ipv4Addr) -> [u8; 32] {
        *blake2b_simd::Params::new()
            .hash_length(32)
            .key(secret)
            .hash(host.to_string().as_bytes())
            .as_bytes()
            .first_chunk()
            .expect("a hash of 32 bytes")
    }

    /// The token for an address.
    pub(crate) fn give(&mut self, host: Ipv4Addr, now: Duration) -> [u8; 32] {
        self.rotate(now);
        Self::make(&self.secrets[1], host)
    }

    /// True when this token was given to the address, and not too long ago.
    pub(crate) fn is_known(&mut self, token: &[u8; 32], host: Ipv4Addr, now: Duration) -> bool {
        self.rotate(now);
        self.secrets
            .iter()
            .any(|secret| Self::make(secret, host) == *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pome_test_support::{hex, load};

    #[test]
    fn vectors_tokens_are_those_of_dht_rpc() {
        let vectors = load("dht", &["tokens"], ELSEWHERE);
        let array = |v: &serde_json::Value| -> [u8; 32] { hex(v).try_into().expect("32 bytes") };
        let rounds = vectors["tokens"]["rounds"].as_array().expect("a list");
        assert!(!rounds.is_empty());
        let first = vectors["tokens"]["secrets"].as_array().expect("a list");
        let mut tokens = Tokens::new([array(&first[0]), array(&first[1])], Duration::ZERO);
        for (round, case) in rounds.iter().enumerate() {
            let now = ROTATE * u32::try_from(round).expect("few");
            let host: Ipv4Addr = case["host"]
                .as_str()
                .expect("text")
                .parse()
                .expect("an address");
            let current = tokens.give(host, now);
            assert_eq!(current, array(&case["token_current"]), "round {round}");
            assert!(tokens.is_known(&array(&case["token_previous"]), host, now));
            assert!(!tokens.is_known(&current, Ipv4Addr::LOCALHOST, now));
            assert!(!tokens.is_known(&current, host, now + 3 * ROTATE));
            tokens = Tokens::new([array(&first[0]), array(&first[1])], Duration::ZERO);
            for past in 1..=round + 1 {
                tokens.rotate(ROTATE * u32::try_from(past).expect("few"));
            }
        }
    }

    const ELSEWHERE: &[&str] = &[
        "request_id_byte",
        "response_id_byte",
        "commands",
        "firewall",
        "errors",
        "namespaces",
        "ids",
        "requests",
        "replies",
        "incoming",
        "messages",
        "messages_raw",
        "signatures",
        "immutable",
        "handshakes",
        "holepunch_payloads",
        "blind_relay",
        "wakeup",
        "addresses",
        "udx",
    ];
}
