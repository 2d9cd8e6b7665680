use std::{future::Future, time::Duration};

/// Runs a test on two threads that share its tasks. No test waits for ever: the limit is far above what it needs.
///
/// # Panics
/// When the test is not done by then.
pub fn block_on<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(limit, test).await })
        .unwrap_or_else(|_| panic!("the test is done within {limit:?}"))
}
