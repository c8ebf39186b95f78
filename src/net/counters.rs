//! What happened on the sockets, counted by name: tests and metrics read the same table.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The events that are counted.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Count {
            $($(#[$doc])* $name,)*
        }

        impl Count {
            /// Every event, in the order of the table.
            pub const ALL: [Count; [$($text),*].len()] = [$(Count::$name),*];

            /// Its name in snapshots and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Count::$name => $text,)*
                }
            }
        }
    };
}

counts! {
    /// TCP connections accepted by the guard, those refused at once included.
    GuardAccepted = "guard_accepted",
    /// TCP connections that this node dialled and whose guard answered: those, and the accepted ones, each end once.
    GuardDialled = "guard_dialled",
    /// Accepting failed, for want of descriptors most often.
    GuardAcceptFailed = "guard_accept_failed",
    /// Guarded connections, of either side, whose handshake was done.
    GuardAdmitted = "guard_admitted",
    /// Guarded connections that have ended, for whatever reason.
    GuardEnded = "guard_ended",
    /// Closed by this node.
    GuardClosed = "guard_closed",
    /// Ended by the remote peer.
    GuardPeerClosed = "guard_peer_closed",
    /// The node's own socket behind the guard ended or could not be reached.
    GuardLocalClosed = "guard_local_closed",
    /// The handshake was not done in time.
    GuardTimeout = "guard_timeout",
    /// Refused: connections in all, or of that address, are at their bound.
    GuardTooMany = "guard_too_many",
    /// An unfinished handshake gave way to a newer one.
    GuardCrowdedOut = "guard_crowded_out",
    /// Refused: no ZMTP 3 greeting with the NULL mechanism.
    GuardGreeting = "guard_greeting",
    /// Refused: no well-formed READY of the socket expected.
    GuardReady = "guard_ready",
    /// Refused: the peer chose an identity.
    GuardIdentity = "guard_identity",
    /// Refused: the first message is no preface.
    GuardPreface = "guard_preface",
    /// Refused and answered: a peer of another wire version.
    GuardWireVersion = "guard_wire_version",
    /// Refused: a frame longer than any peer may send.
    GuardFrameTooLong = "guard_frame_too_long",
    /// Refused: a message of several parts.
    GuardMultipart = "guard_multipart",
    /// Refused: a command after READY.
    GuardCommand = "guard_command",
    /// Refused: reserved flags in a frame's header.
    GuardReservedFlags = "guard_reserved_flags",
    /// Sessions whose dialer was accepted here.
    SessionAccepted = "session_accepted",
    /// Sessions dialled from here.
    SessionDialled = "session_dialled",
    /// Sessions that have ended.
    SessionClosed = "session_closed",
    /// Dials that failed after they had connected.
    DialFailed = "dial_failed",
    /// Refused: a peer chose its identity on the socket.
    RefusedIdentity = "refused_identity",
    /// Refused: a message of several parts.
    RefusedMultipart = "refused_multipart",
    /// Refused and told so: as many handshakes as may be are under way.
    RefusedBusy = "refused_busy",
    /// Refused: the first message is no preface, or of another lane.
    RefusedPreface = "refused_preface",
    /// Refused and answered: another wire version.
    RefusedVersion = "refused_version",
    /// Refused: another cluster key.
    RefusedKey = "refused_key",
    /// Refused: a handshake's message was altered, replayed or out of place.
    RefusedHandshake = "refused_handshake",
    /// Refused: credentials that contradict key or role.
    RefusedCredentials = "refused_credentials",
    /// Refused and told so: the receiver does not want the session.
    RefusedByReceiver = "refused_by_receiver",
    /// Sessions ended: their peer said hello as a life that has ended, or is another node's.
    RefusedLife = "refused_life",
    /// The handshake was not done in time.
    HandshakeTimeout = "handshake_timeout",
    /// The peer went away before its handshake was done, or nobody waited for it any more.
    HandshakeAbandoned = "handshake_abandoned",
    /// A socket could not accept a connection.
    AcceptFailed = "accept_failed",
    /// Sessions ended by a record that was cut short.
    RecordShort = "record_short",
    /// Sessions ended by bytes after a message's last record.
    RecordLong = "record_long",
    /// Sessions ended by a record that was altered, dropped, repeated or reordered.
    RecordForged = "record_forged",
    /// Sessions of the bulk lane ended: a peer broke its rules, or asked for more without reading what it had asked for.
    BulkBreach = "bulk_breach",
}

/// A number for each [`Count`]; they only rise.
#[derive(Debug)]
pub struct Counters([AtomicU64; Count::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Count::ALL.len()])
    }
}

impl Counters {
    /// Counts one more.
    pub fn add(&self, count: Count) {
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it happened.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }

    /// All names with their numbers.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        Count::ALL.iter().map(|&count| (count.name(), self.get(count))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_count_has_a_name_and_a_number_of_its_own() {
        let counters = Counters::default();
        for (at, &count) in Count::ALL.iter().enumerate() {
            (0..=at).for_each(|_| counters.add(count));
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), Count::ALL.len());
        for (at, &(name, number)) in snapshot.iter().enumerate() {
            assert_eq!((name, number), (Count::ALL[at].name(), at as u64 + 1));
            assert_eq!(counters.get(Count::ALL[at]), number);
        }
    }
}
