//! Objects that outlive who made them.

use super::client::Cluster;
use crate::id::NodeId;
use crate::node::give::Taker;
use crate::object::error::GiveError;
use crate::object::reference::ObjectRef;

impl<T: ?Sized, E> ObjectRef<T, E> {
    /// Hands the object to the cluster's care: it outlives the node that made it, and ends with its last reference, as any
    /// does. Its value moves to a node that hosts actors, or else to that of the head, and all who hold it are told. When this
    /// is done, the process that made it may be killed.
    ///
    /// Waits until the value is there. An object that the head's own process made stays there: nothing outlives that. One that
    /// was given away stays with who has it, and one that is being given is waited for.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mobula::Result<()> {
    /// let cluster = Cluster::local().await?;
    /// let words = cluster.put(vec!["a".to_string()]).await?;
    /// words.persist(&cluster).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The value cannot be had, nobody can keep it, or its owner cannot be reached: it stays where it is. Or
    /// [`GiveError::Unknown`], where it has moved and only the head does not know.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing: it goes on.
    pub async fn persist(&self, cluster: &Cluster) -> Result<(), GiveError> {
        cluster.node().give_object(self.entry(), Taker::Anyone).await
    }

    /// Gives the object to another node, as [`persist`](ObjectRef::persist) does: that one owns it from then on, or until it is
    /// given on.
    ///
    /// # Errors
    /// As [`persist`](ObjectRef::persist)'s, and if the node is no member of the cluster.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing: it goes on.
    pub async fn give(&self, cluster: &Cluster, to: NodeId) -> Result<(), GiveError> {
        let life = cluster.node().life_of(to).ok_or(GiveError::NoNode { node: to })?;
        cluster.node().give_object(self.entry(), Taker::Life(life)).await
    }
}
