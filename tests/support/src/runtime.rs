use std::{future::Future, time::Duration};

/// How long a test waits for what is to happen. It is no promise of how soon that happens, only that no test waits for ever: a machine with a lot to do may
/// take a minute for what takes a moment elsewhere.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a test on two threads that share its tasks. No test waits for ever: the limit is far above what it needs, and at least [`PATIENCE`].
///
/// # Panics
/// When the test is not done by then.
pub fn block_on<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    let limit = limit.max(PATIENCE);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(limit, test).await })
        .unwrap_or_else(|_| panic!("the test is done within {limit:?}"))
}
