//! The machine that this process runs on, as other nodes of it recognise it.

use rustix::process::{Resource, Rlimit};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The boot of this machine and the namespace of its process numbers: who has both sees the same processes by the same
/// numbers. Random where the system does not tell, which is to say that no other node counts as of this machine.
pub(crate) fn boot() -> [u8; 16] {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    let text = match (boot_id, namespace) {
        (Ok(boot_id), Ok(namespace)) => format!("{} {}", boot_id.trim(), namespace.display()),
        _ => super::runtime::random_number().to_string(),
    };
    let mut boot = [0; 16];
    boot.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
    boot
}

/// The machine's name, for people.
pub(crate) fn host_name() -> String {
    let mut name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.truncate(name.floor_char_boundary(crate::limits::NAME_BYTES));
    name
}

/// How many processors this process may use. Looked up once: that reads several files, and a node asks more than once as it
/// starts.
pub(crate) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *PROCESSORS
}

/// The bytes of memory that this process may use: the machine's, or those of its control group if they are less. Looked up once,
/// as well.
pub(crate) fn memory() -> Option<usize> {
    static MEMORY: LazyLock<Option<usize>> = LazyLock::new(look_up_memory);
    *MEMORY
}

fn look_up_memory() -> Option<usize> {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).checked_mul(u64::from(info.mem_unit.max(1)));
    let bytes = std::iter::once(machine).chain(control_groups()).flatten().min()?;
    usize::try_from(bytes).ok()
}

/// Lets this process take so many bytes more than it needs by itself: who asks for more than that is aborted.
pub(crate) fn limit_memory(bytes: u64) -> std::io::Result<()> {
    let most = Some(bytes.saturating_add(crate::limits::ISOLATED_OWN));
    rustix::process::setrlimit(Resource::Data, Rlimit { current: most, maximum: most })?;
    Ok(())
}

/// Lets this process have as many descriptors as it may: the usual limit is that of programs which know no more than 1,024.
pub(crate) fn raise_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What the control groups allow that this process is in: its own and those around it, of either version.
fn control_groups() -> impl Iterator<Item = Option<u64>> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(limit_files).flatten().collect::<Vec<_>>();
    limits.into_iter().map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// The files with the limits of a line of `/proc/self/cgroup`, from the group outwards.
fn limit_files(line: &str) -> Option<Vec<PathBuf>> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        controllers if controllers.split(',').any(|each| each == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = Path::new(group.trim_start_matches('/'));
    Some(group.ancestors().map(|around| Path::new(root).join(around).join(file)).collect())
}

/// Addresses of the documentation's ranges (RFC 5737, RFC 3849): routed as any far one is, and never sent to.
const FAR: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// The address of this machine on the interface that leads to one of `peers`, or else out of it, of the family of `any`,
/// which stands for every interface. Nothing is sent: connecting a datagram socket only looks the route up.
pub(crate) fn address_towards(any: IpAddr, peers: &[SocketAddr]) -> IpAddr {
    let far = FAR.iter().filter_map(|far| far.parse().ok());
    let mut found = peers.iter().copied().chain(far).filter(|to| to.is_ipv4() == any.is_ipv4()).filter_map(|to| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
    });
    found.next().unwrap_or(match any {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_memory_are_those_of_all_control_groups_around_a_process() {
        let files = |line| limit_files(line).map(|files| files.iter().map(|file| file.display().to_string()).collect());
        let expected = |files: &[&str]| Some(files.iter().map(ToString::to_string).collect::<Vec<_>>());
        let nested = ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(files("0::/a/b"), expected(&nested));
        let first = ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(files("7:cpu,memory:/a"), expected(&first));
        assert_eq!(files("3:cpu:/a"), None);
        assert_eq!(files("nonsense"), None);
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn a_peer_on_this_machine_finds_it_at_its_loopback_address() {
        let (any, peer) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)));
        assert_eq!(address_towards(any, &[peer]), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(!address_towards(any, &[]).is_unspecified());
        assert!(address_towards(Ipv6Addr::UNSPECIFIED.into(), &[peer]).is_ipv6(), "of the family that is listened on");
    }
}
