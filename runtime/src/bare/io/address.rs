//! Addresses of sockets, as the face gives and gets them.

use std::net::{IpAddr, SocketAddr};

use crate::bare::{failure::Failure, reply::Reply};

/// 4 or 6 for an IP address in text, else 0. A zone (`fe80::1%eth0`) is part of an IPv6 address.
pub(super) fn family(text: String) -> u8 {
    match parse_ip(&text) {
        Some(IpAddr::V4(_)) => 4,
        Some(IpAddr::V6(_)) => 6,
        None => 0,
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => {
            address.parse().ok().filter(|ip: &IpAddr| ip.is_ipv6())
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// The socket address of an IP address in text and a port.
///
/// # Errors
/// `EINVAL` where the text is no address.
pub(crate) fn socket_address(text: &str, port: u16) -> Result<SocketAddr, Failure> {
    let ip = parse_ip(text).ok_or_else(|| Failure::named("EINVAL"))?;
    let mut address = SocketAddr::new(ip, port);
    if let (SocketAddr::V6(v6), Some((_, zone))) = (&mut address, text.split_once('%')) {
        v6.set_scope_id(zone_index(zone)?);
    }
    Ok(address)
}

fn zone_index(zone: &str) -> Result<u32, Failure> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let path = format!("/sys/class/net/{}/ifindex", zone.replace('/', ""));
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| Failure::named("EINVAL"))
}

/// `{ address, family, port }`.
pub(crate) fn reply(address: SocketAddr) -> Reply {
    Reply::Map(vec![
        ("address", Reply::Text(address.ip().to_string())),
        (
            "family",
            Reply::Number(if address.is_ipv4() { 4.0 } else { 6.0 }),
        ),
        ("port", Reply::Number(f64::from(address.port()))),
    ])
}
