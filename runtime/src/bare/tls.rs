//! bare-tls: TLS over any stream. Bytes go in and out; who carries them is the face's affair.

use std::{
    io::{Cursor, Read, Write},
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use rquickjs::{ArrayBuffer, Class, Ctx, JsLifetime, Object, Value, class::Trace};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::failure::Failure;
use crate::engine::bytes;

/// The certificates that Mozilla trusts.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    Arc::new(RootCertStore::from_iter(
        webpki_roots::TLS_SERVER_ROOTS.iter().cloned(),
    ))
});

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::new("TLS_ERROR", error.to_string())
}

/// Why a handshake or a record was refused; programs ask whether it was the certificate.
fn refusal(error: rustls::Error) -> Failure {
    let code = match error {
        rustls::Error::InvalidCertificate(_) => "CERTIFICATE_VERIFY_FAILED",
        _ => "TLS_ERROR",
    };
    Failure::new(code, error.to_string())
}

/// What a session is made with, as the face gives it.
struct Wanted {
    is_server: bool,
    host: Option<String>,
    rejects_unauthorized: bool,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    authorities: Option<Vec<u8>>,
    protocols: Vec<Vec<u8>>,
}

impl Wanted {
    fn read(options: &Object<'_>) -> rquickjs::Result<Self> {
        let view = |name: &str| -> rquickjs::Result<Option<Vec<u8>>> {
            let value: Value<'_> = options.get(name)?;
            match value.is_object() {
                true => bytes::copy(&value).map(Some),
                false => Ok(None),
            }
        };
        let protocols: Option<Vec<String>> = options.get("alpnProtocols")?;
        Ok(Self {
            is_server: options.get("isServer")?,
            host: options.get("host")?,
            rejects_unauthorized: options.get("rejectUnauthorized")?,
            certificate: view("cert")?,
            key: view("key")?,
            authorities: view("ca")?,
            protocols: protocols
                .unwrap_or_default()
                .into_iter()
                .map(String::into_bytes)
                .collect(),
        })
    }

    fn chain(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Failure> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(failure)?;
        Ok(Some((chain.map_err(failure)?, key)))
    }

    fn connection(self) -> Result<Connection, Failure> {
        if self.is_server {
            return self.server();
        }
        self.client()
    }

    fn server(self) -> Result<Connection, Failure> {
        let (chain, key) = self
            .chain()?
            .ok_or_else(|| failure("a server needs a certificate and a key"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failure)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(failure)?;
        config.alpn_protocols = self.protocols;
        let connection = ServerConnection::new(Arc::new(config)).map_err(failure)?;
        Ok(Connection::Server(connection))
    }

    fn client(self) -> Result<Connection, Failure> {
        let roots = match &self.authorities {
            None => ROOTS.clone(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.map_err(failure)?).map_err(failure)?;
                }
                Arc::new(roots)
            }
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(failure)?;
        let builder = match self.rejects_unauthorized {
            true => builder.with_root_certificates(roots),
            false => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(anyone::Anyone(provider()))),
        };
        let mut config = match self.chain()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failure)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols;
        let host = match self.host {
            Some(host) => host,
            None if self.rejects_unauthorized => {
                return Err(failure("a client needs the name of its host"));
            }
            None => "localhost".to_owned(),
        };
        let name = ServerName::try_from(host).map_err(failure)?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(failure)?;
        Ok(Connection::Client(connection))
    }
}

/// `rejectUnauthorized: false`: the peer is whoever it is; what it signs must still be signed by the certificate that it shows.
mod anyone {
    use std::sync::Arc;

    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct Anyone(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _certificate: &CertificateDer<'_>,
            _others: &[CertificateDer<'_>],
            _name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

/// One TLS connection.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Session {
    #[qjs(skip_trace)]
    connection: Mutex<Connection>,
}

/// Writes all that is to go to the peer.
fn outgoing(connection: &mut Connection) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut out)?;
    }
    Ok(out)
}

#[rquickjs::methods]
impl Session {
    #[qjs(constructor)]
    fn new<'js>(ctx: Ctx<'js>, options: Object<'js>) -> rquickjs::Result<Self> {
        let connection = Wanted::read(&options)?
            .connection()
            .map_err(|failure| failure.throw(&ctx))?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Bytes from the peer; answers with what they say in the clear. What is to be answered is then [`Session::take`]n, after an error too.
    fn feed<'js>(&self, ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<ArrayBuffer<'js>> {
        let mut connection = self.connection.lock();
        let fed = bytes::read(&data, |data| {
            let mut input = Cursor::new(data);
            let mut clear = Vec::new();
            while (input.position() as usize) < data.len() {
                if connection.read_tls(&mut input)? == 0 {
                    break;
                }
                let state = connection.process_new_packets().map_err(refusal)?;
                let ready = state.plaintext_bytes_to_read();
                let mut reader = connection.reader().take(ready as u64);
                reader.read_to_end(&mut clear)?;
            }
            Ok::<_, Failure>(clear)
        })?;
        match fed {
            Ok(clear) => ArrayBuffer::new(ctx, clear),
            Err(failure) => Err(failure.throw(&ctx)),
        }
    }

    /// Takes clear bytes and answers with what carries them to the peer.
    fn seal<'js>(&self, ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<ArrayBuffer<'js>> {
        let mut connection = self.connection.lock();
        connection.set_buffer_limit(None);
        let sealed = bytes::read(&data, |data| {
            connection.writer().write_all(data)?;
            outgoing(&mut connection)
        })?;
        match sealed {
            Ok(sealed) => ArrayBuffer::new(ctx, sealed),
            Err(failure) => Err(failure.throw(&ctx)),
        }
    }

    /// What is to go to the peer.
    fn take<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<ArrayBuffer<'js>> {
        let out = outgoing(&mut self.connection.lock());
        match out {
            Ok(out) => ArrayBuffer::new(ctx, out),
            Err(failure) => Err(failure.throw(&ctx)),
        }
    }

    /// Tells the peer that no more comes.
    fn end(&self) {
        self.connection.lock().send_close_notify();
    }

    #[qjs(rename = "isHandshaking")]
    fn is_handshaking(&self) -> bool {
        self.connection.lock().is_handshaking()
    }

    /// The protocol that both agreed on.
    fn protocol(&self) -> Option<String> {
        let connection = self.connection.lock();
        connection
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned())
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Session>::define(&native)?;
    Ok(native)
}
