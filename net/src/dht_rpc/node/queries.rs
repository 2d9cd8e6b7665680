//! The queries of a node: from their begin to the commit at the closest.

use super::*;
pub(super) struct Running {
    pub(super) query: Query,
    pub(super) ask: Ask,
    pub(super) commit: Option<Ask>,
    pub(super) retries: u32,
    /// Closest replies, commits that wait, commits taken.
    pub(super) committing: Option<(Vec<Reply>, usize, usize)>,
    pub(super) internal_only: bool,
}

impl Node {
    /// Begins a query.
    pub fn query(&mut self, options: QueryOptions, now: Duration) -> QueryId {
        self.refresh_ticks = REFRESH_TICKS;
        QueryId(self.begin(options, false, now))
    }

    /// Begins a query for the nodes closest to a target.
    pub fn find_node(&mut self, target: Id, now: Duration) -> QueryId {
        let ask = Ask {
            internal: true,
            command: internal::FIND_NODE,
            target: Some(target),
            ..Ask::default()
        };
        let options = QueryOptions {
            ask,
            ..QueryOptions::default()
        };
        self.query(options, now)
    }

    pub(super) fn begin(
        &mut self,
        options: QueryOptions,
        internal_only: bool,
        now: Duration,
    ) -> u64 {
        let number = self.number();
        let target = options.ask.target.unwrap_or_default();
        let mut known = options.nodes;
        let from_table = known.len() < K && !options.only_these;
        if from_table {
            let table = self.start_nodes(&target);
            known.extend(table.into_iter().take(K - known.len()));
        }
        let concurrency = options.concurrency.unwrap_or(self.options.concurrency);
        let query = Query::new(
            target,
            self.table.id,
            concurrency,
            known,
            from_table,
            options.only_these,
        );
        let running = Running {
            query,
            ask: options.ask,
            commit: options.commit,
            retries: options.retries.unwrap_or(QUERY_RETRIES),
            committing: None,
            internal_only,
        };
        self.queries.insert(number, running);
        self.requests.stats.queries += 1;
        self.advance(number, now);
        number
    }

    /// Where a query begins: the table, and the bootstrap nodes while that is not full.
    pub(super) fn start_nodes(&self, target: &Id) -> Vec<SocketAddrV4> {
        let mut known = self.closest(target);
        if known.len() < K {
            known.extend(&self.options.bootstrap);
        }
        known
    }

    pub(super) fn background_query(&mut self, target: Id, now: Duration) -> u64 {
        self.refresh_ticks = REFRESH_TICKS;
        let ask = Ask {
            internal: true,
            command: internal::FIND_NODE,
            target: Some(target),
            ..Ask::default()
        };
        let options = QueryOptions {
            ask,
            concurrency: Some((self.options.concurrency / 8).max(2)),
            ..QueryOptions::default()
        };
        self.begin(options, true, now)
    }

    pub(super) fn query_answered(&mut self, number: u64, mut reply: Reply, now: Duration) {
        if let Some(filter) = &self.options.filter {
            reply.response.closer_nodes.retain(|node| (filter.0)(*node));
        }
        let Some(running) = self.queries.get_mut(&number) else {
            return;
        };
        running.query.answered(&reply);
        if !running.internal_only && running.committing.is_none() && reply.response.error == 0 {
            self.out
                .push_back(Output::QueryReply(QueryId(number), reply.clone()));
        }
        if let Some(bootstrap) = &mut self.bootstrap
            && bootstrap.query == number
            && bootstrap.quick
        {
            bootstrap.quick = false;
            let port = Bytes::copy_from_slice(&self.server_port.to_le_bytes());
            self.ask_internal(
                Purpose::NatQuick,
                reply.from,
                internal::PING_NAT,
                Some(port),
                now,
            );
        }
        self.advance(number, now);
    }

    /// Lets a query ask on, or ends it.
    pub(super) fn advance(&mut self, number: u64, now: Duration) {
        let Some(running) = self.queries.get_mut(&number) else {
            return;
        };
        if running.committing.is_some() {
            return;
        }
        if running.query.needs_table() && !running.query.is_from_table() {
            let target = running.query.target;
            let known = self.start_nodes(&target);
            if let Some(running) = self.queries.get_mut(&number) {
                running.query.add_table(known);
            }
        }
        let Some(running) = self.queries.get_mut(&number) else {
            return;
        };
        let steps = running.query.steps();
        let (ask, retries) = (running.ask.clone(), running.retries);
        for step in steps {
            match step {
                Step::Ask(to) => {
                    let how = How {
                        purpose: Purpose::Query(number),
                        socket: self.socket(),
                        ttl: None,
                        retries,
                        timeout: None,
                    };
                    self.start(how, to, ask.clone(), now);
                }
                Step::Hint(to, down)
                    if self.options.down_hints && self.hints < self.options.down_hints_max =>
                {
                    self.hints += 1;
                    let value = Bytes::copy_from_slice(&encode_address(down));
                    self.ask_internal(Purpose::Hint, to, internal::DOWN_HINT, Some(value), now);
                }
                Step::Hint(..) => {}
            }
        }
        if self.queries.get(&number).is_some_and(|r| r.query.is_done()) {
            self.query_ended(number, now);
        }
    }

    pub(super) fn query_ended(&mut self, number: u64, now: Duration) {
        let Some(mut running) = self.queries.remove(&number) else {
            return;
        };
        let Some(commit) = running.commit.take() else {
            self.query_done(number, running, 0, now);
            return;
        };
        let empty = Query::new(running.query.target, self.table.id, 1, [], true, false);
        let closest = std::mem::replace(&mut running.query, empty).into_closest();
        let with_token: Vec<_> = closest
            .iter()
            .filter_map(|reply| Some((reply.from, reply.response.token?)))
            .collect();
        running.committing = Some((closest, with_token.len(), 0));
        if with_token.is_empty() {
            self.query_done(number, running, 0, now);
            return;
        }
        self.queries.insert(number, running);
        for (to, token) in with_token {
            let ask = Ask {
                token: Some(token),
                ..commit.clone()
            };
            let how = How {
                purpose: Purpose::Commit(number),
                socket: self.socket(),
                ttl: None,
                retries: RETRIES,
                timeout: None,
            };
            self.start(how, to, ask, now);
        }
    }

    pub(super) fn committed(&mut self, number: u64, taken: bool, now: Duration) {
        let Some(running) = self.queries.get_mut(&number) else {
            return;
        };
        let Some((_, waiting, took)) = &mut running.committing else {
            return;
        };
        *waiting -= 1;
        *took += usize::from(taken);
        let (waiting, took) = (*waiting, *took);
        if waiting == 0
            && let Some(running) = self.queries.remove(&number)
        {
            self.query_done(number, running, took, now);
        }
    }

    pub(super) fn query_done(
        &mut self,
        number: u64,
        running: Running,
        committed: usize,
        now: Duration,
    ) {
        if self.bootstrap.is_some_and(|b| b.query == number) {
            self.bootstrap_query_done(now);
        }
        if !running.internal_only {
            let closest = match running.committing {
                Some((closest, ..)) => closest,
                None => running.query.into_closest(),
            };
            self.out
                .push_back(Output::QueryDone(QueryId(number), closest, committed));
        }
    }
}
