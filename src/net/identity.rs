//! Who a node is, and which cluster it belongs to: the two key files.
//!
//! ```text
//! mobula identity 1                     mobula cluster key 1
//! private = <32 bytes in hexadecimal>   cluster = <16 bytes>     the cluster's identity: no secret
//!                                       psk = <32 bytes>         the secret that members share
//!                                       head = <32 bytes>        the head's public key, which members pin
//! ```
//!
//! Lines in this order, `#` begins a comment. `mobula key new` writes both: the cluster key, which every member gets,
//! and the head's identity, which stays with the head. Files are made for their owner alone and refused if others can
//! read them.

use super::handshake;
use crate::id::{ClusterId, NodeId};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

const IDENTITY_TITLE: &str = "mobula identity 1";
const CLUSTER_TITLE: &str = "mobula cluster key 1";
/// A key file is far shorter; whatever is longer is something else.
const FILE_BYTES: u64 = 4 << 10;

/// What a node is in its cluster: proved by no key, so the directory decides what each may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// The directory service.
    Head = 0,
    /// A node with resources.
    Worker = 1,
    /// A node without.
    Driver = 2,
}

impl Role {
    /// The role of this number on the wire.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Role> {
        match number {
            0 => Some(Role::Head),
            1 => Some(Role::Worker),
            2 => Some(Role::Driver),
            _ => None,
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A public key: what a node id is the hash of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The node whose key this is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex(&self.0))
    }
}

/// A node's key pair. The private half is wiped from memory when the last clone goes.
#[derive(Clone)]
pub struct Identity {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl Identity {
    /// A new identity, from the system's randomness.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn generate() -> Result<Identity, KeyError> {
        Ok(Identity::from_private(random()?))
    }

    fn from_private(private: Zeroizing<[u8; 32]>) -> Identity {
        let public = PublicKey(handshake::public_key(&private));
        Identity { private, public }
    }

    /// The identity in a key file.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it is no identity.
    pub fn load(path: &Path) -> Result<Identity, KeyError> {
        Identity::from_text(&read(path)?).map_err(|kind| kind.of(path))
    }

    /// Writes the key file, for its owner alone. An existing file stays as it is.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        write(path, &self.to_text())
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let private = Zeroizing::new(hex(&*self.private));
        Zeroizing::new(format!("{IDENTITY_TITLE}\nprivate = {}\n", *private))
    }

    /// The identity that [`Identity::to_text`] wrote.
    ///
    /// # Errors
    /// The text is no identity.
    pub fn from_text(text: &str) -> Result<Identity, KeyTextError> {
        let [private] = fields(text, IDENTITY_TITLE, ["private"])?;
        Ok(Identity::from_private(bytes(private, "private")?))
    }

    /// The node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.public.node_id()
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    pub(super) fn private_key(&self) -> &[u8; 32] {
        &self.private
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What every member of a cluster holds: the shared secret, and whom to believe to be the head.
#[derive(Clone)]
pub struct ClusterKey {
    id: ClusterId,
    psk: Zeroizing<[u8; 32]>,
    head: PublicKey,
}

impl ClusterKey {
    /// The key of a new cluster, and its head's identity.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> Result<(ClusterKey, Identity), KeyError> {
        let head = Identity::generate()?;
        let mut id = [0; 16];
        id.copy_from_slice(&random()?[..16]);
        Ok((ClusterKey { id: ClusterId(id), psk: random()?, head: head.public }, head))
    }

    /// The key in a key file.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it is no cluster key.
    pub fn load(path: &Path) -> Result<ClusterKey, KeyError> {
        ClusterKey::from_text(&read(path)?).map_err(|kind| kind.of(path))
    }

    /// Writes the key file, for its owner alone. An existing file stays as it is.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        write(path, &self.to_text())
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let (id, psk, head) = (hex(&self.id.0), Zeroizing::new(hex(&*self.psk)), hex(&self.head.0));
        Zeroizing::new(format!("{CLUSTER_TITLE}\ncluster = {id}\npsk = {}\nhead = {head}\n", *psk))
    }

    /// The key that [`ClusterKey::to_text`] wrote.
    ///
    /// # Errors
    /// The text is no cluster key.
    pub fn from_text(text: &str) -> Result<ClusterKey, KeyTextError> {
        let [id, psk, head] = fields(text, CLUSTER_TITLE, ["cluster", "psk", "head"])?;
        let (id, head) = (bytes(id, "cluster")?, bytes(head, "head")?);
        Ok(ClusterKey { id: ClusterId(*id), psk: bytes(psk, "psk")?, head: PublicKey(*head) })
    }

    /// The cluster's identity: no secret.
    #[must_use]
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// The head's node id.
    #[must_use]
    pub fn head(&self) -> NodeId {
        self.head.node_id()
    }

    pub(super) fn psk(&self) -> &[u8; 32] {
        &self.psk
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterKey").field("id", &self.id).field("head", &self.head).finish_non_exhaustive()
    }
}

