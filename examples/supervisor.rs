//! A shop over two worker processes: a stock, and tills that hold its handle. A till that falls is replaced; when the stock falls,
//! so are the tills, with the handle of the new one. What falls too often takes all of it down, and says why.

use mobula::prelude::*;
use mobula::{EndReason, Failure, Supervisor, SupervisorHandle};
use std::time::Duration;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let shop = Supervisor::rest_for_one()
        .intensity(2, Duration::from_secs(3_600))
        .child("stock", |cluster| Stock::spawn(cluster, 100))
        .child("till", |cluster| {
            let (stock, cluster) = (cluster.sibling::<StockHandle>("stock"), cluster.cluster().clone());
            async move { Ok::<_, Failure>(Till::spawn(&cluster, stock?).spread().await?) }
        })
        .start(&cluster)
        .await?;
    let till = shop.child::<TillHandle>("till").await?;
    assert_eq!(till.sell(30).await?, 70);

    // The till falls, and is replaced: the stock remembers.
    assert!(till.sell(1_000).await.is_err());
    assert_eq!(next_till(&shop, &till).await?.sell(20).await?, 50);

    // The stock falls, and takes the till along, which had its handle: both begin anew.
    let (stock, till) = (shop.child::<StockHandle>("stock").await?, shop.child::<TillHandle>("till").await?);
    stock.kill().await?;
    assert_eq!(next_till(&shop, &till).await?.sell(30).await?, 70);
    println!("{:?}", shop.children().await?);

    // Once more than twice.
    shop.child::<StockHandle>("stock").await?.kill().await?;
    match shop.ended().await? {
        EndReason::ChildrenFailed { restarts: 2, message } => assert_eq!(message, "`stock`: it was killed"),
        other => anyhow::bail!("{other}"),
    }
    Ok(())
}

/// The till that comes after this one: a child that is started again is another actor.
async fn next_till(shop: &SupervisorHandle, former: &TillHandle) -> anyhow::Result<TillHandle> {
    former.ended().await?;
    Ok(shop.child("till").await?)
}

#[actor]
struct Stock {
    left: u32,
}

#[methods]
impl Stock {
    #[constructor]
    pub fn of(left: u32) -> Self {
        Self { left }
    }

    pub fn take(&mut self, items: u32) -> Option<u32> {
        self.left = self.left.checked_sub(items)?;
        Some(self.left)
    }
}

#[actor]
struct Till {
    stock: StockHandle,
}

#[methods]
impl Till {
    #[constructor]
    pub fn over(stock: StockHandle) -> Self {
        Self { stock }
    }

    pub async fn sell(&mut self, items: u32) -> Result<u32, CallError> {
        Ok(self.stock.take(items).await?.expect("nobody buys more than there is"))
    }
}
