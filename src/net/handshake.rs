//! The Noise handshake, `Noise_XXpsk0_25519_AESGCM_SHA256`: the only file that names snow. Each phase is a type that
//! the next message consumes.
//!
//! ```text
//! dialer                                              listener
//!   preface (clear, preface.rs)                   ->
//!   1   | from | to | psk, e |                    ->  fails without the cluster key, before any key exchange
//!                             <-  2   | e, ee, s, es, credentials |
//!   3   | s, se, credentials |                    ->
//!                             <-  4   | verdict |         the first record: 0, or why the listener refuses
//!   5   | |                                       ->      an empty record: large frames may follow, either way
//!
//! from        = the dialer's role; to = 0 if the head is dialled, 1 if any other node: bytes in clear, bound below
//! prologue    = preface, 16 | cluster id, 16 | from | to
//! credentials = version 1, u8 | role, u8 | node id, 32 | length, u16 little-endian | certificates, none in version 1
//! ```
//!
//! Both sides prove their static keys. A node id is the hash of one, so the id that was dialled is the id that is
//! proved, and the head is whom the cluster key says. A reader skips certificates that it does not know.

use super::identity::{ClusterKey, Identity, PublicKey, Role};
use super::preface::{Lane, PREFACE_BYTES, preface};
use crate::id::NodeId;
use crate::limits::{CERTIFICATE_BYTES, FRAME_BEFORE_HANDSHAKE};
use snow::params::{DHChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::{Builder, HandshakeState, StatelessTransportState};
use std::io;
use thiserror::Error;

const PATTERN: &str = "Noise_XXpsk0_25519_AESGCM_SHA256";
const CREDENTIALS_VERSION: u8 = 1;
const CREDENTIALS_BYTES: usize = 36;
const PROLOGUE_BYTES: usize = PREFACE_BYTES + 16 + 2;

/// This node's half of every handshake.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) identity: Identity,
    pub(crate) cluster: ClusterKey,
    pub(crate) role: Role,
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HandshakeError {
    #[error("the first message was not made with this cluster's key")]
    Key,
    #[error("message {message} of the handshake does not open: it was altered, or belongs to another handshake")]
    Message { message: u8 },
    #[error("the peer proved to be node {proved}, not {dialled}")]
    Peer { dialled: NodeId, proved: NodeId },
    #[error("the peer's credentials contradict its key or its role")]
    Credentials,
    #[error("the system's cryptography failed: {0}")]
    Noise(String),
}

impl From<snow::Error> for HandshakeError {
    fn from(error: snow::Error) -> HandshakeError {
        HandshakeError::Noise(error.to_string())
    }
}

/// Who the peer proved to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) node: NodeId,
    pub(crate) role: Role,
}

/// The keys of a finished handshake. Nonces are counted by whoever seals and opens: see `record.rs`.
pub(crate) struct Cipher(StatelessTransportState);

impl Cipher {
    /// Seals `plaintext` into `out`, 16 bytes longer, and returns the length. Fails if either is too long or short.
    pub(crate) fn seal(&self, nonce: u64, plaintext: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.write_message(nonce, plaintext, out).ok()
    }

    /// Opens `sealed` into `out`, which has room for all of it, and returns the plaintext's length.
    pub(crate) fn open(&self, nonce: u64, sealed: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.read_message(nonce, sealed, out).ok()
    }
}

/// The dialer, who waits for the second message.
pub(crate) struct Initiator {
    noise: HandshakeState,
    dialled: NodeId,
}

impl Initiator {
    /// Begins a handshake with the node `dialled`, and makes its first message.
    pub(crate) fn new(party: &Party, dialled: NodeId, lane: Lane) -> Result<(Initiator, Vec<u8>), HandshakeError> {
        let (from, to) = (party.role.number(), u8::from(dialled != party.cluster.head()));
        let mut noise = builder(party, &prologue(party, lane, from, to))?.build_initiator()?;
        let mut first = vec![0; FRAME_BEFORE_HANDSHAKE];
        (first[0], first[1]) = (from, to);
        let length = noise.write_message(&[], &mut first[2..])?;
        first.truncate(2 + length);
        Ok((Initiator { noise, dialled }, first))
    }

    /// Reads the second message: who answers must be who was dialled. Makes the third.
    pub(crate) fn second(mut self, party: &Party, second: &[u8]) -> Result<(Vec<u8>, Proved, Cipher), HandshakeError> {
        let credentials = read(&mut self.noise, second, 2)?;
        let key = remote(&self.noise)?;
        if key.node_id() != self.dialled {
            return Err(HandshakeError::Peer { dialled: self.dialled, proved: key.node_id() });
        }
        let proved = check(party, key, &credentials)?;
        let third = write(&mut self.noise, &make_credentials(party))?;
        Ok((third, proved, Cipher(self.noise.into_stateless_transport_mode()?)))
    }
}

