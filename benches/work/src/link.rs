//! Between two processes: replication, streams, connections and handshakes.

use crate::{
    Helper, Job, Result, VERSION,
    network::{self, Connected, Downloaded, Network, Order, Serving, Shared},
    replicate,
    udx::{self, Go, Read},
};
use pome_bench_support::Worker;
use serde_json::Value;

/// Nodes of a network.
const NODES: usize = 20;

fn block_bytes(job: &Job) -> usize {
    if job.workload.ends_with("64k") {
        64 << 10
    } else {
        100
    }
}

pub(crate) async fn replicate(job: &Job) -> Result<()> {
    let (size, count) = (block_bytes(job), job.size as usize);
    let bytes = job.size * size as u64;
    if job.workload.starts_with("replicate-pipe") {
        let pipe = replicate::Pipe::new(&job.folder, size, count).await?;
        let worker = Worker::ready()?;
        pipe.run().await?;
        return Ok(worker.done(job.size, bytes, VERSION)?);
    }
    if job.workload.starts_with("replicate-dht") {
        return over_dht(job, size, bytes).await;
    }
    let source = job.folder.join("source");
    let words = [
        source.to_string_lossy().into_owned(),
        size.to_string(),
        count.to_string(),
    ];
    let mut server = Helper::ours(&["serve", &words[0], &words[1], &words[2]])?;
    let address: Value = server.hear()?;
    let key = address["key"].as_str().ok_or("no key")?;
    let port = u16::try_from(address["port"].as_u64().ok_or("no port")?)?;
    let (cores, core) = replicate::reader(&job.folder.join("target"), key).await?;
    let worker = Worker::ready()?;
    replicate::fetch(&cores, &core, port, job.size).await?;
    worker.done(job.size, bytes, VERSION)?;
    server.end()
}

async fn over_dht(job: &Job, size: usize, bytes: u64) -> Result<()> {
    let folder = |name: &str| job.folder.join(name).to_string_lossy().into_owned();
    let mut nodes = Helper::ours(&["orders"])?;
    let Network { bootstrap } = network::tell(&mut nodes, &Order::Network { nodes: NODES })?;
    let mut writer = Helper::ours(&["orders"])?;
    let count = job.size as usize;
    let Shared { key, core } = network::tell(
        &mut writer,
        &Order::Share {
            folder: folder("writer"),
            bootstrap: bootstrap.clone(),
            size,
            count,
        },
    )?;
    let worker = Worker::ready()?;
    let order = Order::Download {
        folder: folder("reader"),
        bootstrap,
        key,
        core,
        count,
    };
    let Downloaded { seconds } =
        serde_json::from_value(network::Peer::default().follow(order).await?)?;
    // The node that connects has to find its place in the network before; that is not timed.
    Ok(worker.done_in(seconds, job.size, bytes, VERSION)?)
}

pub(crate) async fn connect(job: &Job) -> Result<()> {
    let mut nodes = Helper::ours(&["orders"])?;
    let Network { bootstrap } = network::tell(&mut nodes, &Order::Network { nodes: NODES })?;
    let mut server = Helper::ours(&["orders"])?;
    let keys = job.size as usize + 1;
    let serve = Order::Serve {
        bootstrap: bootstrap.clone(),
        firewalled: false,
        keys,
    };
    let Serving { keys } = network::tell(&mut server, &serve)?;
    let mut client = network::Peer::default();
    let order = |keys: &[String]| Order::Connect {
        bootstrap: bootstrap.clone(),
        firewalled: false,
        keys: keys.to_vec(),
    };
    // The first has the node find its place.
    let (first, rest) = keys.split_at(1);
    client.follow(order(first)).await?;
    let worker = Worker::ready()?;
    let Connected { millis } = serde_json::from_value(client.follow(order(rest)).await?)?;
    let seconds = millis.iter().sum::<f64>() / 1e3;
    Ok(worker.done_in(seconds, job.size, 0, VERSION)?)
}

/// `size` millions of bytes of one stream.
pub(crate) async fn udx(job: &Job) -> Result<()> {
    let mut sender = Helper::ours(&["udx", "send"])?;
    let theirs: Value = sender.hear()?;
    let port = u16::try_from(theirs["port"].as_u64().ok_or("no port")?)?;
    let reader = udx::Reader::new()?;
    let own = reader.port();
    let worker = Worker::ready()?;
    let go = Go {
        port: own,
        seconds: 1e9,
        now: false,
    };
    sender.say(&serde_json::to_string(&go)?)?;
    let Read { bytes, seconds } = reader.read(port, job.size * 1_000_000).await?;
    Ok(worker.done_in(seconds, job.size, bytes, VERSION)?)
}

pub(crate) fn noise(job: &Job) -> Result<()> {
    let worker = Worker::ready()?;
    network::handshakes("IK", |count, _| u64::from(count) >= job.size)?;
    Ok(worker.done(job.size, 0, VERSION)?)
}
