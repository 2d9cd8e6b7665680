//! How fast and how well the network answers, seen by walking through it once.

use super::{Dht, Reply, RequestError, node_id};
use std::time::Duration;

/// What the answers of some nodes had in common.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Answers {
    /// How many there were.
    pub count: usize,
    /// How long one took, on average; zero where there were none.
    pub rtt: Duration,
    /// Those that were an error.
    pub errors: usize,
    /// How many other nodes one told of, on average.
    pub closer_nodes: f64,
}

impl Answers {
    fn of(replies: &[Reply]) -> Self {
        let count = replies.len();
        let total: Duration = replies.iter().map(|reply| reply.rtt).sum();
        let told = replies
            .iter()
            .map(|reply| reply.response.closer_nodes.len());
        let parts = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        Self {
            count,
            rtt: total / parts,
            errors: replies.iter().filter(|r| r.response.error != 0).count(),
            closer_nodes: told.sum::<usize>() as f64 / f64::from(parts),
        }
    }
}

/// What a walk through the network showed: see [`Dht::rtt_stats`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct RttStats {
    /// All that answered on the way.
    pub all: Answers,
    /// The closest to where it went, at most 20.
    pub closest: Answers,
}

impl Dht {
    /// Walks to the place of the node that was heard last, and says how those on the way answered (npm `rttStats`). Nothing where no node is known.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn rtt_stats(&self) -> Result<RttStats, RequestError> {
        let Some(latest) = self.nodes().first().copied() else {
            return Ok(RttStats::default());
        };
        let mut walk = self.find_node(node_id(latest));
        let mut replies = Vec::new();
        loop {
            match walk.next().await {
                Ok(reply) => replies.push(reply),
                Err(end) => {
                    return Ok(RttStats {
                        all: Answers::of(&replies),
                        closest: Answers::of(&end?.closest),
                    });
                }
            }
        }
    }
}