/// The listener, who waits for the third message.
pub(crate) struct Responder {
    noise: HandshakeState,
    from: u8,
}

impl Responder {
    /// Reads the first message on `lane`, and makes the second.
    pub(crate) fn new(party: &Party, lane: Lane, first: &[u8]) -> Result<(Responder, Vec<u8>), HandshakeError> {
        let &[from, to, ref first @ ..] = first else { return Err(HandshakeError::Key) };
        let mut noise = builder(party, &prologue(party, lane, from, to))?.build_responder()?;
        read(&mut noise, first, 1).map_err(|_| HandshakeError::Key)?;
        let second = write(&mut noise, &make_credentials(party))?;
        Ok((Responder { noise, from }, second))
    }

    /// Reads the third message: who the dialer is.
    pub(crate) fn third(mut self, party: &Party, third: &[u8]) -> Result<(Proved, Cipher), HandshakeError> {
        let credentials = read(&mut self.noise, third, 3)?;
        let proved = check(party, remote(&self.noise)?, &credentials)?;
        if proved.role.number() != self.from {
            return Err(HandshakeError::Credentials);
        }
        Ok((proved, Cipher(self.noise.into_stateless_transport_mode()?)))
    }
}

/// A whole handshake in memory, both sides of it, and one batch each way: what a benchmark of it measures. Returns
/// whether every message was taken.
#[doc(hidden)]
#[must_use]
pub fn rehearse(cluster: &ClusterKey, dialer: (&Identity, Role), listener: (&Identity, Role)) -> bool {
    let party =
        |(identity, role): (&Identity, Role)| Party { identity: identity.clone(), cluster: cluster.clone(), role };
    let (dialer, listener) = (party(dialer), party(listener));
    let play = || {
        let (initiator, first) = Initiator::new(&dialer, listener.identity.node_id(), Lane::Calls)?;
        let (responder, second) = Responder::new(&listener, Lane::Calls, &first)?;
        let (third, _, ours) = initiator.second(&dialer, &second)?;
        let (_, theirs) = responder.third(&listener, &third)?;
        Ok::<_, HandshakeError>((ours, theirs))
    };
    play().is_ok_and(|(ours, theirs)| {
        let (mut sealed, mut opened) = ([0; 16], [0; 16]);
        [(&ours, &theirs), (&theirs, &ours)]
            .into_iter()
            .all(|(from, to)| from.seal(0, &[], &mut sealed).is_some() && to.open(0, &sealed, &mut opened) == Some(0))
    })
}

fn prologue(party: &Party, lane: Lane, from: u8, to: u8) -> [u8; PROLOGUE_BYTES] {
    let mut bytes = [0; PROLOGUE_BYTES];
    bytes[..16].copy_from_slice(&preface(lane));
    bytes[16..32].copy_from_slice(&party.cluster.id().0);
    (bytes[32], bytes[33]) = (from, to);
    bytes
}

fn builder<'a>(party: &'a Party, prologue: &'a [u8]) -> Result<Builder<'a>, HandshakeError> {
    let params: NoiseParams = PATTERN.parse()?;
    Ok(Builder::new(params)
        .local_private_key(party.identity.private_key())?
        .psk(0, party.cluster.psk())?
        .prologue(prologue)?)
}

fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut message = vec![0; FRAME_BEFORE_HANDSHAKE];
    let length = noise.write_message(payload, &mut message)?;
    message.truncate(length);
    Ok(message)
}

fn read(noise: &mut HandshakeState, bytes: &[u8], message: u8) -> Result<Vec<u8>, HandshakeError> {
    let mut payload = vec![0; bytes.len()];
    let length = noise.read_message(bytes, &mut payload).map_err(|_| HandshakeError::Message { message })?;
    payload.truncate(length);
    Ok(payload)
}

fn remote(noise: &HandshakeState) -> Result<PublicKey, HandshakeError> {
    let key = noise.get_remote_static().and_then(|key| key.try_into().ok());
    key.map(PublicKey).ok_or(HandshakeError::Credentials)
}

fn make_credentials(party: &Party) -> [u8; CREDENTIALS_BYTES] {
    let mut bytes = [0; CREDENTIALS_BYTES];
    (bytes[0], bytes[1]) = (CREDENTIALS_VERSION, party.role.number());
    bytes[2..34].copy_from_slice(&party.identity.node_id().0);
    bytes
}

