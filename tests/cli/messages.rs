//! What the command says when something is wrong: one sentence, which tells what to do.

use crate::support::{Keys, Running, assert_fails, mobula, text};
use std::os::unix::fs::PermissionsExt;

#[test]
fn keys_are_made_once_and_for_their_owner_alone() {
    let keys = Keys::new();
    let (file, head_file) = (keys.file(), keys.folder.path().join("cluster.key.head"));
    for path in [&file, &head_file] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (key, head) = (mobula::ClusterKey::load(&file).unwrap(), mobula::Identity::load(&head_file).unwrap());
    assert_eq!(key.head(), head.node_id(), "the cluster key pins that identity");

    let again = mobula(&["key", "new"]).arg(&file).output().unwrap();
    let rest = "exists and is not overwritten: give another name, or remove it if no cluster uses it";
    assert_fails(&again, 1, &format!("mobula: {} {rest}", head_file.display()));
    std::fs::remove_file(&head_file).unwrap();
    let again = mobula(&["key", "new"]).arg(&file).output().unwrap();
    assert_fails(&again, 1, &format!("mobula: {} {rest}", file.display()));
    assert!(!head_file.exists(), "half a pair is not left behind");
    assert_eq!(mobula::ClusterKey::load(&file).unwrap().id(), key.id());
}

#[test]
fn a_head_says_what_keeps_it_from_starting() {
    let keys = Keys::new();
    let file = keys.file();
    let head = |listen: &str| mobula(&["head", "--listen", listen, "--key"]).arg(&file).output().unwrap();
    let (_running, address) = Running::head(&keys, "tcp://127.0.0.1:0", &[]);
    let said = head(&address);
    let sentence = format!("mobula: {address} is in use by another process: give this node an address of its own");
    assert_fails(&said, 1, &sentence);
    assert_fails(
        &head("127.0.0.1:7400"),
        1,
        "mobula: `127.0.0.1:7400` is no address: write tcp://host:port, ipc:///folder or memory://name",
    );

    let identity = keys.folder.path().join("other.key.head");
    let other = mobula(&["key", "new"]).arg(keys.folder.path().join("other.key")).output().unwrap();
    assert!(other.status.success());
    let mut wrong = mobula(&["head", "--listen", "tcp://127.0.0.1:0", "--identity"]);
    let wrong = wrong.arg(&identity).arg("--key").arg(&file).output().unwrap();
    let sentence = "mobula: the head is the node whose key the cluster key pins: start the head with that identity, and no other node with it";
    assert_fails(&wrong, 1, sentence);

    let short = mobula(&["head", "--lease", "1s", "--key"]).arg(&file).output().unwrap();
    assert_fails(&short, 1, "mobula: a lease of 1s is too short: nodes beat every 1s, give at least 3s");
    let lease = mobula(&["head", "--lease", "1", "--key"]).arg(&file).output().unwrap();
    assert_eq!(lease.status.code(), Some(2));
    assert!(text(&lease.stderr).contains("write a time of at most 24h, such as 30s, 500ms or 2m"));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.display();
    let sentence = format!(
        "mobula: the key file {path} can be read by others (mode 644): run `chmod 600 {path}`, and make a new key if it may be known"
    );
    assert_fails(&head("tcp://127.0.0.1:0"), 1, &sentence);
    std::fs::remove_file(&file).unwrap();
    let sentence = format!(
        "mobula: there is no key file {path}: `mobula key new FILE` makes a cluster's keys once, and its nodes get copies of them"
    );
    assert_fails(&head("tcp://127.0.0.1:0"), 1, &sentence);
}

#[test]
fn a_look_says_whether_the_head_or_the_key_is_missing() {
    let (keys, others) = (Keys::new(), Keys::new());
    let look = |keys: &Keys, address: &str| {
        mobula(&["status", "--wait", "300ms", "--address", address, "--key"]).arg(keys.file()).output().unwrap()
    };
    let (head, address) = Running::head(&keys, "tcp://127.0.0.1:0", &[]);
    let cluster = mobula::ClusterKey::load(&others.file()).unwrap().id();
    let sentence = format!(
        "mobula: the head cannot be reached: {address} does not answer this node's key (cluster {cluster}): give both nodes the same file of `mobula key new`. If they have it, the node stopped just then"
    );
    assert_fails(&look(&others, &address), 1, &sentence);
    assert!(look(&keys, &address).status.success());
    drop(head);

    let system = std::io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
    let sentence = format!(
        "mobula: the head cannot be reached: nobody can be reached at {address} ({system}): check the address, and that the node runs"
    );
    assert_fails(&look(&keys, &address), 1, &sentence);
}

#[test]
fn a_program_says_what_its_environment_lacks() {
    let keys = Keys::new();
    let end = |role, address| {
        let ended = keys.program(role, address).output().unwrap();
        (ended.status.code(), text(&ended.stderr).to_owned())
    };
    let no_address = "mobula: MOBULA_ROLE asks for a member of a running cluster: set MOBULA_ADDRESS to its head, such as tcp://head:7400\n";
    assert_eq!(end(Some("worker"), None), (Some(1), no_address.to_owned()));
    let no_role = "mobula: MOBULA_ROLE is `wroker`: set it to `worker` or `driver`, or leave it out\n";
    assert_eq!(end(Some("wroker"), Some("tcp://127.0.0.1:1")), (Some(1), no_role.to_owned()));
    let mut command = keys.program(Some("worker"), Some("tcp://127.0.0.1:1"));
    let ended = command.env("MOBULA_RESOURCES", "gpu=two").output().unwrap();
    let bad = "mobula: MOBULA_RESOURCES is `two`: it takes amounts by their names, such as `gpu=2,tpu=0.5`\n";
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(1), bad));
    let mut command = keys.program(Some("worker"), Some("tcp://127.0.0.1:1"));
    let ended = command.env_remove("MOBULA_KEY").output().unwrap();
    let no_key = "mobula: no cluster key is given: `.key(FILE)`, or the environment's MOBULA_KEY, names the file that `mobula key new` wrote\n";
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(1), no_key));
}
