//! Network namespaces on a bridge: this process stands at it, and whoever runs in a namespace is reached over a link that
//! can be cut.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// Hosts that a test may have: each test's addresses are a block of so many.
const BLOCK: u8 = 8;
static BLOCKS: AtomicU8 = AtomicU8::new(0);

/// Namespaces of a test; they end with it.
pub struct Bridge {
    name: String,
    /// The addresses' first three numbers, and the block's first.
    network: String,
    first: u8,
    hosts: u8,
}

/// Who cannot be heard by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The host's link is down: both ways, and to everybody.
    Link,
    /// What the host sends to this process is lost.
    FromHost,
    /// What this process sends to the host is lost.
    ToHost,
}

pub const CUTS: [Cut; 3] = [Cut::Link, Cut::FromHost, Cut::ToHost];

/// Runs `ip`, whose complaint is the error.
fn ip(arguments: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&ran.stderr).trim())),
    }
}

impl Bridge {
    /// With so many hosts; none, and a printed reason, where this process may not make namespaces.
    pub fn of(hosts: u8) -> Option<Bridge> {
        assert!(hosts + 2 < BLOCK, "a block has room for them");
        let process = std::process::id();
        let block = BLOCKS.fetch_add(1, Ordering::Relaxed);
        let (name, first) = (format!("mb{process}b{block}"), block * BLOCK);
        let network = format!("10.{}.{}", 128 + (process >> 8 & 63), process & 255);
        if let Err(error) = ip(&format!("link add {name} type bridge")) {
            println!("skipped: network namespaces cannot be made here: {error}");
            return None;
        }
        let bridge = Bridge { name, network, first, hosts };
        bridge.connect().unwrap();
        Some(bridge)
    }

    fn connect(&self) -> Result<(), String> {
        let name = &self.name;
        ip(&format!("address add {}/29 dev {name}", self.here()))?;
        ip(&format!("link set {name} up"))?;
        for host in 0..self.hosts {
            let (namespace, link) = (self.namespace(host), self.link(host));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {link} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {link} master {name} up"))?;
            ip(&format!("-n {namespace} address add {}/29 dev eth0", self.address(host)))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(())
    }

    /// This process's address.
    pub fn here(&self) -> String {
        format!("{}.{}", self.network, self.first + 1)
    }

    pub fn address(&self, host: u8) -> String {
        format!("{}.{}", self.network, self.first + 2 + host)
    }

    pub fn namespace(&self, host: u8) -> String {
        format!("{}n{host}", self.name)
    }

    fn link(&self, host: u8) -> String {
        format!("{}v{host}", self.name)
    }

    pub fn cut(&self, host: u8, cut: Cut) {
        self.change(host, cut, "down", "add");
    }

    pub fn mend(&self, host: u8, cut: Cut) {
        self.change(host, cut, "up", "del");
    }

    fn change(&self, host: u8, cut: Cut, link: &str, route: &str) {
        let (namespace, here, there) = (self.namespace(host), self.here(), self.address(host));
        match cut {
            Cut::Link => ip(&format!("link set {} {link}", self.link(host))),
            Cut::FromHost => ip(&format!("-n {namespace} route {route} blackhole {here}/32")),
            Cut::ToHost => ip(&format!("route {route} blackhole {there}/32")),
        }
        .unwrap();
    }

    /// What two hosts send to each other is lost.
    pub fn part(&self, one: u8, other: u8) {
        self.between(one, other, "add");
    }

    pub fn join(&self, one: u8, other: u8) {
        self.between(one, other, "del");
    }

    fn between(&self, one: u8, other: u8, route: &str) {
        for (from, to) in [(one, other), (other, one)] {
            ip(&format!("-n {} route {route} blackhole {}/32", self.namespace(from), self.address(to))).unwrap();
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            // Routes of this process's own; those of a namespace, and the links, end with it.
            let _ = ip(&format!("route del blackhole {}/32", self.address(host)));
            let _ = ip(&format!("netns del {}", self.namespace(host)));
        }
        let gone = ip(&format!("link del {}", self.name));
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}