fn check(party: &Party, key: PublicKey, credentials: &[u8]) -> Result<Proved, HandshakeError> {
    let read = || {
        let (fixed, certificates) = credentials.split_first_chunk::<CREDENTIALS_BYTES>()?;
        let length = usize::from(u16::from_le_bytes([fixed[34], fixed[35]]));
        let whole = fixed[0] == CREDENTIALS_VERSION && certificates.len() == length && length <= CERTIFICATE_BYTES;
        let proved = Proved { node: key.node_id(), role: Role::from_number(fixed[1])? };
        let is_head = proved.node == party.cluster.head();
        (whole && fixed[2..34] == proved.node.0 && is_head == (proved.role == Role::Head)).then_some(proved)
    };
    read().ok_or(HandshakeError::Credentials)
}

/// The public half of an X25519 key pair.
pub(super) fn public_key(private: &[u8; 32]) -> [u8; 32] {
    let mut curve = DefaultResolver.resolve_dh(&DHChoice::Curve25519).expect("snow is built with X25519");
    curve.set(private);
    curve.pubkey().try_into().expect("an X25519 key has 32 bytes")
}

/// Fills `bytes` from the system's randomness.
pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut source = DefaultResolver.resolve_rng().expect("snow is built with a source of randomness");
    source.try_fill_bytes(bytes).map_err(io::Error::other)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The two ends of a finished handshake.
    pub(in crate::net) fn ciphers() -> (Cipher, Cipher) {
        let Cluster { head, worker } = cluster();
        let ((_, dialers), (_, listeners)) = shake(&worker, &head, id(&head)).unwrap();
        (dialers, listeners)
    }

    struct Cluster {
        head: Party,
        worker: Party,
    }

    fn cluster() -> Cluster {
        let (cluster, identity) = ClusterKey::generate().unwrap();
        let head = Party { identity, cluster: cluster.clone(), role: Role::Head };
        let worker = Party { identity: Identity::generate().unwrap(), cluster, role: Role::Worker };
        Cluster { head, worker }
    }

    fn id(party: &Party) -> NodeId {
        party.identity.node_id()
    }

    type Ends = ((Proved, Cipher), (Proved, Cipher));

    fn shake(dialer: &Party, listener: &Party, dialled: NodeId) -> Result<Ends, HandshakeError> {
        let (initiator, first) = Initiator::new(dialer, dialled, Lane::Calls)?;
        let (responder, second) = Responder::new(listener, Lane::Calls, &first)?;
        let (third, listener_is, dialers) = initiator.second(dialer, &second)?;
        let (dialer_is, listeners) = responder.third(listener, &third)?;
        Ok(((listener_is, dialers), (dialer_is, listeners)))
    }

    #[test]
    fn both_ends_prove_who_they_are_and_share_keys_each_way() {
        let Cluster { head, worker } = cluster();
        for (dialer, listener) in [(&worker, &head), (&head, &worker)] {
            let ((listener_is, dialers), (dialer_is, listeners)) = shake(dialer, listener, id(listener)).unwrap();
            assert_eq!(listener_is, Proved { node: id(listener), role: listener.role });
            assert_eq!(dialer_is, Proved { node: id(dialer), role: dialer.role });
            for (from, to) in [(&dialers, &listeners), (&listeners, &dialers)] {
                let (mut sealed, mut opened) = ([0; 21], [0; 21]);
                assert_eq!(from.seal(7, b"hello", &mut sealed), Some(21));
                assert_eq!(to.open(8, &sealed, &mut opened), None, "another nonce");
                assert_eq!(to.open(7, &sealed, &mut opened), Some(5));
                assert_eq!(&opened[..5], b"hello");
                assert_eq!(from.open(7, &sealed, &mut opened), None, "each way has its own key");
            }
        }
    }

    #[test]
    fn golden_prologue_and_credentials() {
        let Cluster { head, worker } = cluster();
        let mut expected = b"MOBULA\x01\x00\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend(head.cluster.id().0);
        expected.extend([1, 0]);
        assert_eq!(prologue(&worker, Lane::Calls, 1, 0)[..], expected);
        let mut expected = vec![1, 1];
        expected.extend(id(&worker).0);
        expected.extend([0, 0]);
        assert_eq!(make_credentials(&worker)[..], expected);
        let (_, first) = Initiator::new(&worker, id(&head), Lane::Calls).unwrap();
        assert_eq!((first.len(), &first[..2]), (2 + 32 + 16, &[1, 0][..]));
    }

    #[test]
    fn another_cluster_key_fails_at_the_first_message() {
        let (ours, mut theirs) = (cluster(), cluster());
        assert_eq!(shake(&theirs.worker, &ours.head, id(&ours.head)).err(), Some(HandshakeError::Key));
        theirs.worker.cluster = ours.worker.cluster.clone();
        assert!(shake(&theirs.worker, &ours.head, id(&ours.head)).is_ok());
    }

    #[test]
    fn the_prologue_binds_lane_and_roles() {
        let Cluster { head, worker } = cluster();
        let (_, first) = Initiator::new(&worker, id(&head), Lane::Calls).unwrap();
        assert!(Responder::new(&head, Lane::Calls, &first).is_ok());
        assert_eq!(Responder::new(&head, Lane::Control, &first).err(), Some(HandshakeError::Key));
        for at in [0, 1] {
            let mut altered = first.clone();
            altered[at] ^= 1;
            assert_eq!(Responder::new(&head, Lane::Calls, &altered).err(), Some(HandshakeError::Key));
        }
    }

    #[test]
    fn the_node_dialled_is_the_node_proved() {
        let Cluster { head, worker } = cluster();
        let mut other = worker.clone();
        other.identity = Identity::generate().unwrap();
        let wrong = HandshakeError::Peer { dialled: id(&other), proved: id(&worker) };
        assert_eq!(shake(&head, &worker, id(&other)).err(), Some(wrong));
    }

    #[test]
    fn only_the_pinned_key_is_the_head() {
        let Cluster { head, worker } = cluster();
        let impostor = Party { role: Role::Head, ..worker.clone() };
        assert_eq!(shake(&head, &impostor, id(&impostor)).err(), Some(HandshakeError::Credentials));
        assert_eq!(shake(&impostor, &worker, id(&worker)).err(), Some(HandshakeError::Credentials));
        let humble = Party { role: Role::Worker, ..head.clone() };
        assert_eq!(shake(&worker, &humble, id(&head)).err(), Some(HandshakeError::Credentials));
    }

    #[test]
    fn a_replayed_first_message_leads_nowhere() {
        let Cluster { head, worker } = cluster();
        let (initiator, first) = Initiator::new(&worker, id(&head), Lane::Calls).unwrap();
        let (responder, second) = Responder::new(&head, Lane::Calls, &first).unwrap();
        let (third, ..) = initiator.second(&worker, &second).unwrap();
        let (replayed, _) = Responder::new(&head, Lane::Calls, &first).unwrap();
        assert_eq!(replayed.third(&head, &third).err(), Some(HandshakeError::Message { message: 3 }));
        assert!(responder.third(&head, &third).is_ok());
    }

    #[test]
    fn a_message_altered_or_cut_at_any_byte_ends_the_handshake() {
        let Cluster { head, worker } = cluster();
        let (_, first) = Initiator::new(&worker, id(&head), Lane::Calls).unwrap();
        for at in 0..first.len() {
            let mut altered = first.clone();
            altered[at] ^= 0x80;
            assert_eq!(Responder::new(&head, Lane::Calls, &altered).err(), Some(HandshakeError::Key));
            assert_eq!(Responder::new(&head, Lane::Calls, &first[..at]).err(), Some(HandshakeError::Key));
        }
        let fresh = || {
            let (initiator, first) = Initiator::new(&worker, id(&head), Lane::Calls).unwrap();
            let (responder, second) = Responder::new(&head, Lane::Calls, &first).unwrap();
            (initiator, responder, second)
        };
        let length = fresh().2.len();
        for at in (0..length).step_by(7) {
            let (initiator, _, mut second) = fresh();
            second[at] ^= 1;
            assert_eq!(initiator.second(&worker, &second).err(), Some(HandshakeError::Message { message: 2 }));
            let (initiator, _, second) = fresh();
            let cut = initiator.second(&worker, &second[..at]);
            assert_eq!(cut.err(), Some(HandshakeError::Message { message: 2 }));
        }
    }

    #[test]
    fn certificates_of_a_later_version_are_skipped_within_their_bound() {
        let Cluster { head, worker } = cluster();
        let key = worker.identity.public_key();
        let with = |length: usize, bytes: usize| {
            let mut credentials = make_credentials(&worker).to_vec();
            credentials[34..].copy_from_slice(&(length as u16).to_le_bytes());
            credentials.resize(CREDENTIALS_BYTES + bytes, 7);
            check(&head, key, &credentials)
        };
        assert!(with(0, 0).is_ok() && with(CERTIFICATE_BYTES, CERTIFICATE_BYTES).is_ok());
        let over = CERTIFICATE_BYTES + 1;
        for (length, bytes) in [(1, 0), (0, 1), (over, over), (65_535, 3)] {
            assert_eq!(with(length, bytes), Err(HandshakeError::Credentials));
        }
        let mut later = make_credentials(&worker);
        later[0] = 2;
        assert_eq!(check(&head, key, &later), Err(HandshakeError::Credentials));
        assert_eq!(check(&head, key, &later[..35]), Err(HandshakeError::Credentials));
    }
}