/// What is wrong with a key's text.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyTextError {
    /// It begins with another title.
    #[error("it does not begin with `{expected}`: it is another kind of file, or of another version of mobula")]
    Title {
        /// The first line of such a file.
        expected: &'static str,
    },
    /// A line is missing, doubled, out of order or not `name = value`.
    #[error("it does not consist of the lines {expected:?} in this order")]
    Lines {
        /// The names of its lines.
        expected: Vec<&'static str>,
    },
    /// A value is not hexadecimal of its length.
    #[error("`{name}` is not {length} hexadecimal digits")]
    Value {
        /// The line.
        name: &'static str,
        /// How many digits it has.
        length: usize,
    },
}

impl KeyTextError {
    fn of(self, path: &Path) -> KeyError {
        KeyError::Text { path: path.to_owned(), error: self }
    }
}

/// Why a key could not be made, read or written.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is no such file.
    #[error(
        "there is no key file {path}: `mobula key new FILE` makes a cluster's keys once, and its nodes get copies of them"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a file already.
    #[error("{path} exists and is not overwritten: give another name, or remove it if no cluster uses it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("the key file {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not its owner's alone.
    #[error(
        "the key file {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`, and make a new key if it may be known"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else.
    #[error("{path} is no valid key file: {error}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyTextError,
    },
    /// The system has no randomness to give.
    #[error("the system gave no random bytes for a new key: {0}")]
    Random(io::Error),
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    handshake::random(&mut *bytes).map_err(KeyError::Random)?;
    Ok(bytes)
}

fn file_error(path: &Path, error: io::Error) -> KeyError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path },
        io::ErrorKind::AlreadyExists => KeyError::Exists { path },
        _ => KeyError::File { path, error },
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = |error| file_error(path, error);
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES as usize + 1));
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "far too long for a key file")));
    }
    Ok(text)
}

fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |error| file_error(path, error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn fields<'a, const N: usize>(
    text: &'a str,
    title: &'static str,
    names: [&'static str; N],
) -> Result<[&'a str; N], KeyTextError> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines.next() != Some(title) {
        return Err(KeyTextError::Title { expected: title });
    }
    let misplaced = || KeyTextError::Lines { expected: names.to_vec() };
    let mut values = [""; N];
    for (value, name) in values.iter_mut().zip(names) {
        let (found, text) = lines.next().and_then(|line| line.split_once('=')).ok_or_else(misplaced)?;
        if found.trim_end() != name {
            return Err(misplaced());
        }
        *value = text.trim_start();
    }
    if lines.next().is_some() { Err(misplaced()) } else { Ok(values) }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn bytes<const N: usize>(text: &str, name: &'static str) -> Result<Zeroizing<[u8; N]>, KeyTextError> {
    let wrong = KeyTextError::Value { name, length: 2 * N };
    if text.len() != 2 * N {
        return Err(wrong);
    }
    let mut bytes = Zeroizing::new([0; N]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(wrong) };
        *byte = (high << 4 | low) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_the_hash_of_the_public_key() {
        // RFC 7748, section 6.1: Alice's key pair.
        let private = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
        let alice = Identity::from_text(&format!("{IDENTITY_TITLE}\nprivate = {private}\n")).unwrap();
        assert_eq!(hex(&alice.public.0), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    }

    #[test]
    fn keys_survive_their_files_and_stay_their_owners() {
        let folder = tempfile::tempdir().unwrap();
        let (key, head) = ClusterKey::generate().unwrap();
        assert_eq!(key.head(), head.node_id());
        let (key_file, head_file) = (folder.path().join("cluster"), folder.path().join("head"));
        key.save(&key_file).unwrap();
        head.save(&head_file).unwrap();
        assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
        let read = ClusterKey::load(&key_file).unwrap();
        assert_eq!((read.id(), read.psk(), read.head()), (key.id(), key.psk(), key.head()));
        assert_eq!(Identity::load(&head_file).unwrap().private_key(), head.private_key());

        assert!(matches!(key.save(&key_file), Err(KeyError::Exists { .. })), "an existing key is never overwritten");
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(ClusterKey::load(&key_file), Err(KeyError::Exposed { mode: 0o640, .. })));
        assert!(matches!(
            ClusterKey::load(&head_file),
            Err(KeyError::Text { error: KeyTextError::Title { expected: CLUSTER_TITLE }, .. })
        ));
    }

    #[test]
    fn a_damaged_key_is_told_apart() {
        let (key, _) = ClusterKey::generate().unwrap();
        let text = key.to_text();
        assert!(ClusterKey::from_text(&format!("# ours\n\n{}", *text)).is_ok());
        let lines = KeyTextError::Lines { expected: vec!["cluster", "psk", "head"] };
        assert_eq!(ClusterKey::from_text(&text.replace("psk =", "pks =")).unwrap_err(), lines);
        assert_eq!(ClusterKey::from_text(&format!("{}head = 00\n", *text)).unwrap_err(), lines);
        let value = KeyTextError::Value { name: "psk", length: 64 };
        assert_eq!(ClusterKey::from_text(&text.replace("psk = ", "psk = 0")).unwrap_err(), value);
        assert_eq!(ClusterKey::from_text(&text.replace("psk = ", "psk = é")).unwrap_err(), value);
    }

    #[test]
    fn secrets_are_not_printed() {
        let (key, head) = ClusterKey::generate().unwrap();
        let printed = format!("{key:?} {head:?}");
        assert!(!printed.contains(&hex(key.psk())) && !printed.contains(&hex(head.private_key())));
    }
}
