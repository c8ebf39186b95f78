//! Where a node listens.
//!
//! ```text
//! address = "tcp://" host ":" port       host: a name, an IPv4 address, or an IPv6 address in brackets
//!         | "ipc://" folder              an absolute path; the folder holds one Unix socket a lane, named after it
//!         | "memory://" name             a node of an in-process network
//! ```

use super::preface::Lane;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// Where a node listens, or is dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Address {
    /// A TCP port, behind the guard.
    Tcp {
        /// A name or an IP address, IPv6 without its brackets.
        host: String,
        /// The port; 0 lets the system choose when listening.
        port: u16,
    },
    /// A folder of Unix sockets, for nodes of one user on one host.
    Ipc {
        /// The folder's absolute path.
        folder: String,
    },
    /// A node of a memory network.
    Memory {
        /// Its name there.
        name: String,
    },
}

impl Address {
    /// `host:port`, for a `tcp` address.
    #[must_use]
    pub fn host_port(&self) -> Option<String> {
        match self {
            Address::Tcp { .. } => Some(self.to_string()["tcp://".len()..].to_owned()),
            Address::Ipc { .. } | Address::Memory { .. } => None,
        }
    }

    /// The Unix socket of a lane, for an `ipc` address.
    #[must_use]
    pub fn socket(&self, lane: Lane) -> Option<PathBuf> {
        match self {
            Address::Ipc { folder } => Some(PathBuf::from(folder).join(lane.name())),
            Address::Tcp { .. } | Address::Memory { .. } => None,
        }
    }
}

/// Why a text is no address.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// None of the three schemes.
    #[error("`{0}` is no address: write tcp://host:port, ipc:///folder or memory://name")]
    Scheme(String),
    /// A TCP address without a host and a port.
    #[error("`{0}` is no TCP address: write tcp://host:port, with IPv6 addresses in brackets")]
    HostPort(String),
    /// A relative folder, or one whose sockets would have no valid path.
    #[error("`{path}` cannot hold Unix sockets: give an absolute path of at most {limit} bytes")]
    Folder {
        /// The path.
        path: String,
        /// The longest one.
        limit: usize,
    },
    /// A memory address without a proper name.
    #[error("`{0}` is no memory address: write memory://name, of at most {limit} bytes", limit = limits::NAME_BYTES)]
    Name(String),
}

/// The longest folder path: `sun_path` holds 108 bytes, the final zero and the socket's name among them.
const FOLDER_BYTES: usize = 108 - 1 - "/control".len();
/// The longest host name that DNS allows.
const HOST_BYTES: usize = 253;

impl Address {
    /// A folder for Unix sockets of which nobody knows yet, by a name that a later start recognises as left behind.
    #[must_use]
    pub fn private() -> Address {
        Address::Ipc { folder: super::folder::fresh().display().to_string() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        match text.split_once("://") {
            Some(("tcp", rest)) => tcp(rest).ok_or_else(|| AddressError::HostPort(text.to_owned())),
            Some(("ipc", path)) => {
                let folder = path.trim_end_matches('/');
                if !path.starts_with('/') || folder.is_empty() || folder.len() > FOLDER_BYTES || folder.contains('\0') {
                    return Err(AddressError::Folder { path: path.to_owned(), limit: FOLDER_BYTES });
                }
                Ok(Address::Ipc { folder: folder.to_owned() })
            }
            Some(("memory", name)) if !name.is_empty() && name.len() <= limits::NAME_BYTES => {
                Ok(Address::Memory { name: name.to_owned() })
            }
            Some(("memory", _)) => Err(AddressError::Name(text.to_owned())),
            _ => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

fn tcp(rest: &str) -> Option<Address> {
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            inner
        }
        None => host,
    };
    let colons_are_of_ipv6 = !host.contains(':') || rest.starts_with('[');
    let named = !host.is_empty() && host.len() <= HOST_BYTES && !host.contains(['/', '@', ' ', '[', ']', '\0']);
    (named && colons_are_of_ipv6).then(|| Address::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Address::Ipc { folder } => write!(f, "ipc://{folder}"),
            Address::Memory { name } => write!(f, "memory://{name}"),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Address, AddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in
            ["tcp://head:7400", "tcp://127.0.0.1:0", "tcp://[::1]:65535", "ipc:///run/mobula", "memory://driver 1"]
        {
            assert_eq!(text.parse::<Address>().map(String::from), Ok(text.to_owned()));
            let json = serde_json::to_string(&text.parse::<Address>().unwrap()).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Address>(&json).unwrap().to_string(), text);
        }
        assert_eq!("ipc:///run/mobula/".parse::<Address>(), "ipc:///run/mobula".parse());
    }

    #[test]
    fn what_is_no_address_is_told_how_to_become_one() {
        for text in ["", "head:7400", "http://head:1", "ipc//x", "tcp:/head:1"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Scheme(text.to_owned())));
        }
        for text in [
            "tcp://head",
            "tcp://:1",
            "tcp://head:65536",
            "tcp://head:+1",
            "tcp://::1:7",
            "tcp://[head]:7",
            "tcp://[::1:7",
            "tcp://user@head:7",
            "tcp://head/x:7",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::HostPort(text.to_owned())));
        }
        for path in ["", "run", "/", &format!("/{}", "x".repeat(FOLDER_BYTES))] {
            let error = AddressError::Folder { path: path.to_owned(), limit: FOLDER_BYTES };
            assert_eq!(format!("ipc://{path}").parse::<Address>(), Err(error));
        }
        assert_eq!("memory://".parse::<Address>(), Err(AddressError::Name("memory://".into())));
    }

    #[test]
    fn a_folder_of_the_longest_path_holds_a_socket_of_every_lane() {
        let folder = format!("/{}", "x".repeat(FOLDER_BYTES - 1));
        let address: Address = format!("ipc://{folder}").parse().unwrap();
        for lane in Lane::ALL {
            let path = address.socket(lane).unwrap();
            std::os::unix::net::SocketAddr::from_pathname(path).unwrap();
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_so_that_it_reads_the_same(text in "(tcp|ipc|memory)://[a-z0-9:/.\\[\\]]{0,24}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
