//! The Noise handshake: `Noise_XX_Ed25519_ChaChaPoly_BLAKE2b` and `Noise_IK_…`, as the npm modules have them.
//!
//! The state machine is snow's; the primitives are ours, because Noise as such has no Ed25519: [`dh`] works on the points that sign, so
//! that a peer has one key pair for all it does. Nothing else differs from plain Noise: 64-byte BLAKE2b, the standard names and counters.
//! npm knows XK and NN as well; they are here so that every vector is proved.
//!
//! Sans-IO: messages in, messages out; the randomness of the ephemeral key is an argument.
//!
//! Source: noise-handshake 4.2.0, noise-curve-ed 2.1.0. Vectors: `tests/vectors/stream.json`, `handshakes`.

mod curve;
mod resolver;

pub use curve::dh;

use crate::Error;
use curve::Points;
use pome_cores::KeyPair;
use resolver::Resolver;
use snow::{
    Builder, HandshakeState,
    params::{
        BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList,
        HandshakePattern, HashChoice, NoiseParams,
    },
};
use zeroize::Zeroizing;

/// The longest message that a handshake has, in bytes (a limit of Noise).
pub const MESSAGE_MAX: usize = 65_535;

/// Who says what in a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pattern {
    /// Three messages; each side learns the other's key within it. What a secret stream does on its own.
    #[default]
    Xx,
    /// Two messages; the initiator knows the responder's key before. What HyperDHT does.
    Ik,
    /// Three messages; the initiator knows the responder's key, and tells its own last.
    Xk,
    /// Two messages; nobody has a lasting key.
    Nn,
}

impl Pattern {
    fn params(self) -> NoiseParams {
        let (word, pattern) = match self {
            Self::Xx => ("XX", HandshakePattern::XX),
            Self::Ik => ("IK", HandshakePattern::IK),
            Self::Xk => ("XK", HandshakePattern::XK),
            Self::Nn => ("NN", HandshakePattern::NN),
        };
        let modifiers = HandshakeModifierList { list: Vec::new() };
        NoiseParams::new(
            // The name is hashed as it stands; the choices behind it only reach our resolver, which has one of each.
            format!("Noise_{word}_Ed25519_ChaChaPoly_BLAKE2b"),
            BaseChoice::Noise,
            HandshakeChoice { pattern, modifiers },
            DHChoice::Curve25519,
            CipherChoice::ChaChaPoly,
            HashChoice::Blake2b,
        )
    }
}

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that speaks first: who dialled.
    Initiator,
    /// The end that answers.
    Responder,
}

impl Role {
    /// True for the initiator.
    pub fn is_initiator(self) -> bool {
        self == Self::Initiator
    }

    /// The role of the peer.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What a finished handshake leaves to both sides. HyperDHT hands these to a stream that starts already keyed.
#[derive(Clone)]
pub struct Keys {
    /// The key for what this side sends.
    pub tx: Zeroizing<[u8; 32]>,
    /// The key for what this side receives.
    pub rx: Zeroizing<[u8; 32]>,
    /// The hash over the whole handshake: the same on both sides, and on no other connection.
    pub hash: [u8; 64],
    /// Our own public key.
    pub public_key: [u8; 32],
    /// The peer's public key. All zeros after `NN`.
    pub remote_public_key: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// One side of a handshake.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::noise::{Handshake, Pattern, Role};
/// let (alice, bob) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
/// let mut a = Handshake::new(Pattern::Ik, Role::Initiator, &alice, Some(&bob.public), b"", [3; 32])?;
/// let mut b = Handshake::new(Pattern::Ik, Role::Responder, &bob, None, b"", [4; 32])?;
/// assert_eq!(b.receive(&a.send(b"hello")?)?, b"hello");
/// assert_eq!(a.receive(&b.send(b"welcome")?)?, b"welcome");
/// let (a, b) = (a.finish()?, b.finish()?);
/// assert_eq!(a.hash, b.hash);
/// assert_eq!(*a.tx, *b.rx);
/// assert_eq!(b.remote_public_key, alice.public);
/// # Ok::<(), pome_net::Error>(())
/// ```
#[derive(Debug)]
pub struct Handshake {
    state: HandshakeState,
    public_key: [u8; 32],
}

impl Handshake {
    /// Begins a handshake. `remote` is the responder's key where the pattern wants the initiator to know it. `ephemeral` must be 32 fresh
    /// random bytes: whoever knows them can read the connection.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the pattern needs `remote` and it is not given.
    pub fn new(
        pattern: Pattern,
        role: Role,
        local: &KeyPair,
        remote: Option<&[u8; 32]>,
        prologue: &[u8],
        ephemeral: [u8; 32],
    ) -> Result<Self, Error> {
        let resolver = Resolver {
            ephemeral: Zeroizing::new(ephemeral),
            local: local.clone(),
            points: Points::default(),
        };
        let seed = local.seed();
        let mut builder = Builder::with_resolver(pattern.params(), Box::new(resolver))
            .local_private_key(&*seed)?
            .prologue(prologue)?;
        let knows_remote = role.is_initiator() && matches!(pattern, Pattern::Ik | Pattern::Xk);
        if let Some(remote) = remote.filter(|_| knows_remote) {
            builder = builder.remote_public_key(remote)?;
        }
        let state = match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        }?;
        Ok(Self {
            state,
            public_key: local.public,
        })
    }

    /// The next message, with a payload. The first message of XX carries its payload in the clear.
    ///
    /// # Errors
    /// [`Error::Handshake`] when it is not our turn, or the message would have more than [`MESSAGE_MAX`] bytes.
    pub fn send(&mut self, payload: &[u8]) -> Result<Vec<u8>, Error> {
        // The longest message has two keys of 32 bytes and two tags of 16 in front of its payload, and a tag behind it.
        let mut out = vec![0; payload.len() + 128];
        let len = self.state.write_message(payload, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    /// Takes the peer's next message; its payload comes back.
    ///
    /// # Errors
    /// [`Error::Handshake`] when it is not the peer's turn, or the message is not one that this handshake can continue with.
    pub fn receive(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut payload = vec![0; message.len().min(MESSAGE_MAX)];
        let len = self.state.read_message(message, &mut payload)?;
        payload.truncate(len);
        Ok(payload)
    }

    /// True when all messages have gone back and forth.
    pub fn is_complete(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// True when the next message is ours.
    pub fn is_our_turn(&self) -> bool {
        !self.is_complete() && self.state.is_my_turn()
    }

    /// The peer's key, as soon as it is known.
    pub fn remote_public_key(&self) -> Option<[u8; 32]> {
        self.state.get_remote_static()?.first_chunk().copied()
    }

    /// The keys of a complete handshake.
    ///
    /// # Errors
    /// [`Error::Handshake`] when it is not complete.
    pub fn finish(mut self) -> Result<Keys, Error> {
        if !self.is_complete() {
            return Err(Error::Handshake);
        }
        let hash = *self
            .state
            .get_handshake_hash()
            .first_chunk()
            .ok_or(Error::Handshake)?;
        let (initiator, responder) = self.state.dangerously_get_raw_split();
        let (tx, rx) = if self.state.is_initiator() {
            (initiator, responder)
        } else {
            (responder, initiator)
        };
        Ok(Keys {
            tx: Zeroizing::new(tx),
            rx: Zeroizing::new(rx),
            hash,
            public_key: self.public_key,
            remote_public_key: self.remote_public_key().unwrap_or_default(),
        })
    }
}
