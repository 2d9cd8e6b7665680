//! A topic: the task that looks it up and announces us under it, and the handles of those that joined.

use super::{
    Error, JoinOptions,
    plan::{Left, Outcome, Plan, Roles, Round, Step},
    run::Shared,
};
use crate::{dht_rpc::Id, hyperdht::messages::Peer};
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{Arc, Weak},
};
use tokio::sync::watch;

pub(super) struct Topic {
    pub(super) id: Id,
    plan: Mutex<Plan>,
    /// The plan changed, by a handle or by the task; true: the task has ended.
    changed: watch::Sender<bool>,
}

impl Topic {
    pub(super) fn new(id: Id) -> Arc<Self> {
        Arc::new(Self {
            id,
            plan: Mutex::default(),
            changed: watch::Sender::new(false),
        })
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Plan) -> T) -> T {
        look(&self.plan.lock())
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        let result = change(&mut self.plan.lock());
        self.changed.send_modify(|_| {});
        result
    }

    async fn until<T>(&self, mut ask: impl FnMut(&Plan) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(answer) = self.look(&mut ask) {
                return answer;
            }
            if changed.changed().await.is_err() {
                // The sender is in here.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for the round that is asked for: true when it went well.
    pub(super) async fn flushed(&self) -> bool {
        let round = self.look(Plan::current);
        self.ended(round).await
    }

    async fn ended(&self, round: u64) -> bool {
        self.until(|plan| plan.result(round)).await
    }

    /// Waits until nothing is left of it at the nodes.
    pub(super) async fn withdrawn(&self) {
        self.until(|plan| plan.is_withdrawn().then_some(())).await;
    }

    /// Its task was stopped: who waits for something waits no more.
    pub(super) fn end(&self) {
        let mut plan = self.plan.lock();
        plan.destroy();
        plan.withdrawn();
        drop(plan);
        self.changed.send_replace(true);
    }

    /// Waits for the end of its task.
    pub(super) async fn gone(&self) {
        let _ = self.changed.subscribe().wait_for(|gone| *gone).await;
    }
}

/// The task of one topic. Begins when the one that was there before it is gone.
pub(super) async fn keep(shared: Arc<Shared>, topic: Arc<Topic>, before: Option<Arc<Topic>>) {
    if let Some(before) = before {
        before.gone().await;
    }
    let mut changed = topic.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let step = topic.plan.lock().step(shared.now());
        match step {
            Step::Run(round) => {
                let stale = topic.until(|plan| plan.is_stale(&round).then_some(()));
                let outcome = tokio::select! {
                    biased;
                    () = stale => continue,
                    outcome = run(&shared, &topic, &round) => outcome,
                };
                let now = shared.now();
                topic.change(|plan| plan.finish(&round, outcome, now, &mut rand::rng()));
            }
            Step::Withdraw => {
                // Nodes that do not answer forget it in time.
                let _ = shared.dht.unannounce(topic.id, &shared.key_pair).await;
                topic.change(Plan::withdrawn);
            }
            Step::Wait(until) => {
                let sleep = async {
                    match until {
                        Some(at) => tokio::time::sleep_until(shared.instant(at)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = sleep => {}
                    _ = changed.changed() => {}
                }
            }
            Step::Over => break,
        }
    }
    let mut inner = shared.inner.lock();
    if inner
        .leaving
        .get(&topic.id)
        .is_some_and(|other| Arc::ptr_eq(other, &topic))
    {
        inner.leaving.remove(&topic.id);
    }
    drop(inner);
    topic.changed.send_replace(true);
}

/// One round.
async fn run(shared: &Arc<Shared>, topic: &Arc<Topic>, round: &Round) -> Outcome {
    if round.server {
        if let Err(error) = shared.listen().await {
            tracing::debug!(code = error.code(), "a swarm cannot listen");
            return Outcome::Failed;
        }
        topic.plan.lock().announcing();
    }
    {
        let inner = shared.inner.lock();
        let is_connected = |key: &[u8; 32]| inner.machine.open_link(key).is_some();
        topic.plan.lock().looking(is_connected);
    }
    let found = |peers: &[Peer]| {
        if round.client {
            take(shared, topic, peers);
        }
    };
    let (dht, key_pair) = (&shared.dht, &shared.key_pair);
    let done = if round.server {
        let relays = shared.relay_addresses().await;
        dht.announce(topic.id, key_pair, &relays, round.clear, found)
            .await
    } else {
        dht.look_up(topic.id, key_pair, round.clear, found).await
    };
    done.unwrap_or_else(|error| {
        tracing::debug!(code = error.code(), "a round of a topic failed");
        Outcome::Failed
    })
}

/// A node told of peers.
fn take(shared: &Arc<Shared>, topic: &Topic, peers: &[Peer]) {
    shared.with(|inner, now| {
        for peer in peers {
            let key = &peer.public_key;
            let is_connected = inner.machine.is_linked(key);
            if topic.plan.lock().takes(key, is_connected) {
                let machine = &mut inner.machine;
                machine.found(*key, &peer.relay_addresses, topic.id, now);
            }
        }
    });
}

/// A session on a topic. Dropped, the topic stays joined: [`destroy`](Self::destroy) ends the session, [`Hyperswarm::leave`](super::Hyperswarm::leave) all
/// sessions of the topic.
#[derive(Clone)]
pub struct Discovery {
    shared: Weak<Shared>,
    topic: Arc<Topic>,
    session: u64,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

impl Discovery {
    pub(super) fn new(shared: &Arc<Shared>, topic: Arc<Topic>, session: u64) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            topic,
            session,
        }
    }

    /// The topic.
    pub fn topic(&self) -> Id {
        self.topic.id
    }

    fn roles(&self) -> Roles {
        let roles = self.topic.look(|plan| plan.session(self.session));
        roles.unwrap_or_default()
    }

    /// This session looks for peers.
    pub fn is_client(&self) -> bool {
        self.roles().client
    }

    /// This session wants to be found.
    pub fn is_server(&self) -> bool {
        self.roles().server
    }

    /// Waits for the round that runs: we are announced, and the peers that the nodes know were told of. False when it did not come to that. To wait until they
    /// are dialled, too: [`Hyperswarm::flush`](super::Hyperswarm::flush).
    pub async fn flushed(&self) -> bool {
        self.topic.flushed().await
    }

    /// Changes what the session wants, and looks again now. False when that did not go well.
    ///
    /// # Errors
    /// [`Error::NoRole`]; [`Error::DiscoveryDestroyed`].
    pub async fn refresh(&self, options: JoinOptions) -> Result<bool, Error> {
        let roles = options.roles()?;
        let change = |plan: &mut Plan| {
            let there = !plan.is_over() && plan.change(self.session, roles, options.limit);
            there.then(|| plan.current())
        };
        let round = self.topic.change(change);
        let round = round.ok_or(Error::DiscoveryDestroyed)?;
        Ok(self.topic.ended(round).await)
    }

    /// Ends the session; the last one of a topic leaves it, and the last that wanted to be found takes the announcement back.
    pub async fn destroy(&self) {
        match self.topic.change(|plan| plan.remove(self.session)) {
            Left::Nothing => {}
            Left::Withdraw => {
                self.topic.flushed().await;
            }
            Left::Last => {
                if let Some(shared) = self.shared.upgrade() {
                    shared.leave(&self.topic);
                    drop(shared);
                    self.topic.gone().await;
                }
            }
        }
    }
}

impl JoinOptions {
    pub(super) fn roles(&self) -> Result<Roles, Error> {
        if !self.client && !self.server {
            return Err(Error::NoRole);
        }
        Ok(Roles {
            client: self.client,
            server: self.server,
        })
    }
}

impl Shared {
    /// Adds a session to a topic, which is joined if it is not.
    pub(super) fn join(
        self: &Arc<Self>,
        id: Id,
        options: &JoinOptions,
    ) -> Result<Discovery, Error> {
        let roles = options.roles()?;
        self.with(|inner, _| {
            if inner.machine.is_destroyed() {
                return Err(Error::Destroyed);
            }
            let topic = match inner.topics.get(&id) {
                Some(topic) => topic.clone(),
                None => {
                    let topic = Topic::new(id);
                    if inner.machine.is_suspended() {
                        topic.change(Plan::suspend);
                    }
                    inner.machine.join(id);
                    inner.topics.insert(id, topic.clone());
                    let before = inner.leaving.get(&id).cloned();
                    self.spawn(keep(self.clone(), topic.clone(), before));
                    topic
                }
            };
            let session = topic.change(|plan| plan.add(roles, options.limit));
            Ok(Discovery::new(self, topic, session))
        })
    }

    /// Leaves a topic; [`Topic::gone`] waits until it is taken back.
    pub(super) fn leave(self: &Arc<Self>, topic: &Arc<Topic>) {
        self.with(|inner, _| {
            let same = |other: &Arc<Topic>| Arc::ptr_eq(other, topic);
            if inner.topics.get(&topic.id).is_some_and(same) {
                inner.topics.remove(&topic.id);
                inner.machine.leave(&topic.id);
                inner.leaving.insert(topic.id, topic.clone());
                topic.change(Plan::destroy);
            }
        });
    }
}
