//! Asks servers of names: over UDP, over TCP where the answer is longer than a datagram, one server after the other.

use super::message;
use crate::bare::{
    failure::Failure,
    reply::Reply,
    task::{self, Liveness},
};
use rquickjs::{Ctx, Function, JsLifetime, class::Trace};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::watch,
};

const PORT: u16 = 53;
/// How long a server has for its answer, and how often all of them are asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: u32 = 3;
const DATAGRAM_MAX_BYTES: usize = 65535;

/// Who asks, and from where.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Resolver {
    /// Goes up when all that is under way is to stop.
    #[qjs(skip_trace)]
    stops: watch::Sender<u64>,
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
}

#[rquickjs::methods]
impl Resolver {
    #[qjs(constructor)]
    fn new(ctx: Ctx<'_>) -> Self {
        Self {
            stops: watch::Sender::new(0),
            live: Liveness::new(&ctx),
        }
    }

    /// `callback(err, records)`; `servers` are addresses with ports, `local` the addresses to ask from.
    fn query<'js>(
        &self,
        ctx: Ctx<'js>,
        servers: Vec<String>,
        local: Vec<String>,
        name: String,
        record_type: u16,
        callback: Function<'js>,
    ) {
        if let Err(refused) = crate::permissions::socket(&ctx, &name) {
            task::blocking(&ctx, callback, move || {
                Err::<crate::bare::reply::Reply, _>(refused)
            });
            return;
        }
        let mut stops = self.stops.subscribe();
        stops.mark_unchanged();
        task::run(&ctx, &self.live, callback, async move {
            tokio::select! {
                biased;
                _ = stops.changed() => Err(Failure::new("ECANCELLED", "cancelled")),
                answer = ask(&servers, &local, &name, record_type) => answer,
            }
        });
    }

    fn cancel(&self) {
        self.stops.send_modify(|count| *count += 1);
    }
}

async fn ask(
    servers: &[String],
    local: &[String],
    name: &str,
    record_type: u16,
) -> Result<Reply, Failure> {
    let local: Vec<IpAddr> = local.iter().filter_map(|text| text.parse().ok()).collect();
    let mut failure = Failure::new("ENOSERVER", "no server of names");
    for _ in 0..ROUNDS {
        for server in servers {
            let Some(server) = server_address(server) else {
                continue;
            };
            let answer = tokio::time::timeout(PATIENCE, one(server, &local, name, record_type));
            match answer.await {
                Ok(Ok(records)) => return Ok(Reply::List(records)),
                // The name is wrong, or there is none of it: no other server knows better.
                Ok(Err(error)) if is_final(&error) => return Err(error),
                Ok(Err(error)) => failure = error,
                Err(_late) => failure = Failure::new("ETIMEOUT", "no answer in time"),
            }
        }
    }
    Err(failure)
}

fn is_final(failure: &Failure) -> bool {
    matches!(&*failure.code, "EBADNAME" | "ENOTFOUND")
}

async fn one(
    server: SocketAddr,
    local: &[IpAddr],
    name: &str,
    record_type: u16,
) -> Result<Vec<Reply>, Failure> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|_| Failure::new("ESERVICE", "no random numbers"))?;
    let asked = message::question(u16::from_be_bytes(id), name, record_type)?;
    let from = local
        .iter()
        .copied()
        .find(|from| from.is_ipv4() == server.is_ipv4());
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((from.unwrap_or(any), 0)).await?;
    socket.connect(server).await.map_err(refused)?;
    socket.send(&asked).await.map_err(refused)?;
    let mut bytes = vec![0; DATAGRAM_MAX_BYTES];
    let answer = loop {
        let length = socket.recv(&mut bytes).await.map_err(refused)?;
        // What answers another question is not for us: we go on waiting.
        if let Ok(Some(answer)) = message::answer(&bytes[..length], &asked) {
            break answer;
        }
    };
    let answer = match answer.is_truncated {
        true => over_tcp(server, &asked).await?,
        false => answer,
    };
    let code = match answer.code {
        0 => return Ok(answer.records),
        1 => "EFORMERR",
        2 => "ESERVFAIL",
        3 => "ENOTFOUND",
        4 => "ENOTIMP",
        5 => "EREFUSED",
        _ => "EBADRESP",
    };
    Err(Failure::new(code, "the server answered so"))
}

fn refused(error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            Failure::new("ECONNREFUSED", "no server of names is there")
        }
        _ => error.into(),
    }
}

async fn over_tcp(server: SocketAddr, asked: &[u8]) -> Result<message::Answer, Failure> {
    let mut stream = TcpStream::connect(server).await.map_err(refused)?;
    let length =
        u16::try_from(asked.len()).map_err(|_| Failure::new("EBADNAME", "the name is too long"))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(asked).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    message::answer(&bytes, asked)?
        .ok_or_else(|| Failure::new("EBADRESP", "the answer is to another question"))
}

/// An address with or without a port, `1.2.3.4`, `1.2.3.4:53`, `::1`, `[::1]:53`.
pub(super) fn server_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let text = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    text.parse()
        .ok()
        .map(|ip: IpAddr| SocketAddr::new(ip, PORT))
}

/// A server as programs write it: without the port where that is the usual one.
pub(super) fn server_text(address: SocketAddr) -> String {
    match address.port() {
        PORT => address.ip().to_string(),
        _ => address.to_string(),
    }
}

/// The servers that the machine asks.
pub(super) fn system_servers() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?
    });
    let servers: Vec<String> = lines.filter_map(server_address).map(server_text).collect();
    match servers.is_empty() {
        true => vec![Ipv4Addr::LOCALHOST.to_string()],
        false => servers,
    }
}

/// The name under which an address is looked up.
pub(super) fn reverse_name(ip: &str) -> Option<String> {
    Some(match ip.parse().ok()? {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let mut name = String::with_capacity(72);
            for byte in ip.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", byte & 0xf, byte >> 4));
            }
            name + "ip6.arpa"
        }
    })
}
