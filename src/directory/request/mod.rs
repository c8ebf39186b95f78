//! One file a request: what it says, the head's rule for it, the reply, its limits.

mod beat;
mod choose;
mod dial_me;
mod died;
mod end;
mod ended;
mod get_or_spawn;
mod hosted;
mod join;
mod leave;
mod locate;
mod lookup;
mod members;
mod place;
mod rejoin;
mod replay;
mod spawn;
mod status;

pub use beat::Beat;
pub use choose::{Candidate, Choose, ChooseError, Chosen};
pub use dial_me::{DialMe, DialMeError};
pub use died::{Died, DiedError};
pub use end::{End, EndError};
pub use ended::{Ended, Gone, ReportError};
pub use get_or_spawn::GetOrSpawn;
pub use hosted::{Failure, Host, Hosted};
pub use join::{Advertised, AdvertisedType, Boot, Join, JoinError, Joined};
pub use leave::{Leave, LifeEnd};
pub use locate::{Locate, LocateError, Located};
pub use lookup::{Lookup, LookupError};
pub use members::{Change, Member, Snapshot};
pub use rejoin::{Hosting, Rejoin, Standing};
pub use spawn::{ActorType, Arguments, Asked, FullName, Invalid, Needs, Spawn, SpawnError, Spawned};
pub use status::{ActorLine, ActorState, NodeLine, Page, Query, Summary};

pub(super) use died::DeadNodes;
pub(super) use members::MemberLog;
