//! Internet addresses.
//!
//! Source: compact-encoding 3.5.2, `index.js` (`ip`, `ipv4`, `ipv6`, `ipAddress`, …).

use crate::{Codec, CodecError, Reader, UINT8, UINT16};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// npm `ipv4`: 4 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ipv4;

impl Codec for Ipv4 {
    type Value = Ipv4Addr;
    fn encoded_len(&self, _: &Ipv4Addr) -> usize {
        4
    }
    fn encode(&self, value: &Ipv4Addr, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(value.octets());
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Ipv4Addr, CodecError> {
        Ok(input.fixed::<4>()?.into())
    }
}

/// npm `ipv6`: 16 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ipv6;

impl Codec for Ipv6 {
    type Value = Ipv6Addr;
    fn encoded_len(&self, _: &Ipv6Addr) -> usize {
        16
    }
    fn encode(&self, value: &Ipv6Addr, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(value.octets());
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Ipv6Addr, CodecError> {
        Ok(input.fixed::<16>()?.into())
    }
}

/// npm `ip`: a byte, 4 or 6, then [`Ipv4`] or [`Ipv6`]. Any byte but 4 reads as 6.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ip;

impl Codec for Ip {
    type Value = IpAddr;
    fn encoded_len(&self, value: &IpAddr) -> usize {
        if value.is_ipv4() { 5 } else { 17 }
    }
    fn encode(&self, value: &IpAddr, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match value {
            IpAddr::V4(ip) => {
                out.push(4);
                Ipv4.encode(ip, out)
            }
            IpAddr::V6(ip) => {
                out.push(6);
                Ipv6.encode(ip, out)
            }
        }
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<IpAddr, CodecError> {
        Ok(match UINT8.decode(input)? {
            4 => Ipv4.decode(input)?.into(),
            _ => Ipv6.decode(input)?.into(),
        })
    }
}

/// An address and a port in 2 bytes, little-endian: npm `ipv4Address`, `ipv6Address`, `ipAddress`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Address<H>(pub H);

impl<H: Codec> Codec for Address<H> {
    type Value = (H::Value, u16);
    fn encoded_len(&self, (host, _): &Self::Value) -> usize {
        self.0.encoded_len(host) + 2
    }
    fn encode(&self, (host, port): &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.encode(host, out)?;
        UINT16.encode(&u64::from(*port), out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Self::Value, CodecError> {
        let host = self.0.decode(input)?;
        Ok((host, u16::from_le_bytes(input.fixed()?)))
    }
}

/// npm `ipAddress`, as the type that sockets use. The scope and flow of an IPv6 address are not written.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpAddress;

impl Codec for IpAddress {
    type Value = SocketAddr;
    fn encoded_len(&self, value: &SocketAddr) -> usize {
        Address(Ip).encoded_len(&(value.ip(), value.port()))
    }
    fn encode(&self, value: &SocketAddr, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Address(Ip).encode(&(value.ip(), value.port()), out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<SocketAddr, CodecError> {
        Address(Ip).decode(input).map(SocketAddr::from)
    }
}

/// An IPv6 address as the npm module spells it: eight groups, none left out.
pub fn ipv6_text(ip: &Ipv6Addr) -> String {
    ip.segments().map(|group| format!("{group:x}")).join(":")
}
